//! A branch at a version: what a reader sees, whatever is written meanwhile.

use std::borrow::Cow;
use std::sync::Arc;

use maniac_base::{BranchId, PageError, PageErrorKind, PageNo, PageSource, Version};
use maniac_chunk::{Packs, Root};
use maniac_log::{LogError, Losses};

use crate::branches::before_history;
use crate::delta;
use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::index::{FrameId, Index, Lineage, Location, Origin};
use crate::store::Store;
use crate::tail::Ahead;

#[derive(Clone)]
pub struct Snapshot {
    store: Arc<Store>,
    epoch: Arc<Epoch>,
    branch: BranchId,
    version: Version,
    page_size: u32,
    page_count: u32,
    lineage: Lineage,
    /// So many branches of the lineage are looked through, and then the origin.
    depth: usize,
    origin: Behind,
    /// What the branch has beyond that, written and not visible yet; only a writer's snapshot has it.
    ahead: Option<Arc<Ahead>>,
}

/// What lies behind the pages that an epoch's index knows of.
#[derive(Clone)]
enum Behind {
    Nothing,
    /// The epoch's checkpoint has it.
    Checkpoint(Root),
    Before(Arc<Snapshot>),
}

impl Store {
    /// The branch as it was at `at`. The snapshot's own version is that of the newest transaction it shows.
    pub fn snapshot(self: &Arc<Self>, branch: BranchId, at: Version) -> Result<Snapshot, StoreError> {
        self.at_present(|| {
            let head = self.refresh()?;
            let epoch = self.now();
            {
                let index = epoch.index.read();
                let state = self.known_branch(&index, branch)?;
                if at > head {
                    return Err(StoreError::Future { asked: format!("{at}"), branch: state.name.clone(), head });
                }
            }
            self.snapshot_in(&epoch, branch, at)
        })
    }

    /// The branch as it was at `at`, as an epoch knows it: the one that has this version, or a later one.
    pub(crate) fn snapshot_in(
        self: &Arc<Self>,
        epoch: &Arc<Epoch>,
        branch: BranchId,
        at: Version,
    ) -> Result<Snapshot, StoreError> {
        self.snapshot_of(epoch, branch, &[(branch, at)])
    }

    /// The first branch of a lineage that an epoch knows: the ones in front of it were made later, and show the same.
    fn snapshot_of(
        self: &Arc<Self>,
        epoch: &Arc<Epoch>,
        branch: BranchId,
        lineage: &[(BranchId, Version)],
    ) -> Result<Snapshot, StoreError> {
        let (lineage, depth, origin, newest, page_size) = {
            let index = epoch.index.read();
            let known = lineage.iter().find(|(branch, _)| *branch < index.next_branch());
            let (known, at) = *known.expect("main is there from the start");
            let lineage = index.lineage(known, at);
            let (depth, origin) = index.origin(&lineage);
            let newest = index.newest_commit(&lineage[..depth]);
            let newest = newest.map(|version| (version, index.entry(version).map_or(0, |entry| entry.page_count)));
            let first = newest.map_or_else(|| index.version_at(known, at), |(version, _)| version);
            if first <= index.start() && index.is_cut() {
                let state = index.branch_ever(known).expect("the branch is known");
                return Err(before_history(&state.name, format!("version {at}"), index.start().next().to_string()));
            }
            (lineage, depth, origin, newest, index.page_size())
        };
        let (shown, origin) = match origin {
            Origin::Nothing(version) => ((version, 0), Behind::Nothing),
            Origin::Checkpoint(version, root) => ((version, root.pages), Behind::Checkpoint(root)),
            Origin::Before => {
                let rest = &lineage[depth - 1..];
                // The newest checkpoint has what branches were made from, also where the log has it no more.
                let now = self.now();
                let is_pinned = now.index.read().pin(rest[0].0, rest[0].1).is_some();
                let earlier = if is_pinned { now } else { self.epoch_with(epoch, rest[0].1)? };
                let before = self.snapshot_of(&earlier, rest[0].0, rest)?;
                ((before.version, before.page_count), Behind::Before(Arc::new(before)))
            }
        };
        let (version, page_count) = newest.unwrap_or(shown);
        Ok(Snapshot {
            store: self.clone(),
            epoch: epoch.clone(),
            branch,
            version,
            page_size,
            page_count,
            lineage,
            depth,
            origin,
            ahead: None,
        })
    }
}

