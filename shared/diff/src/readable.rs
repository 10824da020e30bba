//! What can be told of a snapshot of which a part makes no sense.
//!
//! `PRAGMA writable_schema` lets anybody write nonsense into `sqlite_schema`, and a file that was imported may be
//! damaged. A table is sound if its row of `sqlite_schema` is understood, no other b-tree has pages of its own, and its
//! interior pages can be read. The others are left out here, each with the reason, as if they were not there.

use std::sync::Arc;

use maniac_base::{PageNo, PageSource};
use maniac_sqlite_format::{
    Database, FormatError, RecordFields, Schema, Selection, Table, TreeWalk, UnsoundRow, full_payload,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::DiffError;
use crate::error::is_about_content;
use crate::overflow::OverflowMap;
use crate::page_map::PageMap;
use crate::schema_match::match_tables;
use crate::snapshots::{rows_of_pair, schema_rows};
use crate::tracker::{TrackedSchema, Tracker, check_root, note_chains};

/// The sound tables of a snapshot.
pub struct Readable {
    tracker: Tracker,
    unsound: Vec<Unsound>,
}

/// A table that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsound {
    /// That of its row in `sqlite_schema`.
    pub rowid: i64,
    pub name: String,
    pub reason: String,
}

/// Which b-trees are looked at besides that of `sqlite_schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trees {
    /// Tells at once what a page is of.
    All,
    /// Where an index is damaged that doesn't keep the tables from being compared, at the price of reading all of them.
    Tables,
}

/// A row of `sqlite_schema` with a root page.
struct Owner {
    rowid: i64,
    name: String,
    is_table: bool,
    root: PageNo,
}

impl Readable {
    /// Reads interior pages alone. The tables in `left_out` are left out too: their leaves can't be read, or they are not
    /// asked for. Fails if `sqlite_schema` itself can't be read.
    pub fn read(
        source: &dyn PageSource,
        selection: Selection,
        trees: Trees,
        left_out: &[Unsound],
    ) -> Result<Readable, DiffError> {
        read(source, selection, trees, left_out).map_err(DiffError::New)
    }

    pub fn schema(&self) -> &Schema {
        self.tracker.schema()
    }

    pub fn unsound(&self) -> &[Unsound] {
        &self.unsound
    }

    /// Reads every row of a table, and says what is wrong with one, if anything is.
    pub fn fault(&self, source: &dyn PageSource, table: &Table) -> Result<Option<Unsound>, DiffError> {
        if !table.is_tracked() {
            return Ok(None);
        }
        let read = || -> Result<(), FormatError> {
            let Some(db) = Database::open(source)? else { return Ok(()) };
            let mut walk = TreeWalk::new(&db, table.root)?;
            let mut fields = RecordFields::default();
            while let Some(cell) = walk.next()? {
                let payload = full_payload(&db, &cell)?;
                fields.parse(&payload).map_err(|what| FormatError::malformed(cell.page, cell.offset, what))?;
            }
            Ok(())
        };
        match read().map_err(DiffError::New) {
            Ok(()) => Ok(None),
            Err(error) if error.is_about_content() => {
                let (rowid, name) = (table.schema_rowid, table.name.clone());
                Ok(Some(Unsound { rowid, name, reason: error.reason() }))
            }
            Err(error) => Err(error),
        }
    }

    /// What changed in the tables of both, from this snapshot to a newer one that was built on it: the changesets of
    /// `sqlite_schema` and of the rows. `dirty` is as for [`Tracker::capture`].
    pub fn changes_to(
        &self,
        old: &dyn PageSource,
        (new, newer): (&dyn PageSource, &Readable),
        dirty: &[PageNo],
    ) -> Result<(Vec<u8>, Vec<u8>), DiffError> {
        let mut tracker = newer.tracker.clone();
        if let Some(db) = Database::open(new).map_err(DiffError::New)? {
            // Both have the tables that are the same from one place: only the others are matched.
            let mut schema = newer.schema().clone();
            schema.share(self.schema());
            tracker.schema = self.tracker.schema.with(schema, &db).map_err(DiffError::New)?.into();
        }
        let captured = self.tracker.capture_as(old, new, dirty, &tracker)?;
        Ok((captured.schema, captured.changeset))
    }

    /// What changed in the rows of a table of this snapshot since an older one, whatever happened in between.
    pub fn rows_since(
        &self,
        new: &dyn PageSource,
        (old, older): (&dyn PageSource, &Readable),
        table: &Table,
    ) -> Result<Vec<u8>, DiffError> {
        let old = Database::open(old).map_err(DiffError::Old)?;
        let new = Database::open(new).map_err(DiffError::New)?;
        let mut changeset = Vec::new();
        for pair in match_tables(older.schema(), self.schema()) {
            let Some(found) = pair.new.as_ref().filter(|found| found.is_tracked() && found.name == table.name) else {
                continue;
            };
            let selection = self.tracker.schema.selection;
            rows_of_pair(&pair, found, selection, (old.as_ref(), new.as_ref()), &mut None, &mut changeset)?;
        }
        Ok(changeset)
    }

    /// What changed in `sqlite_schema` between two snapshots.
    pub fn schema_between(old: &dyn PageSource, new: &dyn PageSource) -> Result<Vec<u8>, DiffError> {
        let old = Database::open(old).map_err(DiffError::Old)?;
        let new = Database::open(new).map_err(DiffError::New)?;
        schema_rows(old.as_ref(), new.as_ref())
    }
}

