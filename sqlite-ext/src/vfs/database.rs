//! A database file as SQLite sees it: a snapshot to read from, and a transaction to write to.
//!
//! ```text
//!   xLock(SHARED)    pins the branch's head          xWrite        into the transaction
//!   xLock(RESERVED)  takes the branch's write lock   FCNTL_SYNC    captures the rows, appends the entry
//!   xUnlock          lets go of both
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{Durability, OpenOptions, Payload, Snapshot, Store, Transaction, WriteLock};
use rusqlite::ffi;

use super::uri::Request;
use crate::capture::Capture;
use crate::errors::{VfsError, VfsResult};

pub struct Database {
    store: Arc<Store>,
    branch: BranchId,
    /// The one version that this connection shows, if it asked for one.
    fixed: Option<Version>,
    read_only: bool,
    capture: Arc<Capture>,
    durability: Durability,
    /// SQLite's lock level.
    level: i32,
    /// What a reader at SHARED or above sees.
    snapshot: Option<Snapshot>,
    /// The newest snapshot made, and the store's head then: while that stands, it will do again.
    recent: Option<(Version, Snapshot)>,
    write_lock: Option<WriteLock>,
    transaction: Option<Transaction>,
}

impl Database {
    pub fn open(request: &Request) -> VfsResult<Database> {
        let store = Store::open(&request.path, OpenOptions { create: request.create })?;
        let branch = store.branch(&request.branch)?.id;
        let fixed = request.at.map(|at| store.resolve(branch, at)).transpose()?;
        Ok(Database {
            capture: Capture::of(&store, branch),
            read_only: request.read_only || !store.is_writable(),
            store,
            branch,
            fixed,
            durability: Durability::Full,
            level: ffi::SQLITE_LOCK_NONE,
            snapshot: None,
            recent: None,
            write_lock: None,
            transaction: None,
        })
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn branch(&self) -> BranchId {
        self.branch
    }

    /// A branch of this store by name; this connection's without one.
    pub fn branch_named(&self, name: Option<&str>) -> VfsResult<BranchId> {
        name.map_or(Ok(self.branch), |name| Ok(self.store.branch(name)?.id))
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The version that this connection sees now.
    pub fn version(&mut self) -> VfsResult<Version> {
        Ok(self.current()?.version())
    }

    /// The pinned snapshot, or the one that would be pinned now.
    fn current(&mut self) -> VfsResult<Snapshot> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.clone());
        }
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

    pub fn lock(&mut self, level: i32) -> VfsResult<()> {
        self.store.check_process()?;
        if level >= ffi::SQLITE_LOCK_SHARED && self.snapshot.is_none() {
            if self.fixed.is_none() {
                self.store.publish_left_over(self.branch)?;
            }
            self.snapshot = Some(self.current()?);
        }
        if level >= ffi::SQLITE_LOCK_RESERVED && self.level < ffi::SQLITE_LOCK_RESERVED {
            self.reserve()?;
        }
        self.level = self.level.max(level);
        Ok(())
    }

    /// Takes the branch's write lock, if the snapshot that was read from is still its head.
    fn reserve(&mut self) -> VfsResult<()> {
        if self.write_lock.is_none() {
            self.write_lock = Some(self.store.write_lock(self.branch)?);
        }
        let lock = self.write_lock.as_mut().expect("made above");
        lock.acquire()?;
        let base = self.snapshot.as_ref().map(Snapshot::version);
        let head = self.store.branch_head(self.branch).inspect_err(|_| lock.release())?;
        if base != Some(head) {
            lock.release();
            let message = format!("the snapshot at version {} is no longer the head, {head}", base.unwrap_or_default());
            return Err(VfsError::new(ffi::SQLITE_BUSY_SNAPSHOT, message));
        }
        Ok(())
    }

    pub fn unlock(&mut self, level: i32) {
        if level < ffi::SQLITE_LOCK_RESERVED {
            self.transaction = None;
            if let Some(lock) = &mut self.write_lock {
                lock.release();
            }
        }
        if level == ffi::SQLITE_LOCK_NONE {
            self.snapshot = None;
        }
        self.level = level;
    }

