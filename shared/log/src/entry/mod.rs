//! One entry of the log: its bytes, and the checks that make them trustworthy.
//!
//! ```text
//! header (96) | n x ( page number (4), form and stored bytes (4) ) | head checksum (8)
//! n x ( stored bytes | padding to 8 | checksum of both (8) )
//! schema changeset | row changeset | note | padding to 8 | body checksum (8)
//! ```
//!
//! The head checksum covers the header and the frame list, so that a store can be indexed without reading a page. The
//! body checksum covers the frames' checksums and the rest of the body. All integers are little-endian. Entries of format
//! 1 have a header of 88 bytes, and say no forms. Sealed ones have one of 128 (see `seal`).

mod check;
mod frame;
mod header;
mod kind;
mod notes;
mod write;

use std::borrow::Cow;
use std::path::Path;

use maniac_base::{Checksum, PageNo, checksum};
use maniac_seal::{NONCE, Seal};

use crate::error::LogError;
use crate::seal::{EntrySeal, Piece, SealedPlace};

pub use check::{Checked, check};
pub use frame::{Form, FrameRef, Stored, check_frame, frame_bytes};
pub use header::{HEADER, Header};
pub use kind::EntryKind;
pub use notes::{BranchNote, MergeNote, TagNote};
pub use write::BodyWriter;

/// `MENT` read as a little-endian integer.
pub const MAGIC: u32 = u32::from_le_bytes(*b"MENT");
const CHECKSUM: usize = 8;

/// What is wrong with stored bytes; the caller knows where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    Damaged(&'static str),
    /// A newer build wrote it: what it is, and of which kind.
    Newer(&'static str, u8),
}

impl Defect {
    pub fn at(self, path: &Path, offset: u64) -> LogError {
        match self {
            Defect::Damaged(reason) => LogError::corrupt(path, offset, reason),
            Defect::Newer(what, kind) => LogError::NewerEntry { path: path.to_owned(), offset, what, kind },
        }
    }
}

/// What an entry holds besides pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Part {
    Schema,
    Changeset,
    Note,
}

const fn pad8(n: u64) -> u64 {
    n.div_ceil(8) * 8
}

fn read_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// The length that an entry's header claims; `bytes` starts with the header.
pub fn length(bytes: &[u8]) -> Result<u64, Defect> {
    Header::decode(&bytes[..HEADER]).map(|header| header.length)
}

/// A view of one entry inside a mapped segment.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    pub header: Header,
    bytes: &'a [u8],
    seal: Option<&'a Seal>,
}

