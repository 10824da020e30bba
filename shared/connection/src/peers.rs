//! The databases of one connection that write in the same transaction.
//!
//! Where the connection's first database lies in a store, SQLite makes a super-journal that is seen
//! here; see `group`. Where it is in memory, or a plain file, nothing is deleted here that could be
//! the commit. What SQLite does all the same is to take EXCLUSIVE on every database that writes, to
//! sync them all, and only then to end their transactions:
//!
//! ```text
//!   lock(EXCLUSIVE) a, b     commit a         commit b              commit_is_over a, b
//!   known as writers         a waits for b    both are committed    both go on from their versions
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::error::ConnectionError;
use crate::group::{Member, SharedMember, commit_all};

/// Whether the host keeps a journal of the transaction that is open on a database. Then pages have
/// changed, and a commit will sync them.
pub type Journalled = Arc<AtomicBool>;

/// A connection of the host, which may have several databases open. It is the host's number, and
/// means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub usize);

/// A database that has EXCLUSIVE.
struct Writer {
    journalled: Journalled,
    /// Synced, and waiting for the others.
    member: Option<SharedMember>,
}

/// Writers by their connection.
#[derive(Default)]
pub(crate) struct Writers(Mutex<FxHashMap<ConnectionId, Vec<Writer>>>);

/// A database that the others of its connection know as a writer, until this is dropped.
pub(crate) struct Announced {
    writers: Arc<Writers>,
    connection: ConnectionId,
    journalled: Journalled,
}

/// How a member commits.
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(crate) enum Joining {
    /// By itself.
    Alone(Member),
    /// When the last of the others is synced.
    Waits(SharedMember),
    /// It is the last one: these commit together now.
    Last(SharedMember, Vec<SharedMember>),
}

impl Announced {
    /// The database has EXCLUSIVE.
    pub fn new(writers: Arc<Writers>, connection: ConnectionId, journalled: Journalled) -> Announced {
        let writer = Writer { journalled: journalled.clone(), member: None };
        writers.0.lock().entry(connection).or_default().push(writer);
        Announced { writers, connection, journalled }
    }

    /// `elsewhere`: the commit of all is the deletion of something that is not seen here.
    pub fn join(&self, member: Member, elsewhere: bool) -> Joining {
        let mut all = self.writers.0.lock();
        let Some(writers) = all.get_mut(&self.connection) else { return Joining::Alone(member) };
        // Without journals, which writers have changed anything shows only at the end. With a
        // super-journal elsewhere the last sync is the last chance to fail.
        let guess = !elsewhere && !self.journalled.load(Ordering::Relaxed);
        let others = || writers.iter().filter(|writer| !self.is(writer));
        let to_come =
            others().any(|writer| writer.member.is_none() && (guess || writer.journalled.load(Ordering::Relaxed)));
        if !to_come && others().all(|writer| writer.member.is_none()) {
            return Joining::Alone(member);
        }
        let shared = Arc::new(Mutex::new(Some(member)));
        writers.iter_mut().filter(|writer| self.is(writer)).for_each(|writer| writer.member = Some(shared.clone()));
        if to_come { Joining::Waits(shared) } else { Joining::Last(shared, synced(writers)) }
    }

    /// Commits all that are synced.
    pub fn commit_synced(&self) -> Result<(), ConnectionError> {
        let ready = self.writers.0.lock().get(&self.connection).map_or_else(Vec::new, |all| synced(all));
        self.commit(&ready)
    }

    pub fn commit(&self, members: &[SharedMember]) -> Result<(), ConnectionError> {
        commit_all(members).inspect_err(|_| {
            // No later commit may take up what was synced for this one.
            if let Some(writers) = self.writers.0.lock().get_mut(&self.connection) {
                writers.iter_mut().for_each(|writer| writer.member = None);
            }
        })
    }

    /// The database leaves a commit of several.
    pub fn leave(&self) {
        if let Some(writers) = self.writers.0.lock().get_mut(&self.connection) {
            writers.iter_mut().filter(|writer| self.is(writer)).for_each(|writer| writer.member = None);
        }
    }

    fn is(&self, writer: &Writer) -> bool {
        Arc::ptr_eq(&writer.journalled, &self.journalled)
    }
}

fn synced(writers: &[Writer]) -> Vec<SharedMember> {
    writers.iter().filter_map(|writer| writer.member.clone()).collect()
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut all = self.writers.0.lock();
        if let Some(writers) = all.get_mut(&self.connection) {
            writers.retain(|writer| !self.is(writer));
            if writers.is_empty() {
                all.remove(&self.connection);
            }
        }
    }
}
