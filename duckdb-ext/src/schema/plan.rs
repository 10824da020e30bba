//! How a mirror follows a changed schema: the steps from the tables it has to those the source has.
//!
//! Added, dropped and renamed columns and renamed tables become the same statement in DuckDB, which costs nothing per
//! row. Whatever else happened to a table (a new key, other types, several changes at once) is answered by copying that
//! table anew at the version: always right, and as rare as such changes are.
//!
//! Which table was which before is the source's to say, since the row changes of the commit rest on it: tables by name,
//! and by their place in the schema when renamed; columns by name, and by place and type when renamed.

use std::collections::HashSet;
use std::sync::Arc;

use maniac_history::JsonObject;

use super::{ColumnType, Fitted, Names, Tables};
use crate::source::{BorrowedValue, SourceTable, TableChange, Value};

/// Tables of the extension's own in a mirror's schema. A source table of such a name gets another one.
pub const STATE_TABLE: &str = "_maniac_state";
pub const COLUMNS_TABLE: &str = "_maniac_columns";
pub const REJECTS_TABLE: &str = "_maniac_rejects";

/// A column as the mirror has it, in the source's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MirrorColumn {
    /// Its name in the source and in the mirror; they differ only where DuckDB has no such name or it was taken.
    pub source: String,
    pub name: String,
    pub declared: String,
    pub column_type: ColumnType,
    /// The types that it had before, each too narrow for some value.
    pub narrower: Vec<ColumnType>,
}

impl MirrorColumn {
    pub fn widen(&mut self, column_type: ColumnType) {
        self.narrower.push(std::mem::replace(&mut self.column_type, column_type));
    }

    /// Its types from the first to the present one: `BIGINT -> DOUBLE`.
    pub fn steps(&self) -> String {
        let steps = self.narrower.iter().chain([&self.column_type]).map(ToString::to_string);
        steps.collect::<Vec<_>>().join(ARROW)
    }

    /// Reads what `steps` wrote: the earlier types and the present one.
    pub fn parse_steps(text: &str) -> Option<(Vec<ColumnType>, ColumnType)> {
        let mut types = text.split(ARROW).map(|step| step.parse().ok()).collect::<Option<Vec<_>>>()?;
        let present = types.pop()?;
        Some((types, present))
    }
}

/// Between a column's types.
const ARROW: &str = " -> ";

#[derive(Clone, Debug, PartialEq)]
pub struct MirrorTable {
    pub source: String,
    pub name: String,
    pub columns: Vec<MirrorColumn>,
    pub key: Vec<usize>,
    pub key_is_rowid: bool,
}

impl MirrorTable {
    /// A fresh mirror table, its name claimed from those of its schema.
    pub fn of_source(table: &SourceTable, names: &mut Names, in_lake: bool) -> MirrorTable {
        let mut column_names = Names::of_columns(in_lake);
        let columns = table
            .columns
            .iter()
            .map(|column| MirrorColumn {
                source: column.name.clone(),
                name: column_names.claim(&column.name),
                declared: column.declared.clone(),
                column_type: ColumnType::of_declared(&column.declared),
                narrower: Vec::new(),
            })
            .collect();
        let (key, key_is_rowid) = (table.key.clone(), table.key_is_rowid);
        MirrorTable { source: table.name.clone(), name: names.claim(&table.name), columns, key, key_is_rowid }
    }

    /// Whether a column, by its place, is part of the key.
    pub fn in_key(&self, place: usize) -> bool {
        self.key.contains(&place)
    }

    /// A row's key for people: a JSON object of the mirror's names, from the values of the key's columns in order.
    pub fn key_text<'v>(&self, values: impl IntoIterator<Item = BorrowedValue<'v>>) -> String {
        let mut object = JsonObject::default();
        for (place, value) in self.key.iter().zip(values) {
            let name = &self.columns[*place].name;
            match (&value, super::fit(&value, ColumnType::Varchar)) {
                // Text that is no text: in the notation that the mirror has for it.
                (BorrowedValue::Text(_), Some(Fitted::Made(shown))) => object.add(name, &BorrowedValue::text(&shown)),
                _ => object.add(name, &value),
            }
        }
        object.finish()
    }

    pub fn types(&self) -> Vec<ColumnType> {
        self.columns.iter().map(|column| column.column_type).collect()
    }

    fn column_names(&self, in_lake: bool) -> Names {
        let mut names = Names::of_columns(in_lake);
        for column in &self.columns {
            names.claim(&column.name);
        }
        names
    }
}

