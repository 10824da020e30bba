//! What a store tells about itself, as tables. A relation's columns and rows are made here, once, so that it is the same
//! in SQLite and in DuckDB:
//!
//! ```text
//!   relations    columns, rows of `Field`s
//!      |--> sqlite-ext   CREATE TABLE x(...), a text for a time
//!      '--> duckdb-ext   result columns, a TIMESTAMP for a time
//! ```
//!
//! What only one host knows, its relation has behind the columns that it shares.

mod branches;
mod changes;
mod diff;
mod log;
mod store;
mod tables;
mod tags;

pub use branches::{BRANCHES, branches};
pub use changes::{CHANGES, ChangesOf, changes};
pub use diff::{DIFF, Point, diff};
pub use log::{LOG, log};
pub use store::{STORE, store};
pub use tables::{GENERATED, TABLES, declared, tables};
pub use tags::{TAGS, tags};

use crate::HistoryError;

/// The type of a column. JSON is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Integer,
    Text,
    /// A point in time: a TIMESTAMP, or ISO-8601 text in UTC where there is no such type.
    Time,
}

/// A value of a row. NULL fits every column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Null,
    Integer(i64),
    Text(String),
    /// Milliseconds since 1970-01-01 UTC.
    Time(i64),
}

impl Field {
    pub fn text(text: impl Into<String>) -> Field {
        Field::Text(text.into())
    }

    fn count(number: impl Into<u64>) -> Field {
        Field::Integer(number.into() as i64)
    }
}

impl From<Option<String>> for Field {
    fn from(text: Option<String>) -> Field {
        text.map_or(Field::Null, Field::Text)
    }
}

/// A table's name and columns.
pub struct Relation {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Type)],
}

pub type Row = Vec<Field>;

/// Rows as they are asked for.
pub type Rows = Box<dyn Iterator<Item = Result<Row, HistoryError>> + Send>;
