//! From what a host has written to a version: when it says that all is written, and when it says
//! that its commit is over.

use maniac_base::{PageNo, PageSource};

use crate::capture::Captured;
use crate::database::Database;
use crate::error::ConnectionError;
use crate::group::{Member, commit_together};
use crate::page_one;
use crate::peers::Joining;
use crate::state::{Hold, Joined, State, Step, Writing, finish};

impl Database {
    /// The host has written all pages of a transaction: make it a version, or get ready to become
    /// one together with others. These are the databases that name the same group (see
    /// `Process::open_group`), or else those of the same connection that have EXCLUSIVE.
    ///
    /// SQLite calls this in a rollback too, after it has put the old pages back. It does not put
    /// all of them back: pages that were free before may hold anything. What tells a rollback is
    /// page 1, which every commit changes.
    pub fn commit(&mut self, group: Option<&[u8]>) -> Result<(), ConnectionError> {
        self.go(|state, database| match state {
            State::Writing(writing) => database.propose(writing, group),
            State::Broken => (State::Broken, Err(ConnectionError::Broken)),
            other => (other, Ok(())),
        })
    }

    /// Every database of the transaction is committed, and so is their group, if they have one.
    pub fn commit_is_over(&mut self) -> Result<(), ConnectionError> {
        self.go(|state, database| match state {
            State::Joined(joined) => joined.finish(&mut database.view),
            State::Broken => (State::Broken, Err(ConnectionError::Broken)),
            other => (other, Ok(())),
        })
    }

    fn propose(&mut self, mut writing: Writing, group: Option<&[u8]>) -> Step {
        // Without the lock, others may have changed what the pages are compared with.
        if let Err(error) = writing.hold_lock() {
            return match writing.transaction.is_undone() {
                Ok(true) => (writing.undone(), Ok(())),
                _ => (State::Writing(writing), Err(error)),
            };
        }
        let (changed, captured) = match self.prepare(&mut writing) {
            Ok(Some(ready)) => ready,
            Ok(None) => return (writing.undone(), Ok(())),
            Err(error) => return (State::Writing(writing), Err(error)),
        };
        let Writing { transaction, lock, hold } = writing;
        let snapshot = transaction.base().clone();
        let (capture, committer, durability) = (self.capture.clone(), self.committer.clone(), self.durability);
        let member = Member { transaction, lock, changed, captured, capture, durability, committer, version: None };
        match self.join(member, &hold, group) {
            Joining::Alone(mut member) => match commit_together(&mut [&mut member]) {
                Ok(()) => finish(member, hold, &mut self.view),
                Err(error) => {
                    let Member { transaction, lock, .. } = member;
                    (State::Writing(Writing { transaction, lock, hold }), Err(error))
                }
            },
            Joining::Waits(member) => (State::Joined(Joined::new(member, snapshot, hold)), Ok(())),
            Joining::Last(member, all) => {
                let outcome = hold.announced.as_ref().map_or(Ok(()), |announced| announced.commit(&all));
                (State::Joined(Joined::new(member, snapshot, hold)), outcome)
            }
        }
    }

    fn join(&self, member: Member, hold: &Hold, group: Option<&[u8]>) -> Joining {
        let member = match group {
            Some(name) => match self.process.groups.join(name, member) {
                Ok(shared) => return Joining::Waits(shared),
                Err(member) => *member,
            },
            None => member,
        };
        match &hold.announced {
            Some(announced) => announced.join(member, group.is_some()),
            None => Joining::Alone(member),
        }
    }

    /// What the transaction changes; nothing if it has been rolled back.
    fn prepare(&self, writing: &mut Writing) -> Result<Option<(Vec<PageNo>, Captured)>, ConnectionError> {
        let Writing { transaction, hold, .. } = writing;
        if hold.committed && !transaction.changed()?.is_empty() {
            page_one::count_change(transaction)?;
        }
        page_one::fit_to_header(transaction)?;
        let changed = transaction.changed()?;
        let rolled_back = changed.first() != Some(&PageNo(1)) && transaction.base().page_count() > 0;
        if rolled_back || transaction.is_empty() {
            return Ok(None);
        }
        let mut captured = self.capture.decode(transaction, &changed, self.process.warn)?;
        captured.payload.merged = self.merged;
        Ok(Some((changed, captured)))
    }
}
