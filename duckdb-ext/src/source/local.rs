//! A store directory on this machine, read directly.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use maniac_base::{BranchId, Version};
use maniac_changeset::ROWID_COLUMN;
use maniac_diff::{Readable, Trees, match_changed};
use maniac_history::relations::{self, declared};
use maniac_history::{HistoryError, SchemaChange, Stream};
use maniac_sqlite_format::{
    Database, Generated, KeyForm, RecordFields, RowLayout, Schema, Selection, Table, TableKind, full_payload,
};
use maniac_store::{KeyChoice, LogError, Moment, OpenOptions, Snapshot, Store, StoreError};

use super::commits::LocalCommits;
use super::records::Records;
use super::scan::{PageScan, layout_of};
use super::{
    Commits, Identity, Row, Rows, Source, SourceColumn, SourceTable, SourceView, TableChange, TableScan, Value, Wanted,
};
use crate::error::{Error, Result};
use crate::schema::quote_text;

/// Rows that a sample counts at once.
const SAMPLED_AT_ONCE: usize = 2048;

/// Fewer rows are read before a thread has started.
const ROWS_PER_THREAD: usize = 256;

#[derive(Clone)]
pub struct LocalSource {
    store: Arc<Store>,
    branch: BranchId,
    identity: Identity,
    pub(super) records: Arc<Records>,
    pub(super) stream: Stream,
}

impl LocalSource {
    /// `keyfile` has the key of an encrypted store; without one, the process or the environment may have it.
    pub fn open(location: &str, branch: &str, keyfile: Option<&str>) -> Result<LocalSource> {
        let store = open_store(location, keyfile)?;
        let branch = store.branch(branch).map_err(of_store)?;
        let identity = Identity {
            store: format!("{:032x}", store.id().0),
            branch_id: branch.id.0,
            branch: branch.name,
            location: location.to_string(),
        };
        let stream = Stream::new(&store, branch.id);
        Ok(LocalSource { store, branch: branch.id, identity, records: Arc::default(), stream })
    }

    /// Rows of a relation of this branch.
    pub fn read(
        self,
        read: impl FnOnce(&Arc<Store>, BranchId) -> std::result::Result<relations::Rows, HistoryError>,
    ) -> Result<Rows> {
        let rows = read(&self.store, self.branch).map_err(|error| self.of_history(error))?;
        Ok(Box::new(rows.map(move |row| row.map_err(|error| self.of_history(error)))))
    }

    pub(super) fn snapshot(&self, at: Version) -> Result<Snapshot> {
        self.stream.snapshot(at).map_err(|error| self.of_history(error))
    }
}

/// `maniac_branches` of a store.
pub fn branches(location: &str, keyfile: Option<&str>) -> Result<Rows> {
    let rows = relations::branches(&open_store(location, keyfile)?).map_err(Error::source)?;
    Ok(Box::new(rows.map(|row| row.map_err(Error::source))))
}

/// `maniac_tags` of a store.
pub fn tags(location: &str, keyfile: Option<&str>) -> Result<Rows> {
    let rows = relations::tags(&open_store(location, keyfile)?).map_err(Error::source)?;
    Ok(Box::new(rows.map(|row| row.map_err(Error::source))))
}

fn open_store(location: &str, keyfile: Option<&str>) -> Result<Arc<Store>> {
    let key = KeyChoice::of_parameter(keyfile);
    Store::open_with(Path::new(location), OpenOptions::default(), &key).map_err(|error| match error {
        StoreError::NotFound { path } => {
            let here = std::env::current_dir().map_or_else(|_| String::new(), |dir| format!(" in {}", dir.display()));
            Error::input(format!(
                "there is no store at {}{}: check the path. A store is made by opening it in SQLite: \
                 .open 'file:{}?vfs=maniac'",
                path.display(),
                if path.is_absolute() { String::new() } else { here },
                path.display()
            ))
        }
        StoreError::PlainFile { ref path } => Error::input(format!(
            "{error}. To read the file itself in DuckDB, use sqlite_scanner: ATTACH {} AS plain (TYPE sqlite)",
            quote_text(&path.display().to_string())
        )),
        other => Error::input(other.to_string()),
    })
}

impl Source for LocalSource {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn head(&self) -> Result<Version> {
        self.check_place()?;
        Ok(self.store.branch_by_id(self.branch).map_err(of_store)?.head)
    }

