//! Appending to the log, by one writer at a time over all processes.
//!
//! What is on disk before what: a segment is synced before its successor exists; an entry's bytes are written before
//! `HEAD.written` moves; with `Durability::Full` they are on disk, and all that is in front of them, before
//! `HEAD.visible` moves, that is before anyone is told of the commit. With less durability an entry becomes visible at
//! once, unless one in front of it waits for the disk: then it waits too.

use std::sync::Arc;

use maniac_base::{BranchId, Version};

use crate::draft::{Draft, Prepared};
use crate::entry::Header;
use crate::error::StoreError;
use crate::head::{LogEnd, Losses};
use crate::index::Index;
use crate::lock::{LockFile, LockName};
use crate::segment::{self, FORMAT, Segment, TARGET_BYTES};
use crate::store::{Store, now_ms};
use crate::tail::{Tail, Unseen};
use crate::turn::is_awaited;

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

pub(crate) type MakeDraft<'a> = Box<dyn FnOnce(&Index, &Tail) -> Result<Draft<'a>, StoreError> + 'a>;

/// An entry to be appended, made by `draft` from the index as it is when the log is ours. It may refuse.
pub(crate) struct Addition<'a> {
    pub branch: BranchId,
    /// It is no transaction.
    pub about_branches: bool,
    /// The version that it builds on, and what had been lost when that was read, unless it is visible.
    pub losses: Option<(Version, Losses)>,
    pub prepared: Option<Prepared>,
    pub draft: MakeDraft<'a>,
}

/// Entries that are in the log.
struct Written {
    /// Where the log ended before them, and where it ends with them.
    start: LogEnd,
    end: LogEnd,
    losses: Losses,
    /// They are visible.
    published: bool,
}

impl Store {
    /// Appends entries at the end of the log, all or none of them, and publishes them together. Gives the version of the
    /// first; the others follow it. `appended` is called with that version when they are written.
    pub(crate) fn append(
        self: &Arc<Self>,
        durability: Durability,
        additions: Vec<Addition<'_>>,
        appended: &mut dyn FnMut(Version, Losses),
    ) -> Result<Version, StoreError> {
        self.check_process()?;
        let Written { start, end, losses, published } = {
            let appender = self.appender.lock();
            let lock = appender.lock.as_ref().ok_or_else(|| StoreError::ReadOnly { path: self.path.clone() })?;
            lock.lock(LockName::Append)?;
            let written = self.append_locked(durability, additions);
            lock.unlock(LockName::Append);
            written?
        };
        let first = start.version.next();
        appended(first, losses);
        if durability == Durability::Normal {
            self.sync_soon()?;
        }
        if !published {
            self.sync_to(end.version, losses).inspect_err(|_| self.drop_what_is_lost())?;
            self.head.publish(end.version);
        }
        self.refresh()?;
        Ok(first)
    }

