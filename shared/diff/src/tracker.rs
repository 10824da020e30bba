//! What has to be known of a snapshot to compare the next one with it cheaply.

use std::sync::Arc;

use maniac_base::{PageNo, PageSource};
use maniac_sqlite_format::{Database, FormatError, Header, Schema, Selection, Table, TreeWalk};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::DiffError;
use crate::overflow::OverflowMap;
use crate::page_map::{MapDelta, PageMap};
use crate::row_diff::TableShape;
use crate::schema_match::TableMatch;

/// Follows one branch from snapshot to snapshot.
///
/// Holds four bytes a page and the schema. To start costs reading the interior pages of all b-trees, about a hundredth of
/// a database.
#[derive(Clone, Debug)]
pub struct Tracker {
    pub(crate) map: PageMap,
    pub(crate) schema: Arc<TrackedSchema>,
    /// The overflow chains of `sqlite_schema`, always noted: whether the schema changed must be known first.
    pub(crate) schema_chains: OverflowMap,
    /// Those of all tables, once they were needed.
    pub(crate) overflow: Option<OverflowMap>,
    /// Nothing while the database is empty.
    pub(crate) header: Option<Header>,
}

/// A schema with what is looked up in it at every commit.
#[derive(Debug, Default)]
pub(crate) struct TrackedSchema {
    pub schema: Schema,
    /// The tables whose rows are tracked, by root page, and how their rows are compared while the schema stays.
    pub by_root: FxHashMap<PageNo, TrackedTable>,
    /// Which columns changesets have.
    pub selection: Selection,
}

pub(crate) type TrackedTable = (Arc<Table>, Arc<TableShape>);

/// How to get from one snapshot to the next; see [`Tracker::advance`].
#[derive(Debug)]
pub struct TrackerUpdate(pub(crate) Update);

#[derive(Debug)]
pub(crate) enum Update {
    /// Every page of a tree stayed where it was, and the header says what it said.
    InPlace,
    Step(Box<Step>),
    Rebuilt(Box<Tracker>),
}

#[derive(Debug)]
pub(crate) struct Step {
    pub delta: MapDelta,
    pub page_count: u32,
    pub header: Header,
    /// Only if it changed.
    pub schema: Option<Arc<TrackedSchema>>,
    /// The chains of all tables before the step, if they had to be noted for it.
    pub noted: Option<OverflowMap>,
    /// Chains that are new or have another owner.
    pub chains: OverflowMap,
    pub schema_chains: OverflowMap,
}

impl TrackedSchema {
    pub(crate) fn none(selection: Selection) -> TrackedSchema {
        TrackedSchema { selection, ..TrackedSchema::default() }
    }

    fn read(db: &Database<'_>, selection: Selection) -> Result<TrackedSchema, FormatError> {
        TrackedSchema::none(selection).with(Schema::read_from(db)?, db)
    }

    /// The schema that `db` has, which differs from this one in these rows of `sqlite_schema` alone.
    pub fn with_changes(&self, db: &Database<'_>, rowids: &[i64]) -> Result<TrackedSchema, FormatError> {
        self.with(self.schema.with_changes(db, rowids)?, db)
    }

    /// A schema of `db`, of which this one knows the tables that they share.
    pub(crate) fn with(&self, schema: Schema, db: &Database<'_>) -> Result<TrackedSchema, FormatError> {
        check_owners(&schema)?;
        let unchanged = |table: &Arc<Table>| {
            let columns = (0..table.columns.len()).map(Some).collect();
            let pair = TableMatch { old: Some(table.clone()), new: Some(table.clone()), columns };
            Arc::new(TableShape::new(&pair, table, self.selection, (Some(db), Some(db))))
        };
        let track = |table: &Arc<Table>| match self.by_root.get(&table.root) {
            Some(known) if Arc::ptr_eq(&known.0, table) => Ok((table.root, known.clone())),
            _ => check_root(db, table).map(|()| (table.root, (table.clone(), unchanged(table)))),
        };
        let tracked = schema.tables.iter().filter(|table| table.is_tracked());
        let by_root = tracked.map(track).collect::<Result<_, _>>()?;
        Ok(TrackedSchema { schema, by_root, selection: self.selection })
    }

    /// The roots of the tables whose rows are tracked.
    pub fn roots(&self) -> impl Iterator<Item = PageNo> + '_ {
        self.by_root.keys().copied()
    }
}

impl Tracker {
    /// Starts at a snapshot. `page_count() == 0` is an empty database.
    pub fn new(source: &dyn PageSource) -> Result<Tracker, DiffError> {
        Tracker::start(source, Selection::Changeset)
    }

