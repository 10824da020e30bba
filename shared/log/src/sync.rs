//! When written bytes are on disk: one fsync for all who wait for one, and one a second for those who don't wait.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use maniac_base::Version;
use maniac_disk::Disk;
use parking_lot::{Condvar, Mutex};

use crate::error::LogError;
use crate::head::Losses;
use crate::lock::{LockFile, LockName};
use crate::log::Log;
use crate::segment::{self, Segment};

/// How far an unsynced commit may stay behind under `Durability::Normal`.
const FLUSH_INTERVAL: Duration = Duration::from_millis(900);
/// How long to rely on another process to tell that its fsync has ended.
const SYNC_PATIENCE: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Syncer {
    /// What processes take before an fsync; opened when it is first needed.
    lock: OnceLock<LockFile>,
    state: Mutex<SyncState>,
    done: Condvar,
    /// As it was when so much had been lost: after that, there may be another file under its name.
    active: Mutex<Option<(Losses, Arc<Segment>)>>,
}

#[derive(Default)]
struct SyncState {
    /// Somebody is in fsync for everybody.
    running: bool,
    flusher: bool,
}

impl Log {
    /// The segment that entries are appended to, opened for writing.
    pub(crate) fn active_segment(&self) -> Result<Arc<Segment>, LogError> {
        let (losses, first) = (self.head.losses(), self.head.end().segment);
        let mut active = self.syncer.active.lock();
        if let Some((_, segment)) = active.as_ref().filter(|(then, segment)| *then == losses && segment.first == first)
        {
            return Ok(segment.clone());
        }
        let segment = Arc::new(Segment::open(&*self.disk, &self.path, first, true, self.data_key.as_ref())?);
        *active = Some((losses, segment.clone()));
        Ok(segment)
    }

    /// Returns when everything up to `version` is on disk. Those who call at the same time, in whatever process, share an
    /// fsync. `losses`: what had been lost when the version was written; if it is lost since, that is an error.
    pub fn durable_to(&self, version: Version, losses: Losses) -> Result<(), LogError> {
        let syncer = &self.syncer;
        let mut state = syncer.state.lock();
        while !self.is_durable(version, losses)? {
            if self.head.sync_has_failed() {
                return Err(self.cannot_sync());
            }
            if state.running {
                syncer.done.wait(&mut state);
                continue;
            }
            state.running = true;
            drop(state);
            let leading = Leading(syncer);
            self.sync_for_all(version, losses)?;
            drop(leading);
            state = syncer.state.lock();
        }
        Ok(())
    }

    pub(crate) fn cannot_sync(&self) -> LogError {
        let reason = std::io::Error::other("an fsync of it has failed; the next transaction tries again");
        LogError::io(&self.path, "make the log durable")(reason)
    }

    /// Asked in this order, since the number of a version that is lost is given again.
    fn is_durable(&self, version: Version, losses: Losses) -> Result<bool, LogError> {
        let durable = self.head.durable() >= version;
        if self.head.is_lost(version, losses) {
            return Err(LogError::Lost { path: self.path.clone(), version });
        }
        Ok(durable)
    }

    /// One fsync, by this process or another.
    fn sync_for_all(&self, version: Version, losses: Losses) -> Result<(), LogError> {
        let lock = self.sync_lock()?;
        if !lock.try_lock(LockName::Sync)? {
            // Should that process die, nobody tells.
            let done = || self.is_durable(version, losses).unwrap_or(true) || self.head.sync_has_failed();
            self.head.wait_for_sync(version, SYNC_PATIENCE, || {
                done() || lock.is_held_elsewhere(LockName::Sync).is_ok_and(|held| !held)
            });
            return Ok(());
        }
        let outcome = self.sync_written(version, losses);
        lock.unlock(LockName::Sync);
        self.head.tell_synced();
        outcome
    }

    fn sync_written(&self, version: Version, losses: Losses) -> Result<(), LogError> {
        if self.is_durable(version, losses)? || self.head.sync_has_failed() {
            return Ok(());
        }
        // Segments in front of the active one were synced when they were sealed.
        let written = self.head.written();
        self.head.begin_sync(written);
        let segment = self.active_segment()?;
        self.sync_segment(&segment)?;
        // Somebody else's failure may have dropped what this one was to write.
        if !self.head.sync_has_failed() {
            self.head.set_durable(written);
        }
        Ok(())
    }

    fn sync_lock(&self) -> Result<&LockFile, LogError> {
        if let Some(lock) = self.syncer.lock.get() {
            return Ok(lock);
        }
        let lock = LockFile::open(&*self.disk, &self.path)?;
        Ok(self.syncer.lock.get_or_init(|| lock))
    }

    /// Waits until nobody is in fsync, and keeps everybody out of it.
    pub(crate) fn stop_syncs(&self) -> Result<SyncsStopped<'_>, LogError> {
        let lock = self.sync_lock()?;
        let mut state = self.syncer.state.lock();
        while state.running {
            self.syncer.done.wait(&mut state);
        }
        state.running = true;
        drop(state);
        let leading = Leading(&self.syncer);
        lock.lock(LockName::Sync)?;
        Ok(SyncsStopped { log: self, lock, _leading: leading })
    }

    /// Puts a segment on disk. When that fails, Linux takes the bytes for written all the same, so that a second try would
    /// report a success that it is not: `HEAD` tells all processes.
    pub(crate) fn sync_segment(&self, segment: &Segment) -> Result<(), LogError> {
        segment.sync().inspect_err(|_| self.head.set_sync_failed(true))
    }

    /// Writes again what a failed fsync may have lost, and syncs it. Segments in front of the active one are on disk. The
    /// caller holds the append lock.
    pub(crate) fn write_again(&self) -> Result<(), LogError> {
        let segment = self.active_segment()?;
        let end = self.head.end();
        let mut offset = segment::HEADER;
        while offset < end.position {
            offset += segment.write_again(offset)?;
        }
        segment.sync()?;
        self.head.set_durable(end.version);
        self.head.set_sync_failed(false);
        Ok(())
    }

    /// Sees to it that what is written now is on disk within a second.
    pub(crate) fn sync_soon(self: &Arc<Self>) -> Result<(), LogError> {
        let mut state = self.syncer.state.lock();
        if !state.flusher {
            let (log, syncer, disk) = (Arc::downgrade(self), self.syncer.clone(), self.disk.clone());
            self.disk
                .spawn("maniac-flush", Box::new(move || flush_later(&*disk, &log, &syncer)))
                .map_err(LogError::io(&self.path, "start the flusher"))?;
            state.flusher = true;
        }
        Ok(())
    }
}

/// While it lives, this thread is in fsync for all of its process.
struct Leading<'a>(&'a Syncer);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.state.lock().running = false;
        self.0.done.notify_all();
    }
}

/// While it lives, no fsync counts.
pub(crate) struct SyncsStopped<'a> {
    log: &'a Log,
    lock: &'a LockFile,
    _leading: Leading<'a>,
}

impl Drop for SyncsStopped<'_> {
    fn drop(&mut self) {
        self.lock.unlock(LockName::Sync);
        self.log.head.tell_synced();
    }
}

/// One flush, after which the thread ends: a log that rests costs nothing.
fn flush_later(disk: &dyn Disk, log: &Weak<Log>, syncer: &Syncer) {
    disk.sleep(FLUSH_INTERVAL);
    // Commits from here on start a flusher of their own, since this one may have missed them.
    syncer.state.lock().flusher = false;
    if let Some(log) = log.upgrade() {
        // The failure is kept, and met by the next commit that wants to be durable.
        let _ = log.durable_to(log.head.written(), log.head.losses());
    }
}
