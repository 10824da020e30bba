//! A transaction under way: the pages that it has written so far, over the snapshot that it was built on.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use maniac_base::{BranchId, PageError, PageErrorKind, PageNo, PageSource};
use maniac_disk::File;
use maniac_log::{LockFile, LogError};

use crate::commit::LARGE;
use crate::delta::{self, Comparison};
use crate::error::StoreError;
use crate::lock::{pending, writer};
use crate::snapshot::{Snapshot, StoredPage};
use crate::store::Store;
use crate::turn::{Turn, hand_on, is_awaited};

/// Bytes of pages that a transaction keeps in memory; what comes after goes to a file that has no name.
const MEMORY_LIMIT: usize = 64 << 20;

/// The right to write on a branch, which one connection of all processes can have at a time.
pub struct WriteLock {
    store: Arc<Store>,
    branch: BranchId,
    file: Arc<LockFile>,
    held: Cell<bool>,
    /// The lock was handed on before the commit was visible.
    pending: Cell<bool>,
    turn: Arc<Turn>,
}

impl Store {
    /// A lock that is not taken yet.
    pub fn write_lock(self: &Arc<Self>, branch: BranchId) -> Result<WriteLock, StoreError> {
        if !self.is_writable() {
            return Err(LogError::ReadOnly { path: self.path().to_owned() }.into());
        }
        let file = Arc::new(LockFile::open(&**self.log.disk(), self.path())?);
        let turn = Arc::new(Turn::new(self.clone(), branch, file.clone()));
        Ok(WriteLock { store: self.clone(), branch, file, held: Cell::new(false), pending: Cell::new(false), turn })
    }
}

impl WriteLock {
    /// Takes the lock, or says at once that somebody else has it, or has waited longer for it.
    pub fn acquire(&mut self) -> Result<(), StoreError> {
        if self.try_acquire()? {
            return Ok(());
        }
        let branch = self.store.branch_by_id(self.branch)?.name;
        Err(StoreError::Busy { branch })
    }

    /// Takes the lock, unless somebody else has it, or has waited longer for it.
    pub fn try_acquire(&mut self) -> Result<bool, StoreError> {
        self.store.check_process()?;
        if !self.held.get() && !self.turn.is_behind() && self.file.try_lock(writer(self.branch))? {
            self.held.set(true);
            self.turn.leave();
        }
        if !self.held.get() {
            self.turn.refused();
        }
        Ok(self.held.get())
    }

    /// Lets go of it. In a child of the process that took it this does nothing: a fork shares the lock, and letting go of
    /// it here would take it from the parent.
    pub fn release(&mut self) {
        if self.held.take() && self.store.check_process().is_ok() {
            self.file.unlock(writer(self.branch));
            hand_on(&self.store, self.branch);
        }
    }

    pub fn is_held(&self) -> bool {
        self.held.get()
    }

    /// The place in the queue of those who want this lock.
    pub fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// Lets the next writer begin while this one's commit is on its way to the disk, if there is one.
    pub(crate) fn hand_on_early(&self) {
        // As long as it is shared, nobody takes the commit for one that a dead process has left behind.
        if self.held.get() && is_awaited(&self.store, self.branch) && self.file.share(pending(self.branch)).is_ok() {
            self.pending.set(true);
            self.held.set(false);
            self.file.unlock(writer(self.branch));
            hand_on(&self.store, self.branch);
        }
    }

    /// The commit is visible, or has failed.
    pub(crate) fn commit_is_over(&self) {
        if self.pending.take() {
            self.file.unlock(pending(self.branch));
        }
    }
}

enum Slot {
    Memory(Arc<[u8]>),
    /// The n-th page of the spill file.
    Spilled(u64),
}

thread_local! {
    /// Memory of pages that nobody needs any more: that of the next transaction's, and in the processor's caches still.
    static SPARE: RefCell<Vec<Arc<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Pages in `SPARE`.
const MOST_SPARE: usize = 8;

fn shared_page(bytes: &[u8]) -> Arc<[u8]> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    if let Some(mut page) = spare.filter(|page| page.len() == bytes.len())
        && let Some(memory) = Arc::get_mut(&mut page)
    {
        memory.copy_from_slice(bytes);
        return page;
    }
    bytes.into()
}

impl Drop for Transaction {
    fn drop(&mut self) {
        for mut page in self.compared.drain(..).filter_map(|compared| compared.before) {
            if Arc::get_mut(&mut page).is_some() {
                // A thread that is ending has no use for it.
                let _ = SPARE.try_with(|spare| {
                    let mut spare = spare.borrow_mut();
                    if spare.len() < MOST_SPARE {
                        spare.push(page);
                    }
                });
            }
        }
    }
}

