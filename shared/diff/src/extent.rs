//! About how much of a table's rows a transaction changed, from a sample of the pages that may differ: enough to tell whether
//! it is worth comparing them all.
//!
//! Rows are looked up by their rowids on the other side, so that a row which only moved to another page counts as the same.
//! Rows of a WITHOUT ROWID table are looked for on the page of the same number.

use maniac_base::PageNo;
use maniac_sqlite_format::{Cell, Database, FormatError};
use rustc_hash::FxHashSet;

use crate::DiffError;
use crate::tree_diff::{Segment, TreeDiff};

/// About how many rows of a table changed, and how many bytes their records have before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub rows: u64,
    pub bytes: u64,
}

/// What a sample has of each side: so many segments, and so many rows of each.
const SEGMENTS: usize = 64;
const CELLS: usize = 8;

/// A b-tree on one side, for those who look for rows of the other.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a, 's> {
    pub db: Option<&'a Database<'s>>,
    pub root: Option<PageNo>,
}

/// What was seen of one side's rows.
#[derive(Clone, Copy, Default)]
struct Seen {
    segments: u64,
    rows: u64,
    looked_at: u64,
    /// Of those that were looked at, on the other side not at all, or not so.
    missing: u64,
    differing: u64,
    bytes: u64,
}

impl Seen {
    /// So many of the rows in `segments`, as `share` is of those looked at.
    fn of(self, segments: usize, share: u64) -> u64 {
        let scaled = u128::from(self.rows) * segments as u128 * u128::from(share);
        u64::try_from(scaled / u128::from((self.segments * self.looked_at).max(1))).unwrap_or(u64::MAX)
    }

    fn row_bytes(self) -> u64 {
        self.bytes / self.looked_at.max(1)
    }
}

/// How much of a tree's rows differs. `by_rowid`: it is a tree of rowids.
pub(crate) fn extent(
    old: Side<'_, '_>,
    new: Side<'_, '_>,
    diff: &TreeDiff,
    by_rowid: bool,
) -> Result<Extent, DiffError> {
    let before = look(old, new, (&diff.old, &diff.new), by_rowid).map_err(DiffError::Old)?;
    let after = look(new, old, (&diff.new, &diff.old), by_rowid).map_err(DiffError::New)?;
    let gone = before.of(diff.old.len(), before.missing);
    let come = after.of(diff.new.len(), after.missing);
    let rows = match by_rowid {
        true => gone + come + after.of(diff.new.len(), after.differing),
        // An update is one row that is gone and one that came.
        false => gone.max(come),
    };
    Ok(Extent { rows, bytes: rows * (before.row_bytes() + after.row_bytes()) })
}

fn look(
    side: Side<'_, '_>,
    other: Side<'_, '_>,
    (segments, others): (&[Segment], &[Segment]),
    by_rowid: bool,
) -> Result<Seen, FormatError> {
    let mut seen = Seen::default();
    let Some(db) = side.db else { return Ok(seen) };
    // A page that left the tree may still have its bytes.
    let pages: FxHashSet<PageNo> = others.iter().filter(|_| !by_rowid).map(|segment| segment.page).collect();
    let count = segments.len().min(SEGMENTS);
    for n in 0..count {
        let segment = segments[n * segments.len() / count];
        let page = db.tree_page(segment.page, segment.page, 0)?;
        let cells = match segment.cell {
            Some(cell) => cell..(cell + 1).min(page.cell_count()),
            None => 0..page.cell_count(),
        };
        seen.segments += 1;
        seen.rows += cells.len() as u64;
        let known = pages.get(&segment.page).map(|page| records_of(other, *page)).unwrap_or_default();
        for cell in cells.clone().step_by(cells.len().div_ceil(CELLS).max(1)) {
            let cell = page.cell(cell)?;
            seen.looked_at += 1;
            seen.bytes += cell.len as u64;
            match by_rowid {
                true => match find(other, &cell)? {
                    None => seen.missing += 1,
                    Some(same) => seen.differing += u64::from(!same),
                },
                false => seen.missing += u64::from(!known.contains(cell.local)),
            }
        }
    }
    Ok(seen)
}

/// Whether the other side has the row as it is here; nothing if it has none of the rowid. Of a row that goes on elsewhere
/// nobody knows without reading that.
fn find(other: Side<'_, '_>, cell: &Cell<'_>) -> Result<Option<bool>, FormatError> {
    let (Some(db), Some(root)) = (other.db, other.root) else { return Ok(None) };
    let Some((page, place)) = db.seek(root, cell.rowid)? else { return Ok(None) };
    let found = page.cell(place)?;
    Ok(Some(cell.overflow.is_none() && found.overflow.is_none() && found.local == cell.local))
}

/// The records on a page of the other side.
fn records_of(other: Side<'_, '_>, page: PageNo) -> FxHashSet<Vec<u8>> {
    let page = other.db.and_then(|db| db.tree_page(page, page, 0).ok());
    let cells = |page: maniac_sqlite_format::TreePage<'_>| {
        let cells = (0..page.cell_count()).filter_map(|cell| page.cell(cell).ok().map(|cell| cell.local.to_vec()));
        cells.collect()
    };
    page.map(cells).unwrap_or_default()
}
