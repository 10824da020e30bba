//! Where a mirror's data comes from: one branch of a store, seen as tables at a version and as commits after one.

mod coalesce;
mod commits;
mod local;
mod records;
mod scan;

pub use coalesce::{Coalesce, parts};
pub use local::{LocalSource, branches, tags};
pub use maniac_history::relations::GENERATED;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maniac_base::Version;
pub use maniac_diff::Extent;

use crate::error::Result;

/// A value that owns its bytes.
pub type Value = maniac_base::Value<'static>;

/// A value that may borrow its bytes from a page.
pub type BorrowedValue<'a> = maniac_base::Value<'a>;

/// Rows that a reader is at, with the columns asked for.
pub type RowsView<'a> = maniac_sqlite_format::BlockRows<'a>;

/// A row in the shape of its `SourceTable`.
pub type Row = Vec<Value>;

#[derive(Clone, Debug, PartialEq)]
pub struct SourceColumn {
    pub name: String,
    /// The declared type as written, empty if there is none; with `GENERATED` behind it for a generated column.
    pub declared: String,
    /// What rows that were written before the column existed have in it. `None` if only the source can tell.
    pub default: Option<Value>,
}

/// A table of the source. One without a declared primary key has `_rowid_` as its first column, which is its key.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTable {
    pub name: String,
    pub columns: Vec<SourceColumn>,
    /// Places of the key's columns.
    pub key: Vec<usize>,
    /// Whether the key is the rowid (`_rowid_` or an INTEGER PRIMARY KEY): one integer, never NULL.
    pub key_is_rowid: bool,
}

/// A view of the source, with the statement that SQLite keeps of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceView {
    pub name: String,
    pub sql: String,
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowChange {
    Insert(Row),
    /// The key columns' values are given, the others may be `None`.
    Delete(Vec<Option<Value>>),
    /// `None` is a value that did not change. Both have the key, which never changes: a changed one is a delete and an
    /// insert.
    Update {
        old: Vec<Option<Value>>,
        new: Vec<Option<Value>>,
    },
}

impl RowChange {
    fn memory(&self) -> usize {
        // A text or a blob is an allocation of its own.
        const ALLOCATION: usize = 16;
        let value = |value: &Value| match value.bytes() {
            0 => size_of::<Value>(),
            bytes => size_of::<Value>() + ALLOCATION + bytes,
        };
        let values = |values: &[Option<Value>]| {
            values.iter().map(|known| known.as_ref().map_or(size_of::<Value>(), value)).sum::<usize>()
        };
        size_of::<RowChange>()
            + match self {
                RowChange::Insert(row) => row.iter().map(value).sum(),
                RowChange::Delete(old) => values(old),
                RowChange::Update { old, new } => values(old) + values(new),
            }
    }
}

/// The changes of one table in one commit, with columns as they are after it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChanges {
    pub table: String,
    pub key: Vec<usize>,
    pub rows: Vec<RowChange>,
}

/// A table that a commit made, dropped, renamed or defined anew.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChange {
    /// Its name before; `None` if it is new, also in the place and under the name of another one.
    pub before: Option<String>,
    /// As it is afterwards; `None` if it is gone.
    pub after: Option<SourceTable>,
}

/// One committed transaction of the branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    pub version: Version,
    pub time_ms: i64,
    /// The schema changed, be it in these tables or in something that a mirror has nothing of, such as an index.
    pub schema: Option<Vec<TableChange>>,
    /// Why nobody can tell what it changed in the tables asked for, if so. The next commit of which that can be told has these
    /// changes too.
    pub unreadable: Option<String>,
    pub tables: Vec<TableChanges>,
    /// Tables that had changes which name no row of a mirror: rows whose declared key holds NULL.
    pub unkeyed: Vec<String>,
    /// Tables whose changes were not asked for.
    pub left_out: Vec<String>,
}

impl Commit {
    /// Tables that had changes which are not among the rows: they have to be copied.
    pub fn unfollowed(&self) -> impl Iterator<Item = &String> {
        self.unkeyed.iter().chain(&self.left_out)
    }

    /// Leaves out the rows of a table, if it has some.
    pub fn leave_out(&mut self, table: &str) {
        let before = self.tables.len();
        self.tables.retain(|changes| changes.table != table);
        if self.tables.len() < before {
            self.left_out.push(table.to_string());
        }
    }