    fn wait(&self, after: Version, timeout: Duration, done: &dyn Fn() -> bool) -> Result<Version> {
        self.check_place()?;
        self.store.wait_until(Some(timeout), || self.store.head() > after || done()).map_err(of_store)?;
        Ok(self.store.head())
    }

    fn interrupt(&self) {
        self.store.interrupt();
    }

    fn commits(&self, after: Version, wanted: Wanted) -> Result<Box<dyn Commits>> {
        let follower = self.stream.follow(after).map_err(|error| self.of_history(error))?;
        Ok(Box::new(LocalCommits::new(self.clone(), follower, wanted)))
    }

    fn tables(&self, at: Version) -> Result<Vec<SourceTable>> {
        let schema = self.schema(at)?;
        Ok(schema.tables.iter().filter(|table| is_mirrored(table)).map(|table| source_table(table)).collect())
    }

    fn views(&self, at: Version) -> Result<Vec<SourceView>> {
        let schema = self.schema(at)?;
        let views = schema.rows.iter().filter(|row| row.kind == "view");
        let told = views.filter_map(|row| Some(SourceView { name: row.name.clone(), sql: row.sql.clone()? }));
        Ok(told.collect())
    }

    fn check_readable(&self, at: Version, wanted: Wanted) -> Result<()> {
        let reason = match Readable::read(&self.snapshot(at)?, Selection::Changeset, Trees::All, &[]) {
            Ok(readable) => {
                let mut unsound = readable.unsound().iter();
                unsound.find(|table| wanted(&table.name)).map(|table| table.reason.clone())
            }
            Err(error) => Some(error.reason()),
        };
        let Some(reason) = reason else { return Ok(()) };
        Err(Error::source(format!("{}. Mend it in SQLite, and attach again", self.unreadable(at, &reason))))
    }

    fn scan(&self, at: Version, table: &str) -> Result<Arc<dyn TableScan>> {
        let snapshot = self.snapshot(at)?;
        let shown = format!("{} at version {at} of branch {}", self.identity.location, self.identity.branch);
        let unreadable = |error| self.unreadable(at, &error);
        let missing = || Error::source(format!("{shown}: no table {table}"));
        let database = Database::open(&snapshot).map_err(unreadable)?.ok_or_else(missing)?;
        let schema = self.schema(at)?;
        let found = schema.table(table).ok_or_else(missing)?;
        Ok(Arc::new(PageScan::open(snapshot.clone(), &database, found, shown.clone())?))
    }

