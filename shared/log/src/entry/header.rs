//! The fixed part of an entry.

use maniac_base::{BranchId, PageNo, Term, Version, checksum};

use maniac_seal::{NONCE, Nonce, TAG};

use super::frame::{ITEM, Stored};
use super::{CHECKSUM, Defect, EntryKind, MAGIC, Part, pad8};
use crate::seal::{HEADER_MORE, SealedPlace};

/// Bytes of the header.
pub const HEADER: usize = 96;
/// Of format 1, which ended where the forms stand.
const HEADER_1: usize = 88;
/// Flag: the changesets are not in the entry, but follow from its pages.
const DERIVED: u8 = 1;
/// Flag: the next entry belongs to the same atomic group.
const MORE: u8 = 2;
/// Flag: the entry says the forms of its pages and parts. Those of format 1 don't.
const FORMS: u8 = 4;
/// Flag: pages and parts are sealed, and the header goes on with what that takes.
const SEALED: u8 = 8;
/// The form of a part that is sealed.
const SEALED_PART: u8 = 1;
/// An entry of up to this size is put together as a whole before it is written.
const SMALL: u64 = 64 << 10;

/// Offsets of the header's fields.
mod at {
    pub const MAGIC: usize = 0;
    pub const KIND: usize = 4;
    pub const FLAGS: usize = 5;
    pub const UNSYNCED: usize = 6;
    pub const LENGTH: usize = 8;
    pub const VERSION: usize = 16;
    pub const TERM: usize = 24;
    pub const BASE: usize = 32;
    pub const TIME_MS: usize = 40;
    pub const BRANCH: usize = 48;
    pub const PAGE_SIZE: usize = 52;
    pub const PAGE_COUNT: usize = 56;
    pub const FRAMES: usize = 60;
    pub const CHANGESET: usize = 64;
    pub const SCHEMA: usize = 72;
    pub const NOTE: usize = 76;
    pub const FRAME_BYTES: usize = 80;
    pub const PART_FORMS: usize = 88;
    /// Of a sealed entry.
    pub const NONCE: usize = 96;
    pub const TAG: usize = 112;
}

/// The fixed part of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Nothing for one that this build passes over.
    pub kind: Option<EntryKind>,
    /// The header's own form: it and the frame list tell forms.
    pub forms: bool,
    /// The entry is one of an encrypted store.
    pub sealed: bool,
    /// Bytes of the whole entry, a multiple of 8.
    pub length: u64,
    pub version: Version,
    pub term: Term,
    /// The branch's head that the transaction was built on.
    pub base: Version,
    /// Milliseconds since 1970-01-01 UTC; never less than the previous entry's.
    pub time_ms: i64,
    pub branch: BranchId,
    pub page_size: u32,
    /// Pages in the database after the transaction.
    pub page_count: u32,
    /// Pages in this entry.
    pub frames: u32,
    /// Bytes that they take, with their checksums.
    pub frame_bytes: u64,
    pub changeset_len: u64,
    pub schema_len: u32,
    pub note_len: u32,
    /// The schema and row changesets are left out, because a large transaction would hold every row twice; whoever wants
    /// them compares the snapshots before and after.
    pub derived: bool,
    /// The next entry was committed together with this one: neither counts without the other.
    pub more: bool,
    /// How many versions, this one included, were perhaps not on disk when the entry was written; 0 when it can't say.
    /// All versions before these were: a log that lacks one of them is damaged, not torn.
    pub unsynced: u16,
}

impl Header {
    /// Sets `length` to what the other fields need.
    pub fn with_length(mut self) -> Header {
        self.length = self.body_end() + CHECKSUM as u64;
        self
    }

    /// The newest version that was on disk for certain before this entry was written.
    pub fn durable_before(&self) -> Version {
        match self.unsynced {
            0 => Version(0),
            unsynced => Version(self.version.0.saturating_sub(unsynced.into())),
        }
    }

    /// Where the frame list ends and the head checksum stands.
    pub(super) fn head_end(&self) -> u64 {
        (self.size() + ITEM * self.frames as usize) as u64
    }

