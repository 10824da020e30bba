//! What the databases share that one process has open.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use maniac_base::BranchId;
use maniac_store::Store;
use parking_lot::Mutex;

use crate::capture::Capture;
use crate::error::ConnectionError;
use crate::group::Groups;
use crate::peers::Writers;

/// Trackers by store (its address while it is open) and branch.
type Captures = HashMap<(usize, BranchId), Weak<Capture>>;

pub struct Process {
    pub(crate) groups: Groups,
    pub(crate) writers: Arc<Writers>,
    captures: Mutex<Captures>,
    /// Tells the host's log what is no failure.
    pub(crate) warn: fn(&str),
}

impl Process {
    pub fn new(warn: fn(&str)) -> Arc<Process> {
        let (groups, writers, captures) = (Groups::default(), Arc::default(), Mutex::default());
        Arc::new(Process { groups, writers, captures, warn })
    }

    /// Databases will be committed together under this name.
    pub fn open_group(&self, name: &[u8]) {
        self.groups.open(name);
    }

    /// Commits the databases that have joined the group of this name, if there is one: those of
    /// each store become versions together, or none of them does.
    pub fn commit_group(&self, name: &[u8]) -> Result<(), ConnectionError> {
        self.groups.commit(name)
    }

    pub(crate) fn capture(&self, store: &Arc<Store>, branch: BranchId) -> Arc<Capture> {
        let mut known = self.captures.lock();
        known.retain(|_, capture| capture.strong_count() > 0);
        let key = (Arc::as_ptr(store) as usize, branch);
        if let Some(capture) = known.get(&key).and_then(Weak::upgrade) {
            return capture;
        }
        let capture = Arc::new(Capture::default());
        known.insert(key, Arc::downgrade(&capture));
        capture
    }
}
