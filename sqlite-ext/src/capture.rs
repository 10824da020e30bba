//! Between SQLite's pages and the log: what rows a transaction changed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_diff::Tracker;
use maniac_store::{LARGE, Payload, Store, StoreError, Transaction};
use parking_lot::Mutex;
use rusqlite::ffi;

use crate::errors::{VfsError, VfsResult};

/// The tracker of one branch, shared by the connections of this process; whoever holds the branch's write lock uses it.
#[derive(Default)]
pub struct Capture(Mutex<Option<(Version, Tracker)>>);

/// Trackers by store (its address while it is open) and branch.
type Known = HashMap<(usize, BranchId), Weak<Capture>>;
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

impl Capture {
    pub fn of(store: &Arc<Store>, branch: BranchId) -> Arc<Capture> {
        let mut known = KNOWN.lock();
        known.retain(|_, capture| capture.strong_count() > 0);
        let key = (Arc::as_ptr(store) as usize, branch);
        if let Some(capture) = known.get(&key).and_then(Weak::upgrade) {
            return capture;
        }
        let capture = Arc::new(Capture::default());
        known.insert(key, Arc::downgrade(&capture));
        capture
    }

    /// Decodes what changed, unless that is better left to the readers of the entry, lets `append` put it into the log, and follows if that went well.
    pub fn commit(
        &self,
        transaction: &Transaction,
        changed: &[PageNo],
        append: impl FnOnce(&Payload) -> Result<Version, StoreError>,
    ) -> VfsResult<Version> {
        let base = transaction.base();
        let mut slot = self.0.lock();
        if changed.len() > LARGE {
            *slot = None;
            return Ok(append(&Payload { derived: true, ..Payload::default() })?);
        }
        let mut tracker = match slot.take() {
            Some((version, tracker)) if version == base.version() => tracker,
            _ => Tracker::new(base).map_err(unreadable)?,
        };
        let captured = tracker.capture(base, transaction as &dyn PageSource, changed).map_err(unreadable)?;
        let payload = Payload { schema: captured.schema, changeset: captured.changeset, derived: false };
        let appended = append(&payload);
        let version = match &appended {
            Ok(version) => {
                tracker.advance(captured.update);
                *version
            }
            Err(_) => base.version(),
        };
        *slot = Some((version, tracker));
        Ok(appended?)
    }
}

fn unreadable(error: maniac_diff::DiffError) -> VfsError {
    VfsError::new(ffi::SQLITE_CORRUPT, format!("the rows of a transaction cannot be read: {error}"))
}