impl<'a> EntryRef<'a> {
    /// The entry at the start of `bytes`, with its header and page numbers checked, and nothing behind them. `place` is
    /// there if the store is encrypted.
    pub fn open(bytes: &'a [u8], place: Option<SealedPlace<'a>>) -> Result<EntryRef<'a>, Defect> {
        if bytes.len() < HEADER {
            return Err(Defect::Damaged("the log ends inside an entry's header"));
        }
        let header = Header::decode(bytes)?;
        if header.length > bytes.len() as u64 {
            return Err(Defect::Damaged("the log ends inside an entry"));
        }
        let bytes = &bytes[..header.length as usize];
        let end = header.head_end() as usize;
        if checksum(&bytes[..end]) != read_u64(&bytes[end..]) {
            return Err(Defect::Damaged("an entry's head does not match its checksum"));
        }
        header.check_understood(bytes)?;
        match place {
            Some(place) if header.sealed => header.check_seal(bytes, place)?,
            Some(_) => return Err(Defect::Damaged("an entry is not sealed, and the store is encrypted")),
            None if header.sealed => return Err(Defect::Damaged("an entry is sealed, and the store is not encrypted")),
            None => (),
        }
        let entry = EntryRef { header, bytes, seal: place.map(|place| place.seal) };
        let mut total = 0;
        for frame in entry.frames() {
            if header.kind.is_some() {
                frame.stored.check(header.page_size)?;
                if frame.stored.is_sealed() != header.sealed {
                    return Err(Defect::Damaged("a page is not sealed as its entry is"));
                }
            }
            total += frame.bytes();
        }
        if total != header.frame_bytes {
            return Err(Defect::Damaged("an entry's pages do not add up"));
        }
        Ok(entry)
    }

    /// The whole entry as it is stored.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Checks everything but the pages. Until it has passed, `schema`, `changeset` and `note` are hearsay.
    pub fn check_body(&self) -> Result<(), Defect> {
        let mut sum = Checksum::default();
        for frame in self.frames() {
            let end = (frame.offset + frame.bytes()) as usize;
            sum = sum.with(&self.bytes[end - CHECKSUM..end]);
        }
        let end = self.header.body_end() as usize;
        let sum = sum.with(&self.bytes[self.header.parts_start() as usize..end]).value();
        if sum != read_u64(&self.bytes[end..]) {
            return Err(Defect::Damaged("an entry's body does not match its checksum"));
        }
        Ok(())
    }

    /// Checks every byte of the entry.
    pub fn check_all(&self) -> Result<(), Defect> {
        self.check_body()?;
        for part in [Part::Schema, Part::Changeset, Part::Note] {
            self.part(part)?;
        }
        self.frames().try_for_each(|frame| {
            let stored = check_frame(&self.bytes[frame.offset as usize..][..frame.bytes() as usize], frame.stored)?;
            match self.pieces() {
                Some(pieces) => open_frame(&pieces, &frame, stored).map(drop),
                None => Ok(()),
            }
        })
    }

    fn pieces(&self) -> Option<EntrySeal<'a>> {
        self.seal.map(|seal| EntrySeal { seal, nonce: Header::nonce(self.bytes) })
    }

    /// The pages, in ascending order.
    pub fn frames(&self) -> impl Iterator<Item = FrameRef> + 'a {
        let Header { forms, page_size, .. } = self.header;
        let list = &self.bytes[self.header.size()..self.header.head_end() as usize];
        let mut offset = self.header.frames_start();
        list.chunks_exact(frame::ITEM).map(move |item| {
            let page = PageNo(u32::from_le_bytes(item[..4].try_into().expect("four bytes")));
            let frame = FrameRef { page, stored: Stored::from_item(item, forms, page_size), offset };
            offset = offset.saturating_add(frame.bytes());
            frame
        })
    }

    /// The session changeset of the changed `sqlite_schema` rows.
    pub fn schema(&self) -> Result<Cow<'a, [u8]>, Defect> {
        self.part(Part::Schema)
    }

    /// The session changeset of the changed rows.
    pub fn changeset(&self) -> Result<Cow<'a, [u8]>, Defect> {
        self.part(Part::Changeset)
    }

    pub fn note(&self) -> Result<Cow<'a, [u8]>, Defect> {
        self.part(Part::Note)
    }

    fn part(&self, part: Part) -> Result<Cow<'a, [u8]>, Defect> {
        let (start, length) = self.header.part(part);
        let stored = &self.bytes[start as usize..][..length as usize];
        match self.pieces() {
            Some(pieces) if length > 0 => {
                let opened = pieces.open(Piece::Part(part as usize), start, stored);
                opened.map(Cow::Owned).map_err(|_| Defect::Damaged("a part of an entry has been altered"))
            }
            _ => Ok(Cow::Borrowed(stored)),
        }
    }
}

/// Where a sealed entry's nonce stands, and its bytes.
pub const NONCE_AT: (u64, u64) = (HEADER as u64, NONCE as u64);

/// What is in a sealed frame whose stored bytes match their checksum.
pub fn open_frame(pieces: &EntrySeal<'_>, frame: &FrameRef, stored: &[u8]) -> Result<Vec<u8>, Defect> {
    let opened = pieces.open(Piece::Page(frame.page), frame.offset, stored);
    opened.map_err(|_| Defect::Damaged("a page has been altered, or belongs elsewhere"))
}
