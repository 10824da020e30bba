//! One database that a connection has open: a branch of a store, read from a snapshot and written
//! to in a transaction.
//!
//! The calls are those that SQLite makes of a file, in its order:
//!
//! ```text
//!   lock(Shared)     pins the branch's head          write            into the transaction
//!   lock(Reserved)   takes the branch's write lock   commit           makes it a version
//!   lock(Exclusive)  before a commit of several      commit_is_over   after it
//!   stop_writing, unlock: let go of all this
//! ```

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{Durability, Store, Transaction, Turn};

use crate::bytes;
use crate::capture::Capture;
use crate::committer::Committer;
use crate::error::ConnectionError;
use crate::page_one;
use crate::peers::{Announced, ConnectionId, Journalled};
use crate::process::Process;
use crate::state::{Level, State, Step};
use crate::view::View;

pub struct Database {
    pub(crate) process: Arc<Process>,
    pub(crate) committer: Arc<dyn Committer>,
    pub(crate) view: View,
    pub(crate) capture: Arc<Capture>,
    read_only: bool,
    pub(crate) durability: Durability,
    /// What the transaction that is about to commit merges.
    pub(crate) merged: Option<(BranchId, Version)>,
    journalled: Journalled,
    /// The host may have pages cached that are not what it would read now.
    reread: bool,
    pub(crate) state: State,
}

/// What to open of a store.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub branch: BranchId,
    /// Only this version.
    pub at: Option<Version>,
    pub read_only: bool,
}

impl Database {
    /// Databases of one store and process have the same committer.
    pub fn open(process: &Arc<Process>, committer: Arc<dyn Committer>, store: Arc<Store>, target: Target) -> Database {
        let Target { branch, at, read_only } = target;
        Database {
            capture: process.capture(&store, branch),
            read_only: read_only || at.is_some() || !store.is_writable(),
            view: View::new(store, branch, at),
            process: process.clone(),
            committer,
            durability: Durability::Full,
            merged: None,
            journalled: Journalled::default(),
            reread: false,
            state: State::Unlocked(None),
        }
    }

    pub fn store(&self) -> &Arc<Store> {
        self.view.store()
    }

