//! The capture of one transaction: from dirty pages to a changeset.

use std::sync::Arc;

use maniac_base::{PageNo, PageSource};
use maniac_changeset::{Item, Reader};
use maniac_sqlite_format::{Database, SchemaRow, Table};
use rustc_hash::FxHashSet;

use crate::DiffError;
use crate::extent::{Extent, Side, extent};
use crate::leaves;
use crate::overflow::{Chains, OverflowMap, explain_by_freelist, owner_by_ptrmap};
use crate::page_map::MapDelta;
use crate::row_diff::{RowDiffer, TableShape};
use crate::schema_match::{TableMatch, differing, match_changed};
use crate::segments::Cells;
use crate::snapshots::{Wanted, diff_all};
use crate::touched::Touched;
use crate::tracker::{Step, TrackedSchema, TrackedTable, Tracker, TrackerUpdate, Update, note_chains};
use crate::tree_diff::{Segment, TreeDiff, TreeDiffer};

/// Bytes of page 1 before its b-tree page starts.
const HEADER_LEN: usize = 100;

/// What a transaction changed.
#[derive(Debug)]
pub struct Captured {
    /// Row changes, in the shape of the newer schema.
    pub changeset: Vec<u8>,
    /// A changeset of `sqlite_schema`, keyed by rowid. Empty when the schema didn't change.
    pub schema: Vec<u8>,
    pub update: TrackerUpdate,
}

/// A b-tree before and after, and the table whose rows are in it.
struct Tree {
    old: Option<PageNo>,
    new: Option<PageNo>,
    /// Rows of the older snapshot alone make no changes: their table was dropped.
    rows: Option<TrackedTable>,
    tracked: bool,
    diff: TreeDiff,
    delta: MapDelta,
}

struct Capture<'a, 's> {
    tracker: &'a Tracker,
    old: &'a Database<'s>,
    new: &'a Database<'s>,
    /// The schema of the newer snapshot, where it is known.
    newer: Option<Arc<TrackedSchema>>,
    touched: Touched,
    chains: Chains,
}

impl Tracker {
    /// What changed from `old`, the snapshot that the tracker is at, to `new`, which was built on it. `dirty` are the pages whose bytes may
    /// differ; pages that SQLite freed without writing them need not be among them.
    pub fn capture(&self, old: &dyn PageSource, new: &dyn PageSource, dirty: &[PageNo]) -> Result<Captured, DiffError> {
        self.capture_for(old, new, dirty, None, None)
    }

    /// The same without the rows of tables that are not wanted.
    pub fn capture_wanted(
        &self,
        old: &dyn PageSource,
        new: &dyn PageSource,
        dirty: &[PageNo],
        wanted: Wanted<'_>,
    ) -> Result<Captured, DiffError> {
        self.capture_for(old, new, dirty, Some(wanted), None)
    }

    /// The same where the newer snapshot's tracker is known, or that of a part of its tables.
    pub(crate) fn capture_as(
        &self,
        old: &dyn PageSource,
        new: &dyn PageSource,
        dirty: &[PageNo],
        newer: &Tracker,
    ) -> Result<Captured, DiffError> {
        self.capture_for(old, new, dirty, None, Some(newer))
    }