    /// About how many bytes of memory its rows take.
    pub fn memory(&self) -> usize {
        self.tables.iter().flat_map(|changes| &changes.rows).map(RowChange::memory).sum()
    }
}

/// What a mirror is a mirror of.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The store's own random identity, in hexadecimal.
    pub store: String,
    pub branch_id: u32,
    pub branch: String,
    /// How the user named the source, for messages.
    pub location: String,
}

/// Is asked whether the rows of a table, by its name, are to be decoded, of which about so many changed in a version.
pub type Follows<'f> = &'f mut dyn FnMut(Version, &str, Extent) -> bool;

/// Tables that are asked for, by their names.
pub type Wanted = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Commits in version order.
pub trait Commits: Send {
    /// The next one, with the rows of the tables for which `follows` holds, which may be asked several times; the others are
    /// named as left out.
    fn next(&mut self, follows: Follows<'_>) -> Result<Option<Commit>>;
}
/// Rows of one of the relations that a store tells about itself.
pub type Rows = Box<dyn Iterator<Item = Result<maniac_history::relations::Row>> + Send>;

/// A table at a version. Its readers share the rows among them: each row is read by one.
pub trait TableScan: Send + Sync {
    /// In how many parts the rows are handed out: more readers than that are of no use.
    fn parts(&self) -> usize;

    /// A scan of a few stretches of the table, spread over it.
    fn sample(&self) -> Arc<dyn TableScan>;

    /// A reader of some columns, by their places in the `SourceTable`.
    fn reader(self: Arc<Self>, columns: &[usize]) -> Box<dyn Reader>;
}

pub trait Reader: Send {
    /// Shows up to `limit` rows to `each`, some at a time, with the number that the first of them has in this call.
    /// Returns how many rows; 0 is the end.
    fn read(&mut self, limit: usize, each: &mut dyn FnMut(usize, &RowsView<'_>) -> Result<()>) -> Result<usize>;
}

/// One branch of a store. Methods may be called from several threads.
pub trait Source: Send + Sync {
    fn identity(&self) -> Identity;

    /// The version of the branch's newest commit.
    fn head(&self) -> Result<Version>;

    /// Blocks until something newer than `after` is committed in the store, on any branch, or `done` holds (asked again at
    /// each `interrupt`), or
    /// the timeout passes. Returns the newest version of the store.
    fn wait(&self, after: Version, timeout: Duration, done: &dyn Fn() -> bool) -> Result<Version>;

    /// Wakes those that wait.
    fn interrupt(&self);

    /// Commits of the branch with a version above `after`, up to the newest. They have the changes of all tables, but are
    /// unreadable only if one of the tables asked for is.
    fn commits(&self, after: Version, wanted: Wanted) -> Result<Box<dyn Commits>>;

    /// The tables at a version, without views, virtual tables and SQLite's own.
    fn tables(&self, at: Version) -> Result<Vec<SourceTable>>;

    /// The views at a version.
    fn views(&self, at: Version) -> Result<Vec<SourceView>>;

    /// Fails if the commits behind a version could not be told, because some of the tables asked for can't be read at it.
    fn check_readable(&self, at: Version, wanted: Wanted) -> Result<()>;

    /// Opens a table at a version for reading by several threads.
    fn scan(&self, at: Version, table: &str) -> Result<Arc<dyn TableScan>>;

    /// Whole rows of a table whose key is the rowid, at a version, in the order of the `rowids`; `None` where there is
    /// no such row.
    fn rows(&self, at: Version, table: &str, rowids: &[i64]) -> Result<Vec<Option<Row>>>;

    /// About how many rows a table has at a version; 0 if it isn't there.
    fn rows_about(&self, at: Version, table: &str) -> Result<u64>;

    /// The version that a moment means: a version, or a time in ISO 8601.
    fn resolve(&self, moment: &str) -> Result<Version>;

    /// How many commits follow `after`, counted up to `limit`, and when the first of them was made.
    fn pending(&self, after: Version, limit: usize) -> Result<(usize, Option<i64>)>;
}

/// Opens a branch of the store at `location`, an encrypted one with the key in `keyfile`.
pub fn open(location: &str, branch: &str, keyfile: Option<&str>) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(local::LocalSource::open(location, branch, keyfile)?))
}

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as i64
}