/// The names in use in a mirror's schema.
pub fn names_of(tables: &[MirrorTable]) -> Names {
    let mut names = Names::default();
    for name in
        [STATE_TABLE, COLUMNS_TABLE, REJECTS_TABLE].into_iter().chain(tables.iter().map(|table| table.name.as_str()))
    {
        names.claim(name);
    }
    names
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Drop { table: String },
    RenameTable { from: String, to: String },
    RenameColumn { table: String, from: String, to: String },
    DropColumn { table: String, column: String },
    AddColumn { table: String, column: MirrorColumn, default: Value },
}

/// Follows a commit's change of the schema in `tables`, and plans the steps to be made in the target, in order. What can't be
/// followed by statements is noted in `copies`, by its name in the source in lower case: those tables are to be made and filled
/// when all commits of a batch are planned, and until then there is nothing of them in the target. `refused` tells of a table,
/// before the change, that it is to be copied if anything about it changed: the target refused a statement, or rejects name its
/// columns.
pub fn plan(
    tables: &mut Tables,
    copies: &mut HashSet<String>,
    changes: &[TableChange],
    refused: &dyn Fn(&MirrorTable) -> bool,
    in_lake: bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    // All of them first: tables may change names with each other.
    let before: Vec<Option<Before>> = changes
        .iter()
        .map(|change| {
            let table = tables.take(change.before.as_deref()?)?;
            Some(Before { in_target: !copies.remove(&table.source.to_ascii_lowercase()), table })
        })
        .collect();
    for (before, _) in before.iter().zip(changes).filter(|(_, change)| change.after.is_none()) {
        before.iter().for_each(|before| before.drop(tables, &mut steps));
    }
    let mut copied = Vec::new();
    for (before, change) in before.iter().zip(changes) {
        let Some(after) = &change.after else { continue };
        let Some(before) = before else {
            copied.push((None, after));
            continue;
        };
        let followed = match before.in_target {
            true => follow(&before.table, after, tables.names(), in_lake),
            false => None,
        };
        match followed.filter(|(steps, _)| steps.is_empty() || !refused(&before.table)) {
            Some((statements, table)) => {
                if table.name != before.table.name {
                    tables.names().release(&before.table.name);
                    tables.names().claim(&table.name);
                }
                steps.extend(statements);
                tables.add(table);
            }
            None => {
                before.drop(tables, &mut steps);
                copied.push((Some(&before.table), after));
            }
        }
    }
    // Last, when every name that the commit frees is free.
    for (before, after) in copied {
        let mut table = MirrorTable::of_source(after, tables.names(), in_lake);
        if let Some(before) = before {
            keep_widened(before, &mut table);
        }
        copies.insert(table.source.to_ascii_lowercase());
        tables.add(table);
    }
    steps
}

/// A table that a commit changed.
struct Before {
    table: Arc<MirrorTable>,
    /// Not if it is still to be copied.
    in_target: bool,
}

impl Before {
    fn drop(&self, tables: &mut Tables, steps: &mut Vec<Step>) {
        tables.names().release(&self.table.name);
        if self.in_target {
            steps.push(Step::Drop { table: self.table.name.clone() });
        }
    }
}

