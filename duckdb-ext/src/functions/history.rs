//! `maniac_changes`, `maniac_diff`, `maniac_log`, `maniac_branches`, `maniac_store`, `maniac_tables`: a store's contents
//! and history, read straight from the store without a mirror. Columns and rows are those that SQLite has too.

use std::sync::Arc;

use maniac_base::BranchId;
use maniac_history::relations::{self, ChangesOf, Point, Relation, Type};
use maniac_history::{HistoryError, Stream};
use maniac_store::Store;

use crate::apply::Differing;
use crate::error::{Error, Result};
use crate::host::{Args, Field, Function, Kind, Parameter, Rows};
use crate::instance::Instance;
use crate::schema::ColumnType;
use crate::source::{self, LocalSource, Source};

const LOCATION: &str = "the store to read";
const STORE: Parameter = Parameter::Positional(Kind::Text);
const BRANCH: Parameter = Parameter::Named("branch", Kind::Text);
const KEYFILE: Parameter = Parameter::Named("keyfile", Kind::Text);

pub static CHANGES: Function = Function {
    name: relations::CHANGES.name,
    parameters: &[
        STORE,
        Parameter::Named("from", Kind::Integer),
        Parameter::Named("to", Kind::Integer),
        BRANCH,
        KEYFILE,
    ],
    columns: &columns::<{ relations::CHANGES.columns.len() }>(&relations::CHANGES, &[]),
    is_long: |_, _| false,
    start: |_, args| {
        let of = ChangesOf { from: args.integer("from"), to: args.integer("to"), ..ChangesOf::default() };
        read(args, |store, branch| relations::changes(store, branch, of))
    },
};

pub static DIFF: Function = Function {
    name: relations::DIFF.name,
    parameters: &[
        STORE,
        Parameter::Named("a", Kind::Text),
        Parameter::Named("b", Kind::Text),
        Parameter::Named("table", Kind::Text),
        BRANCH,
        KEYFILE,
    ],
    columns: &columns::<{ relations::DIFF.columns.len() }>(&relations::DIFF, &[]),
    is_long: |_, _| false,
    start: |_, args| {
        let Some(from) = args.text("a").map(Point::Text) else {
            return Err(Error::input("give a := ..., what to compare: a branch, a version or a time"));
        };
        let (to, table) = (args.text("b").map(Point::Text), args.text("table"));
        read(args, |store, branch| {
            let to = match to {
                Some(to) => to,
                None => Point::Version(store.branch_head(branch)?.0 as i64),
            };
            relations::diff(&from.snapshot(store, branch)?, &to.snapshot(store, branch)?, table)
        })
    },
};

pub static LOG: Function = Function {
    name: relations::LOG.name,
    parameters: &[STORE, BRANCH, KEYFILE],
    columns: &columns::<{ relations::LOG.columns.len() }>(&relations::LOG, &[]),
    is_long: |_, _| false,
    start: |_, args| read(args, |store, branch| relations::log(store, branch, (None, None))),
};

pub static BRANCHES: Function = Function {
    name: relations::BRANCHES.name,
    parameters: &[STORE, KEYFILE],
    columns: &columns::<{ relations::BRANCHES.columns.len() }>(&relations::BRANCHES, &[]),
    is_long: |_, _| false,
    start: |_, args| Ok(rows(source::branches(&args.text_at(0, LOCATION)?, args.text("keyfile").as_deref())?)),
};

pub static TAGS: Function = Function {
    name: relations::TAGS.name,
    parameters: &[STORE, KEYFILE],
    columns: &columns::<{ relations::TAGS.columns.len() }>(&relations::TAGS, &[]),
    is_long: |_, _| false,
    start: |_, args| Ok(rows(source::tags(&args.text_at(0, LOCATION)?, args.text("keyfile").as_deref())?)),
};

pub static ABOUT: Function = Function {
    name: relations::STORE.name,
    parameters: &[STORE, BRANCH, KEYFILE],
    columns: &columns::<{ relations::STORE.columns.len() }>(&relations::STORE, &[]),
    is_long: |_, _| false,
    start: |_, args| read(args, |store, branch| relations::store(store, branch, store.branch_head(branch)?)),
};

