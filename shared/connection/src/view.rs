//! What a connection sees that has nothing pinned: its branch's newest version, or the one that it
//! was opened at.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_store::{Losses, Snapshot, Store};

use crate::error::ConnectionError;

pub(crate) struct View {
    store: Arc<Store>,
    branch: BranchId,
    /// The one version that the connection shows, if it asked for one.
    fixed: Option<Version>,
    /// The newest snapshot made, and the store's head then: while that stands, it will do again.
    recent: Option<(Version, Snapshot)>,
    /// What had been lost when the database was last read.
    losses: Losses,
}

impl View {
    pub fn new(store: Arc<Store>, branch: BranchId, fixed: Option<Version>) -> View {
        View { losses: store.losses(), store, branch, fixed, recent: None }
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn branch(&self) -> BranchId {
        self.branch
    }

    /// The snapshot to read now.
    pub fn newest(&mut self) -> Result<Snapshot, ConnectionError> {
        let head = self.store.head();
        if let Some((made_at, snapshot)) = &self.recent
            && (*made_at == head || self.fixed.is_some())
        {
            return Ok(snapshot.clone());
        }
        let snapshot = self.store.snapshot(self.branch, self.fixed.unwrap_or(head))?;
        self.recent = Some((head, snapshot.clone()));
        Ok(snapshot)
    }

    /// The same for a reader that begins, who sees what a dead writer has left behind.
    pub fn pin(&mut self) -> Result<Snapshot, ConnectionError> {
        if self.fixed.is_none() {
            self.store.publish_left_over(self.branch)?;
        }
        self.newest()
    }

    /// The connection has made a newer version itself.
    pub fn forget(&mut self) {
        self.recent = None;
    }

    /// Whether written entries were lost since this was last asked: what a host keeps of a version
    /// that is lost may pass for one that took its number.
    pub fn has_lost(&mut self) -> bool {
        let losses = self.store.losses();
        let lost = losses != std::mem::replace(&mut self.losses, losses);
        if lost {
            self.recent = None;
        }
        lost
    }
}
