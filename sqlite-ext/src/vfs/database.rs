//! A database file as SQLite sees it: a connection to a store, with SQLite's numbers and words.

use std::sync::{Arc, LazyLock};

use maniac_base::{BranchId, Version};
use maniac_connection::{ConnectionId, Journalled, Level, Local, Process, Target};
use maniac_store::{Durability, Moment, OpenOptions, Store, Turn};
use rusqlite::ffi;

use super::uri::{self, Request};
use crate::apply::Conflict;
use crate::errors::{VfsError, VfsResult, warn};

/// What all databases of this process share.
pub static PROCESS: LazyLock<Arc<Process>> = LazyLock::new(|| Process::new(warn));

pub struct Database {
    connection: maniac_connection::Database,
    /// What stood in the way of the last apply or merge.
    conflicts: Vec<Conflict>,
}

impl Database {
    pub fn open(request: &Request) -> VfsResult<Database> {
        let store = Store::open_with(
            &request.path,
            OpenOptions { create: request.create, ..OpenOptions::default() },
            &request.key,
        )?;
        let tagged = match (&request.branch, &request.at) {
            (None, Some(Moment::Tag(name))) => store.tags()?.into_iter().find(|tag| tag.name == *name),
            _ => None,
        };
        let branch = match tagged {
            Some(tag) => tag.branch,
            None => store.branch(request.branch.as_deref().unwrap_or("main"))?.id,
        };
        let at = request.at.clone().map(|at| store.resolve(branch, at)).transpose()?;
        let target = Target { branch, at, read_only: request.read_only };
        let connection = maniac_connection::Database::open(&PROCESS, Arc::new(Local), store, target);
        Ok(Database { connection, conflicts: Vec::new() })
    }

    /// What is left to do for a store when its last connection in this process closes.
    pub fn close(self) {
        let store = self.connection.store().clone();
        drop(self.connection);
        store.tend_before_closing();
    }

    pub fn store(&self) -> &Arc<Store> {
        self.connection.store()
    }

    pub fn branch(&self) -> BranchId {
        self.connection.branch()
    }

    pub fn is_read_only(&self) -> bool {
        self.connection.is_read_only()
    }

    /// Told by the journal of this database.
    pub fn journalled(&self) -> Journalled {
        self.connection.journalled()
    }

    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    pub fn set_conflicts(&mut self, conflicts: Vec<Conflict>) {
        self.conflicts = conflicts;
    }

    pub fn set_merged(&mut self, merged: Option<(BranchId, Version)>) {
        self.connection.set_merged(merged);
    }

    /// A branch of this store by name; this connection's without one.
    pub fn branch_named(&self, name: Option<&str>) -> VfsResult<BranchId> {
        name.map_or(Ok(self.branch()), |name| Ok(self.store().branch(name)?.id))
    }

    /// A URI that opens this connection's branch.
    pub fn branch_uri(&self) -> VfsResult<String> {
        let path = uri::percent(&self.store().path().to_string_lossy());
        let branch = uri::percent(&self.store().branch_by_id(self.branch())?.name);
        Ok(format!("file:{path}?branch={branch}"))
    }

    /// A URI that opens the version that this connection sees.
    pub fn snapshot_uri(&mut self) -> VfsResult<String> {
        let version = self.version()?;
        Ok(format!("{}&at={version}", self.branch_uri()?))
    }

    /// The version that this connection sees now.
    pub fn version(&mut self) -> VfsResult<Version> {
        Ok(self.connection.version()?)
    }

    /// SQLite's lock level, as the VFS was told it.
    pub fn level(&self) -> i32 {
        self.connection.level() as i32
    }

    /// Whether the connection has a transaction open that has written, if only to SQLite's page
    /// cache.
    pub fn has_write_transaction(&self) -> bool {
        self.connection.level() >= Level::Reserved
    }

    /// `connection` tells which databases are written to together.
    pub fn lock(&mut self, level: i32, connection: Option<usize>) -> VfsResult<()> {
        let level = match level {
            ffi::SQLITE_LOCK_NONE => Level::Unlocked,
            ffi::SQLITE_LOCK_SHARED => Level::Shared,
            ffi::SQLITE_LOCK_RESERVED => Level::Reserved,
            ffi::SQLITE_LOCK_PENDING => Level::Pending,
            _ => Level::Exclusive,
        };
        Ok(self.connection.lock(level, connection.map(ConnectionId))?)
    }

    /// Gives the place in the queue for the write lock, if SQLite was refused it and has let go of
    /// everything.
    pub fn unlock(&mut self, level: i32) -> Option<Arc<Turn>> {
        if level == ffi::SQLITE_LOCK_NONE {
            return self.connection.unlock();
        }
        self.connection.stop_writing();
        None
    }

    /// Bytes in the file.
    pub fn size(&mut self) -> VfsResult<u64> {
        Ok(self.connection.size()?)
    }

    /// Fills `out` from `offset`, and says whether the file reached that far; what lies beyond
    /// reads as zeroes.
    pub fn read(&mut self, out: &mut [u8], offset: u64) -> VfsResult<bool> {
        Ok(self.connection.read(out, offset)?)
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) -> VfsResult<()> {
        Ok(self.connection.write(bytes, offset)?)
    }

    pub fn truncate(&mut self, size: u64) -> VfsResult<()> {
        Ok(self.connection.truncate(size)?)
    }

    /// SQLite has written all pages of a transaction, or put back the old ones.
    pub fn commit(&mut self, super_journal: Option<&[u8]>) -> VfsResult<()> {
        Ok(self.connection.commit(super_journal)?)
    }

    /// Every database of the transaction is synced, and the super-journal is gone, if there was
    /// one.
    pub fn commit_is_over(&mut self) -> VfsResult<()> {
        // So late SQLite rolls back for these codes only.
        let late = |error: VfsError| match error.code {
            ffi::SQLITE_FULL => error,
            _ => VfsError::new(ffi::SQLITE_IOERR, error.message),
        };
        self.connection.commit_is_over().map_err(|error| late(error.into()))
    }

    /// Answers a pragma that the store knows better than SQLite; `None` leaves it to SQLite.
    /// `autocommit`: the connection has no transaction open.
    pub fn pragma(&mut self, name: &str, value: Option<&str>, autocommit: bool) -> VfsResult<Option<String>> {
        match (name.to_ascii_lowercase().as_str(), value) {
            // The store is a write-ahead log, and stays one.
            ("journal_mode", _) => Ok(Some("wal".into())),
            // An exclusive connection would keep its snapshot for ever, and could not write once
            // another has.
            ("locking_mode", _) => Ok(Some("normal".into())),
            // Inside a transaction SQLite refuses to change it.
            ("synchronous", Some(value)) if autocommit => {
                self.connection.set_durability(match value.to_ascii_lowercase().as_str() {
                    "0" | "off" | "no" | "false" => Durability::Off,
                    "2" | "3" | "full" | "extra" => Durability::Full,
                    _ => Durability::Normal,
                });
                Ok(None)
            }
            ("page_size", Some(value)) => match (self.store().page_size(), value.parse::<u32>()) {
                (have, Ok(asked)) if have != 0 && asked != have => Err(VfsError::new(
                    ffi::SQLITE_ERROR,
                    format!("pages of this store have {have} bytes, and keep it; import into a new store to change it"),
                )),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}