    /// The same for changesets that have stored generated columns too, unlike SQLite's.
    pub fn of_records(source: &dyn PageSource) -> Result<Tracker, DiffError> {
        Tracker::start(source, Selection::Stored)
    }

    pub(crate) fn start(source: &dyn PageSource, selection: Selection) -> Result<Tracker, DiffError> {
        let tracker = match Database::open(source).map_err(DiffError::Old)? {
            Some(db) => Tracker::build(&db, selection).map_err(DiffError::Old)?,
            None => Tracker {
                map: PageMap::default(),
                schema: Arc::new(TrackedSchema::none(selection)),
                schema_chains: OverflowMap::default(),
                overflow: None,
                header: None,
            },
        };
        Ok(tracker)
    }

    fn build(db: &Database<'_>, selection: Selection) -> Result<Tracker, FormatError> {
        let schema = TrackedSchema::read(db, selection)?;
        let roots = std::iter::once(PageNo(1)).chain(schema.schema.roots());
        let map = PageMap::build(db, roots)?;
        let schema_chains = note_chains(db, [PageNo(1)])?;
        Ok(Tracker { map, schema: Arc::new(schema), schema_chains, overflow: None, header: Some(*db.header()) })
    }

    pub fn schema(&self) -> &Schema {
        &self.schema.schema
    }

    /// Pages of the snapshot that the tracker is at.
    pub fn page_count(&self) -> u32 {
        self.map.page_count()
    }

    /// Moves to the snapshot that a capture compared with, once that is durable. Updates must be applied in the order of
    /// the captures that gave them; one whose transaction was rolled back is thrown away.
    pub fn advance(&mut self, update: TrackerUpdate) {
        match update.0 {
            Update::InPlace => {}
            Update::Rebuilt(tracker) => *self = *tracker,
            Update::Step(step) => {
                self.map.apply(step.delta, step.page_count);
                self.header = Some(step.header);
                self.schema_chains.merge(step.schema_chains);
                if let Some(schema) = step.schema {
                    self.schema = schema;
                }
                if step.noted.is_some() {
                    self.overflow = step.noted;
                }
                if let Some(overflow) = &mut self.overflow {
                    overflow.merge(step.chains);
                }
            }
        }
    }

    /// Whether this tracker knows what one that is freshly built from `source` knows: the invariant that every
    /// [`Tracker::advance`] must keep.
    pub fn agrees_with(&self, source: &dyn PageSource) -> Result<bool, DiffError> {
        let fresh = Tracker::new(source)?;
        let same_chains = match (&self.overflow, Database::open(source).map_err(DiffError::Old)?) {
            (Some(known), Some(db)) => known.covers(&note_chains(&db, fresh.schema.roots()).map_err(DiffError::Old)?),
            _ => true,
        };
        Ok(self.map == fresh.map
            && self.schema.schema == fresh.schema.schema
            && self.schema_chains.covers(&fresh.schema_chains)
            && self.header.map(|header| header.auto_vacuum) == fresh.header.map(|header| header.auto_vacuum)
            && same_chains)
    }
}

/// Whether each b-tree has one owner. `PRAGMA writable_schema` can put two tables, or a table and an index, into one; whose
/// rows these are nobody can tell.
fn check_owners(schema: &Schema) -> Result<(), FormatError> {
    let mut owners = FxHashMap::with_capacity_and_hasher(schema.rows.len(), FxBuildHasher);
    for row in schema.rows.iter().filter(|row| row.root != 0) {
        if let Some(other) = owners.insert(row.root, &row.name) {
            let reason = format!("it has its root page, {}, in common with {other}", row.root);
            return Err(FormatError::Schema { table: row.name.clone(), reason });
        }
    }
    Ok(())
}

/// Whether a table has a b-tree of its kind: `sqlite_schema` may say anything.
pub(crate) fn check_root(db: &Database<'_>, table: &Table) -> Result<(), FormatError> {
    if db.tree_page(table.root, PageNo(1), 0)?.kind().is_table() == table.without_rowid {
        let reason = format!("its root page, {}, is that of another kind of b-tree", table.root);
        return Err(FormatError::Schema { table: table.name.clone(), reason });
    }
    Ok(())
}

/// Notes the overflow chains of these trees, which means reading every leaf of them.
pub(crate) fn note_chains(
    db: &Database<'_>,
    roots: impl IntoIterator<Item = PageNo>,
) -> Result<OverflowMap, FormatError> {
    let mut map = OverflowMap::default();
    for root in roots {
        let mut walk = TreeWalk::new(db, root)?;
        while let Some(cell) = walk.next()? {
            map.add(db, &cell)?;
        }
    }
    Ok(map)
}
