//! The entries of a branch's line with their changesets, also those that the log leaves to be derived.
//!
//! SQLite commits what it can't read itself, such as a schema of nonsense. Such an entry has the changes of the tables
//! that can be read, and names the others; `gaps` has the rest.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_diff::{Extent, Tracker};
use maniac_sqlite_format::Table;
use maniac_store::{Entry, EntryKind, Store};

use crate::HistoryError;
use crate::gaps::{Gaps, Teller};

/// Is told a version, a table as it is there, and about how much of it changed.
pub type Wanted<'f> = &'f mut dyn FnMut(Version, &Table, Extent) -> bool;

/// Bytes of a table's changed rows that are looked at where a stream begins behind them.
const START: u64 = 16 << 20;

/// `Store::entries`, where every transaction has its changesets, or says why not.
pub fn entries(store: &Arc<Store>, branch: BranchId, after: Version) -> Result<Entries, HistoryError> {
    let stored = store.entries(branch, after)?;
    Ok(Entries { store: store.clone(), branch, stored, after, started: false, gaps: Gaps::default() })
}

pub struct Entries {
    store: Arc<Store>,
    branch: BranchId,
    stored: maniac_store::Entries,
    /// The newest version that was told.
    after: Version,
    /// Whether something could not be read where this began is known.
    started: bool,
    gaps: Gaps,
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
        let entry = self.stored.next()?.map_err(HistoryError::from);
        let told = entry.and_then(|entry| self.start().and_then(|()| self.tell(entry, wanted)));
        if let Ok(entry) = &told {
            self.after = entry.version;
        }
        Some(told)
    }

    /// Those of them up to a version.
    pub fn up_to(self, version: Version) -> Entries {
        Entries { stored: self.stored.up_to(version), ..self }
    }

    /// Goes on, after the end, with what was committed since.
    pub fn more(&mut self) -> Result<(), HistoryError> {
        self.stored = self.store.entries(self.branch, self.after)?;
        Ok(())
    }

    /// What the entry that was told last left open, in a stream that was read up to there: leaves that it damaged are not
    /// looked at again by one that changes others.
    fn start(&mut self) -> Result<(), HistoryError> {
        if self.started {
            return Ok(());
        }
        if let Some(last) = self.after.0.checked_sub(1) {
            let last = self.store.entries(self.branch, Version(last))?.next().transpose()?;
            if let Some(last) = last.filter(|last| last.version == self.after) {
                self.tell(last, &mut |_, _, extent| extent.bytes <= START)?;
            }
        }
        self.started = true;
        Ok(())
    }

    /// Compares the snapshots before and after, where the entry says that its changesets follow from them, and where
    /// something could not be read before.
    fn tell(&mut self, mut entry: Entry, wanted: Wanted<'_>) -> Result<Entry, HistoryError> {
        if entry.kind != EntryKind::Transaction || !entry.derived && self.gaps.is_empty() {
            return Ok(entry);
        }
        entry.derived = false;
        if self.gaps.is_empty() {
            let snapshot = |at| self.store.snapshot(self.branch, at);
            let (before, after) = (snapshot(entry.base)?, snapshot(entry.version)?);
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
                Err(source) => return Err(HistoryError::Diff { version: entry.version, source }),
            }
        }
        Teller { store: &self.store, branch: self.branch, gaps: &mut self.gaps }.tell(&mut entry)?;
        Ok(entry)
    }
}