    fn capture_for(
        &self,
        old: &dyn PageSource,
        new: &dyn PageSource,
        dirty: &[PageNo],
        wanted: Option<Wanted<'_>>,
        newer: Option<&Tracker>,
    ) -> Result<Captured, DiffError> {
        if old.page_count() != self.page_count() {
            return Err(DiffError::OutOfStep { expected: self.page_count(), found: old.page_count() });
        }
        let old_db = self.header.map(|header| Database::known(old, header));
        if wanted.is_none()
            && let Some(old_db) = &old_db
            && let Some(captured) = leaves::capture(self, old_db, new, dirty)?
        {
            return Ok(captured);
        }
        let new_db = Database::open(new).map_err(DiffError::New)?;
        if let (Some(old_db), Some(new_db)) = (&old_db, &new_db)
            && same_geometry(old_db, new_db)
        {
            let touched = Touched::new(&self.map, dirty);
            let chains = Chains { dirty: touched.dirty().collect(), ..Chains::default() };
            let newer = newer.map(|newer| newer.schema.clone());
            return Capture { tracker: self, old: old_db, new: new_db, newer, touched, chains }.run(wanted);
        }
        // The first transaction of a database, or a VACUUM that gave its pages another shape.
        let tracker = Box::new(match newer {
            Some(newer) => newer.clone(),
            None => Tracker::start(new, self.schema.selection)?,
        });
        let newer = tracker.schema.clone();
        let mut changeset = Vec::new();
        let schema = diff_all(
            (old_db.as_ref(), &self.schema.schema),
            (new_db.as_ref(), &newer.schema),
            newer.selection,
            wanted,
            &mut |table| {
                changeset.extend(table.changeset);
                Ok(())
            },
        )?;
        Ok(Captured { changeset, schema, update: TrackerUpdate(Update::Rebuilt(tracker)) })
    }
}

fn same_geometry(old: &Database<'_>, new: &Database<'_>) -> bool {
    let (old, new) = (old.header(), new.header());
    (old.page_size, old.usable, old.auto_vacuum, old.encoding)
        == (new.page_size, new.usable, new.auto_vacuum, new.encoding)
}

/// The rowids in a changeset of `sqlite_schema` that was written here, of the rows that changed, came or went.
pub fn changed_rows(schema: &[u8]) -> Vec<i64> {
    let rowid = |item| match item {
        Ok(Item::Change(change)) => change.keyed().values().next()??.as_integer(),
        _ => None,
    };
    Reader::new(schema).filter_map(rowid).collect()
}

/// Whether the part of `sqlite_schema` that lies on page 1 is the same.
fn same_schema_page(old: &Database<'_>, new: &Database<'_>) -> Result<bool, DiffError> {
    let first = PageNo(1);
    if new.source().changed_bytes(first).end <= HEADER_LEN {
        return Ok(true);
    }
    let old = old.page(first, first, 0).map_err(DiffError::Old)?;
    let new = new.page(first, first, 0).map_err(DiffError::New)?;
    Ok(old[HEADER_LEN..] == new[HEADER_LEN..])
}

impl Capture<'_, '_> {
    fn run(mut self, mut wanted: Option<Wanted<'_>>) -> Result<Captured, DiffError> {
        let mut unknown = self.unknown_pages();
        self.chains.untouched = unknown.is_empty();
        let (schema, schema_delta, schema_tree) = self.schema_change(&unknown)?;
        for (page, _) in &schema_delta.set {
            unknown.remove(page);
        }
        let newer = match self.newer.take() {
            Some(newer) => newer,
            None if schema.is_empty() => self.tracker.schema.clone(),
            None => {
                let changed = changed_rows(&schema);
                Arc::new(self.tracker.schema.with_changes(self.new, &changed).map_err(DiffError::New)?)
            }
        };
        let mut trees = self.trees(&newer)?;
        let (noted, owners) = self.explain(unknown, &schema_tree, &trees)?;
        if !owners.is_empty() {
            for owner in owners {
                self.touched.add(&self.tracker.map, owner);
            }
            trees = self.trees(&newer)?;
        }
        let schema_chains = self.chains_of([&schema_tree])?;
        let chains = if noted.is_some() || self.tracker.overflow.is_some() {
            self.chains_of(trees.iter().filter(|tree| tree.tracked).map(|tree| &tree.diff))?
        } else {
            OverflowMap::default()
        };

        let mut changeset = Vec::new();
        for tree in &trees {
            let Some((table, shape)) = &tree.rows else { continue };
            if let Some(wanted) = &mut wanted
                && !wanted(table, self.extent(tree, table)?)
            {
                continue;
            }
            let differ = RowDiffer::new(shape, Some(self.old), Some(self.new), &self.chains);
            differ.run(&tree.diff, &mut changeset)?;
        }
        let mut delta = schema_delta;
        for tree in trees {
            delta.removed.extend(tree.delta.removed);
            delta.set.extend(tree.delta.set);
        }
        let step = Step {
            delta,
            page_count: self.new.page_count(),
            header: *self.new.header(),
            schema: (!Arc::ptr_eq(&newer, &self.tracker.schema)).then_some(newer),
            noted,
            chains,
            schema_chains,
        };
        Ok(Captured { changeset, schema, update: TrackerUpdate(Update::Step(Box::new(step))) })
    }

