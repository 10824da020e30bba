//! The databases of one connection that write in the same transaction.
//!
//! Where the connection's first database lies in a store, SQLite makes a super-journal in this VFS; see `group`. Where it is
//! in memory, or a plain file, nothing is deleted here that could be the commit. What SQLite does all the same is to take
//! EXCLUSIVE on every database that writes, to sync them all, and only then to end their transactions:
//!
//! ```text
//!   xLock(EXCLUSIVE) a, b    FCNTL_SYNC a     FCNTL_SYNC b          COMMIT_PHASETWO a, b
//!   known as writers         a waits for b    both are appended     both go on from their versions
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rusqlite::ffi;
use rustc_hash::FxHashMap;

use super::group::{self, Member, Shared};
use crate::errors::{VfsError, VfsResult};

/// Whether SQLite keeps a journal of the transaction that is open on a database. Then pages have changed, and a commit
/// will sync them.
pub type Journalled = Arc<AtomicBool>;

/// A database that has EXCLUSIVE.
struct Writer {
    journalled: Journalled,
    /// Synced, and waiting for the others.
    member: Option<Shared>,
}

/// Writers by their connection.
static WRITERS: LazyLock<Mutex<FxHashMap<usize, Vec<Writer>>>> = LazyLock::new(Mutex::default);

/// What a database knows of the others that it commits with.
#[derive(Default)]
pub struct Peers {
    pub journalled: Journalled,
    /// The connection that it writes for, while it has EXCLUSIVE.
    connection: Option<usize>,
    /// Its part of a commit of several.
    waiting: Option<Shared>,
}

impl Peers {
    /// The database has EXCLUSIVE.
    pub fn announce(&mut self, connection: usize) {
        if self.connection.is_none() {
            let writer = Writer { journalled: self.journalled.clone(), member: None };
            WRITERS.lock().entry(connection).or_default().push(writer);
            self.connection = Some(connection);
        }
    }

    /// It has it no longer.
    pub fn withdraw(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut all = WRITERS.lock();
        if let Some(writers) = all.get_mut(&connection) {
            writers.retain(|writer| !Arc::ptr_eq(&writer.journalled, &self.journalled));
            if writers.is_empty() {
                all.remove(&connection);
            }
        }
    }

    /// Lets the member commit together with others, now or when the last of them is synced; gives it back when there are
    /// none.
    pub fn join(&mut self, super_journal: Option<&[u8]>, member: Member) -> VfsResult<Option<Member>> {
        let mut member = member;
        if let Some(name) = super_journal {
            match group::join(name, member) {
                Ok(shared) => {
                    self.waiting = Some(shared);
                    return Ok(None);
                }
                Err(back) => member = *back,
            }
        }
        let mut all = WRITERS.lock();
        let Some(writers) = self.connection.and_then(|connection| all.get_mut(&connection)) else {
            return Ok(Some(member));
        };
        // Without journals, which writers have changed anything shows only at the end. With a super-journal elsewhere the
        // last sync is the last chance to fail.
        let guess = super_journal.is_none() && !self.journalled.load(Ordering::Relaxed);
        let is_own = |writer: &Writer| Arc::ptr_eq(&writer.journalled, &self.journalled);
        let others = || writers.iter().filter(|writer| !is_own(writer));
        let to_come =
            others().any(|writer| writer.member.is_none() && (guess || writer.journalled.load(Ordering::Relaxed)));
        if !to_come && others().all(|writer| writer.member.is_none()) {
            return Ok(Some(member));
        }
        let shared = Arc::new(Mutex::new(Some(member)));
        self.waiting = Some(shared.clone());
        writers.iter_mut().filter(|writer| is_own(writer)).for_each(|writer| writer.member = Some(shared.clone()));
        let ready = synced(writers);
        drop(all);
        if !to_come {
            group::commit_all(&ready).inspect_err(|_| self.give_up())?;
        }
        Ok(None)
    }

    /// SQLite ends the transaction: what it has become. All parts have been synced, so that one that still waits does so in
    /// vain, for a writer that changed nothing.
    pub fn end(&mut self) -> VfsResult<Option<Member>> {
        let waits = self
            .waiting
            .as_ref()
            .is_some_and(|shared| shared.lock().as_ref().is_some_and(|member| member.version.is_none()));
        if waits && let Some(connection) = self.connection {
            let ready = WRITERS.lock().get(&connection).map_or_else(Vec::new, |writers| synced(writers));
            // So late SQLite rolls back for these codes only.
            let late = |error: VfsError| match error.code {
                ffi::SQLITE_FULL => error,
                _ => VfsError::new(ffi::SQLITE_IOERR, error.message),
            };
            group::commit_all(&ready).inspect_err(|_| self.give_up()).map_err(late)?;
        }
        Ok(self.take())
    }

    /// The commit has failed, and no later one may take up what was synced for it.
    fn give_up(&self) {
        let mut all = WRITERS.lock();
        if let Some(writers) = self.connection.and_then(|connection| all.get_mut(&connection)) {
            writers.iter_mut().for_each(|writer| writer.member = None);
        }
    }

    /// Leaves a commit of several.
    pub fn take(&mut self) -> Option<Member> {
        let shared = self.waiting.take()?;
        let mut all = WRITERS.lock();
        if let Some(writers) = self.connection.and_then(|connection| all.get_mut(&connection)) {
            let own = writers.iter_mut().filter(|writer| Arc::ptr_eq(&writer.journalled, &self.journalled));
            own.for_each(|writer| writer.member = None);
        }
        drop(all);
        shared.lock().take()
    }
}

fn synced(writers: &[Writer]) -> Vec<Shared> {
    writers.iter().filter_map(|writer| writer.member.clone()).collect()
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.withdraw();
    }
}