/// A page before and after, unless the transaction is large.
struct Compared {
    page: PageNo,
    /// What the base has of it, if that would have to be put together each time it is asked.
    before: Option<Arc<[u8]>>,
    /// What leads from there to what was written, if it is best stored so.
    difference: Option<Vec<u8>>,
}

pub struct Transaction {
    base: Snapshot,
    page_size: u32,
    page_count: u32,
    pages: BTreeMap<PageNo, Slot>,
    /// Of the pages that were there before, in order: what `changed` found out.
    compared: Vec<Compared>,
    in_memory: usize,
    spill: Option<Box<dyn File>>,
    spilled: u64,
}

impl Transaction {
    /// A transaction on `base`. In a store that has no pages yet, the first one written sets their size.
    pub fn new(base: Snapshot) -> Transaction {
        let (page_size, page_count) = (base.page_size() as u32, base.page_count());
        Transaction {
            base,
            page_size,
            page_count,
            pages: BTreeMap::new(),
            compared: Vec::new(),
            in_memory: 0,
            spill: None,
            spilled: 0,
        }
    }

    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// The database as it was when the transaction began, at less cost than `base` once `changed` has been asked.
    pub fn before(&self) -> Before<'_> {
        Before(self)
    }

    /// Replaces a page.
    pub fn write(&mut self, no: PageNo, bytes: &[u8]) -> Result<(), StoreError> {
        if self.page_size == 0 {
            self.page_size = bytes.len() as u32;
        }
        if bytes.len() != self.page_size as usize {
            return Err(StoreError::PageSize { store: self.page_size, asked: bytes.len() as u32 });
        }
        self.page_count = self.page_count.max(no.0);
        // What was found out no longer holds.
        self.compared.clear();
        match self.pages.get_mut(&no) {
            Some(Slot::Memory(page)) => match Arc::get_mut(page) {
                Some(page) => page.copy_from_slice(bytes),
                None => *page = bytes.into(),
            },
            Some(Slot::Spilled(n)) => {
                let at = *n * u64::from(self.page_size);
                self.spill_file()?
                    .write_all_at(bytes, at)
                    .map_err(StoreError::io(self.path(), "write pages aside in"))?;
            }
            None if self.in_memory < MEMORY_LIMIT => {
                self.in_memory += bytes.len();
                self.pages.insert(no, Slot::Memory(shared_page(bytes)));
            }
            None => {
                let n = self.spilled;
                let at = n * u64::from(self.page_size);
                self.spill_file()?
                    .write_all_at(bytes, at)
                    .map_err(StoreError::io(self.path(), "write pages aside in"))?;
                self.spilled += 1;
                self.pages.insert(no, Slot::Spilled(n));
            }
        }
        Ok(())
    }

    /// Makes the database end after `pages` pages.
    pub fn truncate(&mut self, pages: u32) {
        self.page_count = pages;
        self.pages.retain(|no, _| no.0 <= pages);
    }

    fn path(&self) -> &std::path::Path {
        self.base.store().path()
    }

    fn spill_file(&mut self) -> Result<&dyn File, StoreError> {
        if self.spill.is_none() {
            let file = self
                .base
                .store()
                .log
                .disk()
                .create_unnamed(self.path())
                .map_err(StoreError::io(self.path(), "create a file in"))?;
            self.spill = Some(file);
        }
        Ok(self.spill.as_deref().expect("just opened"))
    }

    /// The pages whose bytes differ from the base, in order. Pages that came back to what they were are forgotten: a
    /// rollback after a cache spill writes them back one by one.
    ///
    /// The branch's write lock is held, so what the branch stored last of a page stays that, and a page may be stored as
    /// the difference to it.
    pub fn changed(&mut self) -> Result<Vec<PageNo>, StoreError> {
        let mut changed = Vec::with_capacity(self.pages.len());
        let (mut same, mut compared) = (Vec::new(), Vec::new());
        // A large transaction passes through as it is: its differences would have to be held in memory.
        let few = self.pages.len() <= LARGE;
        for no in self.pages.keys().copied() {
            if no.0 > self.base.page_count() {
                changed.push(no);
                continue;
            }
            let (before, own) = self.base.stored_before(no).map_err(|error| self.broken(&error))?;
            let now = self.page(no).map_err(|error| self.broken(&error))?;
            let limit = if few && own { now.len() / 4 } else { 0 };
            let comparison = match &before {
                StoredPage::Mapped(page) => delta::compare(page, &now, limit),
                StoredPage::Assembled(page) => delta::compare(page, &now, limit),
                StoredPage::Hole if now.iter().all(|byte| *byte == 0) => Comparison::Same,
                StoredPage::Hole => Comparison::Far,
            };
            match comparison {
                Comparison::Same => same.push(no),
                _ => changed.push(no),
            }
            if few {
                let before = if let StoredPage::Assembled(page) = before { Some(page) } else { None };
                let difference = if let Comparison::Difference(bytes) = comparison { Some(bytes) } else { None };
                compared.push(Compared { page: no, before, difference });
            }
        }
        self.compared = compared;
        same.iter().for_each(|no| drop(self.pages.remove(no)));
        Ok(changed)
    }

    /// Whether all that was written is as in the base. Needs no lock, and leaves all pages where they are.
    pub fn is_undone(&self) -> Result<bool, StoreError> {
        let page =
            |source: &dyn PageSource, no| source.page(no).map(Cow::into_owned).map_err(|error| self.broken(&error));
        for no in self.pages.keys().copied() {
            if no.0 > self.base.page_count() || page(self, no)? != page(&self.base, no)? {
                return Ok(false);
            }
        }
        Ok(self.page_count == self.base.page_count())
    }

    /// What the page is best stored as, if not as a whole; `changed` has been asked before.
    pub(crate) fn difference(&self, no: PageNo) -> Option<&[u8]> {
        self.compared(no)?.difference.as_deref()
    }

    fn compared(&self, no: PageNo) -> Option<&Compared> {
        let n = self.compared.binary_search_by_key(&no, |compared| compared.page).ok()?;
        Some(&self.compared[n])
    }

    /// Whether the transaction would leave everything as it is; `changed` has been asked before.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.page_count == self.base.page_count()
    }

    /// Whether it is so large that its changesets are better derived than stored.
    pub fn is_large(changed: &[PageNo]) -> bool {
        changed.len() > LARGE
    }

    /// A page that is in memory, to be shared.
    pub(crate) fn shared(&self, no: PageNo) -> Option<Arc<[u8]>> {
        match self.pages.get(&no) {
            Some(Slot::Memory(page)) => Some(page.clone()),
            _ => None,
        }
    }

    pub(crate) fn broken(&self, error: &PageError) -> LogError {
        self.base.broken(error)
    }
}

