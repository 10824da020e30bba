//! What differs between any two snapshots of a store, without the history in between.

use std::sync::Arc;

use maniac_base::Version;
use maniac_changeset::{ChangesetError, Item, Reader, Target, Writer};
use maniac_diff::{Readable, Tracker, Trees};
use maniac_sqlite_format::{Database, FormatError, Schema, Selection};
use maniac_store::{EntryKind, Snapshot};

use crate::settings::Settings;
use crate::{HistoryError, TableRow, TableRows};

/// The changes that lead from one snapshot to another.
#[derive(Debug)]
pub struct Difference {
    /// A changeset of `sqlite_schema`, keyed by rowid.
    pub schema: Vec<u8>,
    /// Row changes, in the shape of the newer schema.
    pub changeset: Vec<u8>,
}

/// The difference of two snapshots, of the same branch or not. Where one transaction leads from one to the other the log
/// has it already. Else the pages that differ are compared, which the index tells, after the schema of the older snapshot
/// and the interior pages of its b-trees have been read.
pub fn difference(from: &Snapshot, to: &Snapshot) -> Result<Difference, HistoryError> {
    match logged(from, to) {
        Some(difference) => Ok(difference),
        None => compared(from, to),
    }
}

/// What the log says, at a cost that follows the one transaction between the snapshots, whatever else the database holds.
/// Nothing where it doesn't say: an entry that is cut off or damaged is no obstacle to a comparison of pages.
fn logged(from: &Snapshot, to: &Snapshot) -> Option<Difference> {
    let (branch, version) = (to.branch(), to.version());
    if from.branch() != branch || from.version() >= version {
        return None;
    }
    let entry = to.store().entries(branch, Version(version.0 - 1)).ok()?.next()?.ok()?;
    let is_all = entry.kind == EntryKind::Transaction && entry.version == version && entry.base <= from.version();
    (is_all && !entry.derived).then_some(Difference { schema: entry.schema, changeset: entry.changeset })
}

fn compared(from: &Snapshot, to: &Snapshot) -> Result<Difference, HistoryError> {
    let failed = |source| HistoryError::Diff { version: to.version(), source };
    let tracker = Tracker::new(from).map_err(failed)?;
    let captured = tracker.capture(from, to, &from.differing_pages(to)?).map_err(failed)?;
    Ok(Difference { schema: captured.schema, changeset: captured.changeset })
}

/// The same as rows: those of `sqlite_schema` first, where only a root page has moved left out, then the numbers in the
/// header and the counters of AUTOINCREMENT, then the tables'.
pub fn difference_rows(
    from: &Snapshot,
    to: &Snapshot,
    only: Option<String>,
) -> Result<impl Iterator<Item = Result<TableRow, ChangesetError>> + use<>, HistoryError> {
    let Difference { schema: of_schema, changeset: of_tables } = difference(from, to)?;
    let version = to.version();
    let changeset = |source| HistoryError::Changeset { version, source };
    let of_schema = schema_changes(&of_schema).map_err(changeset)?;
    let schema = Arc::new(tables_of(to, &of_tables)?);
    let mut settings = Settings::read(from)?.differences(&Settings::read(to)?);
    settings.retain(|row| only.as_ref().is_none_or(|only| only.eq_ignore_ascii_case(&row.table)));
    let of_schema = TableRows::new(of_schema, schema.clone(), only.clone());
    let of_tables = TableRows::new(of_tables, schema, only);
    Ok(of_schema.chain(settings.into_iter().map(Ok)).chain(of_tables))
}

/// The changesets of `sqlite_schema` and of the rows, of the tables that can be read in both snapshots.
pub fn sound_difference(
    from: &Snapshot,
    to: &Snapshot,
    selection: Selection,
) -> Result<(Vec<u8>, Vec<u8>), HistoryError> {
    let pages = from.differing_pages(to)?;
    let told = || {
        let compare = |trees| {
            let read = |snapshot| Readable::read(snapshot, selection, trees, &[]);
            read(from)?.changes_to(from, (to, &read(to)?), &pages)
        };
        compare(Trees::All).or_else(|_| compare(Trees::Tables))
    };
    told().map_err(|source| HistoryError::Diff { version: to.version(), source })
}

/// Of the schema of a snapshot, the tables in a changeset.
fn tables_of(snapshot: &Snapshot, changeset: &[u8]) -> Result<Schema, HistoryError> {
    let version = snapshot.version();
    let mut names = Vec::new();
    for item in Reader::new(changeset) {
        if let Item::Table(header) = item.map_err(|source| HistoryError::Changeset { version, source })? {
            names.push(Target::of(&header).table);
        }
    }
    let database = if names.is_empty() { None } else { Database::open(snapshot).map_err(schema_failed(version))? };
    match database {
        Some(database) => Schema::read_tables(&database, names).map_err(schema_failed(version)),
        None => Ok(Schema::default()),
    }
}

/// The schema of a snapshot.
pub fn schema_of(snapshot: &Snapshot) -> Result<Arc<Schema>, HistoryError> {
    Schema::read(snapshot).map(Arc::new).map_err(schema_failed(snapshot.version()))
}

/// The part of a snapshot's schema that can be understood.
pub fn sound_schema_of(snapshot: &Snapshot) -> Result<Arc<Schema>, HistoryError> {
    let failed = schema_failed(snapshot.version());
    let schema = match Database::open(snapshot).map_err(&failed)? {
        Some(db) => Schema::read_sound(&db).map_err(&failed)?.0,
        None => Schema::default(),
    };
    Ok(Arc::new(schema))
}

pub fn schema_failed(version: Version) -> impl Fn(FormatError) -> HistoryError {
    move |source| HistoryError::Schema { version, source }
}

/// The column of `sqlite_schema`'s changeset that holds the root page.
const ROOT_PAGE: usize = 4;

fn schema_changes(changeset: &[u8]) -> Result<Vec<u8>, ChangesetError> {
    let mut writer = Writer::new();
    let mut pending = None;
    for item in Reader::new(changeset) {
        match item? {
            Item::Table(header) => pending = Some(header),
            Item::Change(change) => {
                let moved = |n: usize, defined: bool| defined && n != ROOT_PAGE;
                let new = change.new.iter().flat_map(|record| record.fields()).enumerate();
                if change.old.is_some()
                    && change.new.is_some()
                    && !new.into_iter().any(|(n, f)| moved(n, f.is_defined()))
                {
                    continue;
                }
                pending.take().iter().for_each(|header| writer.table(header));
                writer.change(&change);
            }
        }
    }
    Ok(writer.take())
}