    /// Bytes in the file.
    pub fn size(&mut self) -> VfsResult<u64> {
        let bytes = |pages: &dyn PageSource| pages.page_size() as u64 * u64::from(pages.page_count());
        match &self.transaction {
            Some(transaction) => Ok(bytes(transaction)),
            None => self.current().map(|snapshot| bytes(&snapshot)),
        }
    }

    /// Fills `out` from `offset`, and says whether the file reached that far; what lies beyond reads as zeroes.
    pub fn read(&mut self, out: &mut [u8], offset: u64) -> VfsResult<bool> {
        let snapshot;
        let pages: &dyn PageSource = match (&self.transaction, &self.snapshot) {
            (Some(transaction), _) => transaction,
            (None, Some(snapshot)) => snapshot,
            (None, None) => {
                snapshot = self.current()?;
                &snapshot
            }
        };
        let (size, count) = (pages.page_size(), pages.page_count());
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let page = if size == 0 { u64::MAX } else { at / size as u64 + 1 };
            if page > u64::from(count) {
                out[done..].fill(0);
                return Ok(false);
            }
            let start = (at % size as u64) as usize;
            let n = (out.len() - done).min(size - start);
            let bytes: Cow<'_, [u8]> = pages.page(PageNo(page as u32))?;
            out[done..done + n].copy_from_slice(&bytes[start..start + n]);
            done += n;
        }
        Ok(true)
    }

    fn writable(&mut self) -> VfsResult<&mut Transaction> {
        if self.read_only || self.level < ffi::SQLITE_LOCK_RESERVED {
            return Err(VfsError::new(ffi::SQLITE_READONLY, "a write to a snapshot that is only read"));
        }
        if self.transaction.is_none() {
            self.transaction = Some(Transaction::new(self.current()?));
        }
        Ok(self.transaction.as_mut().expect("made above"))
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) -> VfsResult<()> {
        if !offset.is_multiple_of(bytes.len() as u64) {
            return Err(VfsError::new(ffi::SQLITE_IOERR_WRITE, "a write that is not one whole page"));
        }
        let page = u32::try_from(offset / bytes.len() as u64 + 1);
        let page = page.map_err(|_| VfsError::new(ffi::SQLITE_FULL, "more than 2^32 pages"))?;
        Ok(self.writable()?.write(PageNo(page), bytes)?)
    }

    pub fn truncate(&mut self, size: u64) -> VfsResult<()> {
        let transaction = self.writable()?;
        match transaction.page_size() as u64 {
            0 => Ok(()),
            page_size => {
                transaction.truncate(size.div_ceil(page_size) as u32);
                Ok(())
            }
        }
    }

    /// SQLite has written all pages of a transaction: make it a version.
    ///
    /// SQLite calls this in a rollback too, after it has put the old pages back; then nothing has changed.
    pub fn commit(&mut self) -> VfsResult<()> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        let changed = transaction.changed()?;
        if transaction.is_empty() {
            self.transaction = None;
            return Ok(());
        }
        let lock = self.write_lock.as_ref().expect("a transaction holds the write lock");
        let version = self.capture.commit(transaction, &changed, |payload: &Payload| {
            transaction.commit(lock, &changed, payload, self.durability)
        })?;
        self.transaction = None;
        let snapshot = self.store.snapshot(self.branch, version)?;
        self.recent = None;
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Answers a pragma that the store knows better than SQLite; `None` leaves it to SQLite.
    pub fn pragma(&mut self, name: &str, value: Option<&str>) -> VfsResult<Option<String>> {
        match (name.to_ascii_lowercase().as_str(), value) {
            // The store is a write-ahead log, and stays one.
            ("journal_mode", _) => Ok(Some("wal".into())),
            ("synchronous", Some(value)) => {
                self.durability = match value.to_ascii_lowercase().as_str() {
                    "0" | "off" | "no" | "false" => Durability::Off,
                    "1" | "normal" => Durability::Normal,
                    _ => Durability::Full,
                };
                Ok(None)
            }
            ("page_size", Some(value)) => match (self.store.page_size(), value.parse::<u32>()) {
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
