//! A database file as SQLite sees it: a snapshot to read from, and a transaction to write to.
//!
//! ```text
//!   xLock(SHARED)    pins the branch's head          xWrite        into the transaction
//!   xLock(RESERVED)  takes the branch's write lock   FCNTL_SYNC    captures the rows, appends the entry
//!   xUnlock          lets go of both
//! ```

use std::sync::Arc;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{Commit, Durability, Losses, OpenOptions, Snapshot, Store, Transaction, Turn, WriteLock};
use rusqlite::ffi;

use super::group::Member;
use super::page_one;
use super::peers::{Journalled, Peers};
use super::uri::Request;
use crate::apply::Conflict;
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
    /// The databases that this one commits with.
    peers: Peers,
    /// Page 1 was stored differently from how SQLite wrote it, and may have it cached.
    reread: bool,
    /// A transaction was committed under the lock that is still held: SQLite's exclusive locking mode.
    committed: bool,
    /// What had been lost when the database was last read.
    losses: Losses,
    /// SQLite was refused the write lock, and has done nothing since.
    refused: bool,
    /// What stood in the way of the last apply or merge.
    conflicts: Vec<Conflict>,
    /// What the transaction that is about to commit merges.
    merged: Option<(BranchId, Version)>,
}

/// Where page 1 says which journal the database wants: 1 a rollback journal, 2 a WAL file.
const FORMAT_VERSIONS: std::ops::Range<usize> = 18..20;

impl Database {
    pub fn open(request: &Request) -> VfsResult<Database> {
        let store = Store::open(&request.path, OpenOptions { create: request.create })?;
        let branch = store.branch(&request.branch)?.id;
        let fixed = request.at.map(|at| store.resolve(branch, at)).transpose()?;
        Ok(Database {
            capture: Capture::of(&store, branch),
            losses: store.losses(),
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
            peers: Peers::default(),
            reread: false,
            committed: false,
            refused: false,
            conflicts: Vec::new(),
            merged: None,
        })
    }

    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    pub fn set_conflicts(&mut self, conflicts: Vec<Conflict>) {
        self.conflicts = conflicts;
    }

    pub fn set_merged(&mut self, merged: Option<(BranchId, Version)>) {
        self.merged = merged;
    }

    pub fn branch(&self) -> BranchId {
        self.branch
    }

    /// Told by the journal of this database.
    pub fn journalled(&self) -> Journalled {
        self.peers.journalled.clone()
    }

    /// A URI that opens this connection's branch.
    pub fn branch_uri(&self) -> VfsResult<String> {
        let path = percent(&self.store.path().to_string_lossy());
        let branch = percent(&self.store.branch_by_id(self.branch)?.name);
        Ok(format!("file:{path}?branch={branch}"))
    }

    /// A URI that opens the version that this connection sees.
    pub fn snapshot_uri(&mut self) -> VfsResult<String> {
        let version = self.version()?;
        Ok(format!("{}&at={version}", self.branch_uri()?))
    }

    /// SQLite's lock level, as the VFS was told it.
    pub fn level(&self) -> i32 {
        self.level
    }

    /// Whether the connection has a transaction open that has written, if only to SQLite's page cache.
    pub fn has_write_transaction(&self) -> bool {
        self.level >= ffi::SQLITE_LOCK_RESERVED
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
        self.settle();
        Ok(self.current()?.version())
    }

    /// Sees to it that readers see what this connection sees. What a writer builds on may be on its way to the disk still;
    /// when it is given up, or asked about, it has to arrive.
    fn settle(&mut self) {
        if let Some((version, losses)) = self.snapshot.as_ref().and_then(|s| Some((s.version(), s.losses()?))) {
            // If it is lost, the transaction that built on it can't be committed, and says why.
            let _ = self.store.publish_up_to(version, losses);
        }
    }

