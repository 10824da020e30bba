//! Which table of the newer schema is which of the older one, and column by column.
//!
//! Everyone who turns a change of schema into an action of their own has to decide this the same way, so it depends on
//! the two schemas alone:
//!
//! - Tables with the same name are the same table, if both have a rowid or both don't, and have the same key.
//! - A table whose name is gone and one whose name is new are the same table, renamed, if they share their row in
//!   `sqlite_schema`, which ALTER TABLE RENAME keeps, their key and at least half of their columns. A table that took the
//!   place of a dropped one in the same transaction may look the same: then the changes lead from the dropped table's
//!   rows to the new one's, which is as true.
//! - Columns are the same by name. One that is left over on both sides, between the same neighbours and with the same
//!   type, was renamed. Where several statements changed a table in one transaction there can be more than one reading;
//!   the changes of rows are those of the reading taken here.
//!
//! A table that has no match was dropped or created.

use std::collections::HashMap;
use std::sync::Arc;

use maniac_sqlite_format::{KeyForm, Schema, Table};

/// A table before and after. At least one of the two is there.
#[derive(Clone, Debug)]
pub struct TableMatch {
    pub old: Option<Arc<Table>>,
    pub new: Option<Arc<Table>>,
    /// For each column of the newer table, the older table's column that it was.
    pub columns: Vec<Option<usize>>,
}

/// Pairs the tables of two schemas: the newer one's in their order, then those that were dropped.
pub fn match_tables(old: &Schema, new: &Schema) -> Vec<TableMatch> {
    let (older, newer) = (Names::of(old), Names::of(new));
    let mut matches = Vec::new();
    let mut taken = vec![false; old.tables.len()];
    for table in &new.tables {
        let found = older.find(&newer, table);
        let found = found.filter(|&(i, _)| !std::mem::replace(&mut taken[i], true));
        let (old, columns) = match found {
            Some((i, columns)) => (Some(old.tables[i].clone()), columns),
            None => (None, vec![None; table.columns.len()]),
        };
        matches.push(TableMatch { old, new: Some(table.clone()), columns });
    }
    for (table, taken) in old.tables.iter().zip(taken) {
        if !taken {
            matches.push(TableMatch { old: Some(table.clone()), new: None, columns: Vec::new() });
        }
    }
    matches
}

/// A schema's tables by what they are looked up by.
struct Names<'s> {
    tables: &'s [Arc<Table>],
    by_name: HashMap<String, usize>,
    by_rowid: HashMap<i64, usize>,
}

impl<'s> Names<'s> {
    fn of(schema: &'s Schema) -> Names<'s> {
        let tables = || schema.tables.iter().enumerate();
        Names {
            tables: &schema.tables,
            by_name: tables().map(|(i, table)| (table.name.to_ascii_lowercase(), i)).collect(),
            by_rowid: tables().map(|(i, table)| (table.schema_rowid, i)).collect(),
        }
    }

    fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// The table of this schema that a table of the newer one was.
    fn find(&self, newer: &Names<'_>, table: &Table) -> Option<(usize, Vec<Option<usize>>)> {
        if let Some(i) = self.by_name(&table.name) {
            let columns = match_columns(&self.tables[i], table);
            return same_rows(&self.tables[i], table, &columns).then_some((i, columns));
        }
        let i = *self.by_rowid.get(&table.schema_rowid)?;
        let before = &self.tables[i];
        let columns = match_columns(before, table);
        let shared = columns.iter().flatten().count();
        let renamed = newer.by_name(&before.name).is_none()
            && shared * 2 >= columns.len().max(before.columns.len())
            && same_rows(before, table, &columns);
        renamed.then_some((i, columns))
    }
}

fn match_columns(old: &Table, new: &Table) -> Vec<Option<usize>> {
    let by_name = |name: &str| old.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let mut columns: Vec<Option<usize>> = new.columns.iter().map(|column| by_name(&column.name)).collect();
    // What is left over between two columns that stayed can only have been there before, too.
    let mut from = 0;
    for i in 0..columns.len() {
        if let Some(known) = columns[i] {
            from = known + 1;
            continue;
        }
        let gap = (from..old.columns.len()).take_while(|&old| !columns.contains(&Some(old)));
        let same = |&before: &usize| {
            let (before, after) = (&old.columns[before], &new.columns[i]);
            before.declared_type == after.declared_type && before.generated == after.generated
        };
        if let Some(renamed) = gap.into_iter().find(same) {
            columns[i] = Some(renamed);
            from = renamed + 1;
        }
    }
    columns
}

/// Whether rows of the two can be told apart in the same way.
fn same_rows(old: &Table, new: &Table, columns: &[Option<usize>]) -> bool {
    let keyed = |table: &Table| table.key_form() != KeyForm::Rowid;
    old.is_tracked() == new.is_tracked()
        && std::mem::discriminant(&old.kind) == std::mem::discriminant(&new.kind)
        && old.without_rowid == new.without_rowid
        && keyed(old) == keyed(new)
        && old.key.len() == new.key.len()
        && new.key.iter().zip(&old.key).all(|(after, before)| columns[after.column] == Some(before.column))
        && new.rowid_alias.map(|column| columns[column]) == old.rowid_alias.map(Some)
}
