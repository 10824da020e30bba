//! Which table a header means, beyond what the session extension knows.
//!
//! Two kinds of rows have no primary key that a changeset could name them by:
//!
//! - Rows of a table without a declared primary key are named by their rowid, in the form that the session extension
//!   itself gives them with `SQLITE_SESSION_OBJCONFIG_ROWID`: an extra first column `_rowid_`, which is the key.
//! - Rows whose declared key holds NULL, which SQLite allows in rowid tables. The session extension drops them. Here they
//!   come in that same form under the table's name with [`NULL_KEY_PREFIX`] before it. No table can have that name, since
//!   SQLite keeps `sqlite_` for itself, so stock `sqlite3changeset_apply` passes over those rows as the session extension
//!   would have done, and stock `_concat` and `_invert` still take the whole.

use crate::TableHeader;

/// The name of the column that stands for the rowid.
pub const ROWID_COLUMN: &str = "_rowid_";

/// Stands before the name of a table in the header of those of its rows whose declared key holds NULL.
pub const NULL_KEY_PREFIX: &str = "sqlite_null_key_";

/// The table whose rows a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'c> {
    pub table: &'c str,
    /// The rows are those whose declared key holds NULL; the first column is the rowid.
    pub null_key: bool,
}

impl<'c> Target<'c> {
    pub fn of(header: &TableHeader<'c>) -> Target<'c> {
        match header.name.strip_prefix(NULL_KEY_PREFIX) {
            Some(table) => Target { table, null_key: true },
            None => Target { table: header.name, null_key: false },
        }
    }
}
