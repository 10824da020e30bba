//! A branch at a version: what a reader sees, whatever is written meanwhile.

use std::borrow::Cow;
use std::sync::Arc;

use maniac_base::{BranchId, PageError, PageErrorKind, PageNo, PageSource, Version};

use crate::delta;
use crate::error::StoreError;
use crate::index::{Lineage, Pieces};
use crate::store::Store;

#[derive(Clone)]
pub struct Snapshot {
    store: Arc<Store>,
    branch: BranchId,
    version: Version,
    page_size: u32,
    page_count: u32,
    lineage: Lineage,
}

impl Store {
    /// The branch as it was at `at`. The snapshot's own version is that of the newest transaction it shows.
    pub fn snapshot(self: &Arc<Self>, branch: BranchId, at: Version) -> Result<Snapshot, StoreError> {
        let head = self.refresh()?;
        let index = self.index.read();
        let name = || index.branch(branch).map_or_else(|| branch.to_string(), |state| state.name.clone());
        if at > head {
            return Err(StoreError::Future { asked: format!("{at}"), branch: name(), head });
        }
        if index.branch(branch).is_none() {
            return Err(self.no_such_branch(&index, &name()));
        }
        let version = index.version_at(branch, at);
        let page_count = index.entry(version).map_or(0, |entry| entry.page_count);
        Ok(Snapshot {
            store: self.clone(),
            branch,
            version,
            page_size: index.page_size(),
            page_count,
            lineage: index.lineage(branch, at),
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

    /// The pages of `newer` that may have other bytes than here, in ascending order. Both are snapshots of one store, of
    /// any branches; no page is read, and what costs time is what was written since their lines parted.
    pub fn differing_pages(&self, newer: &Snapshot) -> Vec<PageNo> {
        debug_assert!(Arc::ptr_eq(&self.store, &newer.store), "snapshots of one store");
        let mut pages = self.store.index.read().differing(&self.lineage, &newer.lineage);
        pages.truncate(pages.partition_point(|page| page.0 <= newer.page_count));
        pages
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
        if no.0 == 0 || no.0 > self.page_count {
            return Err(PageError::out_of_range(no, self.page_count));
        }
        let pieces = self.store.index.read().find(&self.lineage, no);
        self.store.assemble(&pieces, self.page_size).map_err(|error| {
            let kind = if matches!(error, StoreError::Io { .. }) { PageErrorKind::Io } else { PageErrorKind::Corrupt };
            PageError { page: no, kind, reason: error.to_string() }
        })
    }
}

impl Store {
    /// A page from its pieces: where one image is all, it is borrowed from the mapped log.
    pub(crate) fn assemble(&self, pieces: &Pieces, page_size: u32) -> Result<Cow<'_, [u8]>, StoreError> {
        let Some((base, differences)) = pieces.split_last() else {
            return Ok(Cow::Owned(vec![0; page_size as usize]));
        };
        if differences.is_empty() {
            return self.segments[base.segment as usize].stored(base.offset, base.stored).map(Cow::Borrowed);
        }
        if let Some(page) = self.assembled.lock().get(&pieces[0]) {
            return Ok(Cow::Owned(page.to_vec()));
        }
        let mut page = self.segments[base.segment as usize].stored(base.offset, base.stored)?.to_vec();
        for piece in differences.iter().rev() {
            let segment = &self.segments[piece.segment as usize];
            delta::apply(segment.stored(piece.offset, piece.stored)?, &mut page)
                .map_err(|defect| StoreError::corrupt(segment.path(), piece.offset, defect.0))?;
        }
        self.assembled.lock().put(pieces[0], page.as_slice().into());
        Ok(Cow::Owned(page))
    }
}
