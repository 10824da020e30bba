//! Appending to the log, by one writer at a time over all processes.
//!
//! What is on disk before what: a segment is synced before its successor exists; an entry's bytes are written before
//! `HEAD.written` moves; with `Durability::Full` they are on disk before `HEAD.visible` moves, that is before anyone is
//! told of the commit.

use std::sync::Arc;

use maniac_base::{BranchId, Version};

use crate::draft::{Draft, Prepared};
use crate::entry::{EntryKind, Header};
use crate::error::StoreError;
use crate::head::LogEnd;
use crate::index::Index;
use crate::lock::{LockFile, LockName};
use crate::recover::peek_next;
use crate::segment::{self, Segment, TARGET_BYTES};
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

pub(crate) struct Appender {
    /// `None` where the store cannot be written.
    lock: Option<LockFile>,
}

/// An entry of up to this size goes into zeroes that are in the file already: an fsync need not record a new length, and a
/// write need not find room.
const SMALL: u64 = 256 << 10;

impl Appender {
    pub fn new(lock: Option<LockFile>) -> Appender {
        Appender { lock }
    }
}

pub(crate) type MakeDraft<'a> = Box<dyn FnOnce(&Index) -> Result<Draft<'a>, StoreError> + 'a>;

/// An entry to be appended, made by `draft` from the index as it is when the log is ours. It may refuse.
pub(crate) struct Addition<'a> {
    pub branch: BranchId,
    pub prepared: Option<Prepared>,
    pub draft: MakeDraft<'a>,
}

impl Store {
    /// Appends entries at the end of the log, all or none of them, and publishes them together. Gives the version of the
    /// first; the others follow it.
    pub(crate) fn append(
        self: &Arc<Self>,
        durability: Durability,
        additions: Vec<Addition<'_>>,
    ) -> Result<Version, StoreError> {
        self.check_process()?;
        let (start, end) = {
            let appender = self.appender.lock();
            let lock = appender.lock.as_ref().ok_or_else(|| StoreError::ReadOnly { path: self.path.clone() })?;
            lock.lock(LockName::Append)?;
            let appended = self.append_locked(additions);
            lock.unlock(LockName::Append);
            appended?
        };
        match durability {
            Durability::Full => self.sync_to(end.version).inspect_err(|_| self.take_back(start, end.version))?,
            Durability::Normal => self.sync_soon()?,
            Durability::Off => (),
        }
        self.head.publish(end.version);
        self.refresh()?;
        Ok(start.version.next())
    }

    fn append_locked(self: &Arc<Self>, additions: Vec<Addition<'_>>) -> Result<(LogEnd, LogEnd), StoreError> {
        if self.head.append_was_cut_short() {
            self.repair_tail()?;
        }
        if self.head.sync_has_failed() {
            self.write_again()?;
        }
        self.refresh()?;
        additions.iter().try_for_each(|addition| self.publish_unseen(addition.branch))?;
        let start = self.head.end();
        let (entries, count) = (Vec::with_capacity(additions.len()), additions.len());
        let entries = {
            let index = self.index.read();
            let time_ms = now_ms().max(index.last_time_ms());
            let durable = self.head.durable();
            additions.into_iter().enumerate().try_fold(entries, |mut entries, (n, addition)| {
                let draft = (addition.draft)(&index)?;
                let header = draft.header(Version(start.version.0 + 1 + n as u64), time_ms, durable, n + 1 < count);
                entries.push((header, draft, addition.prepared));
                Ok::<_, StoreError>(entries)
            })?
        };
        self.head.begin_append();
        match self.write_entries(start, entries) {
            Ok(end) => {
                self.head.end_append(end);
                Ok((start, end))
            }
            Err(error) => {
                // If even this fails the mark stays, and whoever appends next repairs.
                self.repair_tail()?;
                Err(error)
            }
        }
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
            let entry = peek_next(&self.place(), last, &mut cursor)?;
            if entry.header.branch == branch || entry.header.kind != EntryKind::Transaction {
                return Ok(true);
            }
            cursor.offset += entry.header.length;
            last = entry.header.version;
        }
        Ok(false)
    }

    fn write_entries(
        &self,
        start: LogEnd,
        entries: Vec<(Header, Draft<'_>, Option<Prepared>)>,
    ) -> Result<LogEnd, StoreError> {
        let mut segment = self.active_segment()?;
        let mut end = start;
        let bytes = entries.iter().map(|(header, ..)| header.length).sum::<u64>();
        // A segment is named after its first version, so a new one cannot take the place of one that is still empty.
        let empty = start.position == segment::HEADER;
        let alone = entries.len() == 1;
        let full = !empty && start.position + bytes > TARGET_BYTES;
        for (header, draft, prepared) in entries {
            let prepared = prepared.filter(|_| alone && !empty);
            let head = header.head(draft.pages.iter().copied());
            if end == start && (full || prepared.is_some()) {
                segment.truncate(start.position)?;
                self.sync_segment(&segment)?;
                end = LogEnd { version: start.version, segment: header.version, position: segment::HEADER };
                if let Some(Prepared(new)) = prepared {
                    new.write(&head, segment::HEADER)?;
                    new.finish(self.id(), header.version, header.time_ms)?;
                    return Ok(LogEnd { version: header.version, position: end.position + header.length, ..end });
                }
                segment = Arc::new(Segment::create(&self.path, self.id(), header.version, header.time_ms)?);
            } else if header.length <= SMALL {
                zero_ahead(&segment, end.position, header.length)?;
            }
            let write = |bytes: &[u8], offset| segment.write(bytes, offset);
            end.position = draft.write_body(header, head, end.position, &write)?;
            end.version = header.version;
        }
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

/// Bytes that zeroes are written in at a time. Linux caches what one write brings as one folio, and each later write into
/// a large folio costs a walk over all its blocks.
const PIECE: usize = 16 << 10;

/// Makes the file longer than the next entry needs, by as much again as it holds, within bounds.
fn zero_ahead(segment: &Segment, position: u64, length: u64) -> Result<(), StoreError> {
    if segment.reaches(position + length) {
        return Ok(());
    }
    let have = segment.file_length()?;
    if position + length > have {
        let more = position.clamp(64 << 10, 4 << 20).max(length);
        let (start, zeroes) = (have.max(position), [0; PIECE]);
        // A full disk may still have room for the entry itself, whose own write will tell.
        let mut pieces = (start..start + more).step_by(PIECE);
        let _ = pieces.try_for_each(|at| segment.write(&zeroes, at));
    }
    Ok(())
}