    pub fn branch(&self) -> BranchId {
        self.view.branch()
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// To be set by the host's journal of this database, if it has one.
    pub fn journalled(&self) -> Journalled {
        self.journalled.clone()
    }

    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Notes in the next commit what it brings in from another branch.
    pub fn set_merged(&mut self, merged: Option<(BranchId, Version)>) {
        self.merged = merged;
    }

    pub fn level(&self) -> Level {
        self.state.level()
    }

    /// The version that this connection sees now.
    pub fn version(&mut self) -> Result<Version, ConnectionError> {
        self.state.settle();
        match self.state.snapshot() {
            Some(snapshot) => Ok(snapshot.version()),
            None => Ok(self.view.newest()?.version()),
        }
    }

    /// Takes a lock; those below it are taken on the way. The databases of one connection that have
    /// `Exclusive` commit together.
    ///
    /// # Errors
    /// `Busy` and `Stale` leave what was locked before. Nothing here waits: see `begin`.
    pub fn lock(&mut self, level: Level, connection: Option<ConnectionId>) -> Result<(), ConnectionError> {
        self.store().check_process()?;
        if level >= Level::Shared && self.level() == Level::Unlocked {
            self.reread |= self.view.has_lost();
            self.go(|state, database| state.pin(&mut database.view))?;
        }
        if level >= Level::Reserved && self.level() == Level::Shared {
            self.go(|state, _| state.reserve())?;
        }
        if let Some(hold) = self.state.hold() {
            hold.level = hold.level.max(level);
            if let (Level::Exclusive, Some(connection), None) = (level, connection, &hold.announced) {
                let (writers, journalled) = (self.process.writers.clone(), self.journalled.clone());
                hold.announced = Some(Announced::new(writers, connection, journalled));
            }
        }
        Ok(())
    }

    /// Down to `Shared`: forgets what is not committed.
    pub fn stop_writing(&mut self) {
        self.state = mem::replace(&mut self.state, State::Broken).stop_writing();
    }

    /// Lets go of everything. Gives the place in the queue of those who want to write, if the right
    /// to write was refused just now: wait there, and try again from the start.
    pub fn unlock(&mut self) -> Option<Arc<Turn>> {
        let (state, turn) = mem::replace(&mut self.state, State::Broken).unlock();
        self.state = state;
        turn
    }

    /// Begins a transaction that may write: `Reserved`, on the branch's head. Waits for the others
    /// at most for `timeout`, in the order in which they came.
    pub fn begin(&mut self, timeout: Duration, stop: &dyn Fn() -> bool) -> Result<(), ConnectionError> {
        let mut left = timeout;
        loop {
            let refused = match self.lock(Level::Reserved, None) {
                Err(error) if error.is_busy() => error,
                outcome => return outcome,
            };
            match self.unlock() {
                Some(turn) if !left.is_zero() && !stop() => left = left.saturating_sub(turn.wait(left, stop)),
                _ => return Err(refused),
            }
        }
    }

    /// Bytes in the database.
    pub fn size(&mut self) -> Result<u64, ConnectionError> {
        match self.state.pages()? {
            Some(pages) => Ok(bytes::length(pages)),
            None => Ok(bytes::length(&self.view.newest()?)),
        }
    }

    /// Fills `out` from `offset`, and says whether the database reaches that far; what lies beyond
    /// reads as zeroes.
    pub fn read(&mut self, out: &mut [u8], offset: u64) -> Result<bool, ConnectionError> {
        let whole = match self.state.pages()? {
            Some(pages) => bytes::read(pages, out, offset)?,
            None => bytes::read(&self.view.newest()?, out, offset)?,
        };
        if offset == page_one::CHANGE_COUNTER as u64 && out.len() == 16 && mem::take(&mut self.reread) {
            // SQLite looks here whether its cache still holds; a number that it doesn't know makes
            // it read page 1 anew.
            out[0] ^= 0x80;
        }
        Ok(whole)
    }

    /// Replaces one page.
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), ConnectionError> {
        if !offset.is_multiple_of(bytes.len() as u64) {
            return Err(ConnectionError::PartOfPage);
        }
        let page = u32::try_from(offset / bytes.len() as u64 + 1).map_err(|_| ConnectionError::TooManyPages)?;
        if page == 1
            && let Some(bytes) = page_one::without_wal(bytes)
        {
            self.reread = true;
            return Ok(self.transaction()?.write(PageNo(page), &bytes)?);
        }
        Ok(self.transaction()?.write(PageNo(page), bytes)?)
    }

    /// Ends the database behind so many bytes.
    pub fn truncate(&mut self, size: u64) -> Result<(), ConnectionError> {
        if !matches!(self.state, State::Writing(_)) && size >= self.size()? {
            // After a commit that made the database smaller, which its page 1 has told already.
            return Ok(());
        }
        let transaction = self.transaction()?;
        match transaction.page_size() as u64 {
            0 => Ok(()),
            page_size => {
                transaction.truncate(size.div_ceil(page_size) as u32);
                Ok(())
            }
        }
    }

    /// The transaction to write to, which begins with the first write. A write after `commit` is a
    /// rollback: SQLite puts the old pages back.
    fn transaction(&mut self) -> Result<&mut Transaction, ConnectionError> {
        if self.read_only {
            return Err(ConnectionError::ReadOnly);
        }
        if !matches!(self.state, State::Writing(_)) {
            self.state = mem::replace(&mut self.state, State::Broken).begin();
        }
        match &mut self.state {
            State::Writing(writing) => Ok(&mut writing.transaction),
            State::Broken => Err(ConnectionError::Broken),
            _ => Err(ConnectionError::ReadOnly),
        }
    }

    /// Leaves the state for the one that `transition` gives.
    pub(crate) fn go<T>(
        &mut self,
        transition: impl FnOnce(State, &mut Database) -> Step<T>,
    ) -> Result<T, ConnectionError> {
        // Whoever panics on the way leaves it so.
        let state = mem::replace(&mut self.state, State::Broken);
        let (state, outcome) = transition(state, self);
        self.state = state;
        outcome
    }
}