impl Snapshot {
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn branch(&self) -> BranchId {
        self.branch
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The same with what was written behind it.
    pub(crate) fn with(self, version: Version, page_count: u32, page_size: u32, ahead: Ahead) -> Snapshot {
        Snapshot { version, page_count, page_size, ahead: Some(Arc::new(ahead)), ..self }
    }

    /// Of a snapshot that shows more than readers see, what had been lost when it was taken.
    pub fn losses(&self) -> Option<Losses> {
        self.ahead.as_ref().map(|ahead| ahead.losses)
    }

    /// The pages of `newer` that may have other bytes than here, in ascending order. Both are snapshots of one store, of
    /// any branches; no page is read, and what costs time is what was written since their lines parted.
    pub fn differing_pages(&self, newer: &Snapshot) -> Result<Vec<PageNo>, StoreError> {
        debug_assert!(Arc::ptr_eq(&self.store, &newer.store), "snapshots of one store");
        if !Arc::ptr_eq(&self.epoch, &newer.epoch) {
            // A later epoch knows where the other snapshot's is.
            let start = |snapshot: &Snapshot| snapshot.epoch.index.read().start();
            let differing = match start(self) < start(newer) {
                true => self.in_epoch(&newer.epoch).and_then(|this| this.differing_pages(newer)),
                false => newer.in_epoch(&self.epoch).and_then(|newer| self.differing_pages(&newer)),
            };
            return match differing {
                // Whoever has a snapshot keeps it, also where nobody else can have it any more.
                Err(StoreError::Forgotten { .. }) => self.all_written(newer),
                differing => differing,
            };
        }
        let mut pages = self.epoch.index.read().differing(&self.lineage, &newer.lineage);
        let ahead = [&self.ahead, &newer.ahead].into_iter().flatten();
        pages.extend(ahead.flat_map(|ahead| ahead.pages()));
        pages.extend(self.differing_origins(newer)?);
        pages.sort_unstable();
        pages.dedup();
        pages.truncate(pages.partition_point(|page| page.0 <= newer.page_count));
        Ok(pages)
    }

    /// The pages that either snapshot has from the log, and those that differ in what lies at rest.
    fn all_written(&self, newer: &Snapshot) -> Result<Vec<PageNo>, StoreError> {
        let mut pages = self.touched();
        pages.extend(newer.touched());
        let ahead = [&self.ahead, &newer.ahead].into_iter().flatten();
        pages.extend(ahead.flat_map(|ahead| ahead.pages()));
        pages.extend(self.differing_origins(newer)?);
        pages.sort_unstable();
        pages.dedup();
        pages.truncate(pages.partition_point(|page| page.0 <= newer.page_count));
        Ok(pages)
    }

    /// The same snapshot as a later epoch knows it.
    fn in_epoch(&self, epoch: &Arc<Epoch>) -> Result<Snapshot, StoreError> {
        let (branch, at) = self.lineage[0];
        let visible = self.store.snapshot_in(epoch, branch, at)?;
        let Snapshot { version, page_count, page_size, ahead, .. } = self.clone();
        Ok(Snapshot { version, page_count, page_size, ahead, ..visible })
    }

    /// The pages that may differ in what lies behind the epoch's index.
    fn differing_origins(&self, newer: &Snapshot) -> Result<Vec<PageNo>, StoreError> {
        let ((mut pages, one), (more, other)) = (self.at_rest(), newer.at_rest());
        match (one, other) {
            (Some((_, one)), Some((_, other))) if one == other => (),
            (Some((packs, one)), Some((more, other))) => {
                pages.extend(one.differing(&other, &packs.and(more))?);
            }
            (Some((packs, root)), None) | (None, Some((packs, root))) => {
                pages.extend(Root::EMPTY.differing(&root, packs)?);
            }
            (None, None) => (),
        }
        pages.extend(more);
        Ok(pages)
    }

    /// The database at rest that the snapshot builds on, if there is one, and the pages that earlier epochs have written
    /// since.
    fn at_rest(&self) -> (Vec<PageNo>, Option<(&Packs, Root)>) {
        match &self.origin {
            Behind::Nothing => (Vec::new(), None),
            Behind::Checkpoint(root) => (Vec::new(), self.epoch.packs.as_ref().map(|packs| (packs, *root))),
            Behind::Before(before) => {
                let (mut pages, root) = before.at_rest();
                pages.extend(before.touched());
                (pages, root)
            }
        }
    }

    /// The pages that were written in the snapshot's epoch, on its branch or its ancestors; in no order, and some twice.
    pub(crate) fn touched(&self) -> Vec<PageNo> {
        let mut pages = self.epoch.index.read().touched(&self.lineage[..self.depth]);
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// Gives back the memory that the mapped log and packs take in this process, also for other snapshots: what is read
    /// again comes from the system's cache. For those who read much once.
    pub fn release(&self) {
        self.epoch.stretch.release();
        if let Some(packs) = &self.epoch.packs {
            packs.release();
        }
    }

    /// The newest snapshot whose changes both have: where their branches parted, or what one merged of the other since.
    pub fn common_ancestor(&self, other: &Snapshot) -> Result<Snapshot, StoreError> {
        self.store.at_present(|| {
            let epoch = self.store.now();
            let (branch, version) = epoch.index.read().common(&self.lineage, &other.lineage);
            self.store.snapshot_in(&epoch, branch, version)
        })
    }

    fn frame(&self, index: &Index, no: PageNo) -> Option<FrameId> {
        index.find(&self.lineage[..self.depth], no)
    }

    /// What it means that a page cannot be read.
    pub(crate) fn broken(&self, error: &PageError) -> LogError {
        let (path, version) = (self.store.path(), self.version);
        match error.kind {
            _ if self.losses().is_some_and(|losses| self.store.is_lost(version, losses)) => {
                LogError::Lost { path: path.to_owned(), version }
            }
            PageErrorKind::Io => LogError::io(path, "read a page")(std::io::Error::other(error.to_string())),
            PageErrorKind::Corrupt | PageErrorKind::OutOfRange => LogError::corrupt(path, 0, error.to_string()),
        }
    }
}

impl PageSource for Snapshot {
    fn page_size(&self) -> usize {
        self.page_size as usize
    }

    fn page_count(&self) -> u32 {
        self.page_count
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        Ok(match self.stored_page(no)? {
            StoredPage::Mapped(page) => Cow::Borrowed(page),
            StoredPage::Assembled(page) => Cow::Owned(page.to_vec()),
            StoredPage::Hole => Cow::Owned(vec![0; self.page_size as usize]),
        })
    }

    fn read(&self, no: PageNo, from: usize, out: &mut [u8]) -> Result<(), PageError> {
        match self.stored_page(no)? {
            StoredPage::Mapped(page) => out.copy_from_slice(&page[from..from + out.len()]),
            StoredPage::Assembled(page) => out.copy_from_slice(&page[from..from + out.len()]),
            StoredPage::Hole => out.fill(0),
        }
        Ok(())
    }
}

/// A page as the store has it at hand.
pub(crate) enum StoredPage<'a> {
    /// In the mapped log.
    Mapped(&'a [u8]),
    /// Put together from differences.
    Assembled(Arc<[u8]>),
    /// Never written: zeroes.
    Hole,
}

impl<'a> From<Cow<'a, [u8]>> for StoredPage<'a> {
    fn from(page: Cow<'a, [u8]>) -> StoredPage<'a> {
        match page {
            Cow::Borrowed(page) => StoredPage::Mapped(page),
            Cow::Owned(page) => StoredPage::Assembled(page.into()),
        }
    }
}

/// A page is stored as a whole after so many differences, which bounds the work of reading it.
const MOST_DIFFERENCES: usize = 16;

impl Snapshot {
    fn stored_page(&self, no: PageNo) -> Result<StoredPage<'_>, PageError> {
        if let Some(page) = self.stored_ahead(no)? {
            return Ok(page);
        }
        // The lock must not be held while the page is put together, which takes it again.
        let found = {
            let index = self.epoch.index.read();
            self.frame(&index, no).map(|frame| (frame, index.location(frame)))
        };
        self.put_together(no, found)
    }

    /// The page, and whether its successor may be stored as a difference to it. The snapshot is its branch's head.
    pub(crate) fn stored_before(&self, no: PageNo) -> Result<(StoredPage<'_>, bool), PageError> {
        if let Some(page) = self.stored_ahead(no)? {
            return Ok((page, self.differences_ahead(no) < MOST_DIFFERENCES));
        }
        let (found, own) = {
            let index = self.epoch.index.read();
            let own = index.find_own(self.branch, no);
            let found = own.or_else(|| self.frame(&index, no));
            let found = found.map(|frame| (frame, index.location(frame)));
            (found, own.is_some_and(|frame| index.differences(frame) < MOST_DIFFERENCES))
        };
        Ok((self.put_together(no, found)?, own))
    }

    /// The page, if it was written and is not visible yet.
    fn stored_ahead(&self, no: PageNo) -> Result<Option<StoredPage<'_>>, PageError> {
        let Some(ahead) = &self.ahead else { return Ok(None) };
        if self.store.log.head().is_lost(self.version, ahead.losses) {
            let reason = "the disk failed to write the version that this transaction builds on".into();
            return Err(PageError { page: no, kind: PageErrorKind::Io, reason });
        }
        let pieces = ahead.pieces(no);
        let Some(oldest) = pieces.last().filter(|_| no.0 != 0 && no.0 <= self.page_count) else { return Ok(None) };
        if pieces.len() == 1 && oldest.stored.is_image() {
            return Ok(Some(self.stored(&ahead.epoch, no, oldest)?.into()));
        }
        if let Some(page) = ahead.assembled.lock().get(&no) {
            return Ok(Some(StoredPage::Assembled(page.clone())));
        }
        let (mut image, rest) = if oldest.stored.is_image() {
            (self.stored(&ahead.epoch, no, oldest)?.into_owned(), &pieces[..pieces.len() - 1])
        } else {
            let found = {
                let index = self.epoch.index.read();
                self.frame(&index, no).map(|frame| (frame, index.location(frame)))
            };
            let base = match self.put_together(no, found)? {
                StoredPage::Mapped(page) => page.to_vec(),
                StoredPage::Assembled(page) => page.to_vec(),
                StoredPage::Hole => vec![0; self.page_size as usize],
            };
            (base, &pieces[..])
        };
        self.apply(&ahead.epoch, no, rest, &mut image)?;
        let image: Arc<[u8]> = image.into();
        ahead.assembled.lock().insert(no, image.clone());
        Ok(Some(StoredPage::Assembled(image)))
    }

