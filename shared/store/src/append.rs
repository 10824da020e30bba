//! Appending to the log, by one writer at a time over all processes.
//!
//! What is on disk before what: a segment is synced before its successor exists; an entry's bytes are written before
//! `HEAD.written` moves; with `Durability::Full` they are on disk before `HEAD.visible` moves, that is before anyone is
//! told of the commit.

use std::borrow::Cow;
use std::sync::Arc;

use maniac_base::{BranchId, PageNo, Term, Version};

use crate::entry::{BodyWriter, EntryKind, Header, frame_bytes};
use crate::error::StoreError;
use crate::head::LogEnd;
use crate::index::Index;
use crate::lock::{LockFile, LockName};
use crate::recover::peek_next;
use crate::segment::{self, NewSegment, Segment, TARGET_BYTES};
use crate::store::{Store, now_ms};

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk.
    #[default]
    Full,
    /// It is with the operating system, and on disk within a second: survives the process, not the machine.
    Normal,
    /// It is with the operating system.
    Off,
}

/// What will become an entry. Version and time are given by the log.
pub(crate) struct Draft<'a> {
    pub kind: EntryKind,
    pub branch: BranchId,
    pub base: Version,
    pub page_size: u32,
    pub page_count: u32,
    /// Pages in ascending order, and how many bytes are stored of each.
    pub pages: &'a [(PageNo, u32)],
    /// Those bytes of the n-th page.
    pub stored: &'a dyn Fn(usize) -> Result<Cow<'a, [u8]>, StoreError>,
    pub schema: &'a [u8],
    pub changeset: &'a [u8],
    pub derived: bool,
    pub note: Cow<'a, [u8]>,
}

/// Writes bytes at an offset.
type WriteAt<'a> = dyn Fn(&[u8], u64) -> Result<(), StoreError> + 'a;

impl Draft<'_> {
    fn header(&self, version: Version, time_ms: i64) -> Header {
        Header {
            kind: self.kind,
            length: 0,
            version,
            term: Term(0),
            base: self.base,
            time_ms,
            branch: self.branch,
            page_size: self.page_size,
            page_count: self.page_count,
            frames: self.pages.len() as u32,
            frame_bytes: self.pages.iter().map(|(_, stored)| frame_bytes(*stored)).sum(),
            changeset_len: self.changeset.len() as u64,
            schema_len: self.schema.len() as u32,
            note_len: self.note.len() as u32,
            derived: self.derived,
        }
        .with_length()
    }

    /// Writes the body through `write`, which takes bytes and their offset, and gives where it ends.
    fn write_body(&self, header: Header, head: Vec<u8>, start: u64, write: &WriteAt<'_>) -> Result<u64, StoreError> {
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
        (0..self.pages.len()).try_for_each(|n| writer.page(&(self.stored)(n)?))?;
        writer.finish(self.schema, self.changeset, &self.note)?;
        write(&buffer, end)?;
        Ok(end + buffer.len() as u64)
    }
}

/// A large entry whose body is on disk already, in a segment of its own that only wants its head and its name.
pub(crate) struct Prepared(NewSegment);

impl Store {
    /// Does the long part of appending `draft` without keeping anybody from the log.
    pub(crate) fn prepare(&self, draft: &Draft<'_>) -> Result<Option<Prepared>, StoreError> {
        if self.head.end().position == segment::HEADER {
            // The first transaction of a store goes into the segment that the store was made with.
            return Ok(None);
        }
        let segment = NewSegment::begin(&self.path)?;
        let header = draft.header(Version(0), 0);
        let start = segment::HEADER + header.frames_start();
        draft.write_body(header, Vec::new(), start, &|bytes, offset| segment.write(bytes, offset))?;
        segment.sync()?;
        Ok(Some(Prepared(segment)))
    }
}

/// Bytes that are written at a time.
const WRITE_BYTES: usize = 1 << 20;

pub(crate) struct Appender {
    /// `None` where the store cannot be written.
    lock: Option<LockFile>,
}

/// An entry of up to this size goes into zeroes that are on disk already, where an fsync need not record a new length.
const SMALL: u64 = 256 << 10;

impl Appender {
    pub fn new(lock: Option<LockFile>) -> Appender {
        Appender { lock }
    }
}