    fn extent(&self, tree: &Tree, table: &Table) -> Result<Extent, DiffError> {
        let (old, new) = (Side { db: Some(self.old), root: tree.old }, Side { db: Some(self.new), root: tree.new });
        extent(old, new, &tree.diff, !table.without_rowid)
    }

    /// Dirty pages that were part of no b-tree and may have been overflow pages.
    fn unknown_pages(&self) -> FxHashSet<PageNo> {
        let may_be_overflow = |page: &PageNo| {
            page.0 > 1
                && page.0 <= self.old.page_count().min(self.new.page_count())
                && self.tracker.map.parent(*page).is_none()
                && !self.old.is_ptrmap(*page)
                && *page != self.old.lock_page()
        };
        self.touched.dirty().filter(may_be_overflow).collect()
    }

    /// The changes of `sqlite_schema` itself.
    fn schema_change(&mut self, unknown: &FxHashSet<PageNo>) -> Result<(Vec<u8>, MapDelta, TreeDiff), DiffError> {
        let owners: Vec<PageNo> = unknown.iter().filter_map(|&page| self.tracker.schema_chains.owner(page)).collect();
        for &leaf in &owners {
            self.touched.add(&self.tracker.map, leaf);
        }
        let mut delta = MapDelta::default();
        let root = Some(PageNo(1));
        let tree = self.differ(false).run(root, root, &mut delta)?;
        // Every transaction writes the header, so page 1 is always dirty; most leave the rest of it as it is.
        let page_1 = [Segment { page: PageNo(1), cell: None }];
        if owners.is_empty() && tree.old == page_1 && tree.new == page_1 && same_schema_page(self.old, self.new)? {
            return Ok((Vec::new(), delta, TreeDiff::default()));
        }
        let shape = TableShape::of_schema(Some(self.old), Some(self.new));
        let (dirty, untouched) = (self.chains.dirty.clone(), self.chains.untouched);
        let chains = Chains { unexplained: unknown.clone(), dirty, all: false, untouched };
        let mut schema = Vec::new();
        RowDiffer::new(&shape, Some(self.old), Some(self.new), &chains).run(&tree, &mut schema)?;
        Ok((schema, delta, tree))
    }

    fn differ(&self, all: bool) -> TreeDiffer<'_, '_> {
        TreeDiffer { map: &self.tracker.map, touched: &self.touched, old: Some(self.old), new: Some(self.new), all }
    }

    /// The trees that the transaction may have changed, compared.
    fn trees(&self, newer: &TrackedSchema) -> Result<Vec<Tree>, DiffError> {
        let mut trees = self.plan(newer);
        for tree in &mut trees {
            // Rows that mean something else now have to be looked at wherever they are.
            let all = tree.rows.as_ref().is_some_and(|(_, shape)| tree.old.is_some() && !shape.raw_comparable);
            tree.diff = self.differ(all).run(tree.old, tree.new, &mut tree.delta)?;
        }
        Ok(trees)
    }

