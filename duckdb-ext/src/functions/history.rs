//! `maniac_changes`, `maniac_tables`, `maniac_branches`, `maniac_log`: a store's contents and history, read straight
//! from the store without a mirror.

use std::sync::Arc;

use maniac_base::Version;
use maniac_history::JsonObject;

use crate::error::Result;
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::schema::ColumnType;
use crate::source::{self, Commit, RowChange, Source, SourceTable, Value};

const STORE: &str = "the store to read";

pub static CHANGES: Function = Function {
    name: "maniac_changes",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Named("from", Kind::Integer),
        Parameter::Named("to", Kind::Integer),
        Parameter::Named("branch", Kind::Text),
    ],
    columns: &[
        ("version", Kind::Integer),
        ("table", Kind::Text),
        ("op", Kind::Text),
        ("key", Kind::Text),
        ("old", Kind::Text),
        ("new", Kind::Text),
    ],
    on_callers_thread: false,
    start: changes,
};

pub static TABLES: Function = Function {
    name: "maniac_tables",
    parameters: &[Parameter::Positional(Kind::Text), Parameter::Named("branch", Kind::Text)],
    columns: &[
        ("table", Kind::Text),
        ("column", Kind::Text),
        ("position", Kind::Integer),
        ("declared_type", Kind::Text),
        ("mirror_type", Kind::Text),
        ("key_position", Kind::Integer),
    ],
    on_callers_thread: false,
    start: tables,
};

pub static BRANCHES: Function = Function {
    name: "maniac_branches",
    parameters: &[Parameter::Positional(Kind::Text)],
    columns: &[
        ("name", Kind::Text),
        ("parent", Kind::Text),
        ("fork_version", Kind::Integer),
        ("head_version", Kind::Integer),
        ("created", Kind::Timestamp),
        ("pages", Kind::Integer),
        ("commits", Kind::Integer),
    ],
    on_callers_thread: false,
    start: branches,
};

pub static LOG: Function = Function {
    name: "maniac_log",
    parameters: &[Parameter::Positional(Kind::Text), Parameter::Named("branch", Kind::Text)],
    columns: &[
        ("version", Kind::Integer),
        ("time", Kind::Timestamp),
        ("tables", Kind::Text),
        ("rows", Kind::Integer),
        ("schema_changed", Kind::Boolean),
        ("pages", Kind::Integer),
        ("bytes", Kind::Integer),
    ],
    on_callers_thread: false,
    start: log,
};

/// Opens the branch that a call names.
fn source_of(args: &Args) -> Result<Arc<dyn Source>> {
    let branch = args.text("branch").unwrap_or_else(|| "main".to_string());
    source::open(&args.text_at(0, STORE)?, &branch)
}

/// A version from an argument: negative ones count as the start of time.
fn version(number: i64) -> Version {
    Version(u64::try_from(number).unwrap_or(0))
}

