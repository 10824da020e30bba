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
//! - Columns are the same by name, if both are generated or both are not. One that is left over on both sides, between the same neighbours and with the same
//!   type, was renamed. Where several statements changed a table in one transaction there can be more than one reading;
//!   the changes of rows are those of the reading taken here.
//!
//! A table that has no match was dropped or created.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use maniac_sqlite_format::{Column, Generated, KeyForm, Schema, Table};

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
    match_lists(&old.tables, &new.tables)
}

/// The same without the tables that the newer schema has from the older one as they are (see [`Schema::with_changes`]).
pub fn match_changed(old: &Schema, new: &Schema) -> Vec<TableMatch> {
    let (old, new) = differing(&old.tables, &new.tables, |table| table.schema_rowid);
    match_lists(&old, &new)
}

/// What two lists in the order of a number don't share.
pub(crate) fn differing<T>(old: &[Arc<T>], new: &[Arc<T>], number: fn(&T) -> i64) -> (Vec<Arc<T>>, Vec<Arc<T>>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return (gone, come),
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                olds.next();
                news.next();
                continue;
            }
            (Some(old), Some(new)) => number(old).cmp(&number(new)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        if order.is_le() {
            gone.extend(olds.next().cloned());
        }
        if order.is_ge() {
            come.extend(news.next().cloned());
        }
    }
}

fn match_lists(olds: &[Arc<Table>], news: &[Arc<Table>]) -> Vec<TableMatch> {
    let (older, newer) = (Names::of(olds), Names::of(news));
    let mut matches = Vec::new();
    let mut taken = vec![false; olds.len()];
    for table in news {
        let found = older.find(&newer, table);
        let found = found.filter(|&(i, _)| !std::mem::replace(&mut taken[i], true));
        let (old, columns) = match found {
            Some((i, columns)) => (Some(olds[i].clone()), columns),
            None => (None, vec![None; table.columns.len()]),
        };
        matches.push(TableMatch { old, new: Some(table.clone()), columns });
    }
    for (table, taken) in olds.iter().zip(taken) {
        if !taken {
            matches.push(TableMatch { old: Some(table.clone()), new: None, columns: Vec::new() });
        }
    }
    matches
}

/// Tables by what they are looked up by.
struct Names<'s> {
    tables: &'s [Arc<Table>],
    by_name: HashMap<String, usize>,
    by_rowid: HashMap<i64, usize>,
}

impl<'s> Names<'s> {
    fn of(tables: &'s [Arc<Table>]) -> Names<'s> {
        let numbered = || tables.iter().enumerate();
        Names {
            tables,
            by_name: numbered().map(|(i, table)| (table.name.to_ascii_lowercase(), i)).collect(),
            by_rowid: numbered().map(|(i, table)| (table.schema_rowid, i)).collect(),
        }
    }

    fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// The table of these that a table of the newer ones was.
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
    let is_generated = |column: &Column| column.generated != Generated::No;
    // No statement makes a generated column of another one: where they have changed names, they were renamed.
    let before = |after: &Column| {
        let same = |before: &Column| before.name.eq_ignore_ascii_case(&after.name);
        old.columns.iter().position(|column| same(column) && is_generated(column) == is_generated(after))
    };
    let mut columns: Vec<Option<usize>> = new.columns.iter().map(before).collect();
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

#[cfg(test)]
mod tests {
    use maniac_sqlite_format::{Encoding, SchemaRow};

    use super::*;

    fn schema(tables: &[(i64, &str)]) -> Schema {
        let row = |&(rowid, sql): &(i64, &str)| {
            let name = sql.split(['(', ' ']).nth(2).unwrap_or_default().to_string();
            let root = rowid as u32 + 1;
            SchemaRow { rowid, kind: "table".into(), table_name: name.clone(), name, root, sql: Some(sql.into()) }
        };
        Schema::from_rows(tables.iter().map(row).collect(), Encoding::Utf8).unwrap()
    }

    /// A table's name before and after, and its columns.
    type Matched = (Option<String>, Option<String>, Vec<Option<usize>>);

    fn matched(old: &[(i64, &str)], new: &[(i64, &str)]) -> Vec<Matched> {
        let name = |table: &Option<Arc<Table>>| table.as_ref().map(|table| table.name.clone());
        let matches = match_tables(&schema(old), &schema(new));
        matches.iter().map(|pair| (name(&pair.old), name(&pair.new), pair.columns.clone())).collect()
    }

    fn columns(old: &str, new: &str) -> Vec<Option<usize>> {
        let [(Some(_), Some(_), columns)] = &matched(&[(1, old)], &[(1, new)])[..] else { panic!("{old} {new}") };
        columns.clone()
    }

    #[test]
    fn tables_by_name_and_by_their_row() {
        let name = |name: &str| Some(name.to_string());
        let old = [(1, "CREATE TABLE a(x INTEGER PRIMARY KEY, y)"), (2, "CREATE TABLE b(x, y)")];
        let new = [(1, "CREATE TABLE c(x INTEGER PRIMARY KEY, y)"), (5, "CREATE TABLE B(x, y)")];
        let both = vec![Some(0), Some(1)];
        assert_eq!(matched(&old, &new), [(name("a"), name("c"), both.clone()), (name("b"), name("B"), both)]);
        let unlike = [(1, "CREATE TABLE c(p INTEGER PRIMARY KEY, q INT, r INT, s INT)")];
        let expected = [(None, name("c"), vec![None; 4]), (name("a"), None, vec![])];
        assert_eq!(matched(&old[..1], &unlike), expected);
    }

    #[test]
    fn a_table_with_another_key_is_another_table() {
        for new in [
            "CREATE TABLE t(a INT PRIMARY KEY, b)",
            "CREATE TABLE t(a, b)",
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b) WITHOUT ROWID",
            "CREATE TABLE t(a, b INTEGER PRIMARY KEY)",
        ] {
            let matches = matched(&[(1, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)")], &[(1, new)]);
            assert_eq!(matches.len(), 2, "{new}");
        }
    }

    #[test]
    fn columns_by_name_then_by_neighbours() {
        assert_eq!(columns("CREATE TABLE t(a, b, c)", "CREATE TABLE t(c, A)"), [Some(2), Some(0)]);
        assert_eq!(columns("CREATE TABLE t(a, b)", "CREATE TABLE t(a, z, n)"), [Some(0), Some(1), None]);
        assert_eq!(columns("CREATE TABLE t(d, a, x)", "CREATE TABLE t(a, y)"), [Some(1), Some(2)]);
        assert_eq!(columns("CREATE TABLE t(a, b INT)", "CREATE TABLE t(a, z TEXT)"), [Some(0), None]);
        let swapped = columns("CREATE TABLE t(a INT, b AS (a))", "CREATE TABLE t(b INT, a AS (b))");
        assert_eq!(swapped, [Some(0), Some(1)]);
    }
}
