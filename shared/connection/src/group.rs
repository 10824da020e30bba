//! Transactions that a host commits on several databases at once.
//!
//! SQLite makes a super-journal, syncs each database with its name, and then deletes it: that is
//! the commit. So each store's databases wait under that name, and the deletion commits them
//! together. A plain file in the same transaction has its own journal; when the machine stops
//! between its commit and ours, one of them is there without the other. Commits of several that a
//! host makes without such a name are in `peers`.

use std::collections::HashMap;
use std::sync::Arc;

use maniac_base::{PageNo, Version};
use maniac_store::{Commit, Durability, Transaction, WriteLock};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::capture::{Capture, Captured};
use crate::committer::Committer;
use crate::error::ConnectionError;

/// One database's part, between its sync and the commit.
pub(crate) struct Member {
    pub transaction: Transaction,
    pub lock: WriteLock,
    pub changed: Vec<PageNo>,
    pub captured: Captured,
    pub capture: Arc<Capture>,
    pub durability: Durability,
    pub committer: Arc<dyn Committer>,
    /// Set by the commit.
    pub version: Option<Version>,
}

/// Shared by the database, which takes it back, and the group.
pub(crate) type SharedMember = Arc<Mutex<Option<Member>>>;

/// Members by the name of their group.
#[derive(Default)]
pub(crate) struct Groups(Mutex<HashMap<Vec<u8>, Vec<SharedMember>>>);

impl Groups {
    pub fn open(&self, name: &[u8]) {
        self.0.lock().insert(name.to_vec(), Vec::new());
    }

    /// Lets a member wait for the commit of a group; gives it back when there is none of that name.
    pub fn join(&self, name: &[u8], member: Member) -> Result<SharedMember, Box<Member>> {
        match self.0.lock().get_mut(name) {
            Some(members) => {
                let shared = Arc::new(Mutex::new(Some(member)));
                members.push(shared.clone());
                Ok(shared)
            }
            None => Err(Box::new(member)),
        }
    }

    pub fn commit(&self, name: &[u8]) -> Result<(), ConnectionError> {
        let members = self.0.lock().remove(name);
        members.map_or(Ok(()), |members| commit_all(&members))
    }
}

/// Those of each store become versions together.
pub(crate) fn commit_all(members: &[SharedMember]) -> Result<(), ConnectionError> {
    let mut members: Vec<_> = members.iter().map(|member| member.lock()).collect();
    // One whose database has rolled back took its member away.
    let mut left: Vec<&mut Member> = members.iter_mut().filter_map(|member| member.as_mut()).collect();
    while let Some(store) = left.first().map(|member| member.transaction.base().store().clone()) {
        let (mut ours, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|member| Arc::ptr_eq(member.transaction.base().store(), &store));
        commit_together(&mut ours)?;
        left = others;
    }
    Ok(())
}

/// Transactions on branches of one store become versions, all or none.
pub(crate) fn commit_together(members: &mut [&mut Member]) -> Result<(), ConnectionError> {
    let Some(committer) = members.first().map(|member| member.committer.clone()) else { return Ok(()) };
    let mut trackers: SmallVec<[_; 1]> =
        members.iter_mut().map(|member| (member.capture.clone(), member.captured.follow.take())).collect();
    let commits: SmallVec<[_; 1]> = members
        .iter()
        .map(|member| Commit {
            transaction: &member.transaction,
            lock: &member.lock,
            changed: &member.changed,
            payload: &member.captured.payload,
        })
        .collect();
    let strictest = |a: Durability, b: Durability| if a == Durability::Full || b == Durability::Off { a } else { b };
    let durability = members.iter().map(|member| member.durability).reduce(strictest).unwrap_or_default();
    let versions = committer.commit(&commits, durability, &mut |versions, losses| {
        for ((capture, tracker), version) in trackers.iter_mut().zip(versions) {
            capture.follow(tracker.take(), *version, losses);
        }
    })?;
    drop(commits);
    members.iter_mut().zip(versions).for_each(|(member, version)| member.version = Some(version));
    Ok(())
}
