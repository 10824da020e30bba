//! The three-way merge of one table's shape: its name, columns, constraints and options.
//!
//! The branch that merges keeps the order of its own columns, since statements may rely on it; what the other one added
//! comes behind, as ALTER TABLE ADD COLUMN would have put it.

use std::borrow::Cow;
use std::sync::Arc;

use maniac_sqlite_format::{
    ColumnText, Encoding, SchemaRow, Table, TableKind, TableText, merged_statement, same_statement,
};

use super::lines::Present;
use super::schema::quote;
use super::tables::Merged;

/// The merged shape, or why there is none.
pub fn merge(base: &Table, ours: &Present, theirs: &Present, encoding: Encoding) -> Result<Merged, String> {
    let (before, here, there) = (read(base)?, read(&ours.table)?, read(&theirs.table)?);
    let (Some(our_columns), Some(their_columns)) = (&ours.columns, &theirs.columns) else {
        return Err("changed on both branches, and its key on one".into());
    };
    let columns = Columns {
        base: (base, &before),
        ours: (&ours.table, &here, our_columns),
        theirs: (&theirs.table, &there, their_columns),
        merged: Vec::new(),
    };
    let columns = columns.merge()?;
    let name = name(base, &ours.table, &theirs.table)?;
    let constraints = constraints(&before.constraints, &here.constraints, &there.constraints)?;
    let options = chosen(before.options, here.options, there.options).ok_or("its options changed on both branches")?;

    let texts = columns.iter().map(|column| column.text.as_str()).chain(constraints.iter().map(|text| &**text));
    let sql = format!("CREATE TABLE {}({}) {options}", quote(&name), texts.collect::<Vec<_>>().join(", "));
    let (kind, table_name) = ("table".to_owned(), name.clone());
    let row = SchemaRow { rowid: 0, kind, name, table_name, root: 0, sql: Some(sql.trim_end().to_owned()) };
    let table = Table::from_row(&row, TableKind::Ordinary, encoding)?;
    Ok(Merged {
        table: Arc::new(table),
        from_ours: columns.iter().map(|column| column.ours).collect(),
        from_theirs: columns.iter().map(|column| column.theirs).collect(),
    })
}

fn read(table: &Table) -> Result<TableText<'_>, String> {
    let text = TableText::read(&table.sql).filter(|text| text.columns.len() == table.columns.len());
    text.ok_or_else(|| "changed differently on both branches".to_owned())
}

/// Whether a table differs from another in names, and in columns that came or went, alone: nothing that its rows were
/// checked for or converted by has changed.
pub fn only_names_and_columns(base: &Table, other: &Present) -> bool {
    let (Some(before), Some(after)) = (TableText::read(&base.sql), TableText::read(&other.table.sql)) else {
        return false;
    };
    let Some(columns) = &other.columns else { return false };
    if before.columns.len() != base.columns.len() || after.columns.len() != columns.len() {
        return false;
    }
    let same_column = |at: usize| match columns[at] {
        Some(known) => same_statement(before.columns[known].definition, after.columns[at].definition),
        None => !other.table.columns[at].not_null || other.table.columns[at].default.is_some(),
    };
    let alike =
        |one: &[&str], other: &[&str]| one.iter().all(|one| other.iter().any(|other| same_statement(one, other)));
    (0..columns.len()).all(same_column)
        && same_statement(before.options, after.options)
        && alike(&after.constraints, &before.constraints)
}

/// What a three-way merge of texts gives; nothing if both changed it, each in its own way.
fn chosen<'t>(base: &str, ours: &'t str, theirs: &'t str) -> Option<Cow<'t, str>> {
    if same_statement(ours, theirs) || same_statement(theirs, base) {
        return Some(ours.into());
    }
    if same_statement(ours, base) {
        return Some(theirs.into());
    }
    merged_statement(base, ours, theirs).map(Cow::Owned)
}

fn name(base: &Table, ours: &Table, theirs: &Table) -> Result<String, String> {
    let (base, ours, theirs) = (&base.name, &ours.name, &theirs.name);
    match (ours == theirs || base == theirs, base == ours) {
        (true, _) => Ok(ours.clone()),
        (false, true) => Ok(theirs.clone()),
        (false, false) => Err(format!("renamed to \"{ours}\" on this branch, to \"{theirs}\" on the other")),
    }
}