    /// Has the write lock for a commit. It is handed on early when others wait for it, and SQLite goes on without a new
    /// one in exclusive locking mode.
    fn hold(&mut self, lock: &mut WriteLock, transaction: &Transaction) -> VfsResult<()> {
        if lock.is_held() {
            return Ok(());
        }
        lock.acquire()?;
        let (base, head) = (transaction.base().version(), self.store.written_head(self.branch)?);
        if base != head {
            lock.release();
            let message = format!(
                "this connection, in exclusive locking mode, is at version {base}, and others have committed version \
                 {head}: run PRAGMA locking_mode = normal, and start the transaction again"
            );
            return Err(VfsError::new(ffi::SQLITE_BUSY_SNAPSHOT, message));
        }
        Ok(())
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

    /// `connection` tells which databases are written to together.
    pub fn lock(&mut self, level: i32, connection: Option<usize>) -> VfsResult<()> {
        self.store.check_process()?;
        self.refused = false;
        if level >= ffi::SQLITE_LOCK_SHARED && self.snapshot.is_none() {
            self.pin()?;
        }
        if level >= ffi::SQLITE_LOCK_RESERVED && self.level < ffi::SQLITE_LOCK_RESERVED {
            self.reserve()?;
        }
        self.level = self.level.max(level);
        if let (ffi::SQLITE_LOCK_EXCLUSIVE, Some(connection)) = (level, connection) {
            self.peers.announce(connection);
        }
        Ok(())
    }

    /// SQLite begins to read.
    fn pin(&mut self) -> VfsResult<()> {
        let losses = self.store.losses();
        if losses != std::mem::replace(&mut self.losses, losses) {
            // Pages of a version that is lost may be cached as those of one that took its number.
            (self.reread, self.recent) = (true, None);
        }
        if self.wants_to_write()
            && let Some(lock) = &mut self.write_lock
            && lock.try_acquire()?
        {
            // What is read now is what will be written on.
            let snapshot = self.store.snapshot_to_write(self.branch);
            self.snapshot = Some(snapshot.inspect_err(|_| lock.release())?);
            return Ok(());
        }
        if self.fixed.is_none() {
            self.store.publish_left_over(self.branch)?;
        }
        self.snapshot = Some(self.current()?);
        Ok(())
    }

    /// Whether SQLite was refused the write lock just now, and tries again from the start.
    fn wants_to_write(&self) -> bool {
        self.write_lock.as_ref().is_some_and(|lock| lock.turn().was_woken())
    }

    /// The place in the queue for the write lock, if SQLite was refused it and has let go of everything.
    pub fn refused_turn(&mut self) -> Option<Arc<Turn>> {
        let refused = std::mem::take(&mut self.refused);
        self.write_lock.as_ref().filter(|_| refused).map(|lock| lock.turn().clone())
    }

    /// Takes the branch's write lock, if the snapshot that was read from is still its head.
    fn reserve(&mut self) -> VfsResult<()> {
        if self.write_lock.is_none() {
            self.write_lock = Some(self.store.write_lock(self.branch)?);
        }
        let lock = self.write_lock.as_mut().expect("made above");
        if lock.is_held() {
            return Ok(());
        }
        self.refused = true;
        if !lock.try_acquire()? {
            return Err(VfsError::new(ffi::SQLITE_BUSY, "another connection is writing to the branch"));
        }
        let base = self.snapshot.as_ref().map(Snapshot::version);
        let head = self.store.written_head(self.branch).inspect_err(|_| lock.release())?;
        self.refused = base != Some(head);
        if base != Some(head) {
            lock.release();
            let message = format!("the snapshot at version {} is no longer the head, {head}", base.unwrap_or_default());
            return Err(VfsError::new(ffi::SQLITE_BUSY_SNAPSHOT, message));
        }
        Ok(())
    }

    pub fn unlock(&mut self, level: i32) {
        if level < ffi::SQLITE_LOCK_RESERVED {
            self.take_back();
            self.transaction = None;
            self.committed = false;
            if let Some(lock) = &mut self.write_lock {
                lock.release();
            }
            self.settle();
        }
        if level < ffi::SQLITE_LOCK_EXCLUSIVE {
            self.peers.withdraw();
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
        let whole = self.read_pages(out, offset)?;
        if offset == page_one::CHANGE_COUNTER as u64 && out.len() == 16 && std::mem::take(&mut self.reread) {
            // SQLite looks here whether its cache still holds; a number that it doesn't know makes it read page 1 anew.
            out[0] ^= 0x80;
        }
        Ok(whole)
    }

    fn read_pages(&mut self, out: &mut [u8], offset: u64) -> VfsResult<bool> {
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
            pages.read(PageNo(page as u32), start, &mut out[done..done + n])?;
            done += n;
        }
        Ok(true)
    }

    fn writable(&mut self) -> VfsResult<&mut Transaction> {
        if self.read_only || self.level < ffi::SQLITE_LOCK_RESERVED {
            return Err(VfsError::new(ffi::SQLITE_READONLY, "a write to a snapshot that is only read"));
        }
        // A write after the sync is a rollback: SQLite puts the old pages back.
        self.take_back();
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
        if page == 1 && bytes.get(FORMAT_VERSIONS) == Some(&[2, 2]) {
            // A copied database may say that it wants a WAL file. Its log is the store.
            let mut bytes = bytes.to_vec();
            bytes[FORMAT_VERSIONS].fill(1);
            self.reread = true;
            return Ok(self.writable()?.write(PageNo(page), &bytes)?);
        }
        Ok(self.writable()?.write(PageNo(page), bytes)?)
    }

    pub fn truncate(&mut self, size: u64) -> VfsResult<()> {
        if self.transaction.is_none() && size >= self.size()? {
            // After a commit that made the database smaller, which its page 1 has told already.
            return Ok(());
        }
        let transaction = self.writable()?;
        match transaction.page_size() as u64 {
            0 => Ok(()),
            page_size => {
                transaction.truncate(size.div_ceil(page_size) as u32);
                Ok(())
            }
        }
    }

    /// SQLite has written all pages of a transaction: make it a version, or get ready to become one together with
    /// others.
    ///
    /// SQLite calls this in a rollback too, after it has put the old pages back. It does not put all of them back: pages
    /// that were free before may hold anything. What tells a rollback is page 1, which every commit changes.
    pub fn commit(&mut self, super_journal: Option<&[u8]>) -> VfsResult<()> {
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        let ready = (|| {
            if self.committed && !transaction.changed()?.is_empty() {
                page_one::count_change(&mut transaction)?;
            }
            page_one::fit_to_header(&mut transaction)?;
            let changed = transaction.changed()?;
            let rolled_back = changed.first() != Some(&PageNo(1)) && transaction.base().page_count() > 0;
            let captured = if rolled_back || transaction.is_empty() {
                None
            } else {
                Some(self.capture.decode(&transaction, &changed)?)
            };
            Ok::<_, VfsError>((changed, captured))
        })();
        let (changed, captured) = match ready {
            Ok((_, None)) => return Ok(()),
            Ok((changed, Some(mut captured))) => {
                captured.payload.merged = self.merged;
                (changed, captured)
            }
            Err(error) => {
                self.transaction = Some(transaction);
                return Err(error);
            }
        };
        let mut lock = self.write_lock.take().expect("a transaction holds the write lock");
        if let Err(error) = self.hold(&mut lock, &transaction) {
            (self.write_lock, self.transaction) = (Some(lock), Some(transaction));
            return Err(error);
        }
        let capture = self.capture.clone();
        let durability = self.durability;
        let member = Member { transaction, lock, changed, captured, capture, durability, version: None };
        match self.peers.join(super_journal, member)? {
            Some(member) => self.append(member),
            None => Ok(()),
        }
    }

    fn append(&mut self, mut member: Member) -> VfsResult<()> {
        let mut tracker = member.captured.follow.take();
        let Member { transaction, lock, changed, captured, capture, durability, .. } = &member;
        let commit = Commit { transaction, lock, changed, payload: &captured.payload };
        let mut follow = |versions: &[Version], losses| {
            capture.follow(tracker.take(), versions[0], losses);
        };
        match self.store.commit(&[commit], *durability, &mut follow) {
            Ok(versions) => {
                member.version = versions.first().copied();
                self.finish(member)
            }
            Err(error) => {
                self.write_lock = Some(member.lock);
                self.transaction = Some(member.transaction);
                Err(error.into())
            }
        }
    }

    /// Every database of the transaction is synced, and the super-journal is gone, if there was one.
    pub fn commit_is_over(&mut self) -> VfsResult<()> {
        match self.peers.end()? {
            Some(member) => self.finish(member),
            None => Ok(()),
        }
    }

    /// Goes on from the version that the member has become.
    fn finish(&mut self, member: Member) -> VfsResult<()> {
        self.write_lock = Some(member.lock);
        if let Some(version) = member.version {
            self.committed = true;
            self.recent = None;
            self.snapshot = Some(self.store.snapshot(self.branch, version)?);
        }
        Ok(())
    }

    /// Leaves a commit of several that has not come about.
    fn take_back(&mut self) {
        if let Some(member) = self.peers.take() {
            self.write_lock = Some(member.lock);
        }
    }

    /// Answers a pragma that the store knows better than SQLite; `None` leaves it to SQLite.
    /// `autocommit`: the connection has no transaction open.
    pub fn pragma(&mut self, name: &str, value: Option<&str>, autocommit: bool) -> VfsResult<Option<String>> {
        match (name.to_ascii_lowercase().as_str(), value) {
            // The store is a write-ahead log, and stays one.
            ("journal_mode", _) => Ok(Some("wal".into())),
            // An exclusive connection would keep its snapshot for ever, and could not write once another has.
            ("locking_mode", _) => Ok(Some("normal".into())),
            // Inside a transaction SQLite refuses to change it.
            ("synchronous", Some(value)) if autocommit => {
                self.durability = match value.to_ascii_lowercase().as_str() {
                    "0" | "off" | "no" | "false" => Durability::Off,
                    "2" | "3" | "full" | "extra" => Durability::Full,
                    _ => Durability::Normal,
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

/// Text as a part of a URI.
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