impl Store {
    /// Appends what `draft` makes of the index at the end of the log, and publishes it. `draft` may refuse.
    pub(crate) fn append<'a>(
        self: &Arc<Self>,
        durability: Durability,
        branch: BranchId,
        prepared: Option<Prepared>,
        draft: impl FnOnce(&Index) -> Result<Draft<'a>, StoreError>,
    ) -> Result<Version, StoreError> {
        self.check_process()?;
        let (start, version) = {
            let appender = self.appender.lock();
            let lock = appender.lock.as_ref().ok_or_else(|| StoreError::ReadOnly { path: self.path.clone() })?;
            lock.lock(LockName::Append)?;
            let appended = self.append_locked(durability, branch, prepared, draft);
            lock.unlock(LockName::Append);
            appended?
        };
        match durability {
            Durability::Full => self.sync_to(version).inspect_err(|_| self.take_back(start, version))?,
            Durability::Normal => self.sync_soon()?,
            Durability::Off => (),
        }
        self.head.publish(version);
        self.refresh()?;
        Ok(version)
    }

    fn append_locked<'a>(
        self: &Arc<Self>,
        durability: Durability,
        branch: BranchId,
        prepared: Option<Prepared>,
        draft: impl FnOnce(&Index) -> Result<Draft<'a>, StoreError>,
    ) -> Result<(LogEnd, Version), StoreError> {
        if self.head.append_was_cut_short() {
            self.repair_tail()?;
        }
        self.refresh()?;
        self.publish_unseen(branch)?;
        let index = self.index.read();
        let draft = draft(&index)?;
        let start = self.head.end();
        let header = draft.header(start.version.next(), now_ms().max(index.last_time_ms()));
        drop(index);
        self.head.begin_append();
        let written = self.write_entry(start, header, &draft, prepared, durability);
        let end = match written {
            Ok(end) => end,
            Err(error) => {
                // If even this fails the mark stays, and whoever appends next repairs.
                self.repair_tail()?;
                return Err(error);
            }
        };
        self.head.end_append(end);
        Ok((start, header.version))
    }

    /// Makes visible what a writer of this branch left behind when it died between writing and publishing. It counts, and
    /// whoever comes after must see it: found only when the next transaction commits, it would refuse that one as stale.
    pub fn publish_left_over(self: &Arc<Self>, branch: BranchId) -> Result<(), StoreError> {
        // The order matters. Who writes holds the branch's lock until the entry is visible, so an entry that was unseen
        // before the lock was found free has nobody left who would publish it.
        if self.head.written() == self.head.visible() || !self.unseen_touches(branch)? {
            return Ok(());
        }
        // Readers don't wait for whoever is appending: the next one looks again.
        let Some(appender) = self.appender.try_lock() else { return Ok(()) };
        let Some(lock) = appender.lock.as_ref() else { return Ok(()) };
        if lock.is_held_elsewhere(LockName::Writer(branch))? {
            return Ok(());
        }
        lock.lock(LockName::Append)?;
        let published = self.publish_unseen(branch);
        lock.unlock(LockName::Append);
        published
    }

    /// Publishes everything that is written, if any of it bears on this branch. The caller holds the append lock.
    fn publish_unseen(self: &Arc<Self>, branch: BranchId) -> Result<(), StoreError> {
        if self.unseen_touches(branch)? {
            self.sync_to(self.head.written())?;
            self.head.publish(self.head.written());
            self.refresh()?;
        }
        Ok(())
    }

    /// Whether entries that are written but not visible yet bear on this branch. Those of other branches are commits
    /// under way, and none of our business.
    fn unseen_touches(&self, branch: BranchId) -> Result<bool, StoreError> {
        let written = self.head.written();
        // The lock keeps the cursor where the index ends.
        let place = self.cursor.lock();
        let (mut cursor, mut last) = (*place, self.index.read().last());
        while last < written {
            let entry = peek_next(&self.path, &self.segments, last, &mut cursor, true)?;
            if entry.header.branch == branch || entry.header.kind != EntryKind::Transaction {
                return Ok(true);
            }
            cursor.offset += entry.header.length;
            last = entry.header.version;
        }
        Ok(false)
    }

    fn write_entry(
        &self,
        start: LogEnd,
        header: Header,
        draft: &Draft<'_>,
        prepared: Option<Prepared>,
        durability: Durability,
    ) -> Result<LogEnd, StoreError> {
        let mut segment = self.active_segment()?;
        let mut end = LogEnd { version: header.version, ..start };
        let head = header.head(draft.pages.iter().copied());
        // A segment is named after its first version, so a new one cannot take the place of one that is still empty.
        let empty = start.position == segment::HEADER;
        let prepared = prepared.filter(|_| !empty);
        let full = !empty && start.position + header.length > TARGET_BYTES;
        if full || prepared.is_some() {
            segment.truncate(start.position)?;
            segment.sync()?;
            end = LogEnd { segment: header.version, position: segment::HEADER, ..end };
        }
        if let Some(Prepared(new)) = prepared {
            new.write(&head, segment::HEADER)?;
            new.finish(self.id(), header.version, header.time_ms)?;
            return Ok(LogEnd { position: segment::HEADER + header.length, ..end });
        }
        if full {
            segment = Arc::new(Segment::create(&self.path, self.id(), header.version, header.time_ms)?);
        } else if durability == Durability::Full && header.length <= SMALL {
            zero_ahead(&segment, start.position, header.length)?;
        }
        end.position = draft.write_body(header, head, end.position, &|bytes, offset| segment.write(bytes, offset))?;
        Ok(end)
    }

    /// Makes the log end where `HEAD` says. The caller holds the append lock.
    fn repair_tail(&self) -> Result<(), StoreError> {
        let end = self.head.end();
        for first in segment::list(&self.path)?.into_iter().filter(|first| *first > end.segment) {
            segment::remove(&self.path, first)?;
        }
        self.active_segment()?.truncate(end.position)?;
        self.head.end_append(end);
        Ok(())
    }

    /// Undoes an append whose fsync failed, if nothing came after it.
    fn take_back(&self, start: LogEnd, version: Version) {
        let appender = self.appender.lock();
        let Some(lock) = appender.lock.as_ref().filter(|lock| lock.lock(LockName::Append).is_ok()) else { return };
        if self.head.written() == version && self.head.visible() < version {
            self.head.begin_append();
            self.head.end_append(start);
            self.head.begin_append();
            // When this fails too, the mark that was just set makes the next writer try again.
            let _ = self.repair_tail();
        }
        lock.unlock(LockName::Append);
    }
}

/// Makes the file longer than the next entry needs, by as much again as it holds, within bounds.
fn zero_ahead(segment: &Segment, position: u64, length: u64) -> Result<(), StoreError> {
    if segment.reaches(position + length) {
        return Ok(());
    }
    let have = segment.file_length()?;
    if position + length > have {
        let more = position.clamp(64 << 10, 4 << 20).max(length);
        // A full disk may still have room for the entry itself, whose own write will tell.
        let _ = segment.write(&vec![0; more as usize], have.max(position));
    }
    Ok(())
}
