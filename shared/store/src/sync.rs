//! When written bytes are on disk: one fsync for all who wait for one, and one a second for those who don't wait.

use std::sync::{Arc, Weak};
use std::time::Duration;

use maniac_base::Version;
use parking_lot::{Condvar, Mutex};

use crate::error::StoreError;
use crate::segment::Segment;
use crate::store::Store;

/// How far an unsynced commit may stay behind under `Durability::Normal`.
const FLUSH_INTERVAL: Duration = Duration::from_millis(900);

#[derive(Default)]
pub struct Syncer {
    state: Mutex<SyncState>,
    done: Condvar,
    active: Mutex<Option<Arc<Segment>>>,
}

#[derive(Default)]
struct SyncState {
    /// Somebody is in fsync for everybody.
    running: bool,
    /// A failed fsync drops dirty pages, so that a second try would report a success that it is not.
    failed: Option<String>,
    flusher: bool,
}

impl Store {
    /// The segment that entries are appended to, opened for writing.
    pub(crate) fn active_segment(&self) -> Result<Arc<Segment>, StoreError> {
        let first = self.head.end().segment;
        let mut active = self.syncer.active.lock();
        if let Some(segment) = active.as_ref().filter(|segment| segment.first == first) {
            return Ok(segment.clone());
        }
        let segment = Arc::new(Segment::open(&self.path, first, true)?);
        *active = Some(segment.clone());
        Ok(segment)
    }

    /// Returns when everything up to `version` is on disk. Those who call at the same time share an fsync.
    pub(crate) fn sync_to(&self, version: Version) -> Result<(), StoreError> {
        let syncer = &self.syncer;
        let mut state = syncer.state.lock();
        while self.head.durable() < version {
            if let Some(reason) = &state.failed {
                let reason = std::io::Error::other(format!("an earlier fsync failed ({reason}); close the store"));
                return Err(StoreError::io(&self.path, "make the log durable")(reason));
            }
            if state.running {
                syncer.done.wait(&mut state);
                continue;
            }
            state.running = true;
            drop(state);
            // Segments in front of the active one were synced when they were sealed.
            let written = self.head.written();
            let result = self.active_segment().and_then(|segment| segment.sync());
            state = syncer.state.lock();
            state.running = false;
            match &result {
                Ok(()) => self.head.set_durable(written),
                Err(error) => state.failed = Some(error.to_string()),
            }
            syncer.done.notify_all();
            result?;
        }
        Ok(())
    }

    /// Sees to it that what is written now is on disk within a second.
    pub(crate) fn sync_soon(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut state = self.syncer.state.lock();
        if !state.flusher {
            let (store, syncer) = (Arc::downgrade(self), self.syncer.clone());
            std::thread::Builder::new()
                .name("maniac-flush".into())
                .spawn(move || flush_later(&store, &syncer))
                .map_err(StoreError::io(&self.path, "start the flusher"))?;
            state.flusher = true;
        }
        Ok(())
    }
}

/// One flush, after which the thread ends: a store that rests costs nothing.
fn flush_later(store: &Weak<Store>, syncer: &Syncer) {
    std::thread::sleep(FLUSH_INTERVAL);
    // Commits from here on start a flusher of their own, since this one may have missed them.
    syncer.state.lock().flusher = false;
    if let Some(store) = store.upgrade() {
        // The failure is kept, and met by the next commit that wants to be durable.
        let _ = store.sync_to(store.head.written());
    }
}
