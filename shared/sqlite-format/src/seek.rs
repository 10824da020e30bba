//! Finds one row of a table by its rowid: a page per level of the tree.

use maniac_base::PageNo;

use crate::{Database, FormatError, PageKind, TreePage};

/// More levels than any tree of 2^32 pages can have.
const MAX_DEPTH: usize = 20;

impl<'s> Database<'s> {
    /// The leaf of the table b-tree below `root` that holds the row, and the row's cell in it; nothing if there is no
    /// such row.
    pub fn seek(&self, root: PageNo, rowid: i64) -> Result<Option<(TreePage<'s>, usize)>, FormatError> {
        let mut page = self.tree_page(root, PageNo(1), 0)?;
        for _ in 0..MAX_DEPTH {
            match page.kind() {
                PageKind::LeafTable => {
                    let place = partition(page.cell_count(), |i| Ok(page.cell(i)?.rowid < rowid))?;
                    let found = place < page.cell_count() && page.cell(place)?.rowid == rowid;
                    return Ok(found.then_some((page, place)));
                }
                PageKind::InteriorTable => {
                    // An interior cell's key is the largest rowid of its child.
                    let place = partition(page.cell_count(), |i| Ok(page.interior_rowid(i)? < rowid))?;
                    page = self.tree_page(page.child(place)?, page.no(), 0)?;
                }
                _ => return Err(FormatError::malformed(page.no(), 0, "not a page of a table's b-tree")),
            }
        }
        Err(FormatError::malformed(root, 0, "the b-tree refers back to itself"))
    }

    /// The largest rowid in the table b-tree below `root`; nothing if it has no rows.
    pub fn last_rowid(&self, root: PageNo) -> Result<Option<i64>, FormatError> {
        let mut page = self.tree_page(root, PageNo(1), 0)?;
        for _ in 0..MAX_DEPTH {
            match page.kind() {
                PageKind::LeafTable => {
                    let last = page.cell_count().checked_sub(1).map(|last| page.cell(last)).transpose()?;
                    return Ok(last.map(|cell| cell.rowid));
                }
                PageKind::InteriorTable => page = self.tree_page(page.child(page.cell_count())?, page.no(), 0)?,
                _ => return Err(FormatError::malformed(page.no(), 0, "not a page of a table's b-tree")),
            }
        }
        Err(FormatError::malformed(root, 0, "the b-tree refers back to itself"))
    }
}

/// The first of `count` places for which `before` is false, if it is true for all places in front of it.
fn partition(count: usize, mut before: impl FnMut(usize) -> Result<bool, FormatError>) -> Result<usize, FormatError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match before(middle)? {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}
