//! `maniac_changes`, `maniac_tables`, `maniac_branches`, `maniac_log`: a store's contents and history, read straight
//! from the store without a mirror.

use std::sync::Arc;

use maniac_base::Version;

use crate::apply::Differing;
use crate::error::Result;
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::schema::ColumnType;
use crate::source::{self, Source};

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
        ("time", Kind::Timestamp),
        ("table", Kind::Text),
        ("op", Kind::Text),
        ("key", Kind::Text),
        ("old", Kind::Text),
        ("new", Kind::Text),
        ("shadow_of", Kind::Text),
    ],
    is_long: |_, _| false,
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
        ("widened", Kind::Text),
        ("named", Kind::Text),
        ("reason", Kind::Text),
    ],
    is_long: |_, _| false,
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
    is_long: |_, _| false,
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
    is_long: |_, _| false,
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
    let text = |text: Option<String>| text.map_or(Field::Null, Field::Text);
    let rows = source.changes(from, to)?.map(move |change| {
        let change = change?;
        Ok(vec![
            Field::Integer(change.version.0 as i64),
            Field::Integer(change.time_ms * 1000),
            text(change.table),
            Field::text(change.op.name()),
            text(change.key),
            text(change.old),
            text(change.new),
            text(change.shadow_of),
        ])
    });
    Ok(Box::new(rows))
}

const NOT_STORED: &str = "a VIRTUAL generated column has no values in the store: declare it STORED to mirror them";

/// The store's columns, and what has become of them in the mirrors of the branch that are attached.
fn tables(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let source = source_of(args)?;
    let tables = source.tables(source.head()?)?;
    let of = source.identity();
    let mirrors = instance.mirrors().into_iter().filter(move |mirror| {
        let other = mirror.source.identity();
        (other.store, other.branch_id) == (of.store.clone(), of.branch_id)
    });
    let differing: Vec<(String, Vec<Differing>)> =
        mirrors.map(|mirror| (mirror.name.clone(), mirror.report().differing)).collect();
    let rows = tables.into_iter().flat_map(move |table| {
        let told = |column: &str, what: fn(&Differing) -> &Option<String>| {
            let told = differing.iter().flat_map(|(mirror, columns)| {
                let known = columns.iter().filter(|known| known.table == table.name && known.column == column);
                known.filter_map(move |known| what(known).as_ref().map(|what| format!("{mirror}: {what}")))
            });
            Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty())
        };
        let row = |(place, column): (usize, &source::SourceColumn)| {
            let key = table.key.iter().position(|key| *key == place).map_or(0, |at| at + 1);
            Ok(vec![
                Field::text(table.name.clone()),
                Field::text(column.name.clone()),
                Field::Integer(place as i64),
                Field::text(column.declared.clone()),
                Field::text(ColumnType::of_declared(&column.declared).to_string()),
                Field::Integer(key as i64),
                Field::optional(told(&column.name, |known| &known.steps)),
                Field::optional(told(&column.name, |known| &known.name)),
                Field::Null,
            ])
        };
        let left_out = table.virtual_columns.iter().map(|(name, declared)| {
            let [name, declared] = [name, declared].map(|text| Field::text(text.clone()));
            let nulls = [Field::Null, Field::Null, Field::Null, Field::Null].into_iter();
            let row = [Field::text(table.name.clone()), name, Field::Null, declared].into_iter().chain(nulls);
            Ok(row.chain([Field::text(NOT_STORED)]).collect())
        });
        table.columns.iter().enumerate().map(row).chain(left_out).collect::<Vec<_>>()
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
        // Of what can't be read nobody knows.
        let known = |field| if commit.unreadable.is_some() { Field::Null } else { field };
        Ok(vec![
            Field::Integer(commit.version.0 as i64),
            micros(commit.time_ms),
            known(Field::text(names.join(", "))),
            known(Field::Integer(changed as i64)),
            known(Field::Boolean(commit.schema.is_some())),
            Field::Integer(commit.pages as i64),
            Field::Integer(commit.bytes as i64),
        ])
    });
    Ok(Box::new(rows))
}

fn micros(ms: i64) -> Field {
    Field::Integer(ms.saturating_mul(1000))
}
