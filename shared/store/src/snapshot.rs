//! A branch at a version: what a reader sees, whatever is written meanwhile.

use std::borrow::Cow;
use std::sync::Arc;

use maniac_base::{BranchId, PageError, PageErrorKind, PageNo, PageSource, Version};
use maniac_log::{LogError, Losses, Segment};

use crate::branches::before_history;
use crate::delta;
use crate::error::StoreError;
use crate::index::{FrameId, Lineage, Location};
use crate::store::Store;
use crate::tail::Ahead;

#[derive(Clone)]
pub struct Snapshot {
    store: Arc<Store>,
    branch: BranchId,
    version: Version,
    page_size: u32,
    page_count: u32,
    lineage: Lineage,
    /// What the branch has beyond that, written and not visible yet; only a writer's snapshot has it.
    ahead: Option<Arc<Ahead>>,
}

impl Store {
    /// The branch as it was at `at`. The snapshot's own version is that of the newest transaction it shows.
    pub fn snapshot(self: &Arc<Self>, branch: BranchId, at: Version) -> Result<Snapshot, StoreError> {
        let head = self.refresh()?;
        let index = self.index.read();
        let state = self.known_branch(&index, branch)?;
        if at > head {
            return Err(StoreError::Future { asked: format!("{at}"), branch: state.name.clone(), head });
        }
        let version = index.version_at(branch, at);
        if version <= index.start() && index.start() > Version(0) {
            return Err(before_history(state, format!("version {at}"), index.start().next().to_string()));
        }
        let page_count = index.entry(version).map_or(0, |entry| entry.page_count);
        Ok(Snapshot {
            store: self.clone(),
            branch,
            version,
            page_size: index.page_size(),
            page_count,
            lineage: index.lineage(branch, at),
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
    pub fn differing_pages(&self, newer: &Snapshot) -> Vec<PageNo> {
        debug_assert!(Arc::ptr_eq(&self.store, &newer.store), "snapshots of one store");
        let mut pages = self.store.index.read().differing(&self.lineage, &newer.lineage);
        let ahead = [&self.ahead, &newer.ahead].into_iter().flatten();
        pages.extend(ahead.flat_map(|ahead| ahead.pages()));
        pages.sort_unstable();
        pages.dedup();
        pages.truncate(pages.partition_point(|page| page.0 <= newer.page_count));
        pages
    }

    /// Gives back the memory that the mapped log takes in this process, also for other snapshots: what is read again comes
    /// from the system's cache. For those who read much once.
    pub fn release(&self) {
        self.store.log.segments().for_each(Segment::release);
    }

    /// The newest snapshot whose changes both have: where their branches parted, or what one merged of the other since.
    pub fn common_ancestor(&self, other: &Snapshot) -> Result<Snapshot, StoreError> {
        let (branch, version) = self.store.index.read().common(&self.lineage, &other.lineage);
        self.store.snapshot(branch, version)
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

/// A page is stored as a whole after so many differences, which bounds the work of reading it.
const MOST_DIFFERENCES: usize = 16;

impl Snapshot {
    fn stored_page(&self, no: PageNo) -> Result<StoredPage<'_>, PageError> {
        if let Some(page) = self.stored_ahead(no)? {
            return Ok(page);
        }
        // The lock must not be held while the page is put together, which takes it again.
        let found = {
            let index = self.store.index.read();
            index.find(&self.lineage, no).map(|frame| (frame, index.location(frame)))
        };
        self.put_together(no, found)
    }

    /// The page, and whether its successor may be stored as a difference to it. The snapshot is its branch's head.
    pub(crate) fn stored_before(&self, no: PageNo) -> Result<(StoredPage<'_>, bool), PageError> {
        if let Some(page) = self.stored_ahead(no)? {
            return Ok((page, self.differences_ahead(no) < MOST_DIFFERENCES));
        }
        let (found, own) = {
            let index = self.store.index.read();
            let own = index.find_own(self.branch, no);
            let found = own.or_else(|| index.find(&self.lineage, no));
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
        let page =
            |location: &Location| self.store.log.segment(location.segment).stored(location.offset, location.stored);
        let failed = |error: LogError| self.page_error(no, &error.into());
        if pieces.len() == 1 && oldest.stored.is_image() {
            return Ok(Some(StoredPage::Mapped(page(oldest).map_err(failed)?)));
        }
        if let Some(page) = ahead.assembled.lock().get(&no) {
            return Ok(Some(StoredPage::Assembled(page.clone())));
        }
        let (mut image, rest) = if oldest.stored.is_image() {
            (page(oldest).map_err(failed)?.to_vec(), &pieces[..pieces.len() - 1])
        } else {
            let found = {
                let index = self.store.index.read();
                index.find(&self.lineage, no).map(|frame| (frame, index.location(frame)))
            };
            let base = match self.put_together(no, found)? {
                StoredPage::Mapped(page) => page.to_vec(),
                StoredPage::Assembled(page) => page.to_vec(),
                StoredPage::Hole => vec![0; self.page_size as usize],
            };
            (base, &pieces[..])
        };
        for piece in rest.iter().rev() {
            let path = self.store.log.segment(piece.segment).path();
            delta::apply(page(piece).map_err(failed)?, &mut image)
                .map_err(|defect| failed(defect.at(path, piece.offset)))?;
        }
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
        let index = self.store.index.read();
        pieces.len() + index.find(&self.lineage, no).map_or(0, |frame| index.differences(frame))
    }

    fn page_error(&self, page: PageNo, error: &StoreError) -> PageError {
        let kind = if matches!(error, StoreError::Log(LogError::Io { .. })) {
            PageErrorKind::Io
        } else {
            PageErrorKind::Corrupt
        };
        PageError { page, kind, reason: error.to_string() }
    }

    fn put_together(&self, no: PageNo, found: Option<(FrameId, Location)>) -> Result<StoredPage<'_>, PageError> {
        if no.0 == 0 || no.0 > self.page_count {
            return Err(PageError::out_of_range(no, self.page_count));
        }
        let Some((frame, newest)) = found else {
            let start = self.store.index.read().start();
            if start > Version(0) {
                let reason = format!("it was written before version {}, where the log begins", start.next());
                return Err(PageError { page: no, kind: PageErrorKind::Io, reason });
            }
            return Ok(StoredPage::Hole);
        };
        self.store.assemble(frame, newest).map_err(|error| self.page_error(no, &error))
    }
}

impl Store {
    /// The page that ends with a frame.
    fn assemble(&self, frame: FrameId, newest: Location) -> Result<StoredPage<'_>, StoreError> {
        if newest.stored.is_image() {
            let image = self.log.segment(newest.segment).stored(newest.offset, newest.stored)?;
            return Ok(StoredPage::Mapped(image));
        }
        if let Some(page) = self.assembled.lock().get(&newest) {
            return Ok(StoredPage::Assembled(page.clone()));
        }
        let pieces = self.index.read().pieces(frame);
        let mut page = Vec::new();
        for (n, piece) in pieces.iter().rev().enumerate() {
            let segment = self.log.segment(piece.segment);
            let stored = segment.stored(piece.offset, piece.stored)?;
            if n == 0 {
                page.extend_from_slice(stored);
            } else {
                delta::apply(stored, &mut page).map_err(|defect| defect.at(segment.path(), piece.offset))?;
            }
        }
        let page: Arc<[u8]> = page.into();
        self.assembled.lock().put(newest, page.clone());
        Ok(StoredPage::Assembled(page))
    }
}
