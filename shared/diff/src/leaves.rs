//! The transaction that most are: rows on some leaves changed, and every page kept its place.
//!
//! A leaf whose parent isn't dirty, and that is a leaf still, hangs where it hung. If that holds of every dirty page, and
//! page 1 says the same of the schema, then no tree changed its shape, no page of an overflow chain was written, and the
//! rows of those leaves are all there is to compare.

use maniac_base::PageNo;
use maniac_sqlite_format::{Database, FormatError, TreePage};

use crate::DiffError;
use crate::capture::{Captured, TableSummary, same_schema_page};
use crate::overflow::Chains;
use crate::row_diff::RowDiffer;
use crate::segments::Cells;
use crate::tracker::{TrackedTable, Tracker, TrackerUpdate, Update};

/// A dirty leaf of a table, before and after.
struct Leaf<'t, 's> {
    table: &'t TrackedTable,
    before: TreePage<'s>,
    after: TreePage<'s>,
}

/// What changed, if the transaction is one of those; nothing if it has to be looked at more closely.
pub(crate) fn capture(
    tracker: &Tracker,
    old: &Database<'_>,
    new: &Database<'_>,
    dirty: &[PageNo],
) -> Result<Option<Captured>, DiffError> {
    let Some(mut leaves) = leaves(tracker, old, new, dirty)? else { return Ok(None) };
    if leaves.len() > 1 {
        // The order of the schema, and of the rows, whatever the pages.
        let first_rowid = |leaf: &Leaf<'_, '_>| -> Result<i64, FormatError> {
            Ok(if leaf.after.cell_count() == 0 { 0 } else { leaf.after.cell(0)?.rowid })
        };
        leaves.iter().try_for_each(|leaf| first_rowid(leaf).map(drop)).map_err(DiffError::New)?;
        leaves.sort_by_cached_key(|leaf| (leaf.table.0.schema_rowid, first_rowid(leaf).unwrap_or_default()));
    }
    let (mut changeset, mut summary) = (Vec::new(), Vec::new());
    let chains = Chains { untouched: true, ..Chains::default() };
    let mut leaves = leaves.into_iter().peekable();
    while let Some(leaf) = leaves.next() {
        let (table, shape) = leaf.table;
        let mut differ = RowDiffer::new(shape, Some(old), Some(new), &chains);
        let mut leaf = Some(leaf);
        while let Some(Leaf { before, after, .. }) = leaf {
            differ.compare(Cells::of_leaf(old, before), Cells::of_leaf(new, after))?;
            leaf = leaves.next_if(|next| next.table.0.root == table.root);
        }
        summary.extend(TableSummary::of(table, differ.finish(&mut changeset)));
    }
    let update = TrackerUpdate(Update::InPlace(*new.header()));
    Ok(Some(Captured { changeset, schema: Vec::new(), summary, update }))
}

/// The dirty leaves of tables whose rows are tracked, if every dirty page is a leaf that kept its place.
fn leaves<'t, 's>(
    tracker: &'t Tracker,
    old: &Database<'s>,
    new: &Database<'s>,
    dirty: &[PageNo],
) -> Result<Option<Vec<Leaf<'t, 's>>>, DiffError> {
    // Where chains are kept track of, those of the rows have to be noted.
    if old.page_count() != new.page_count() || tracker.overflow.is_some() {
        return Ok(None);
    }
    let mut leaves: Vec<Leaf<'t, 's>> = Vec::new();
    for &page in dirty {
        if page == PageNo(1) {
            if !same_schema_page(old, new)? {
                return Ok(None);
            }
            continue;
        }
        let Some(root) = tracker.map.root_of(page).filter(|root| root.0 != 1) else { return Ok(None) };
        // Whatever is malformed is for the general way to name.
        let (Ok(before), Ok(after)) = (old.tree_page(page, page, 0), new.tree_page(page, page, 0)) else {
            return Ok(None);
        };
        if !before.kind().is_leaf() || before.kind() != after.kind() {
            return Ok(None);
        }
        let Some(table) = tracker.schema.by_root.get(&root) else { continue };
        if !before.kind().is_table() && leaves.iter().any(|leaf| leaf.table.0.root == root) {
            // Their order is that of their keys.
            return Ok(None);
        }
        leaves.push(Leaf { table, before, after });
    }
    Ok(Some(leaves))
}
