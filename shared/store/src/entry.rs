//! One entry of the log: its bytes, and the checks that make them trustworthy.
//!
//! ```text
//! header (88) | n x ( page number (4), stored bytes (4) ) | head checksum (8)
//! n x ( stored bytes | padding to 8 | checksum of both (8) )
//! schema changeset | row changeset | note | padding to 8 | body checksum (8)
//! ```
//!
//! A page is stored as its image, or, when fewer bytes do, as the difference to the same branch's image before (see
//! `delta`). The head checksum covers the header and the frame list, so that a store can be indexed without reading a
//! page. The body checksum covers the frames' checksums and the rest of the body. All integers are little-endian.

use maniac_base::{BranchId, Checksum, PageNo, Term, Version, checksum};

/// `MENT` read as a little-endian integer.
pub const MAGIC: u32 = u32::from_le_bytes(*b"MENT");
pub const HEADER: usize = 88;
const CHECKSUM: usize = 8;
/// Flag: the changesets are not in the entry, but follow from its pages.
const DERIVED: u8 = 1;
/// Flag: the next entry belongs to the same atomic group.
const MORE: u8 = 2;
/// An entry of up to this size is put together as a whole before it is written.
const SMALL: u64 = 64 << 10;
/// Bytes of an item of the frame list.
const FRAME: usize = 8;

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Pages that one SQLite transaction wrote, and the rows that it changed.
    Transaction = 1,
    /// A branch; the note holds its parent, fork version and name.
    BranchCreated = 2,
    /// The end of a branch.
    BranchDropped = 3,
    /// A new name for a branch; the note is the name.
    BranchRenamed = 4,
}

impl EntryKind {
    fn from_byte(byte: u8) -> Option<EntryKind> {
        [EntryKind::Transaction, EntryKind::BranchCreated, EntryKind::BranchDropped, EntryKind::BranchRenamed]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The fixed part of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: EntryKind,
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

const fn pad8(n: u64) -> u64 {
    n.div_ceil(8) * 8
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
    fn head_end(&self) -> u64 {
        (HEADER + FRAME * self.frames as usize) as u64
    }

    /// Where the first frame starts.
    pub fn frames_start(&self) -> u64 {
        self.head_end() + CHECKSUM as u64
    }

    fn schema_start(&self) -> u64 {
        self.frames_start() + self.frame_bytes
    }

    fn changeset_start(&self) -> u64 {
        self.schema_start() + u64::from(self.schema_len)
    }

    fn note_start(&self) -> u64 {
        self.changeset_start() + self.changeset_len
    }

    /// Where the padded body ends and the body checksum stands.
    fn body_end(&self) -> u64 {
        pad8(self.note_start() + u64::from(self.note_len))
    }

    /// The header, the frame list and their checksum. `frames` yields page numbers and stored bytes.
    pub fn head(&self, frames: impl Iterator<Item = (PageNo, u32)>) -> Vec<u8> {
        // Room for what follows too, if it is little.
        let room = if self.length <= SMALL { self.length } else { self.frames_start() };
        let mut head = Vec::with_capacity(room as usize);
        head.extend_from_slice(&self.encode());
        for (page, stored) in frames {
            head.extend_from_slice(&page.0.to_le_bytes());
            head.extend_from_slice(&stored.to_le_bytes());
        }
        let sum = checksum(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        head
    }

    fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(at::MAGIC, &MAGIC.to_le_bytes());
        put(at::KIND, &[self.kind as u8]);
        put(at::FLAGS, &[if self.derived { DERIVED } else { 0 } | if self.more { MORE } else { 0 }]);
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
        out
    }

    fn decode(bytes: &[u8]) -> Result<Header, Defect> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if u32_at(at::MAGIC) != MAGIC {
            return Err(Defect("an entry does not start with its magic"));
        }
        let kind = EntryKind::from_byte(bytes[at::KIND]).ok_or(Defect("an entry's kind is unknown"))?;
        if bytes[at::FLAGS] & !(DERIVED | MORE) != 0 {
            return Err(Defect("an entry's reserved bytes are not zero"));
        }
        let header = Header {
            kind,
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
            derived: bytes[at::FLAGS] & DERIVED != 0,
            more: bytes[at::FLAGS] & MORE != 0,
            unsynced: u16::from_le_bytes(bytes[at::UNSYNCED..][..2].try_into().expect("two bytes")),
        };
        // Validate the geometry before adding it up: the two long lengths could overflow the sums below.
        let size_ok = header.page_size.is_power_of_two() && (512..=65536).contains(&header.page_size);
        if !size_ok && header.frames > 0 {
            return Err(Defect("an entry's page size is not a power of two from 512 to 65536"));
        }
        if header.changeset_len.max(header.frame_bytes) > 1 << 48
            || header.body_end() + CHECKSUM as u64 != header.length
        {
            return Err(Defect("an entry's length does not match its parts"));
        }
        Ok(header)
    }
}

/// What is wrong with stored bytes; the caller knows where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect(pub &'static str);

/// The length that an entry's header claims; `bytes` starts with the header.
pub fn length(bytes: &[u8]) -> Result<u64, Defect> {
    Header::decode(&bytes[..HEADER]).map(|header| header.length)
}

/// A view of one entry inside a mapped segment.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    pub header: Header,
    bytes: &'a [u8],
}

