//! Overflow pages that changed under leaves that didn't.
//!
//! SQLite overwrites a row of the same size in place. If only its tail differs, the leaf isn't written: a commit may
//! dirty page 1 and one overflow page and nothing else. So every dirty page that belonged to no b-tree before has to be
//! explained. In the newer snapshot it can be
//!
//! - part of a b-tree, beyond the old end, a pointer map: nothing to do;
//! - in the chain of a cell on a dirty page, or on the freelist: it is looked at anyway, or holds nothing;
//! - in the chain of a cell whose page is not dirty: that page has to be looked at as if it were.
//!
//! The last case needs to know whose page it is. An auto-vacuum database says so in its pointer maps. Otherwise the
//! chains of all tables are noted once, when the first such page shows up, and kept up to date from then on.

use maniac_base::PageNo;
use maniac_sqlite_format::{Cell, Database, FormatError, PtrmapKind, chain};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::segments::Cells;
use crate::tree_diff::Segment;

/// The overflow chains of a database's tables. Entries of chains that are gone may linger, so what it says is a hint: the
/// cell itself tells whether a page is in its chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OverflowMap {
    /// A page of a chain -> the chain's first page.
    heads: FxHashMap<PageNo, PageNo>,
    /// The first page of a chain -> the b-tree page with its cell.
    owners: FxHashMap<PageNo, PageNo>,
}

impl OverflowMap {
    pub fn owner(&self, page: PageNo) -> Option<PageNo> {
        self.owners.get(self.heads.get(&page)?).copied()
    }

    pub fn add(&mut self, db: &Database<'_>, cell: &Cell<'_>) -> Result<(), FormatError> {
        let Some(head) = cell.overflow else { return Ok(()) };
        for page in chain(db, cell)? {
            self.heads.insert(page, head);
        }
        self.owners.insert(head, cell.page);
        Ok(())
    }

    pub fn merge(&mut self, newer: OverflowMap) {
        self.heads.extend(newer.heads);
        self.owners.extend(newer.owners);
    }

    /// Whether everything that `exact` says is here too.
    pub fn covers(&self, exact: &OverflowMap) -> bool {
        exact.heads.iter().all(|(page, head)| self.heads.get(page) == Some(head))
            && exact.owners.iter().all(|(head, owner)| self.owners.get(head) == Some(owner))
    }
}

/// Which overflow chains of the newer snapshot may differ from the older one's.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// Every chain counts as changed.
    pub all: bool,
    pub dirty: FxHashSet<PageNo>,
    /// Dirty pages that may be in the chain of a cell whose first overflow page isn't dirty.
    pub unexplained: FxHashSet<PageNo>,
    /// No page that may have been in a chain is dirty: every cell that stayed kept its chain.
    pub untouched: bool,
}

impl Chains {
    /// Whether the chain of a cell that is otherwise the same in both snapshots may hold a dirty page.
    pub fn may_differ(&self, db: &Database<'_>, cell: &Cell<'_>) -> Result<bool, FormatError> {
        let Some(head) = cell.overflow else { return Ok(false) };
        if self.all || self.dirty.contains(&head) {
            return Ok(true);
        }
        if self.unexplained.is_empty() {
            return Ok(false);
        }
        Ok(chain(db, cell)?.iter().any(|page| self.unexplained.contains(page)))
    }

    /// Strikes off the pages in chains that start with a dirty page (`rewritten`), or in the others.
    pub fn explain_by_cells(
        &self,
        db: &Database<'_>,
        segments: &[Segment],
        rewritten: bool,
        left: &mut FxHashSet<PageNo>,
    ) -> Result<(), FormatError> {
        let mut cells = Cells::new(Some(db), segments)?;
        while !left.is_empty() {
            let Some(cell) = cells.current()? else { break };
            if cell.overflow.is_some_and(|head| self.dirty.contains(&head) == rewritten) {
                for page in chain(db, &cell)? {
                    left.remove(&page);
                }
            }
            cells.advance()?;
        }
        Ok(())
    }
}

/// Strikes off the pages of the freelist. It is a chain of trunk pages: the next trunk, a count, that many free pages.
pub(crate) fn explain_by_freelist(db: &Database<'_>, left: &mut FxHashSet<PageNo>) -> Result<(), FormatError> {
    let header = db.header();
    let mut next = PageNo(header.freelist_trunk);
    let mut from = (PageNo(1), 32);
    let mut trunks = 0;
    while next.0 != 0 && !left.is_empty() {
        trunks += 1;
        if trunks > header.freelist_count {
            return Err(FormatError::malformed(from.0, from.1, "the freelist is longer than the header says"));
        }
        let page = db.page(next, from.0, from.1)?;
        let word = |i: usize| u32::from_be_bytes([page[4 * i], page[4 * i + 1], page[4 * i + 2], page[4 * i + 3]]);
        left.remove(&next);
        let count = word(1) as usize;
        if count > header.usable / 4 - 2 {
            return Err(FormatError::malformed(next, 4, "more free pages than the page has room for"));
        }
        for i in 0..count {
            left.remove(&PageNo(word(2 + i)));
        }
        from = (next, 0);
        next = PageNo(word(0));
    }
    Ok(())
}

/// The b-tree page whose cell has an overflow page in its chain, as the pointer maps of an auto-vacuum database say.
pub(crate) fn owner_by_ptrmap(db: &Database<'_>, page: PageNo) -> Result<Option<PageNo>, FormatError> {
    let mut page = page;
    for _ in 0..db.page_count() {
        match db.ptrmap_entry(page)? {
            (PtrmapKind::OverflowHead, owner) => return Ok(Some(owner)),
            (PtrmapKind::OverflowNext, before) => {
                if before.0 < 3 || before.0 > db.page_count() || db.is_ptrmap(before) || before == db.lock_page() {
                    return Err(FormatError::malformed(page, 0, "its pointer map entry names no overflow page"));
                }
                page = before;
            }
            _ => return Ok(None),
        }
    }
    Err(FormatError::malformed(page, 0, "the pointer maps go round in a circle"))
}