/// What only DuckDB knows of a column.
const MIRRORED: [(&str, Kind); 4] =
    [("mirror_type", Kind::Text), ("widened", Kind::Text), ("named", Kind::Text), ("reason", Kind::Text)];

pub static TABLES: Function = Function {
    name: relations::TABLES.name,
    parameters: &[STORE, BRANCH, KEYFILE],
    columns: &columns::<{ relations::TABLES.columns.len() + MIRRORED.len() }>(&relations::TABLES, &MIRRORED),
    is_long: |_, _| false,
    start: tables,
};

/// A relation's columns, and more behind them.
const fn columns<const N: usize>(relation: &Relation, more: &[(&'static str, Kind)]) -> [(&'static str, Kind); N] {
    let mut columns = [("", Kind::Text); N];
    let mut n = 0;
    while n < relation.columns.len() {
        let (name, kind) = relation.columns[n];
        let kind = match kind {
            Type::Integer => Kind::Integer,
            Type::Text => Kind::Text,
            Type::Time => Kind::Timestamp,
        };
        columns[n] = (name, kind);
        n += 1;
    }
    while n < N {
        columns[n] = more[n - relation.columns.len()];
        n += 1;
    }
    columns
}

fn fields(row: relations::Row) -> Vec<Field> {
    let field = |field| match field {
        relations::Field::Null => Field::Null,
        relations::Field::Integer(number) => Field::Integer(number),
        relations::Field::Text(text) => Field::Text(text),
        relations::Field::Time(ms) => Field::Integer(ms.saturating_mul(1000)),
    };
    row.into_iter().map(field).collect()
}

fn rows(rows: source::Rows) -> Rows {
    Box::new(rows.map(|row| row.map(fields)))
}

/// Opens the branch that a call names.
fn source_of(args: &Args) -> Result<LocalSource> {
    let branch = args.text("branch").unwrap_or_else(|| "main".to_string());
    LocalSource::open(&args.text_at(0, LOCATION)?, &branch, args.text("keyfile").as_deref())
}

/// The rows of a relation of the branch that a call names.
fn read(
    args: &Args,
    read: impl FnOnce(&Arc<Store>, BranchId) -> std::result::Result<relations::Rows, HistoryError>,
) -> Result<Rows> {
    Ok(rows(source_of(args)?.read(read)?))
}

const NOT_STORED: &str = "a VIRTUAL generated column has no values in the store: declare it STORED to mirror them";

/// The store's columns, and what has become of them in the mirrors of the branch that are attached.
fn tables(instance: &Arc<Instance>, args: &Args) -> Result<Rows> {
    let source = source_of(args)?;
    let of = source.identity();
    let mirrors = instance.mirrors().into_iter().filter(move |mirror| {
        let other = mirror.source.identity();
        (other.store, other.branch_id) == (of.store.clone(), of.branch_id)
    });
    let differing: Vec<(String, Vec<Differing>)> =
        mirrors.map(|mirror| (mirror.name.clone(), mirror.report().differing)).collect();
    let columns = source.read(|store, branch| {
        let schema = Stream::new(store, branch).schema(store.branch_head(branch)?)?;
        Ok(relations::tables(&schema))
    })?;
    Ok(Box::new(columns.map(move |row| Ok(mirrored(fields(row?), &differing)))))
}

fn mirrored(mut row: Vec<Field>, differing: &[(String, Vec<Differing>)]) -> Vec<Field> {
    let [Field::Text(table), Field::Text(column), position, Field::Text(declared), ..] = &row[..] else {
        unreachable!("the columns of maniac_tables")
    };
    let told = |what: fn(&Differing) -> &Option<String>| {
        let told = differing.iter().flat_map(|(mirror, columns)| {
            let known = columns.iter().filter(|known| known.table == *table && known.column == *column);
            known.filter_map(move |known| what(known).as_ref().map(|what| format!("{mirror}: {what}")))
        });
        Field::optional(Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty()))
    };
    let more = match position {
        Field::Null => [Field::Null, Field::Null, Field::Null, Field::text(NOT_STORED)],
        _ => {
            let mirror_type = Field::text(ColumnType::of_declared(declared).to_string());
            [mirror_type, told(|known| &known.steps), told(|known| &known.name), Field::Null]
        }
    };
    row.extend(more);
    row
}
