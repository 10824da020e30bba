//! The transaction that most are: rows on some leaves changed, and every page kept its place.
//!
//! A leaf whose parent isn't dirty, and that is a leaf still, hangs where it hung. If that holds of every dirty page, and
//! page 1 says the same of the schema, then no tree changed its shape, no page of an overflow chain was written, and the
//! rows of those leaves are all there is to compare.

use maniac_base::PageNo;
use maniac_sqlite_format::Database;

use crate::DiffError;
use crate::capture::{Captured, same_schema_page};
use crate::overflow::Chains;
use crate::row_diff::RowDiffer;
use crate::tracker::{Step, TrackedTable, Tracker, TrackerUpdate, Update};
use crate::tree_diff::{Segment, TreeDiff};

/// A dirty leaf of a table.
struct Leaf<'t> {
    table: &'t TrackedTable,
    /// Orders the leaves of one table.
    first_rowid: i64,
    page: PageNo,
}

/// What changed, if the transaction is one of those; nothing if it has to be looked at more closely.
pub(crate) fn capture(
    tracker: &Tracker,
    old: &Database<'_>,
    new: &Database<'_>,
    dirty: &[PageNo],
) -> Result<Option<Captured>, DiffError> {
    let Some(mut leaves) = leaves(tracker, old, new, dirty)? else { return Ok(None) };
    // The order of the schema, whatever the pages.
    leaves.sort_by_key(|leaf| (leaf.table.0.schema_rowid, leaf.first_rowid));
    let (mut changeset, mut summary) = (Vec::new(), Vec::new());
    let chains = Chains { untouched: true, ..Chains::default() };
    for leaves in leaves.chunk_by(|a, b| a.table.0.root == b.table.0.root) {
        let segments: Vec<Segment> = leaves.iter().map(|leaf| Segment { page: leaf.page, cell: None }).collect();
        let (table, shape) = leaves[0].table;
        let diff = TreeDiff { old: segments.clone(), new: segments };
        let counts = RowDiffer::new(shape, Some(old), Some(new), &chains).run(&diff, &mut changeset)?;
        summary.extend(crate::TableSummary::of(table, counts));
    }
    let step = Step::in_place(*new.header(), new.page_count());
    Ok(Some(Captured { changeset, schema: Vec::new(), summary, update: TrackerUpdate(Update::Step(Box::new(step))) }))
}

/// The dirty leaves of tables whose rows are tracked, if every dirty page is a leaf that kept its place.
fn leaves<'t>(
    tracker: &'t Tracker,
    old: &Database<'_>,
    new: &Database<'_>,
    dirty: &[PageNo],
) -> Result<Option<Vec<Leaf<'t>>>, DiffError> {
    // Where chains are kept track of, those of the rows have to be noted.
    if old.page_count() != new.page_count() || tracker.overflow.is_some() {
        return Ok(None);
    }
    let mut leaves: Vec<Leaf<'t>> = Vec::new();
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
        let first_rowid = match after.cell_count() {
            0 => 0,
            _ => after.cell(0).map_err(DiffError::New)?.rowid,
        };
        leaves.push(Leaf { table, first_rowid, page });
    }
    Ok(Some(leaves))
}
