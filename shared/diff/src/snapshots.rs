//! The difference of two whole snapshots.

use maniac_base::PageSource;
use maniac_sqlite_format::{Database, Schema, Selection, Table};

use crate::DiffError;
use crate::extent::{Extent, Side, extent};
use crate::overflow::Chains;
use crate::page_map::{MapDelta, PageMap};
use crate::row_diff::{RowDiffer, TableShape};
use crate::schema_match::{TableMatch, match_tables};
use crate::touched::Touched;
use crate::tree_diff::TreeDiffer;

/// What changed in one table.
#[derive(Debug)]
pub struct TableDiff<'t> {
    /// As it is in the newer snapshot.
    pub table: &'t Table,
    /// This table's part of the changeset, header included.
    pub changeset: Vec<u8>,
}

/// Is asked whether the rows of a table are wanted, of which about so many changed.
pub type Wanted<'f> = &'f mut dyn FnMut(&Table, Extent) -> bool;

type Sink<'f> = &'f mut dyn FnMut(TableDiff<'_>) -> Result<(), DiffError>;

/// Compares two snapshots, of which the older may be empty, and hands each table with changes to `sink`, in the order of
/// the newer schema. Returns the changeset of `sqlite_schema`.
///
/// This reads both snapshots whole. Where the pages that may differ are known, a [`Tracker`](crate::Tracker) of the older
/// snapshot compares at a cost proportional to those; and the rows of a single snapshot are read faster and without a
/// changeset by [`Rows`](maniac_sqlite_format::Rows).
pub fn diff(old: &dyn PageSource, new: &dyn PageSource, sink: Sink<'_>) -> Result<Vec<u8>, DiffError> {
    let open = |source| Database::open(source);
    let (old, new) = (open(old).map_err(DiffError::Old)?, open(new).map_err(DiffError::New)?);
    let read = |db: &Option<Database<'_>>| db.as_ref().map(Schema::read_from).transpose();
    let old_schema = read(&old).map_err(DiffError::Old)?.unwrap_or_default();
    let new_schema = read(&new).map_err(DiffError::New)?.unwrap_or_default();
    diff_all((old.as_ref(), &old_schema), (new.as_ref(), &new_schema), Selection::Changeset, None, sink)
}

/// All rows of some tables of a snapshot, as inserts.
pub fn whole_tables(source: &dyn PageSource, wanted: &dyn Fn(&Table) -> bool) -> Result<Vec<u8>, DiffError> {
    let Some(db) = Database::open(source).map_err(DiffError::New)? else { return Ok(Vec::new()) };
    whole(&db, &Schema::read_from(&db).map_err(DiffError::New)?, wanted)
}

/// All rows of one table of a snapshot, as inserts; nothing if there is none of that name.
pub fn whole_table(source: &dyn PageSource, name: &str) -> Result<Vec<u8>, DiffError> {
    let Some(db) = Database::open(source).map_err(DiffError::New)? else { return Ok(Vec::new()) };
    whole(&db, &Schema::read_tables(&db, [name]).map_err(DiffError::New)?, &|_| true)
}

fn whole(db: &Database<'_>, schema: &Schema, wanted: &dyn Fn(&Table) -> bool) -> Result<Vec<u8>, DiffError> {
    let mut changeset = Vec::new();
    for pair in match_tables(&Schema::default(), schema) {
        let Some(table) = pair.new.as_ref().filter(|table| table.root.0 != 0 && wanted(table)) else { continue };
        rows_of_pair(&pair, table, Selection::Changeset, (None, Some(db)), &mut None, &mut changeset)?;
    }
    Ok(changeset)
}

/// Appends what changed in the rows of one table, if they are wanted.
pub(crate) fn rows_of_pair(
    pair: &TableMatch,
    table: &Table,
    selection: Selection,
    (old, new): (Option<&Database<'_>>, Option<&Database<'_>>),
    wanted: &mut Option<Wanted<'_>>,
    changeset: &mut Vec<u8>,
) -> Result<(), DiffError> {
    let (map, touched) = (PageMap::default(), Touched::default());
    let differ = TreeDiffer { map: &map, touched: &touched, old, new, all: true };
    let chains = Chains { all: true, ..Chains::default() };
    let before = pair.old.as_ref().map(|table| table.root);
    let tree = differ.run(before, Some(table.root), &mut MapDelta::default())?;
    if let Some(wanted) = wanted {
        let (old, new) = (Side { db: old, root: before }, Side { db: new, root: Some(table.root) });
        if !wanted(table, extent(old, new, &tree, !table.without_rowid)?) {
            return Ok(());
        }
    }
    RowDiffer::new(&TableShape::new(pair, table, selection, (old, new)), old, new, &chains).run(&tree, changeset)
}

pub(crate) fn diff_all<'s>(
    (old, old_schema): (Option<&Database<'s>>, &Schema),
    (new, new_schema): (Option<&Database<'s>>, &Schema),
    selection: Selection,
    mut wanted: Option<Wanted<'_>>,
    sink: Sink<'_>,
) -> Result<Vec<u8>, DiffError> {
    let schema = schema_rows(old, new)?;
    for pair in match_tables(old_schema, new_schema) {
        let Some(table) = pair.new.as_ref().filter(|table| table.is_tracked()) else { continue };
        let mut changeset = Vec::new();
        rows_of_pair(&pair, table, selection, (old, new), &mut wanted, &mut changeset)?;
        if !changeset.is_empty() {
            sink(TableDiff { table, changeset })?;
        }
    }
    Ok(schema)
}

/// What changed in `sqlite_schema` itself.
pub(crate) fn schema_rows<'s>(old: Option<&Database<'s>>, new: Option<&Database<'s>>) -> Result<Vec<u8>, DiffError> {
    let (map, touched) = (PageMap::default(), Touched::default());
    let differ = TreeDiffer { map: &map, touched: &touched, old, new, all: true };
    let chains = Chains { all: true, ..Chains::default() };
    let root = |db: Option<&Database<'_>>| db.map(|_| maniac_base::PageNo(1));
    let tree = differ.run(root(old), root(new), &mut MapDelta::default())?;
    let mut schema = Vec::new();
    RowDiffer::new(&TableShape::of_schema(old, new), old, new, &chains).run(&tree, &mut schema)?;
    Ok(schema)
}
