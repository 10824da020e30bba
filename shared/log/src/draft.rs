//! What will become an entry, and how its bytes get into a segment.

use std::borrow::Cow;

use maniac_base::{BranchId, PageNo, Term, Version};
use maniac_seal::{Nonce, TAG, fresh_nonce};

use crate::entry::{BodyWriter, EntryKind, Header, Stored, frame_bytes};
use crate::error::LogError;
use crate::log::Log;
use crate::seal::{EntrySeal, Piece};
use crate::segment::{self, NewSegment};

pub type StoredBytes<'a> = Box<dyn Fn(PageNo) -> Result<Cow<'a, [u8]>, LogError> + 'a>;

/// What will become an entry. Version and time are given by the log.
pub struct Draft<'a> {
    pub kind: EntryKind,
    /// Of whoever proposed it in a cluster; 0 without one.
    pub term: Term,
    pub branch: BranchId,
    pub base: Version,
    pub page_size: u32,
    pub page_count: u32,
    /// Pages in ascending order, and how each is stored.
    pub pages: &'a [(PageNo, Stored)],
    /// Those bytes.
    pub stored: StoredBytes<'a>,
    pub schema: &'a [u8],
    pub changeset: &'a [u8],
    pub derived: bool,
    pub note: Cow<'a, [u8]>,
}

/// Writes bytes at an offset.
type WriteAt<'a> = dyn Fn(&[u8], u64) -> Result<(), LogError> + 'a;

impl Draft<'_> {
    /// `durable` is known to be on disk; `more` members of the same group follow; `sealed` in an encrypted store.
    pub(crate) fn header(&self, version: Version, time_ms: i64, durable: Version, more: bool, sealed: bool) -> Header {
        let length = |part: &[u8]| part.len() + if sealed && !part.is_empty() { TAG } else { 0 };
        Header {
            kind: Some(self.kind),
            forms: true,
            sealed,
            length: 0,
            version,
            term: self.term,
            base: self.base,
            time_ms,
            branch: self.branch,
            page_size: self.page_size,
            page_count: self.page_count,
            frames: self.pages.len() as u32,
            frame_bytes: self.frames(sealed).map(|(_, stored)| frame_bytes(stored)).sum(),
            changeset_len: length(self.changeset) as u64,
            schema_len: length(self.schema) as u32,
            note_len: length(&self.note) as u32,
            derived: self.derived,
            more,
            unsynced: u16::try_from(version.0 - durable.0).unwrap_or(0),
        }
        .with_length()
    }

    /// The pages as they are stored.
    pub(crate) fn frames(&self, sealed: bool) -> impl Iterator<Item = (PageNo, Stored)> + '_ {
        self.pages.iter().map(move |(page, stored)| (*page, if sealed { stored.sealed() } else { *stored }))
    }

    /// Writes the body through `write`, which takes bytes and their offset, and gives where it ends. `seal` is there if the
    /// entry is sealed.
    pub(crate) fn write_body(
        &self,
        header: Header,
        seal: Option<EntrySeal<'_>>,
        head: Vec<u8>,
        start: u64,
        write: &WriteAt<'_>,
    ) -> Result<u64, LogError> {
        let (mut end, mut buffer) = (start, head);
        let mut sink = |bytes: &[u8]| {
            buffer.extend_from_slice(bytes);
            if buffer.len() >= WRITE_BYTES {
                write(&buffer, end)?;
                end += buffer.len() as u64;
                buffer.clear();
            }
            Ok(())
        };
        let mut writer = BodyWriter::new(header, &mut sink);
        match seal {
            None => {
                self.pages.iter().try_for_each(|(page, _)| writer.page(&(self.stored)(*page)?))?;
                writer.finish(self.schema, self.changeset, &self.note)?;
            }
            Some(seal) => {
                let mut offset = header.frames_start();
                for (page, stored) in self.frames(true) {
                    writer.page(&seal.seal(Piece::Page(page), offset, &(self.stored)(page)?))?;
                    offset += frame_bytes(stored);
                }
                let parts = [self.schema, self.changeset, &self.note];
                let parts: Vec<Vec<u8>> =
                    header.sealed_parts(parts, |part, offset, bytes| seal.seal(Piece::Part(part), offset, bytes));
                writer.finish(&parts[0], &parts[1], &parts[2])?;
            }
        }
        write(&buffer, end)?;
        Ok(end + buffer.len() as u64)
    }
}

/// A large entry whose body is on disk already, in a segment of its own that only wants its head and its name.
pub struct Prepared {
    pub(crate) segment: NewSegment,
    /// What its pieces are sealed with.
    pub(crate) nonce: Option<Nonce>,
}

impl Log {
    /// Does the long part of appending `draft` without keeping anybody from the log.
    pub fn prepare(&self, draft: &Draft<'_>) -> Result<Option<Prepared>, LogError> {
        if self.head.end().position == segment::HEADER {
            // The first transaction of a store goes into the segment that the store was made with.
            return Ok(None);
        }
        let segment = NewSegment::begin(&self.disk, &self.path, self.data_key.as_ref())?;
        let header = draft.header(Version(0), 0, Version(0), false, segment.seal().is_some());
        let start = segment::HEADER + header.frames_start();
        let nonce = self.nonce_for(&header)?;
        let seal = segment.seal().zip(nonce).map(|(seal, nonce)| EntrySeal { seal, nonce });
        draft.write_body(header, seal, Vec::new(), start, &|bytes, offset| segment.write(bytes, offset))?;
        segment.sync()?;
        Ok(Some(Prepared { segment, nonce }))
    }

    /// A nonce for an entry, if it is to be sealed.
    pub(crate) fn nonce_for(&self, header: &Header) -> Result<Option<Nonce>, LogError> {
        if !header.sealed {
            return Ok(None);
        }
        let random = self.disk.random().map_err(LogError::io(&self.path, "find a random number for"))?;
        let content = [header.version.0, header.base.0, header.time_ms as u64, header.length].map(u64::to_le_bytes);
        Ok(Some(fresh_nonce(random, self.disk.monotonic_ns(), content.as_flattened())))
    }
}

/// Bytes that are written at a time. Linux caches what one write brings as one folio where it can, and large folios come from
/// memory that was not used of late: with 1 MiB the commit of 90 MB took 80 to 260 ms of processor time, so 61.
const WRITE_BYTES: usize = 64 << 10;
