//! The entries of a branch's line with their changesets, also those that the log leaves to be derived.
//!
//! SQLite commits schemas that it can't read itself. Such an entry has no changesets and says why. The first
//! readable one behind it leads from the last readable version in front of it:
//!
//! ```text
//!   version      4          5            6            7
//!   snapshot     readable   unreadable   unreadable   readable
//!   entry                   unreadable   unreadable   changes since 4
//! ```

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_diff::{DiffError, Extent, Tracker, diff};
use maniac_sqlite_format::Table;
use maniac_store::{Entry, EntryKind, Snapshot, Store};

use crate::HistoryError;

/// Is told a version, a table as it is there, and about how much of it changed.
pub type Wanted<'f> = &'f mut dyn FnMut(Version, &Table, Extent) -> bool;

/// `Store::entries`, where every transaction has its changesets, or says why not.
pub fn entries(store: &Arc<Store>, branch: BranchId, after: Version) -> Result<Entries, HistoryError> {
    let stored = store.entries(branch, after)?;
    Ok(Entries { store: store.clone(), branch, stored, after, gap: None })
}

pub struct Entries {
    store: Arc<Store>,
    branch: BranchId,
    stored: maniac_store::Entries,
    /// The newest version that was told.
    after: Version,
    /// The last readable version, while those behind it are not.
    gap: Option<Version>,
}

impl Iterator for Entries {
    type Item = Result<Entry, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_wanted(&mut |_, _, _| true)
    }
}

impl Entries {
    /// The next entry, without the rows of tables that are not wanted, if its changesets have to be derived.
    pub fn next_wanted(&mut self, wanted: Wanted<'_>) -> Option<Result<Entry, HistoryError>> {
        let told = self.stored.next()?.map_err(HistoryError::from).and_then(|entry| self.tell(entry, wanted));
        if let Ok(entry) = &told {
            self.after = entry.version;
        }
        Some(told)
    }

    /// Goes on, after the end, with what was committed since.
    pub fn more(&mut self) -> Result<(), HistoryError> {
        self.stored = self.store.entries(self.branch, self.after)?;
        Ok(())
    }

    /// Compares the snapshots before and after, where the entry says that its changesets follow from them, and where
    /// the one before can't be read.
    fn tell(&mut self, mut entry: Entry, wanted: Wanted<'_>) -> Result<Entry, HistoryError> {
        if entry.kind != EntryKind::Transaction || !entry.derived && self.gap.is_none() {
            return Ok(entry);
        }
        entry.derived = false;
        let failed = |source| HistoryError::Diff { version: entry.version, source };
        let after = self.snapshot(entry.version)?;
        if self.gap.is_none() {
            let before = self.snapshot(entry.base)?;
            let mut left_out = Vec::new();
            let captured = Tracker::new(&before).and_then(|tracker| {
                tracker.capture_wanted(&before, &after, &entry.pages, &mut |table, extent| {
                    let wanted = wanted(entry.version, table, extent);
                    if !wanted {
                        left_out.push(table.name.clone());
                    }
                    wanted
                })
            });
            match captured {
                Ok(captured) => {
                    (entry.schema, entry.changeset) = (captured.schema, captured.changeset);
                    entry.left_out = left_out;
                    return Ok(entry);
                }
                Err(error) if error.is_about_content() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let since = match self.gap {
            Some(gap) => gap,
            // What came before the first entry that is told may be unreadable as well.
            None => self.last_readable(entry.base)?,
        };
        let before = self.snapshot(since)?;
        let compared = Tracker::new(&after).and_then(|_| whole(&before, &after));
        match compared {
            Ok(changes) => {
                (entry.schema, entry.changeset) = changes;
                entry.since = since;
                self.gap = None;
            }
            Err(error) if error.is_about_content() => {
                entry.unreadable = Some(error.reason());
                self.gap = Some(since);
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(entry)
    }

    /// The newest version up to this one whose changes could be told. The empty database's could.
    fn last_readable(&self, version: Version) -> Result<Version, HistoryError> {
        let mut version = version;
        while version > Version(0) {
            let snapshot = self.snapshot(version)?;
            version = snapshot.version();
            let derived = match self.store.entries(self.branch, Version(version.0 - 1))?.next() {
                Some(entry) => entry?.derived,
                None => false,
            };
            match Tracker::new(&snapshot) {
                Err(error) if derived && error.is_about_content() => version = Version(version.0 - 1),
                Err(source) if derived => return Err(HistoryError::Diff { version, source }),
                _ => break,
            }
        }
        Ok(version)
    }

    fn snapshot(&self, at: Version) -> Result<Snapshot, HistoryError> {
        Ok(self.store.snapshot(self.branch, at)?)
    }
}

/// The changesets of the schema and of the rows.
type Changesets = (Vec<u8>, Vec<u8>);

/// Trusts nothing but the two, of which a tracker could make no sense.
fn whole(before: &Snapshot, after: &Snapshot) -> Result<Changesets, DiffError> {
    let mut changeset = Vec::new();
    let schema = diff(before, after, &mut |table| {
        changeset.extend(table.changeset);
        Ok(())
    })?;
    Ok((schema, changeset))
}
