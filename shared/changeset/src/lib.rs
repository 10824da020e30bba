//! SQLite's session changeset format: what changed in one transaction, row by row.
//!
//! ```text
//! changeset = { table header, { change } }
//! header    = 'T', varint columns, one byte a column (its place in the primary key, 0 for none), name, NUL
//! change    = op byte, indirect byte, records
//! records   = INSERT: new   DELETE: old   UPDATE: old (key and changed columns), new (changed columns)
//! record    = one value a column: type byte, then 8 bytes (integer, real) or varint length and bytes (text, blob)
//! ```
//!
//! `sqlite3changeset_apply`, `_invert` and `_concat` take what is written here. Patchsets, the shorter relative of this
//! format, are not read.

mod error;
mod group;
mod header;
mod invert;
mod reader;
mod record;
mod target;
mod writer;

pub use error::ChangesetError;
pub use group::Group;
pub use header::{Op, TableHeader};
pub use invert::invert;
pub use reader::{Change, Item, Reader};
pub use record::{Field, Record, push_value};
pub use target::{NULL_KEY_PREFIX, ROWID_COLUMN, Target};
pub use writer::Writer;

#[cfg(test)]
mod tests;
