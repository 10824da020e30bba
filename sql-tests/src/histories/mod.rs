//! Random histories of a database, and the comparison of a mirror with any version of it.
//!
//! ```text
//!   dice ──> statements ──SQL──> sqlite3 ──> store ──> mirrors in duckdb
//!               ↑                   │                       │
//!             shape <── what SQLite says that it has        │ shown: tables, columns, rows at a version
//!                                   └──> source at ──> differences
//! ```
//!
//! Nothing here models SQLite: which tables and columns there are is asked of it before each statement, so that statements
//! which fail, and what is rolled back, need no thought. What a mirror must show of a value is said here a second time, after
//! `docs/types.md` and not after the extension's code.

pub mod content;
mod definitions;
mod names;
mod shape;
mod statements;
pub mod values;

pub use statements::{Historian, Log};

/// A name in double quotes, for both programs.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes, for both programs.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