/// Changes of the versions above `from` (default: all) up to `to` (default: the head), both as `maniac_head()` tells them.
fn changes(_: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let source = source_of(args)?;
    let from = version(args.integer("from").unwrap_or(0));
    let to = args.integer("to").map_or(Version(u64::MAX), version);
    let commits = source
        .commits(from)?
        .take_while(move |commit| commit.as_ref().is_ok_and(|c| c.version <= to) || commit.is_err());
    let mut shapes = Shapes { source, tables: Vec::new(), fresh: false };
    let rows = commits.flat_map(move |commit| match commit.and_then(|commit| shapes.rows(&commit)) {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    Ok(Box::new(rows))
}

/// The columns' names, read again when a commit changes the schema.
struct Shapes {
    source: Arc<dyn Source>,
    tables: Vec<SourceTable>,
    fresh: bool,
}

impl Shapes {
    fn rows(&mut self, commit: &Commit) -> Result<Vec<Vec<Field>>> {
        if !self.fresh || commit.schema.is_some() {
            self.tables = self.source.tables(commit.version)?;
            self.fresh = true;
        }
        let mut rows = Vec::new();
        for changes in &commit.tables {
            let shape = self.tables.iter().find(|table| table.name == changes.table);
            let object = |values: &mut dyn Iterator<Item = (usize, &Value)>| {
                let mut object = JsonObject::default();
                for (place, value) in values {
                    match shape.and_then(|shape| shape.columns.get(place)) {
                        Some(column) => object.add(&column.name, value),
                        None => object.add(&format!("column {}", place + 1), value),
                    }
                }
                Field::Text(object.finish())
            };
            let given = |values: &[Option<Value>]| {
                object(&mut values.iter().enumerate().filter_map(|(at, value)| value.as_ref().map(|value| (at, value))))
            };
            for change in &changes.rows {
                let keyed = |at: &usize| changes.key.contains(at);
                let (op, key, old, new) = match change {
                    RowChange::Insert(row) => (
                        "INSERT",
                        object(&mut row.iter().enumerate().filter(|(at, _)| keyed(at))),
                        Field::Null,
                        object(&mut row.iter().enumerate()),
                    ),
                    RowChange::Delete(old) => ("DELETE", given(&only(old, keyed)), given(old), Field::Null),
                    RowChange::Update { old, new } => (
                        "UPDATE",
                        given(&only(old, keyed)),
                        given(&only(old, |at| !keyed(at))),
                        given(&only(new, |at| !keyed(at))),
                    ),
                };
                let version = Field::Integer(commit.version.0 as i64);
                rows.push(vec![version, Field::text(changes.table.clone()), Field::text(op), key, old, new]);
            }
        }
        Ok(rows)
    }
}

/// The values at some places; the others become unknown.
fn only(values: &[Option<Value>], wanted: impl Fn(&usize) -> bool) -> Vec<Option<Value>> {
    values.iter().enumerate().map(|(at, value)| value.clone().filter(|_| wanted(&at))).collect()
}

fn tables(_: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let source = source_of(args)?;
    let tables = source.tables(source.head()?)?;
    let rows = tables.into_iter().flat_map(|table| {
        let row = |(place, column): (usize, &source::SourceColumn)| {
            let key = table.key.iter().position(|key| *key == place).map_or(0, |at| at + 1);
            Ok(vec![
                Field::text(table.name.clone()),
                Field::text(column.name.clone()),
                Field::Integer(place as i64),
                Field::text(column.declared.clone()),
                Field::text(ColumnType::of_declared(&column.declared).to_string()),
                Field::Integer(key as i64),
            ])
        };
        table.columns.iter().enumerate().map(row).collect::<Vec<_>>()
    });
    Ok(Box::new(rows))
}

fn branches(_: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let branches = source::branches(&args.text_at(0, STORE)?)?;
    let rows = branches.into_iter().map(|branch| {
        Ok(vec![
            Field::text(branch.name),
            Field::optional(branch.parent),
            Field::Integer(branch.fork.0 as i64),
            Field::Integer(branch.head.0 as i64),
            if branch.created_ms == 0 { Field::Null } else { micros(branch.created_ms) },
            Field::Integer(i64::from(branch.pages)),
            Field::Integer(branch.commits as i64),
        ])
    });
    Ok(Box::new(rows))
}

fn log(_: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let commits = source_of(args)?.commits(Version(0))?;
    let rows = commits.map(|commit| {
        let commit = commit?;
        let names: Vec<&str> = commit.tables.iter().map(|table| table.table.as_str()).collect();
        let changed: usize = commit.tables.iter().map(|table| table.rows.len()).sum();
        Ok(vec![
            Field::Integer(commit.version.0 as i64),
            micros(commit.time_ms),
            Field::text(names.join(", ")),
            Field::Integer(changed as i64),
            Field::Boolean(commit.schema.is_some()),
            Field::Integer(commit.pages as i64),
            Field::Integer(commit.bytes as i64),
        ])
    });
    Ok(Box::new(rows))
}

fn micros(ms: i64) -> Field {
    Field::Integer(ms.saturating_mul(1000))
}
