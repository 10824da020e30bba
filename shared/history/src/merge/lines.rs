//! Which table of one branch is which of the other: those that were one table in the ancestor.
//!
//! Names and places in `sqlite_schema` mean something between a branch and its ancestor alone. So the tables of both sides
//! are matched with the ancestor's, never with each other, but for new tables, which have nothing but their name.

use std::collections::HashMap;
use std::sync::Arc;

use maniac_diff::match_tables;
use maniac_sqlite_format::{Schema, Table, TableKind};

use super::schema::Schemas;

/// A table in the ancestor and what became of it on both sides, or a new one.
pub struct Line {
    pub base: Option<Arc<Table>>,
    pub ours: Option<Present>,
    pub theirs: Option<Present>,
}

/// The table on one side.
#[derive(Clone)]
pub struct Present {
    pub table: Arc<Table>,
    /// The ancestor's column that each of its columns was. Nothing for a table that is not the ancestor's, although it has
    /// its name: its rows are told apart in another way.
    pub columns: Option<Vec<Option<usize>>>,
}

impl Line {
    /// The name to tell it by in both directions of a merge: the ancestor's, or that of a new table.
    pub fn name(&self) -> &str {
        self.base.iter().chain(self.tables()).next().map_or("", |table| &table.name)
    }

    /// What it is on each side that has it.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        let sides = [&self.ours, &self.theirs].into_iter().flatten().map(|present| &present.table);
        sides.chain(&self.base)
    }

    fn any(&self) -> Option<&Table> {
        self.tables().next().map(|table| &**table)
    }

    /// On one side at least.
    pub fn is_virtual(&self) -> bool {
        self.tables().any(|table| matches!(table.kind, TableKind::Virtual { .. }))
    }

    /// What `owner` of its shadow tables says, in lower case.
    pub fn called(&self) -> Option<String> {
        self.any().map(|table| table.name.to_ascii_lowercase())
    }

    pub fn is_shadow(&self) -> bool {
        self.owner().is_some()
    }

    /// The virtual table that a shadow table belongs to, in lower case.
    pub fn owner(&self) -> Option<String> {
        match &self.any()?.kind {
            TableKind::Shadow { of } => Some(of.to_ascii_lowercase()),
            _ => None,
        }
    }
}

/// The tables of one side by the index of the ancestor's table, and the new ones.
struct Side {
    known: HashMap<usize, Present>,
    new: Vec<Arc<Table>>,
}

fn is_merged(table: &Table) -> bool {
    table.kind != TableKind::Internal
}

fn side(base: &Schema, side: &Schema) -> Side {
    let place = |table: &Arc<Table>| base.tables.iter().position(|known| Arc::ptr_eq(known, table));
    let (mut known, mut new) = (HashMap::new(), Vec::new());
    for pair in match_tables(base, side) {
        match (pair.old.as_ref().and_then(place), pair.new) {
            (Some(at), Some(table)) => drop(known.insert(at, Present { table, columns: Some(pair.columns) })),
            (None, Some(table)) => new.push(table),
            (_, None) => {}
        }
    }
    // What has the name of a table that is gone has taken its place.
    new.retain(|table| {
        let same = |before: &Arc<Table>| before.name.eq_ignore_ascii_case(&table.name);
        let Some(at) = base.tables.iter().position(same).filter(|at| !known.contains_key(at)) else { return true };
        known.insert(at, Present { table: table.clone(), columns: None });
        false
    });
    Side { known, new }
}

/// All tables but SQLite's own: the ancestor's, then those that are new.
pub fn lines(schemas: &Schemas) -> Vec<Line> {
    let mut ours = side(&schemas.base, &schemas.ours);
    let mut theirs = side(&schemas.base, &schemas.theirs);
    let mut lines = Vec::new();
    for (at, base) in schemas.base.tables.iter().enumerate().filter(|(_, table)| is_merged(table)) {
        let (ours, theirs) = (ours.known.remove(&at), theirs.known.remove(&at));
        lines.push(Line { base: Some(base.clone()), ours, theirs });
    }
    let new = |table: Arc<Table>| Some(Present { table, columns: None });
    for table in ours.new.into_iter().filter(|table| is_merged(table)) {
        let same = |other: &Arc<Table>| other.name.eq_ignore_ascii_case(&table.name);
        let found = theirs.new.iter().position(same).map(|at| theirs.new.remove(at));
        lines.push(Line { base: None, ours: new(table), theirs: found.and_then(new) });
    }
    for table in theirs.new.into_iter().filter(|table| is_merged(table)) {
        lines.push(Line { base: None, ours: None, theirs: new(table) });
    }
    lines
}