/// The statements that turn a table into its new form, or none if it has to be copied.
fn follow(before: &MirrorTable, table: &SourceTable, names: &Names, in_lake: bool) -> Option<(Vec<Step>, MirrorTable)> {
    if before.key_is_rowid != table.key_is_rowid || before.key.len() != table.key.len() {
        return None;
    }
    let mut after = before.clone();
    let mut steps = Vec::new();
    if before.source != table.name {
        after.source.clone_from(&table.name);
        if !same(&before.name, &table.name) {
            if !names.is_free(&table.name) {
                // Still taken by a table that another rename frees: a swap.
                return None;
            }
            after.name.clone_from(&table.name);
            steps.push(Step::RenameTable { from: before.name.clone(), to: after.name.clone() });
        }
    }
    let name = after.name.clone();
    let is = |column: &MirrorColumn, place: usize| {
        table.columns.get(place).is_some_and(|new| new.name == column.source && new.declared == column.declared)
    };
    let same_prefix = after.columns.iter().enumerate().take_while(|(place, column)| is(column, *place)).count();
    if table.columns.len() == after.columns.len() {
        for (place, new) in table.columns.iter().enumerate().skip(same_prefix) {
            if new.declared != after.columns[place].declared {
                return None;
            }
            if new.name == after.columns[place].source {
                continue;
            }
            // A name that another column had: columns have changed places.
            if before
                .columns
                .iter()
                .any(|column| same(&column.source, &new.name) && column.source != after.columns[place].source)
            {
                return None;
            }
            let mut column_names = after.column_names(in_lake);
            let column = &mut after.columns[place];
            column.source.clone_from(&new.name);
            if !same(&column.name, &new.name) {
                let to = column_names.claim(&new.name);
                let from = std::mem::replace(&mut column.name, to.clone());
                steps.push(Step::RenameColumn { table: name.clone(), from, to });
            }
        }
    } else if same_prefix == after.columns.len() {
        for new in &table.columns[same_prefix..] {
            let column = MirrorColumn {
                source: new.name.clone(),
                name: after.column_names(in_lake).claim(&new.name),
                declared: new.declared.clone(),
                column_type: ColumnType::of_declared(&new.declared),
                narrower: Vec::new(),
            };
            let default = new.default.clone()?;
            super::literal(&default, column.column_type)?;
            steps.push(Step::AddColumn { table: name.clone(), column: column.clone(), default });
            after.columns.push(column);
        }
    } else {
        // What is left must be the old columns without some.
        let mut place = 0;
        let mut left = Vec::new();
        for column in &after.columns {
            if is(column, place) {
                place += 1;
                left.push(column.clone());
            } else {
                steps.push(Step::DropColumn { table: name.clone(), column: column.name.clone() });
            }
        }
        if place != table.columns.len() {
            return None;
        }
        after.columns = left;
    }
    let key_names = |table: &MirrorTable, key: &[usize]| -> Vec<Option<String>> {
        key.iter().map(|place| table.columns.get(*place).map(|column| column.name.clone())).collect()
    };
    let renamed_key = table.columns.len() == before.columns.len() && before.key == table.key;
    if !renamed_key && key_names(before, &before.key) != key_names(&after, &table.key) {
        return None;
    }
    after.key.clone_from(&table.key);
    Some((steps, after))
}

/// The tables in the shapes that those of the source have, of which an older version of the extension may have left columns
/// out, and the source's names of those that have got another one.
pub fn renew(tables: &mut Tables, sources: &[SourceTable], in_lake: bool) -> HashSet<String> {
    let mut renewed = HashSet::new();
    for source in sources {
        let Some(place) = tables.place(&source.name) else { continue };
        let table = &tables[place];
        if source.columns.iter().map(|column| &column.name).eq(table.columns.iter().map(|column| &column.source)) {
            continue;
        }
        let mut fresh = MirrorTable::of_source(source, &mut Names::default(), in_lake);
        keep_widened(table, &mut fresh);
        fresh.name.clone_from(&table.name);
        renewed.insert(fresh.source.clone());
        tables.add(fresh);
    }
    renewed
}

/// A column that was widened once stays so: the values that asked for it are likely still there.
fn keep_widened(before: &MirrorTable, copy: &mut MirrorTable) {
    for column in &mut copy.columns {
        let former = before.columns.iter().find(|old| old.source == column.source && old.declared == column.declared);
        if let Some(former) = former {
            column.column_type = former.column_type;
            column.narrower.clone_from(&former.narrower);
        }
    }
}

/// Whether SQLite sees two names as one.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
