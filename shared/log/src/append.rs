//! Appending to the log, by one writer at a time over all processes.
//!
//! What is on disk before what: a segment is synced before its successor exists; an entry's bytes are written before
//! `HEAD.written` moves; with `Durability::Full` they are on disk, and all that is in front of them, before
//! `HEAD.visible` moves, that is before anyone is told of the commit. With less durability an entry becomes visible at
//! once, unless one in front of it waits for the disk: then it waits too.

use std::sync::Arc;

use maniac_base::Version;

use crate::draft::{Draft, Prepared};
use crate::entry::Header;
use crate::error::LogError;
use crate::head::{LogEnd, Losses};
use crate::lock::LockName;
use crate::log::Log;
use crate::seal::EntrySeal;
use crate::segment::{self, FORMAT, Segment, TARGET_BYTES};

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

/// An entry of up to this size goes into zeroes that are in the file already: an fsync need not record a new length, and a
/// write need not find room.
const SMALL: u64 = 256 << 10;

/// Entries that are to be appended together.
pub struct Proposal<'a> {
    pub drafts: Vec<(Draft<'a>, Option<Prepared>)>,
    /// Their time is not before this one.
    pub not_before_ms: i64,
}

/// Entries that are in the log.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Where the log ended before them, and where it ends with them.
    pub start: LogEnd,
    pub end: LogEnd,
    pub losses: Losses,
    /// They are visible.
    pub published: bool,
}