    /// The trees with dirty pages, and those whose rows of the schema changed.
    fn plan(&self, newer: &TrackedSchema) -> Vec<Tree> {
        let older = &self.tracker.schema;
        let tree = |old, new, rows: Option<TrackedTable>, tracked| Tree {
            old,
            new,
            rows,
            tracked,
            diff: TreeDiff::default(),
            delta: MapDelta::default(),
        };
        let pairs = match_changed(&older.schema, &newer.schema);
        let (gone, come) = differing(&older.schema.rows, &newer.schema.rows, |row| row.rowid);
        let roots_of = |rows: Vec<Arc<SchemaRow>>, table: fn(&TableMatch) -> &Option<Arc<Table>>| {
            let of_tables = pairs.iter().filter_map(|pair| table(pair).as_ref().map(|table| table.root));
            let roots = rows.iter().map(|row| PageNo(row.root)).chain(of_tables);
            roots.filter(|root| root.0 != 0).collect::<FxHashSet<PageNo>>()
        };
        let (mut old_roots, mut new_roots) = (roots_of(gone, |pair| &pair.old), roots_of(come, |pair| &pair.new));
        let touched = self.touched.roots().iter().filter(|root| root.0 != 1 && !old_roots.contains(root));
        let mut trees: Vec<Tree> = touched
            .map(|root| {
                let rows = older.by_root.get(root).cloned();
                let tracked = rows.is_some();
                tree(Some(*root), Some(*root), rows, tracked)
            })
            .collect();
        for pair in &pairs {
            let old = pair.old.as_ref().filter(|table| table.is_tracked()).map(|table| table.root);
            let new = pair.new.as_ref().filter(|table| table.is_tracked());
            let shape = |table: &Table| TableShape::new(pair, table, older.selection, (Some(self.old), Some(self.new)));
            let rows = new.map(|table| (table.clone(), Arc::new(shape(table))));
            let new = new.map(|table| table.root);
            old.iter().for_each(|root| _ = old_roots.remove(root));
            new.iter().for_each(|root| _ = new_roots.remove(root));
            if old.is_some() || new.is_some() {
                trees.push(tree(old, new, rows, true));
            }
        }
        for root in &old_roots {
            let new = new_roots.remove(root).then_some(*root);
            trees.push(tree(Some(*root), new, None, false));
        }
        trees.extend(new_roots.into_iter().map(|root| tree(None, Some(root), None, false)));
        // The order of the schema, whatever the roots.
        trees.sort_by_key(|tree| tree.rows.as_ref().map(|(table, _)| table.schema_rowid));
        trees
    }

    /// Finds the b-tree pages that hold a row whose overflow chain changed though the page didn't. Returns the chains of
    /// all tables of the older snapshot too, if they had to be noted.
    fn explain(
        &mut self,
        mut unknown: FxHashSet<PageNo>,
        schema_tree: &TreeDiff,
        trees: &[Tree],
    ) -> Result<(Option<OverflowMap>, Vec<PageNo>), DiffError> {
        for tree in trees {
            for (page, _) in &tree.delta.set {
                unknown.remove(page);
            }
        }
        let chains = &self.chains;
        let segments = || std::iter::once(schema_tree).chain(trees.iter().map(|tree| &tree.diff));
        for diff in segments() {
            chains.explain_by_cells(self.new, &diff.new, true, &mut unknown).map_err(DiffError::New)?;
        }
        explain_by_freelist(self.new, &mut unknown).map_err(DiffError::New)?;
        let unexplained = unknown.clone();
        for diff in segments() {
            chains.explain_by_cells(self.new, &diff.new, false, &mut unknown).map_err(DiffError::New)?;
        }
        self.chains.unexplained = unexplained;
        let mut noted = None;
        let mut owners = Vec::new();
        for page in unknown {
            if self.old.header().auto_vacuum {
                owners.extend(owner_by_ptrmap(self.old, page).map_err(DiffError::Old)?);
                continue;
            }
            if self.tracker.overflow.is_none() && noted.is_none() {
                noted = Some(note_chains(self.old, self.tracker.schema.roots()).map_err(DiffError::Old)?);
            }
            owners.extend(noted.as_ref().or(self.tracker.overflow.as_ref()).and_then(|map| map.owner(page)));
        }
        Ok((noted, owners))
    }

    /// The chains of the cells that a transaction may have written.
    fn chains_of<'t>(&self, diffs: impl IntoIterator<Item = &'t TreeDiff>) -> Result<OverflowMap, DiffError> {
        let mut chains = OverflowMap::default();
        for diff in diffs {
            let mut cells = Cells::new(Some(self.new), &diff.new).map_err(DiffError::New)?;
            while let Some(cell) = cells.current().map_err(DiffError::New)? {
                chains.add(self.new, &cell).map_err(DiffError::New)?;
                cells.advance().map_err(DiffError::New)?;
            }
        }
        Ok(chains)
    }
}