    /// Bytes of the header itself.
    pub(super) fn size(&self) -> usize {
        match (self.sealed, self.forms) {
            (true, _) => HEADER + HEADER_MORE,
            (false, true) => HEADER,
            (false, false) => HEADER_1,
        }
    }

    /// Where the first frame starts.
    pub fn frames_start(&self) -> u64 {
        self.head_end() + CHECKSUM as u64
    }

    /// Where the parts behind the frames start.
    pub(super) fn parts_start(&self) -> u64 {
        self.frames_start() + self.frame_bytes
    }

    /// Where a part starts, and its bytes.
    pub(super) fn part(&self, part: Part) -> (u64, u64) {
        let lengths = [u64::from(self.schema_len), self.changeset_len, u64::from(self.note_len)];
        (self.parts_start() + lengths[..part as usize].iter().sum::<u64>(), lengths[part as usize])
    }

    /// The parts as they are stored, sealed by their number and offset; those that are empty stay so.
    pub fn sealed_parts(&self, parts: [&[u8]; 3], seal: impl Fn(usize, u64, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
        let sealed = [Part::Schema, Part::Changeset, Part::Note].into_iter().zip(parts).map(|(part, bytes)| {
            if bytes.is_empty() { Vec::new() } else { seal(part as usize, self.part(part).0, bytes) }
        });
        sealed.collect()
    }

    pub(super) fn parts_end(&self) -> u64 {
        let (start, length) = self.part(Part::Note);
        start + length
    }

    /// Where the padded body ends and the body checksum stands.
    pub(super) fn body_end(&self) -> u64 {
        pad8(self.parts_end())
    }

    /// The header, the frame list and their checksum. `seal` is there if the entry is sealed.
    pub fn head(
        &self,
        frames: impl Iterator<Item = (PageNo, Stored)>,
        seal: Option<(SealedPlace<'_>, Nonce)>,
    ) -> Vec<u8> {
        // Room for what follows too, if it is little.
        let room = if self.length <= SMALL { self.length } else { self.frames_start() };
        let mut head = Vec::with_capacity(room as usize);
        head.extend_from_slice(&self.encode());
        head.resize(self.size(), 0);
        for (page, stored) in frames {
            head.extend_from_slice(&page.0.to_le_bytes());
            head.extend_from_slice(&stored.item().to_le_bytes());
        }
        if let Some((place, nonce)) = seal {
            head[at::NONCE..][..NONCE].copy_from_slice(&nonce);
            let tag = place.head_tag(nonce, &head[..at::TAG], &head[self.size()..]);
            head[at::TAG..][..TAG].copy_from_slice(&tag);
        }
        let sum = checksum(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        head
    }

    fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(at::MAGIC, &MAGIC.to_le_bytes());
        put(at::KIND, &[self.kind.map_or(0, |kind| kind as u8)]);
        let flags = [(self.derived, DERIVED), (self.more, MORE), (self.sealed, SEALED)];
        put(at::FLAGS, &[flags.iter().filter(|(set, _)| *set).fold(FORMS, |flags, (_, flag)| flags | flag)]);
        put(at::UNSYNCED, &self.unsynced.to_le_bytes());
        put(at::LENGTH, &self.length.to_le_bytes());
        put(at::VERSION, &self.version.0.to_le_bytes());
        put(at::TERM, &self.term.0.to_le_bytes());
        put(at::BASE, &self.base.0.to_le_bytes());
        put(at::TIME_MS, &self.time_ms.to_le_bytes());
        put(at::BRANCH, &self.branch.0.to_le_bytes());
        put(at::PAGE_SIZE, &self.page_size.to_le_bytes());
        put(at::PAGE_COUNT, &self.page_count.to_le_bytes());
        put(at::FRAMES, &self.frames.to_le_bytes());
        put(at::CHANGESET, &self.changeset_len.to_le_bytes());
        put(at::SCHEMA, &self.schema_len.to_le_bytes());
        put(at::NOTE, &self.note_len.to_le_bytes());
        put(at::FRAME_BYTES, &self.frame_bytes.to_le_bytes());
        put(at::PART_FORMS, &self.part_forms());
        out
    }

    /// Forms of the schema changeset, the row changeset and the note.
    fn part_forms(&self) -> [u8; 3] {
        let empty = [self.schema_len == 0, self.changeset_len == 0, self.note_len == 0];
        empty.map(|empty| if self.sealed && !empty { SEALED_PART } else { 0 })
    }

    /// The nonce that a sealed entry has; `bytes` begin with its header.
    pub(super) fn nonce(bytes: &[u8]) -> Nonce {
        bytes[at::NONCE..][..NONCE].try_into().expect("twelve bytes")
    }

    /// Whether the head of a sealed entry is what was written at this place. `bytes` begin with it.
    pub(super) fn check_seal(&self, bytes: &[u8], place: SealedPlace<'_>) -> Result<(), Defect> {
        let (header, tag) = bytes.split_at(at::TAG);
        let frames = &bytes[self.size()..self.head_end() as usize];
        place
            .check_head(Header::nonce(bytes), header, frames, &tag[..TAG])
            .map_err(|_| Defect::Damaged("an entry's head has been altered, or belongs elsewhere"))
    }

    /// The header, if its lengths make sense. Whether this build understands it is asked when its checksum is known to
    /// be right, in `check_understood`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Header, Defect> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if u32_at(at::MAGIC) != MAGIC {
            return Err(Defect::Damaged("an entry does not start with its magic"));
        }
        let flags = bytes[at::FLAGS];
        let header = Header {
            kind: EntryKind::from_byte(bytes[at::KIND]).unwrap_or(None),
            forms: flags & FORMS != 0,
            sealed: flags & (FORMS | SEALED) == FORMS | SEALED,
            length: u64_at(at::LENGTH),
            version: Version(u64_at(at::VERSION)),
            term: Term(u64_at(at::TERM)),
            base: Version(u64_at(at::BASE)),
            time_ms: u64_at(at::TIME_MS) as i64,
            branch: BranchId(u32_at(at::BRANCH)),
            page_size: u32_at(at::PAGE_SIZE),
            page_count: u32_at(at::PAGE_COUNT),
            frames: u32_at(at::FRAMES),
            changeset_len: u64_at(at::CHANGESET),
            schema_len: u32_at(at::SCHEMA),
            note_len: u32_at(at::NOTE),
            frame_bytes: u64_at(at::FRAME_BYTES),
            derived: flags & DERIVED != 0,
            more: flags & MORE != 0,
            unsynced: u16::from_le_bytes(bytes[at::UNSYNCED..][..2].try_into().expect("two bytes")),
        };
        // Validate the geometry before adding it up: the two long lengths could overflow the sums below.
        let size_ok = header.page_size.is_power_of_two() && (512..=65536).contains(&header.page_size);
        if !size_ok && header.frames > 0 {
            return Err(Defect::Damaged("an entry's page size is not a power of two from 512 to 65536"));
        }
        if header.changeset_len.max(header.frame_bytes) > 1 << 48
            || header.body_end() + CHECKSUM as u64 != header.length
        {
            return Err(Defect::Damaged("an entry's length does not match its parts"));
        }
        Ok(header)
    }

    /// Refuses what a newer build wrote, if it can't be passed over. `bytes` is the head, which matches its checksum.
    pub(super) fn check_understood(&self, bytes: &[u8]) -> Result<(), Defect> {
        match EntryKind::from_byte(bytes[at::KIND]) {
            Err(kind) => return Err(Defect::Newer("an entry of kind", kind)),
            Ok(None) => return Ok(()),
            Ok(Some(_)) => (),
        }
        let flags = bytes[at::FLAGS] & !(DERIVED | MORE | FORMS | SEALED);
        if flags != 0 {
            return Err(Defect::Newer("an entry with flags", flags));
        }
        let [schema, changeset, note] = self.part_forms();
        let expected = [schema, changeset, note, 0, 0, 0, 0, 0];
        let forms: &[u8] = if self.forms { &bytes[at::PART_FORMS..HEADER] } else { &[] };
        match forms.iter().zip(expected).find(|(form, expected)| *form != expected) {
            Some((form, _)) => Err(Defect::Newer("a part of an entry of form", *form)),
            None => Ok(()),
        }
    }
}
