//! The transaction that most are: rows on some leaves changed, and every page kept its place.
//!
//! A leaf whose parent isn't dirty, and that is a leaf still, hangs where it hung. If that holds of every dirty page, and
//! page 1 says the same of the schema, then no tree changed its shape, no page of an overflow chain was written, and the
//! rows of those leaves are all there is to compare.

use std::ops::Range;

use maniac_base::{PageNo, PageSource};
use maniac_sqlite_format::{Database, FormatError, TreePage};

use crate::DiffError;
use crate::capture::Captured;
use crate::overflow::Chains;
use crate::row_diff::RowDiffer;
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
    new: &dyn PageSource,
    dirty: &[PageNo],
) -> Result<Option<Captured>, DiffError> {
    // Where chains are kept track of, those of the rows have to be noted.
    if old.page_count() != new.page_count() || tracker.overflow.is_some() {
        return Ok(None);
    }
    let pages = match dirty {
        [PageNo(1), pages @ ..] if same_first_page(old, new)? => pages,
        [PageNo(1), ..] => return Ok(None),
        pages => pages,
    };
    let new = &Database::known(new, *old.header());
    let mut changeset = Vec::new();
    if let [page] = *pages {
        match leaf(tracker, old, new, page) {
            Found::Leaf(leaf) => compare(&[leaf], old, new, &mut changeset)?,
            Found::Nothing => {}
            Found::Else => return Ok(None),
        }
    } else {
        let Some(leaves) = leaves(tracker, old, new, pages)? else { return Ok(None) };
        for leaves in leaves.chunk_by(|a, b| a.table.0.root == b.table.0.root) {
            compare(leaves, old, new, &mut changeset)?;
        }
    }
    Ok(Some(Captured { changeset, schema: Vec::new(), update: TrackerUpdate(Update::InPlace) }))
}

/// The counters in the header that every transaction writes, and no row or page depends on.
const COUNTERS: [Range<usize>; 2] = [24..28, 92..100];

/// Whether page 1 differs in nothing but its counters.
fn same_first_page(old: &Database<'_>, new: &dyn PageSource) -> Result<bool, DiffError> {
    let first = PageNo(1);
    let [change_counter, version_valid_for] = COUNTERS;
    let end = new.changed_bytes(first).end;
    let before = old.page(first, first, 0).map_err(DiffError::Old)?;
    let after = new.page(first).map_err(|error| DiffError::New(error.into()))?;
    Ok(before.len() == after.len()
        && before[..change_counter.start] == after[..change_counter.start]
        && before[change_counter.end..version_valid_for.start] == after[change_counter.end..version_valid_for.start]
        && (end <= version_valid_for.end || before[version_valid_for.end..end] == after[version_valid_for.end..end]))
}

/// What a dirty page is.
enum Found<'t, 's> {
    Leaf(Leaf<'t, 's>),
    /// Part of an index, or of a table whose rows nobody asks for.
    Nothing,
    /// Not a leaf that kept its place.
    Else,
}

fn leaf<'t, 's>(tracker: &'t Tracker, old: &Database<'s>, new: &Database<'s>, page: PageNo) -> Found<'t, 's> {
    let Some(root) = tracker.map.root_of(page).filter(|root| root.0 != 1) else { return Found::Else };
    // Whatever is malformed is for the general way to name.
    let (Ok(before), Ok(after)) = (old.tree_page(page, page, 0), new.tree_page(page, page, 0)) else {
        return Found::Else;
    };
    if !before.kind().is_leaf() || before.kind() != after.kind() {
        return Found::Else;
    }
    match tracker.schema.by_root.get(&root) {
        Some(table) => Found::Leaf(Leaf { table, before, after }),
        None => Found::Nothing,
    }
}

/// The dirty leaves of tables whose rows are tracked, if every dirty page is a leaf that kept its place. In the order of
/// the schema, and of the rows, whatever the pages.
fn leaves<'t, 's>(
    tracker: &'t Tracker,
    old: &Database<'s>,
    new: &Database<'s>,
    pages: &[PageNo],
) -> Result<Option<Vec<Leaf<'t, 's>>>, DiffError> {
    let mut leaves: Vec<Leaf<'t, 's>> = Vec::new();
    for &page in pages {
        match leaf(tracker, old, new, page) {
            Found::Leaf(leaf) => {
                let same_table = |other: &Leaf<'_, '_>| other.table.0.root == leaf.table.0.root;
                if !leaf.before.kind().is_table() && leaves.iter().any(same_table) {
                    // Their order is that of their keys.
                    return Ok(None);
                }
                leaves.push(leaf);
            }
            Found::Nothing => {}
            Found::Else => return Ok(None),
        }
    }
    let first_rowid = |leaf: &Leaf<'_, '_>| -> Result<i64, FormatError> {
        Ok(if leaf.after.cell_count() == 0 { 0 } else { leaf.after.cell(0)?.rowid })
    };
    if leaves.len() > 1 {
        leaves.iter().try_for_each(|leaf| first_rowid(leaf).map(drop)).map_err(DiffError::New)?;
        leaves.sort_by_cached_key(|leaf| (leaf.table.0.schema_rowid, first_rowid(leaf).unwrap_or_default()));
    }
    Ok(Some(leaves))
}

/// Appends what changed on leaves of one table.
fn compare(
    leaves: &[Leaf<'_, '_>],
    old: &Database<'_>,
    new: &Database<'_>,
    changeset: &mut Vec<u8>,
) -> Result<(), DiffError> {
    let chains = Chains { untouched: true, ..Chains::default() };
    let mut differ = RowDiffer::new(&leaves[0].table.1, Some(old), Some(new), &chains);
    for Leaf { before, after, .. } in leaves {
        differ.compare_leaf(before, after, new.source().changed_bytes(after.no()).end)?;
    }
    differ.finish(changeset);
    Ok(())
}