    fn rows(&self, at: Version, table: &str, rowids: &[i64]) -> Result<Vec<Option<Row>>> {
        let snapshot = self.snapshot(at)?;
        let unreadable = |error| self.unreadable(at, &error);
        let missing = || self.unreadable(at, &format!("no table {table}"));
        let database = Database::open(&snapshot).map_err(unreadable)?.ok_or_else(missing)?;
        let schema = self.schema(at)?;
        let found = schema.table(table).ok_or_else(missing)?;
        let layout = layout_of(&database, found);
        let read = |rowids| self.rows_of(&database, found, &layout, at, rowids);
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = rowids.len().div_ceil(threads).max(ROWS_PER_THREAD);
        let mut shares = rowids.chunks(share);
        let own = shares.next().unwrap_or_default();
        thread::scope(|scope| {
            let others: Vec<_> = shares.map(|rowids| scope.spawn(move || read(rowids))).collect();
            let mut rows = read(own)?;
            for other in others {
                rows.append(&mut other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok(rows)
        })
    }

    fn rows_about(&self, at: Version, table: &str) -> Result<u64> {
        if self.schema(at)?.table(table).is_none() {
            return Ok(0);
        }
        let scan = self.scan(at, table)?;
        let sample = scan.sample();
        let parts = (scan.parts() as u64, sample.parts().max(1) as u64);
        let mut reader = sample.reader(&[]);
        let mut rows = 0;
        loop {
            let read = reader.read(SAMPLED_AT_ONCE, &mut |_, _| Ok(()))?;
            if read == 0 {
                return Ok(rows * parts.0 / parts.1);
            }
            rows += read as u64;
        }
    }

    fn resolve(&self, moment: &str) -> Result<Version> {
        let moment = Moment::parse(moment).map_err(|error| Error::input(error.to_string()))?;
        self.store.resolve(self.branch, moment).map_err(|error| Error::input(error.to_string()))
    }

    fn pending(&self, after: Version, limit: usize) -> Result<(usize, Option<i64>)> {
        self.stream.pending(after, limit).map_err(|error| self.of_history(error))
    }
}

impl LocalSource {
    fn schema(&self, at: Version) -> Result<Arc<Schema>> {
        self.stream.schema(at).map_err(|error| self.of_history(error))
    }

    /// Fails if the store is gone from where it was opened: its writers are elsewhere then, and unheard.
    fn check_place(&self) -> Result<()> {
        match self.store.is_in_place() {
            true => Ok(()),
            false => Err(Error::source(format!(
                "{} was deleted, moved or replaced after it was opened: put it back, or detach its mirrors, and attach what is \
                 there now to another schema",
                self.store.path().display()
            ))),
        }
    }

    fn rows_of(
        &self,
        database: &Database<'_>,
        table: &Table,
        layout: &RowLayout,
        at: Version,
        rowids: &[i64],
    ) -> Result<Vec<Option<Row>>> {
        let unreadable = |error| self.unreadable(at, &error);
        let mut fields = RecordFields::default();
        let mut rows = Vec::with_capacity(rowids.len());
        for rowid in rowids {
            let Some((page, place)) = database.seek(table.root, *rowid).map_err(unreadable)? else {
                rows.push(None);
                continue;
            };
            let cell = page.cell(place).map_err(unreadable)?;
            let payload = full_payload(database, &cell).map_err(unreadable)?;
            fields.parse(&payload).map_err(|what| self.unreadable(at, &what))?;
            let value = |place| layout.value(place, *rowid, &payload, &fields).into_owned();
            rows.push(Some((0..layout.sources.len()).map(value).collect()));
        }
        Ok(rows)
    }

    pub(super) fn of_history(&self, error: HistoryError) -> Error {
        match error {
            HistoryError::Store(error) => of_store(error),
            HistoryError::Schema { version, source } => self.unreadable(version, &source),
            error => Error::source(error),
        }
    }

    fn unreadable(&self, at: Version, error: &dyn std::fmt::Display) -> Error {
        Error::source(format!("{} at version {at} of branch {}: {error}", self.identity.location, self.identity.branch))
    }
}

fn of_store(error: StoreError) -> Error {
    match error {
        StoreError::BranchDropped { .. } => {
            Error::Gone(format!("{error}: detach its mirrors; their tables stay as they are"))
        }
        StoreError::Forgotten { .. } | StoreError::Log(LogError::Purged { .. }) => Error::Forgotten(error.to_string()),
        error => Error::source(error),
    }
}

/// Tables of the user's. What SQLite keeps for itself and what has no rows of its own stays behind.
pub(super) fn is_mirrored(table: &Table) -> bool {
    matches!(table.kind, TableKind::Ordinary)
}

/// The table in the shape of its records: without virtual columns, and led by the rowid where nothing else is a key.
fn source_table(table: &Table) -> SourceTable {
    let by_rowid = matches!(table.key_form(), KeyForm::Rowid);
    let rowid = by_rowid.then(|| SourceColumn {
        name: ROWID_COLUMN.to_string(),
        declared: "INTEGER".to_string(),
        default: Some(Value::Null),
    });
    let mut key = if by_rowid { vec![0] } else { Vec::new() };
    let mut key_is_rowid = by_rowid;
    let mut columns: Vec<SourceColumn> = rowid.into_iter().collect();
    for (place, column) in table.selected_columns(Selection::Stored) {
        if !by_rowid && table.key_position(place) > 0 {
            key.push(columns.len());
            key_is_rowid |= table.rowid_alias == Some(place);
        }
        columns.push(SourceColumn {
            name: column.name.clone(),
            declared: declared(column),
            // A value that is not the same in all rows cannot be told for those that were there before.
            default: match (&column.default, &column.default_sql) {
                _ if column.generated != Generated::No => None,
                (None, Some(_)) => None,
                _ => Some(column.default_value()),
            },
        });
    }
    SourceTable { name: table.name.clone(), columns, key, key_is_rowid }
}

/// What became of the tables, as the row changes of the same commit have them belong together.
pub(super) fn table_changes(schema: &SchemaChange) -> Vec<TableChange> {
    let pairs = match_changed(&schema.before, &schema.after).into_iter().map(|pair| {
        let mirrored = |table: &Arc<Table>| is_mirrored(table);
        TableChange {
            before: pair.old.filter(mirrored).map(|table| table.name.clone()),
            after: pair.new.filter(mirrored).map(|table| source_table(&table)),
        }
    });
    pairs.filter(|change| change.before.is_some() || change.after.is_some()).collect()
}
