//! The changes of tables that store generated columns.
//!
//! A changeset has no generated columns, as SQLite's own have none, and a mirror has those that are stored. While a table of
//! the branch has some, each commit's pages are compared once more, with all columns of the records:
//!
//! ```text
//!   version   40         41          42          43
//!   tables    none such  c STORED    c STORED    c STORED
//!   changes   the log's  compared    compared    compared, by the tracker that 42 has left
//! ```

use maniac_base::Version;
use maniac_diff::{DiffError, Tracker};
use maniac_history::{sound_difference, sound_schema_of};
use maniac_sqlite_format::{Generated, Schema, Selection};
use maniac_store::{Entry, Snapshot};
use parking_lot::Mutex;

use super::local::is_mirrored;
use crate::error::{Error, Result};

/// What is known of a branch from the last commits that were read. Knowing nothing is always right.
#[derive(Default)]
pub struct Records {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The first and the last of versions of which none has a table that stores generated columns.
    without: Option<(Version, Version)>,
    /// A tracker of records, and the version that it is at.
    tracker: Option<(Version, Tracker)>,
}

impl Records {
    /// An entry's changeset with stored generated columns; `None` if no table has any. `newer` is the schema after the entry if
    /// that changed it.
    pub fn changeset(
        &self,
        entry: &Entry,
        newer: Option<&Schema>,
        snapshot: impl Fn(Version) -> Result<Snapshot>,
    ) -> Result<Option<Vec<u8>>> {
        let failed =
            |error: &dyn std::fmt::Display| Error::source(format!("the changes of version {}: {error}", entry.version));
        let mut known = self.known.lock();
        let without = known.without.filter(|(first, last)| (first..=last).contains(&&entry.since));
        let stores = match newer {
            Some(newer) => stores(newer),
            None if without.is_some() => false,
            None if known.tracker.as_ref().is_some_and(|(at, _)| *at == entry.since) => true,
            None => stores(&*sound_schema_of(&snapshot(entry.since)?).map_err(|error| failed(&error))?),
        };
        if !stores {
            let first = without.map_or(entry.version, |(first, _)| first);
            let last = without.map_or(entry.version, |(_, last)| last.max(entry.version));
            *known = Known { without: Some((first, last)), tracker: None };
            return Ok(None);
        }
        let (before, after) = (snapshot(entry.since)?, snapshot(entry.version)?);
        let pages = match entry.since == entry.base {
            true => entry.pages.clone(),
            false => before.differing_pages(&after).map_err(|error| failed(&error))?,
        };
        let known_tracker = std::mem::take(&mut *known).tracker.filter(|(at, _)| *at == entry.since);
        let compare = || {
            let mut tracker = match known_tracker {
                Some((_, tracker)) => tracker,
                None => Tracker::of_records(&before)?,
            };
            let captured = match entry.left_out.is_empty() {
                true => tracker.capture(&before, &after, &pages)?,
                false => tracker
                    .capture_wanted(&before, &after, &pages, &mut |table, _| !entry.left_out.contains(&table.name))?,
            };
            tracker.advance(captured.update);
            known.tracker = Some((entry.version, tracker));
            Ok(captured.changeset)
        };
        match compare() {
            Ok(changeset) => Ok(Some(changeset)),
            // Some tables can't be read.
            Err(DiffError::Old(_) | DiffError::New(_)) => {
                let told = sound_difference(&before, &after, Selection::Stored);
                told.map(|(_, changeset)| Some(changeset)).map_err(|error| failed(&error))
            }
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Whether a table that mirrors have stores a generated column.
fn stores(schema: &Schema) -> bool {
    let tables = schema.tables.iter().filter(|table| is_mirrored(table));
    tables.flat_map(|table| &table.columns).any(|column| column.generated == Generated::Stored)
}