impl<'a> EntryRef<'a> {
    /// The entry at the start of `bytes`, with its header and page numbers checked, and nothing behind them.
    pub fn open(bytes: &'a [u8]) -> Result<EntryRef<'a>, Defect> {
        if bytes.len() < HEADER {
            return Err(Defect("the log ends inside an entry's header"));
        }
        let header = Header::decode(bytes)?;
        if header.length > bytes.len() as u64 {
            return Err(Defect("the log ends inside an entry"));
        }
        let bytes = &bytes[..header.length as usize];
        let end = header.head_end() as usize;
        if checksum(&bytes[..end]) != read_u64(&bytes[end..]) {
            return Err(Defect("an entry's head does not match its checksum"));
        }
        let entry = EntryRef { header, bytes };
        let mut total = 0;
        for frame in entry.frames() {
            if frame.stored == 0 || frame.stored > header.page_size {
                return Err(Defect("a page is stored in more bytes than it has"));
            }
            total += frame.bytes();
        }
        if total != header.frame_bytes {
            return Err(Defect("an entry's pages do not add up"));
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
        let sum = sum.with(&self.bytes[self.header.schema_start() as usize..end]).value();
        if sum != read_u64(&self.bytes[end..]) {
            return Err(Defect("an entry's body does not match its checksum"));
        }
        Ok(())
    }

    /// Checks every byte of the entry.
    pub fn check_all(&self) -> Result<(), Defect> {
        self.check_body()?;
        self.frames().try_for_each(|frame| {
            check_frame(&self.bytes[frame.offset as usize..][..frame.bytes() as usize], frame.stored).map(drop)
        })
    }

    /// The pages, in ascending order.
    pub fn frames(&self) -> impl Iterator<Item = FrameRef> + 'a {
        let list = &self.bytes[HEADER..HEADER + FRAME * self.header.frames as usize];
        let mut offset = self.header.frames_start();
        list.chunks_exact(FRAME).map(move |item| {
            let u32_at = |at: usize| u32::from_le_bytes(item[at..at + 4].try_into().expect("four bytes"));
            let frame = FrameRef { page: PageNo(u32_at(0)), stored: u32_at(4), offset };
            offset = offset.saturating_add(frame.bytes());
            frame
        })
    }

    /// The session changeset of the changed `sqlite_schema` rows.
    pub fn schema(&self) -> &'a [u8] {
        &self.bytes[self.header.schema_start() as usize..][..self.header.schema_len as usize]
    }

    /// The session changeset of the changed rows.
    pub fn changeset(&self) -> &'a [u8] {
        &self.bytes[self.header.changeset_start() as usize..][..self.header.changeset_len as usize]
    }

    pub fn note(&self) -> &'a [u8] {
        &self.bytes[self.header.note_start() as usize..][..self.header.note_len as usize]
    }
}

/// Whether the first part that does not match its checksum has none: it was not written when it was read. Parts are
/// written in order. `bytes` are as long as the header says.
pub fn is_unfinished(bytes: &[u8]) -> bool {
    let entry = match EntryRef::open(bytes) {
        Ok(entry) => entry,
        Err(_) => {
            let end = Header::decode(bytes).map(|header| header.head_end() as usize);
            return end.is_ok_and(|end| read_u64(&bytes[end..]) == 0);
        }
    };
    let parts = entry.frames().map(|frame| &bytes[frame.offset as usize..][..frame.bytes() as usize]);
    let sum = |part: &[u8]| read_u64(&part[part.len() - CHECKSUM..]);
    match parts.into_iter().find(|part| checksum(&part[..part.len() - CHECKSUM]) != sum(part)) {
        Some(broken) => sum(broken) == 0,
        None => entry.check_body().is_err() && sum(bytes) == 0,
    }
}

/// One page in an entry.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef {
    pub page: PageNo,
    /// Bytes that are stored of it: a whole page, or fewer for a difference.
    pub stored: u32,
    /// Where they start in the entry; a multiple of 8.
    pub offset: u64,
}

impl FrameRef {
    /// Bytes that a frame takes in the entry.
    fn bytes(&self) -> u64 {
        frame_bytes(self.stored)
    }
}

/// Bytes that a frame of so many stored bytes takes, with padding and checksum.
pub const fn frame_bytes(stored: u32) -> u64 {
    pad8(stored as u64) + CHECKSUM as u64
}

/// Checks a frame against the checksum at its end, and gives the stored bytes.
pub fn check_frame(frame: &[u8], stored: u32) -> Result<&[u8], Defect> {
    let (bytes, sum) = frame.split_at(frame.len() - CHECKSUM);
    if checksum(bytes) != read_u64(sum) {
        return Err(Defect("a page does not match its checksum"));
    }
    Ok(&bytes[..stored as usize])
}

fn read_u64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// Writes what comes behind an entry's head piece by piece into `sink`, so that a transaction larger than memory can pass
/// through.
pub struct BodyWriter<'a, E> {
    sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
    header: Header,
    sum: Checksum,
}

impl<'a, E> BodyWriter<'a, E> {
    /// Of the header only the lengths count.
    pub fn new(header: Header, sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>) -> Self {
        BodyWriter { sink, header, sum: Checksum::default() }
    }

    pub fn page(&mut self, stored: &[u8]) -> Result<(), E> {
        let padding = &[0; 8][..stored.len().next_multiple_of(8) - stored.len()];
        let sum = Checksum::default().with(stored).with(padding).value().to_le_bytes();
        self.sum = std::mem::take(&mut self.sum).with(&sum);
        for piece in [stored, padding, &sum] {
            (self.sink)(piece)?;
        }
        Ok(())
    }

    pub fn finish(self, schema: &[u8], changeset: &[u8], note: &[u8]) -> Result<(), E> {
        let padding = (self.header.body_end() - self.header.note_start() - u64::from(self.header.note_len)) as usize;
        let mut sum = self.sum;
        for piece in [schema, changeset, note, &[0; 8][..padding]] {
            sum = sum.with(piece);
            (self.sink)(piece)?;
        }
        (self.sink)(&sum.value().to_le_bytes())
    }
}
