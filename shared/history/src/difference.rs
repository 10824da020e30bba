//! What differs between any two snapshots of a store, without the history in between.

use std::sync::Arc;

use maniac_changeset::{Item, Reader, Writer};
use maniac_diff::{Captured, Tracker};
use maniac_sqlite_format::Schema;
use maniac_store::Snapshot;

use crate::{HistoryError, TableRows};

/// The changes that lead from one snapshot to another, of the same branch or not, at a cost that follows the pages that
/// differ: the index tells which those are.
pub fn difference(from: &Snapshot, to: &Snapshot) -> Result<Captured, HistoryError> {
    let failed = |source| HistoryError::Diff { version: to.version(), source };
    let tracker = Tracker::new(from).map_err(failed)?;
    tracker.capture(from, to, &from.differing_pages(to)).map_err(failed)
}

/// The same as rows: those of `sqlite_schema` first, where only a root page has moved left out, then the tables'.
pub fn difference_rows(from: &Snapshot, to: &Snapshot, only: Option<String>) -> Result<TableRows, HistoryError> {
    let captured = difference(from, to)?;
    let version = to.version();
    let changeset = |source| HistoryError::Changeset { version, source };
    let mut both = schema_changes(&captured.schema).map_err(changeset)?;
    both.extend(captured.changeset);
    let schema = schema_of(to)?;
    Ok(TableRows::new(both, schema, only))
}

/// The schema of a snapshot.
pub fn schema_of(snapshot: &Snapshot) -> Result<Arc<Schema>, HistoryError> {
    let version = snapshot.version();
    Schema::read(snapshot).map(Arc::new).map_err(|source| HistoryError::Schema { version, source })
}

/// The column of `sqlite_schema`'s changeset that holds the root page.
const ROOT_PAGE: usize = 4;

fn schema_changes(changeset: &[u8]) -> Result<Vec<u8>, maniac_changeset::ChangesetError> {
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