    fn append_locked(
        self: &Arc<Self>,
        durability: Durability,
        additions: Vec<Addition<'_>>,
    ) -> Result<Written, StoreError> {
        if self.head.append_was_cut_short() {
            self.repair_tail()?;
        }
        if self.head.sync_has_failed() {
            self.cut_tail()?;
            self.write_again()?;
        }
        for (version, losses) in additions.iter().filter_map(|addition| addition.losses) {
            if self.head.is_lost(version, losses) {
                return Err(StoreError::Lost { path: self.path.clone(), version });
            }
        }
        self.refresh()?;
        let mut tail = self.tail()?;
        // Entries about branches are made from what the index knows; transactions from what the tail has, too.
        let lags = |addition: &Addition<'_>| addition.about_branches && tail.head(addition.branch).is_some();
        if tail.changes_branches || additions.iter().any(lags) {
            self.publish_up_to(self.head.written(), self.head.losses())?;
            tail = Tail::default();
        }
        let start = self.head.end();
        let (entries, count) = (Vec::with_capacity(additions.len()), additions.len());
        let entries = {
            let index = self.index.read();
            let time_ms = now_ms().max(index.last_time_ms()).max(tail.time_ms);
            let durable = self.head.durable();
            additions.into_iter().enumerate().try_fold(entries, |mut entries, (n, addition)| {
                let draft = (addition.draft)(&index, &tail)?;
                let header = draft.header(Version(start.version.0 + 1 + n as u64), time_ms, durable, n + 1 < count);
                entries.push((header, draft, addition.prepared));
                Ok::<_, StoreError>(entries)
            })?
        };
        self.head.begin_append();
        match self.write_entries(start, entries) {
            Ok(end) => {
                self.head.end_append(end);
                // What is visible is not cut off any more, so that nothing visible may follow what still can be.
                let published = durability != Durability::Full && self.head.full() <= self.head.durable();
                if published {
                    self.head.publish(end.version);
                } else if durability == Durability::Full {
                    self.head.set_full(end.version);
                }
                Ok(Written { start, end, losses: self.head.losses(), published })
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
        // The order matters. Who writes holds the branch's lock, or shares the one that says that a commit is pending, until
        // the entry is visible, so an entry that was unseen before both were found free has nobody left who would publish it.
        // Whoever waits to write will publish it, too.
        let nothing = self.head.written() == self.head.visible() || is_awaited(&self.head, branch);
        if nothing || !self.tail_touches(branch)? {
            return Ok(());
        }
        // Readers don't wait for whoever is appending: the next one looks again.
        let Some(appender) = self.appender.try_lock() else { return Ok(()) };
        let Some(lock) = appender.lock.as_ref() else { return Ok(()) };
        if lock.is_held_elsewhere(LockName::Writer(branch))? || lock.is_held_elsewhere(LockName::Pending(branch))? {
            return Ok(());
        }
        lock.lock(LockName::Append)?;
        let published = self.tail_touches(branch).and_then(|touches| match touches {
            true => self.publish_up_to(self.head.written(), self.head.losses()),
            false => Ok(()),
        });
        lock.unlock(LockName::Append);
        published
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
        // A segment of an older format ends here, since older builds read it; an empty one becomes one of this format.
        let older = segment.format() < FORMAT;
        if older && empty {
            segment.write_header(self.id(), segment.first, segment.created_ms)?;
            self.sync_segment(&segment)?;
        }
        let full = !empty && (older || start.position + bytes > TARGET_BYTES);
        for (header, draft, prepared) in entries {
            let prepared = prepared.filter(|_| alone && !empty);
            let head = header.head(draft.pages.iter().copied());
            if end == start && (full || prepared.is_some()) {
                segment.truncate(start.position)?;
                self.sync_segment(&segment)?;
                self.head.set_durable(start.version);
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

    /// An fsync has failed: cuts off what nobody was told of, unless somebody has done so.
    fn drop_what_is_lost(&self) {
        let appender = self.appender.lock();
        let Some(lock) = appender.lock.as_ref().filter(|lock| lock.lock(LockName::Append).is_ok()) else { return };
        if self.head.sync_has_failed() {
            // When this fails too, the next writer tries again.
            let _ = self.cut_tail();
        }
        lock.unlock(LockName::Append);
    }

    /// Ends the log where what is visible or durable ends. The caller holds the append lock; an fsync has failed.
    fn cut_tail(&self) -> Result<(), StoreError> {
        // Nobody may take what is cut off here, or what comes in its place, for durable.
        let _alone = self.stop_syncs()?;
        self.refresh()?;
        let (end, keep) = (self.head.end(), self.head.visible().max(self.head.durable()));
        if end.version == keep {
            return Ok(());
        }
        let position = self.end_of(keep, &end)?;
        self.head.begin_append();
        self.head.cut(LogEnd { version: keep, segment: end.segment, position });
        // A transaction that was built on these bytes may still be looking at them: the file keeps its length.
        zero(&*self.active_segment()?, position, end.position)?;
        self.head.end_append(self.head.end());
        Ok(())
    }

    /// Where a version of the tail ends in the active segment. All that is in front of that segment is durable.
    fn end_of(&self, version: Version, end: &LogEnd) -> Result<u64, StoreError> {
        let mut position = None;
        let mut visit = |unseen: &Unseen<'_>| {
            let is_next = unseen.entry.header.version == version.next();
            if is_next && self.segments[unseen.segment as usize].first == end.segment {
                position = Some(unseen.offset);
            }
            Ok(position.is_none())
        };
        self.visit_tail(&mut visit)?;
        let lost = || StoreError::corrupt(&self.path, end.position, format!("version {version} is not in front of it"));
        position.ok_or_else(lost)
    }
}

/// Puts zeroes into a file.
fn zero(segment: &Segment, from: u64, to: u64) -> Result<(), StoreError> {
    (from..to).step_by(PIECE).try_for_each(|at| segment.write(&[0; PIECE][..(to - at).min(PIECE as u64) as usize], at))
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
