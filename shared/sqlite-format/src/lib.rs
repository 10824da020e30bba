//! Reads a SQLite database from its pages, without SQLite.
//!
//! ```text
//! PageSource ── Database (header, geometry) ── TreeWalk (pages in key order) ── Cell ── payload (+ overflow chain)
//!                    │                                                                   │
//!                    └── Schema (tables, columns, keys) ── RowLayout ───────────────── values
//! ```
//!
//! Nothing here trusts a byte: a malformed page is an error that names the page and the offset in it, never a panic, an
//! endless loop or an allocation that the database's own size doesn't justify. The formats are those of SQLite's
//! fileformat2.html.

mod block;
mod cell;
mod database;
mod error;
mod header;
mod page;
mod payload;
mod ptrmap;
mod record;
mod rows;
mod schema;
mod seek;
mod text;
mod walk;

pub use block::{BlockColumn, BlockFields, BlockRows, RowBlock};
pub use cell::Cell;
pub use database::Database;
pub use error::FormatError;
pub use header::{Encoding, Header};
pub use page::{PageKind, TreePage};
pub use payload::{chain, full_payload};
pub use ptrmap::PtrmapKind;
pub use record::{FieldReader, RecordFields, Serial};
pub use rows::{FieldSource, Row, RowLayout, Rows, Selection};
pub use schema::{
    Affinity, Collation, Column, ColumnText, Generated, KeyForm, KeyPart, ModuleArgument, ModuleCall, Schema,
    SchemaRow, Table, TableKind, TableText, UnsoundRow, ViewText, has_keyword, merged_statement, same_statement,
};
pub use text::utf16_to_utf8;
pub use walk::{TreeWalk, tree_pages};