impl PageSource for Transaction {
    fn page_size(&self) -> usize {
        self.page_size as usize
    }

    fn page_count(&self) -> u32 {
        self.page_count
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        match self.pages.get(&no) {
            Some(Slot::Memory(page)) => Ok(Cow::Borrowed(page)),
            Some(Slot::Spilled(n)) => {
                let mut page = vec![0; self.page_size as usize];
                let file = self.spill.as_ref().expect("a spilled page has a file");
                file.read_exact_at(&mut page, n * u64::from(self.page_size)).map_err(|error| PageError {
                    page: no,
                    kind: PageErrorKind::Io,
                    reason: error.to_string(),
                })?;
                Ok(Cow::Owned(page))
            }
            None if no.0 == 0 || no.0 > self.page_count => Err(PageError::out_of_range(no, self.page_count)),
            None if no.0 > self.base.page_count() => Ok(Cow::Owned(vec![0; self.page_size as usize])),
            None => self.base.page(no),
        }
    }

    fn changed_bytes(&self, no: PageNo) -> Range<usize> {
        self.difference(no).and_then(delta::reach).unwrap_or(0..self.page_size as usize)
    }

    fn read(&self, no: PageNo, from: usize, out: &mut [u8]) -> Result<(), PageError> {
        if self.pages.contains_key(&no) || no.0 > self.base.page_count() {
            out.copy_from_slice(&self.page(no)?[from..from + out.len()]);
            return Ok(());
        }
        self.base.read(no, from, out)
    }
}

/// See `Transaction::before`.
pub struct Before<'a>(&'a Transaction);

impl PageSource for Before<'_> {
    fn page_size(&self) -> usize {
        self.0.base.page_size()
    }

    fn page_count(&self) -> u32 {
        self.0.base.page_count()
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        match self.0.compared(no).and_then(|compared| compared.before.as_ref()) {
            Some(page) => Ok(Cow::Borrowed(page)),
            None => self.0.base.page(no),
        }
    }
}
