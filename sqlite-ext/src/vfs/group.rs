//! Transactions that SQLite commits on several databases at once.
//!
//! SQLite makes a super-journal, syncs each database with its name, and then deletes it: that is the commit. So each
//! store's databases wait under that name, and the deletion appends them together. A plain file in the same transaction
//! has its own journal; when the machine stops between its commit and ours, one of them is there without the other. Commits of several that SQLite makes without a super-journal of ours are in `peers`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use maniac_base::{PageNo, Version};
use maniac_store::{Commit, Durability, Store, Transaction, WriteLock};
use parking_lot::Mutex;

use crate::capture::{Capture, Captured};
use crate::errors::VfsResult;

/// One database's part, between its sync and the commit.
pub struct Member {
    pub transaction: Transaction,
    pub lock: WriteLock,
    pub changed: Vec<PageNo>,
    pub captured: Captured,
    pub capture: Arc<Capture>,
    pub durability: Durability,
    /// Set by the commit.
    pub version: Option<Version>,
}

/// Shared by the database, which takes it back, and the group.
pub type Shared = Arc<Mutex<Option<Member>>>;

/// Members by the name of their super-journal.
static GROUPS: LazyLock<Mutex<HashMap<Vec<u8>, Vec<Shared>>>> = LazyLock::new(Mutex::default);

/// SQLite has opened a super-journal in this VFS, and so will delete it here.
pub fn open(super_journal: &[u8]) {
    GROUPS.lock().insert(super_journal.to_vec(), Vec::new());
}

/// Lets a member wait for the deletion of a super-journal; gives it back when that will not be seen here, because the
/// connection's first database belongs to another VFS.
pub fn join(super_journal: &[u8], member: Member) -> Result<Shared, Box<Member>> {
    match GROUPS.lock().get_mut(super_journal) {
        Some(members) => {
            let shared = Arc::new(Mutex::new(Some(member)));
            members.push(shared.clone());
            Ok(shared)
        }
        None => Err(Box::new(member)),
    }
}

/// SQLite deletes a super-journal: all its members become versions, or none.
pub fn commit(super_journal: &[u8]) -> VfsResult<()> {
    let members = GROUPS.lock().remove(super_journal);
    members.map_or(Ok(()), |members| commit_all(&members))
}

/// Those of each store become versions together.
pub fn commit_all(members: &[Shared]) -> VfsResult<()> {
    let mut members: Vec<_> = members.iter().map(|member| member.lock()).collect();
    // One whose database has rolled back took its member away.
    let mut left: Vec<&mut Member> = members.iter_mut().filter_map(|member| member.as_mut()).collect();
    while let Some(store) = left.first().map(|member| member.transaction.base().store().clone()) {
        let (mut ours, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|member| Arc::ptr_eq(member.transaction.base().store(), &store));
        commit_in(&store, &mut ours)?;
        left = others;
    }
    Ok(())
}

fn commit_in(store: &Arc<Store>, members: &mut [&mut Member]) -> VfsResult<()> {
    let mut trackers: Vec<_> =
        members.iter_mut().map(|member| (member.capture.clone(), member.captured.follow.take())).collect();
    let commits: Vec<_> = members
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
    let mut follow = |versions: &[Version], losses| {
        for ((capture, tracker), version) in trackers.iter_mut().zip(versions) {
            capture.follow(tracker.take(), *version, losses);
        }
    };
    let versions = store.commit(&commits, durability, &mut follow)?;
    members.iter_mut().zip(versions).for_each(|(member, version)| member.version = Some(version));
    Ok(())
}
