//! Between SQLite's pages and the log: what rows a transaction changed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use maniac_base::{BranchId, PageNo, Version};
use maniac_diff::{Tracker, TrackerUpdate};
use maniac_store::{Payload, Store, Transaction};
use parking_lot::Mutex;
use rusqlite::ffi;

use crate::errors::{VfsError, VfsResult};

/// The tracker of one branch and the version it describes, shared by the connections of this process. Whoever holds the
/// branch's write lock takes it out and puts it back; when it is not there, it is made anew.
#[derive(Default)]
pub struct Capture(Mutex<Option<(Version, Box<Tracker>)>>);

/// Trackers by store (its address while it is open) and branch.
type Known = HashMap<(usize, BranchId), Weak<Capture>>;
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// What a transaction changed, and the tracker that will follow once it is in the log.
pub struct Captured {
    pub payload: Payload,
    /// None of a large transaction, whose changesets are left to its readers.
    follow: Option<(Box<Tracker>, TrackerUpdate)>,
}

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

    /// Decodes what changed, unless that is better left to the readers of the entry.
    pub fn decode(&self, transaction: &Transaction, changed: &[PageNo]) -> VfsResult<Captured> {
        let base = transaction.base();
        let known = self.0.lock().take().filter(|(version, _)| *version == base.version());
        if Transaction::is_large(changed) {
            let payload = Payload { derived: true, ..Payload::default() };
            return Ok(Captured { payload, follow: None });
        }
        let tracker = match known {
            Some((_, tracker)) => tracker,
            None => Box::new(Tracker::new(base).map_err(unreadable)?),
        };
        let captured = tracker.capture(&transaction.before(), transaction, changed).map_err(unreadable)?;
        let payload = Payload { schema: captured.schema, changeset: captured.changeset, derived: false, merged: None };
        Ok(Captured { payload, follow: Some((tracker, captured.update)) })
    }

    /// The transaction has become a version.
    pub fn follow(&self, captured: Captured, version: Version) {
        if let Some((mut tracker, update)) = captured.follow {
            tracker.advance(update);
            *self.0.lock() = Some((version, tracker));
        }
    }
}

fn unreadable(error: maniac_diff::DiffError) -> VfsError {
    VfsError::new(ffi::SQLITE_CORRUPT, format!("the rows of a transaction cannot be read: {error}"))
}