    /// How many differences a page that was written ahead builds on.
    fn differences_ahead(&self, no: PageNo) -> usize {
        let pieces = self.ahead.as_ref().map_or_else(Vec::new, |ahead| ahead.pieces(no));
        if pieces.last().is_some_and(|oldest| oldest.stored.is_image()) {
            return pieces.len() - 1;
        }
        let index = self.epoch.index.read();
        pieces.len() + self.frame(&index, no).map_or(0, |frame| index.differences(frame))
    }

    fn page_error(&self, page: PageNo, error: &StoreError) -> PageError {
        let kind = if matches!(error, StoreError::Log(LogError::Io { .. })) {
            PageErrorKind::Io
        } else {
            PageErrorKind::Corrupt
        };
        PageError { page, kind, reason: error.to_string() }
    }

    /// The bytes that are stored of a page in one place, opened.
    fn stored<'e>(&self, epoch: &'e Epoch, no: PageNo, location: &Location) -> Result<Cow<'e, [u8]>, PageError> {
        let stored = epoch.stretch.segment(location.segment).stored(location.entry, &location.frame(no));
        stored.map_err(|error| self.page_error(no, &error.into()))
    }

    /// Turns a page into what the differences lead to, which are given from new to old.
    fn apply(&self, epoch: &Epoch, no: PageNo, differences: &[Location], page: &mut [u8]) -> Result<(), PageError> {
        differences.iter().rev().try_for_each(|location| {
            delta::apply(&self.stored(epoch, no, location)?, page).map_err(|defect| {
                let path = epoch.stretch.segment(location.segment).path();
                self.page_error(no, &defect.at(path, location.entry + location.frame(no).offset).into())
            })
        })
    }

    fn put_together(&self, no: PageNo, found: Option<(FrameId, Location)>) -> Result<StoredPage<'_>, PageError> {
        if no.0 == 0 || no.0 > self.page_count {
            return Err(PageError::out_of_range(no, self.page_count));
        }
        let Some((frame, newest)) = found else { return self.behind(no) };
        self.assemble(no, frame, newest)
    }

    /// The page as it lies behind the epoch's index.
    fn behind(&self, no: PageNo) -> Result<StoredPage<'_>, PageError> {
        match &self.origin {
            Behind::Nothing => {
                let index = self.epoch.index.read();
                if index.is_cut() {
                    let reason =
                        format!("it was written before version {}, where the log begins", index.start().next());
                    return Err(PageError { page: no, kind: PageErrorKind::Io, reason });
                }
                Ok(StoredPage::Hole)
            }
            Behind::Checkpoint(root) => {
                let packs = self.epoch.packs.as_ref().expect("a checkpoint has packs");
                let page = packs.page(root, no).map_err(|error| self.page_error(no, &error.into()))?;
                Ok(page.map_or(StoredPage::Hole, StoredPage::from))
            }
            // What the database had shrunk by, it has no more.
            Behind::Before(before) if no.0 > before.page_count => Ok(StoredPage::Hole),
            Behind::Before(before) => before.stored_page(no),
        }
    }

    /// The page that ends with a frame.
    fn assemble(&self, no: PageNo, frame: FrameId, newest: Location) -> Result<StoredPage<'_>, PageError> {
        if newest.stored.is_image() {
            return Ok(self.stored(&self.epoch, no, &newest)?.into());
        }
        if let Some(page) = self.epoch.assembled.lock().get(&newest) {
            return Ok(StoredPage::Assembled(page.clone()));
        }
        let pieces = self.epoch.index.read().pieces(frame);
        let (mut page, differences) = match pieces.split_last() {
            Some((image, differences)) if image.stored.is_image() => {
                (self.stored(&self.epoch, no, image)?.into_owned(), differences)
            }
            _ => match self.behind(no)? {
                StoredPage::Mapped(page) => (page.to_vec(), &pieces[..]),
                StoredPage::Assembled(page) => (page.to_vec(), &pieces[..]),
                StoredPage::Hole => (vec![0; self.page_size as usize], &pieces[..]),
            },
        };
        self.apply(&self.epoch, no, differences, &mut page)?;
        let page: Arc<[u8]> = page.into();
        self.epoch.assembled.lock().put(newest, page.clone());
        Ok(StoredPage::Assembled(page))
    }
}
