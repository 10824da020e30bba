//! Appending entries that still may be: what a transaction or a change of branches is checked against, with the log in
//! hand.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_log::{Draft, Durability, LockName, LogError, Losses, Prepared, Proposal, Written};

use crate::error::StoreError;
use crate::index::Index;
use crate::lock::{pending, writer};
use crate::store::Store;
use crate::tail::Tail;
use crate::turn::is_awaited;

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

impl Store {
    /// Appends entries at the end of the log, all or none of them, and publishes them together. Gives the version of the
    /// first; the others follow it. `appended` is called with that version when they are written.
    pub(crate) fn append(
        self: &Arc<Self>,
        durability: Durability,
        additions: Vec<Addition<'_>>,
        appended: &mut dyn FnMut(Version, Losses),
    ) -> Result<Version, StoreError> {
        let written: Written = self.log.append(durability, || self.propose(additions))?;
        let first = written.start.version.next();
        appended(first, written.losses);
        self.log.publish(durability, &written)?;
        self.refresh()?;
        self.tend();
        Ok(first)
    }

    fn propose<'a>(self: &Arc<Self>, additions: Vec<Addition<'a>>) -> Result<Proposal<'a>, StoreError> {
        for (version, losses) in additions.iter().filter_map(|addition| addition.losses) {
            if self.log.head().is_lost(version, losses) {
                return Err(LogError::Lost { path: self.path().to_owned(), version }.into());
            }
        }
        self.refresh()?;
        let mut tail = self.tail()?;
        // Entries about branches are made from what the index knows; transactions from what the tail has, too.
        let lags = |addition: &Addition<'_>| addition.about_branches && tail.head(addition.branch).is_some();
        if tail.changes_branches || additions.iter().any(lags) {
            self.publish_up_to(self.log.head().written(), self.log.losses())?;
            tail = Tail::default();
        }
        let epoch = self.now();
        let index = epoch.index.read();
        let not_before_ms = index.last_time_ms().max(tail.time_ms);
        let drafts = additions.into_iter().map(|addition| Ok(((addition.draft)(&index, &tail)?, addition.prepared)));
        Ok(Proposal { drafts: drafts.collect::<Result<_, StoreError>>()?, not_before_ms })
    }

    /// Makes visible what a writer of this branch left behind when it died between writing and publishing. It counts, and
    /// whoever comes after must see it: found only when the next transaction commits, it would refuse that one as stale.
    pub fn publish_left_over(self: &Arc<Self>, branch: BranchId) -> Result<(), StoreError> {
        // The order matters. Who writes holds the branch's lock, or shares the one that says that a commit is pending, until
        // the entry is visible, so an entry that was unseen before both were found free has nobody left who would publish it.
        // Whoever waits to write will publish it, too.
        let head = self.log.head();
        let nothing = head.written() == head.visible() || is_awaited(self, branch);
        if nothing || !self.tail_touches(branch)? {
            return Ok(());
        }
        let is_left = |locks: &maniac_log::LockFile| {
            let held = |name: LockName| locks.is_held_elsewhere(name);
            Ok::<_, StoreError>(!held(writer(branch))? && !held(pending(branch))?)
        };
        // Readers don't wait for whoever is appending: the next one looks again.
        self.log.try_with_append_lock(is_left, || match self.tail_touches(branch)? {
            true => self.publish_up_to(head.written(), head.losses()),
            false => Ok(()),
        })?;
        Ok(())
    }
}