/// Those of both, less what either has taken away. Where both have changed one, it is merged word by word.
fn constraints<'t>(base: &[&str], ours: &[&'t str], theirs: &[&'t str]) -> Result<Vec<Cow<'t, str>>, String> {
    if base.len() == ours.len() && base.len() == theirs.len() {
        let each = base.iter().zip(ours).zip(theirs);
        if let Some(all) = each.map(|((base, ours), theirs)| chosen(base, ours, theirs)).collect() {
            return Ok(all);
        }
    }
    let has = |list: &[&str], sought: &str| list.iter().any(|one| same_statement(one, sought));
    let added = |side: &[&'t str], other: &[&str]| -> Vec<&'t str> {
        side.iter().copied().filter(|one| !has(base, one) && !has(other, one)).collect()
    };
    let (here, there) = (added(ours, theirs), added(theirs, ours));
    let gone_twice = base.iter().any(|one| !has(ours, one) && !has(theirs, one));
    if gone_twice && !here.is_empty() && !there.is_empty() {
        return Err("a constraint changed differently on both branches".into());
    }
    let kept = ours.iter().copied().filter(|one| has(theirs, one) || !has(base, one));
    Ok(kept.chain(there).map(Cow::Borrowed).collect())
}

/// A column of the merged table, and which of both sides' it is.
struct Column {
    name: String,
    text: String,
    ours: Option<usize>,
    theirs: Option<usize>,
}

/// A side's table, its text, and which of the ancestor's columns its own are.
type Side<'t> = (&'t Table, &'t TableText<'t>, &'t [Option<usize>]);

struct Columns<'t> {
    base: (&'t Table, &'t TableText<'t>),
    ours: Side<'t>,
    theirs: Side<'t>,
    merged: Vec<Column>,
}

impl Columns<'_> {
    fn merge(mut self) -> Result<Vec<Column>, String> {
        for at in 0..self.ours.2.len() {
            match self.ours.2[at] {
                Some(known) => self.known(known, at)?,
                None => self.added_here(at)?,
            }
        }
        for at in 0..self.theirs.2.len() {
            match self.theirs.2[at] {
                Some(known) if self.ours.2.contains(&Some(known)) => {}
                Some(known) => self.same(known, self.theirs, at, "dropped on this branch, changed on the other")?,
                None if self.merged.iter().any(|column| column.theirs == Some(at)) => {}
                None => self.push(self.theirs, at, None, Some(at)),
            }
        }
        let mut names: Vec<String> = self.merged.iter().map(|column| column.name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("two columns would be called \"{}\"", pair[0])),
            None => Ok(self.merged),
        }
    }

    fn push(&mut self, side: Side<'_>, at: usize, ours: Option<usize>, theirs: Option<usize>) {
        let ColumnText { name, definition } = &side.1.columns[at];
        let text = format!("{name} {definition}").trim_end().to_owned();
        self.merged.push(Column { name: side.0.columns[at].name.clone(), text, ours, theirs });
    }

    /// Refuses unless a side's column is as it was in the ancestor.
    fn same(&self, known: usize, side: Side<'_>, at: usize, reason: &str) -> Result<(), String> {
        let name = &self.base.0.columns[known].name;
        let same = side.0.columns[at].name == *name
            && same_statement(self.base.1.columns[known].definition, side.1.columns[at].definition);
        if same { Ok(()) } else { Err(format!("column \"{name}\" {reason}")) }
    }

    /// A column of the ancestor that is here still.
    fn known(&mut self, known: usize, here: usize) -> Result<(), String> {
        let Some(there) = self.theirs.2.iter().position(|column| *column == Some(known)) else {
            return self.same(known, self.ours, here, "changed on this branch, dropped on the other");
        };
        let (base, ours, theirs) =
            (&self.base.1.columns[known], &self.ours.1.columns[here], &self.theirs.1.columns[there]);
        let name = |table: &Table, at: usize| table.columns[at].name.clone();
        let (old, own, other) = (name(self.base.0, known), name(self.ours.0, here), name(self.theirs.0, there));
        let (name, written) = match (own == other || old == other, old == own) {
            (true, _) => (own, ours.name),
            (false, true) => (other, theirs.name),
            (false, false) => {
                return Err(format!(
                    "column \"{old}\" renamed to \"{own}\" on this branch, to \"{other}\" on the other"
                ));
            }
        };
        let definition = chosen(base.definition, ours.definition, theirs.definition)
            .ok_or_else(|| format!("column \"{old}\" changed differently on both branches"))?;
        let text = format!("{written} {definition}").trim_end().to_owned();
        self.merged.push(Column { name, text, ours: Some(here), theirs: Some(there) });
        Ok(())
    }

    fn added_here(&mut self, here: usize) -> Result<(), String> {
        let name = &self.ours.0.columns[here].name;
        let twin =
            |&at: &usize| self.theirs.2[at].is_none() && self.theirs.0.columns[at].name.eq_ignore_ascii_case(name);
        let there = (0..self.theirs.2.len()).find(twin);
        if let Some(there) = there
            && !same_statement(self.ours.1.columns[here].definition, self.theirs.1.columns[there].definition)
        {
            return Err(format!("column \"{name}\" added differently on both branches"));
        }
        self.push(self.ours, here, Some(here), there);
        Ok(())
    }
}