impl Log {
    /// Appends entries at the end of the log, all or none of them. `propose` is called with the log in hand, when nobody
    /// else can append; it may refuse.
    ///
    /// They count when `publish` has made them visible.
    pub fn append<'a, E: From<LogError>>(
        self: &Arc<Self>,
        durability: Durability,
        propose: impl FnOnce() -> Result<Proposal<'a>, E>,
    ) -> Result<Written, E> {
        self.check_process()?;
        self.with_append_lock(|| {
            self.mend()?;
            Ok(self.append_locked(durability, propose()?)?)
        })
    }

    /// Returns when what was written is as durable as it was asked to be, and visible.
    pub fn publish(self: &Arc<Self>, durability: Durability, written: &Written) -> Result<(), LogError> {
        if durability == Durability::Normal {
            self.sync_soon()?;
        }
        if written.published {
            return Ok(());
        }
        let (version, losses) = (written.end.version, written.losses);
        let Err(error) = self.durable_to(version, losses) else {
            self.head.publish(version);
            return Ok(());
        };
        self.drop_what_is_lost();
        // Others may have been made visible behind it, once what it waited for was on disk. Then it counts, as they do.
        let counts = durability != Durability::Full && self.head.visible() >= version;
        if counts && !self.head.is_lost(version, losses) { Ok(()) } else { Err(error) }
    }

    /// Makes everything up to `version` durable and visible, unless it is lost.
    pub fn publish_up_to(&self, version: Version, losses: Losses) -> Result<(), LogError> {
        if self.head.visible() < version {
            self.durable_to(version, losses)?;
            self.head.publish(version);
        }
        Ok(())
    }

    /// Does something while nobody appends.
    pub(crate) fn with_append_lock<T, E: From<LogError>>(&self, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let appender = self.appender.lock();
        let lock = appender.as_ref().ok_or_else(|| LogError::ReadOnly { path: self.path.clone() })?;
        lock.lock(LockName::Append)?;
        let outcome = run();
        lock.unlock(LockName::Append);
        outcome
    }

    /// Does something while nobody appends, behind what was cleared up.
    pub fn while_nobody_appends<T, E: From<LogError>>(&self, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.with_append_lock(|| self.mend().map_err(E::from).and_then(|()| run()))
    }

    /// Does something while nobody appends, if nobody of this process does now, and `when` holds of the locks.
    pub fn try_with_append_lock<T, E: From<LogError>>(
        &self,
        when: impl FnOnce(&crate::LockFile) -> Result<bool, E>,
        run: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let Some(appender) = self.appender.try_lock() else { return Ok(None) };
        let Some(lock) = appender.as_ref() else { return Ok(None) };
        if !when(lock)? {
            return Ok(None);
        }
        lock.lock(LockName::Append)?;
        let outcome = self.mend().map_err(E::from).and_then(|()| run());
        lock.unlock(LockName::Append);
        outcome.map(Some)
    }

    /// Clears up behind an append or an fsync that came to nothing. The caller holds the append lock.
    pub(crate) fn mend(&self) -> Result<(), LogError> {
        if self.head.append_was_cut_short() {
            self.repair_tail()?;
        }
        if self.head.sync_has_failed() {
            self.cut_tail()?;
            self.write_again()?;
        }
        Ok(())
    }

    fn append_locked(self: &Arc<Self>, durability: Durability, proposal: Proposal<'_>) -> Result<Written, LogError> {
        let start = self.head.end();
        let time_ms = self.disk.now_ms().max(proposal.not_before_ms);
        let (durable, count) = (self.head.durable(), proposal.drafts.len());
        let entries = proposal.drafts.into_iter().enumerate().map(|(n, (draft, prepared))| {
            let header = draft.header(
                Version(start.version.0 + 1 + n as u64),
                time_ms,
                durable,
                n + 1 < count,
                self.data_key.is_some(),
            );
            (header, draft, prepared)
        });
        let entries = entries.collect();
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

    fn write_entries(
        &self,
        start: LogEnd,
        entries: Vec<(Header, Draft<'_>, Option<Prepared>)>,
    ) -> Result<LogEnd, LogError> {
        let mut segment = self.active_segment()?;
        let mut end = start;
        let bytes = entries.iter().map(|(header, ..)| header.length).sum::<u64>();
        // A segment is named after its first version, so a new one cannot take the place of one that is still empty.
        let empty = start.position == segment::HEADER;
        let alone = entries.len() == 1;
        // A segment of an older format ends here, since older builds read it; an empty one becomes one of this format.
        let older = segment.format() < FORMAT;
        if older && empty {
            segment.write_header(self.id, segment.first, segment.created_ms)?;
            self.sync_segment(&segment)?;
        }
        let full = !empty && (older || start.position + bytes > TARGET_BYTES);
        for (header, draft, prepared) in entries {
            let prepared = prepared.filter(|_| alone && !empty);
            if end == start && (full || prepared.is_some()) {
                self.complete(&segment, start)?;
                end = LogEnd { version: start.version, segment: header.version, position: segment::HEADER };
                if let Some(Prepared { segment: new, nonce }) = prepared {
                    let place = new.place_at(header.version, header.time_ms, segment::HEADER);
                    let head = header.head(draft.frames(header.sealed), place.zip(nonce));
                    new.write(&head, segment::HEADER)?;
                    new.finish(self.id, header.version, header.time_ms)?;
                    return Ok(LogEnd { version: header.version, position: end.position + header.length, ..end });
                }
                let (keys, version) = (self.data_key.as_ref(), header.version);
                segment = Arc::new(Segment::create(&self.disk, &self.path, self.id, version, header.time_ms, keys)?);
            } else if header.length <= SMALL {
                zero_ahead(&segment, end.position, header.length)?;
            }
            let write = |bytes: &[u8], offset| segment.write(bytes, offset);
            let (place, nonce) = (segment.place_at(end.position), self.nonce_for(&header)?);
            let head = header.head(draft.frames(header.sealed), place.zip(nonce));
            let seal = place.zip(nonce).map(|(place, nonce)| EntrySeal { seal: place.seal, nonce });
            end.position = draft.write_body(header, seal, head, end.position, &write)?;
            end.version = header.version;
        }
        Ok(end)
    }

    /// Brings the active segment to the disk, cut off at its end: another one is to follow.
    pub(crate) fn complete(&self, segment: &Segment, end: LogEnd) -> Result<(), LogError> {
        // After an fsync that failed, another one succeeds without the bytes that are lost.
        let _alone = self.stop_syncs()?;
        if self.head.sync_has_failed() {
            return Err(self.cannot_sync());
        }
        segment.truncate(end.position)?;
        self.sync_segment(segment)?;
        self.head.set_durable(end.version);
        Ok(())
    }

    /// Makes the log end where `HEAD` says. The caller holds the append lock.
    pub(crate) fn repair_tail(&self) -> Result<(), LogError> {
        let end = self.head.end();
        let segments = segment::list(&*self.disk, &self.path)?;
        let later: Vec<Version> = segments.into_iter().filter(|first| *first > end.segment).collect();
        later.iter().try_for_each(|first| segment::remove(&*self.disk, &self.path, *first))?;
        if !later.is_empty() {
            // Were one there again after the machine stops, what is appended here from now on would be in front of it.
            segment::sync_dir(&*self.disk, &segment::log_dir(&self.path))?;
        }
        self.active_segment()?.truncate(end.position)?;
        self.head.end_append(end);
        Ok(())
    }
}

/// Puts zeroes into a file.
pub(crate) fn zero(segment: &Segment, from: u64, to: u64) -> Result<(), LogError> {
    (from..to).step_by(PIECE).try_for_each(|at| segment.write(&[0; PIECE][..(to - at).min(PIECE as u64) as usize], at))
}

/// Bytes that zeroes are written in at a time. Linux caches what one write brings as one folio, and each later write into
/// a large folio costs a walk over all its blocks.
const PIECE: usize = 16 << 10;

/// Makes the file longer than the next entry needs, by as much again as it holds, within bounds.
fn zero_ahead(segment: &Segment, position: u64, length: u64) -> Result<(), LogError> {
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