/// What is left out so far.
#[derive(Default)]
struct LeftOut {
    rowids: FxHashSet<i64>,
    unsound: Vec<Unsound>,
}

impl LeftOut {
    fn table(&mut self, rowid: i64, name: &str, reason: String) {
        if self.rowids.insert(rowid) {
            self.unsound.push(Unsound { rowid, name: name.to_owned(), reason });
        }
    }

    /// Indexes have no rows of their own to be told.
    fn owner(&mut self, owner: &Owner, reason: String) {
        match owner.is_table {
            true => self.table(owner.rowid, &owner.name, reason),
            false => _ = self.rowids.insert(owner.rowid),
        }
    }
}

fn read(
    source: &dyn PageSource,
    selection: Selection,
    which: Trees,
    left_out: &[Unsound],
) -> Result<Readable, FormatError> {
    let Some(db) = Database::open(source)? else {
        let tracker = Tracker {
            map: PageMap::default(),
            schema: TrackedSchema::none(selection).into(),
            schema_chains: OverflowMap::default(),
            overflow: None,
            header: None,
        };
        return Ok(Readable { tracker, unsound: Vec::new() });
    };
    let (mut schema, rows) = Schema::read_sound(&db)?;
    let owners = owners(&schema, &rows);
    let mut out = LeftOut::default();
    for row in rows.into_iter().filter(|row| row.is_table) {
        out.table(row.rowid, &row.name, row.reason);
    }
    for table in left_out {
        if schema.tables.iter().any(|known| known.schema_rowid == table.rowid) {
            out.table(table.rowid, &table.name, table.reason.clone());
        }
    }
    for (owner, other) in rivals(&owners) {
        let Owner { name, root, .. } = owner;
        out.owner(owner, format!("table {name}: it has its root page, {root}, in common with {}", other.name));
    }
    if which == Trees::Tables {
        owners.iter().filter(|owner| !owner.is_table).for_each(|owner| _ = out.rowids.insert(owner.rowid));
    }
    let map = loop {
        let sound: Vec<&Owner> = owners.iter().filter(|owner| !out.rowids.contains(&owner.rowid)).collect();
        match trees(&db, &schema, &sound) {
            Ok(map) => break map,
            Err((None, error, _)) => return Err(error),
            Err((_, error, _)) if !is_about_content(&error) => return Err(error),
            // Of two trees that meet nobody knows which one the pages belong to.
            Err((Some(owner), error, meets)) => {
                out.owner(owner, error.to_string());
                let others = sound.iter().filter(|other| Some(other.root) == meets);
                others.for_each(|other| out.owner(other, error.to_string()));
            }
        }
    };
    schema.rows.retain(|row| !out.rowids.contains(&row.rowid));
    schema.tables.retain(|table| !out.rowids.contains(&table.schema_rowid));
    out.unsound.sort_by_key(|table| table.rowid);
    let schema = TrackedSchema::none(selection).with(schema, &db)?;
    let schema_chains = note_chains(&db, [PageNo(1)])?;
    let tracker = Tracker { map, schema: schema.into(), schema_chains, overflow: None, header: Some(*db.header()) };
    Ok(Readable { tracker, unsound: out.unsound })
}

/// The first tree that is wrong, what is wrong with it, and the root of the other tree that it meets.
type Fault<'o> = (Option<&'o Owner>, FormatError, Option<PageNo>);

/// The pages of all trees.
fn trees<'o>(db: &Database<'_>, schema: &Schema, sound: &[&'o Owner]) -> Result<PageMap, Fault<'o>> {
    let tables: FxHashMap<i64, &Arc<Table>> =
        schema.tables.iter().filter(|table| table.is_tracked()).map(|table| (table.schema_rowid, table)).collect();
    let mut map = PageMap::empty(db);
    map.add(db, PageNo(1)).map_err(|(error, _)| (None, error, None))?;
    for &owner in sound {
        map.add(db, owner.root).map_err(|(error, meets)| (Some(owner), error, meets))?;
        if let Some(table) = tables.get(&owner.rowid) {
            check_root(db, table).map_err(|error| (Some(owner), error, None))?;
        }
    }
    Ok(map)
}

/// All rows that name a root page, sound or not.
fn owners(schema: &Schema, unsound: &[UnsoundRow]) -> Vec<Owner> {
    let rows = schema.rows.iter().map(|row| (row.rowid, &row.name, row.kind == "table", row.root));
    let others = unsound.iter().map(|row| (row.rowid, &row.name, row.is_table, row.root));
    let owner = |(rowid, name, is_table, root): (i64, &String, bool, u32)| {
        Some(Owner { rowid, name: name.clone(), is_table, root: PageNo(root) }).filter(|_| root != 0)
    };
    let mut owners: Vec<Owner> = rows.chain(others).filter_map(owner).collect();
    owners.sort_by_key(|owner| owner.rowid);
    owners
}

/// Those that have their root page in common with another one, and that other one.
fn rivals(owners: &[Owner]) -> Vec<(&Owner, &Owner)> {
    let mut by_root: FxHashMap<PageNo, Vec<&Owner>> = FxHashMap::default();
    for owner in owners {
        by_root.entry(owner.root).or_default().push(owner);
    }
    let mut found = Vec::new();
    for owner in owners {
        let other = by_root[&owner.root].iter().find(|other| other.rowid != owner.rowid);
        found.extend(other.map(|other| (owner, *other)));
    }
    found
}
