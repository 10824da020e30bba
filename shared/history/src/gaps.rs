//! Tables that can't be read for a while: since when, and what they changed meanwhile when they can be read again.
//!
//! ```text
//!   version      4          5            6            7
//!   t            sound      unsound      unsound      sound: its changes since 4
//!   u            sound      sound        sound        sound: its changes since 6
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use maniac_base::{BranchId, Value, Version};
use maniac_diff::{DiffError, Readable, Trees, Unsound};
use maniac_sqlite_format::{Selection, Table};
use maniac_store::{Entry, Snapshot, Store, Unreadable};

use crate::{HistoryError, JsonObject};

#[derive(Default)]
pub struct Gaps {
    /// By the tables' rowids in `sqlite_schema`.
    tables: BTreeMap<i64, Gap>,
    /// The last version of which anything could be read, while nothing can be.
    dark: Option<Version>,
}

struct Gap {
    /// A version up to which everything was told, sound but for its leaves.
    since: Version,
    /// Its name then, if there was such a table.
    was: Option<String>,
    now: Unsound,
}

impl Gap {
    fn told(&self) -> Unreadable {
        let Gap { was, now, .. } = self;
        let names = [&now.name].into_iter().chain(was);
        let name = names.into_iter().find(|name| !name.is_empty()).cloned();
        let table = name.unwrap_or_else(|| format!("row {} of sqlite_schema", now.rowid));
        Unreadable { was: was.clone().filter(|was| *was != table), table: Some(table), reason: now.reason.clone() }
    }
}

/// A version of which something can be read.
struct Side {
    snapshot: Snapshot,
    readable: Readable,
}

/// The changesets of the schema and of the rows.
type Changesets = (Vec<u8>, Vec<u8>);

impl Gaps {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.dark.is_none()
    }
}

/// Tells the changes of entries of a branch as far as they can be read.
pub struct Teller<'t> {
    pub store: &'t Arc<Store>,
    pub branch: BranchId,
    pub gaps: &'t mut Gaps,
}

impl Teller<'_> {
    pub fn tell(&mut self, entry: &mut Entry) -> Result<(), HistoryError> {
        (entry.schema, entry.changeset) = Changesets::default();
        entry.unreadable.clear();
        let before = self.before(entry.base)?;
        match self.side(entry.version, Trees::All, &[])? {
            Ok(after) => {
                let told = self.changes(entry, before.as_ref(), after)?;
                (entry.schema, entry.changeset) = told;
            }
            Err(reason) => {
                self.gaps.dark.get_or_insert(entry.base);
                entry.unreadable.push(Unreadable { table: None, was: None, reason });
            }
        }
        entry.unreadable.extend(self.gaps.tables.values().map(Gap::told));
        Ok(())
    }

    /// A version, or why nothing can be read of it.
    fn side(&self, at: Version, trees: Trees, left_out: &[Unsound]) -> Result<Result<Side, String>, HistoryError> {
        let snapshot = self.store.snapshot(self.branch, at)?;
        match Readable::read(&snapshot, Selection::Changeset, trees, left_out) {
            Ok(readable) => Ok(Ok(Side { snapshot, readable })),
            Err(error) if error.is_about_content() => Ok(Err(error.reason())),
            Err(source) => Err(HistoryError::Diff { version: at, source }),
        }
    }

    /// The version that a transaction was built on, without the tables that can't be read; nothing if none can be.
    fn before(&mut self, base: Version) -> Result<Option<Side>, HistoryError> {
        if self.gaps.dark.is_some() {
            return Ok(None);
        }
        let side = match self.side(base, Trees::All, &[])? {
            Ok(side) => side,
            Err(_) => {
                // The first entry that is told may lie behind others that could not be.
                self.gaps.dark = Some(self.last_sound(base, None)?);
                return Ok(None);
            }
        };
        for table in side.readable.unsound() {
            if !self.gaps.tables.contains_key(&table.rowid) {
                let since = self.last_sound(base, Some((table.rowid, &table.name)))?;
                self.open(table.clone(), since)?;
            }
        }
        let left_out: Vec<Unsound> = self.gaps.tables.values().map(|gap| gap.now.clone()).collect();
        Ok(self.side(base, Trees::All, &left_out)?.ok())
    }

    /// From here on a table can't be read.
    fn open(&mut self, now: Unsound, since: Version) -> Result<(), HistoryError> {
        let was = match self.side(since, Trees::All, &[])? {
            Ok(side) => found(&side, now.rowid, &now.name).map(|table| table.name.clone()),
            Err(_) => None,
        };
        self.gaps.tables.insert(now.rowid, Gap { since, was, now });
        Ok(())
    }

    /// The newest version up to this one where a table, or anything at all, can be read or isn't there. The empty
    /// database can be.
    fn last_sound(&self, version: Version, table: Option<(i64, &str)>) -> Result<Version, HistoryError> {
        let mut version = version;
        while version > Version(0) {
            if let Ok(side) = self.side(version, Trees::All, &[])? {
                version = side.snapshot.version();
                let Some((rowid, name)) = table else { return Ok(version) };
                let is_it = |other: &&Unsound| other.rowid == rowid || other.name.eq_ignore_ascii_case(name);
                let sound = !side.readable.unsound().iter().any(|other| is_it(&other));
                if sound && self.fault(&side, found(&side, rowid, name))?.is_none() {
                    return Ok(version);
                }
            }
            version = Version(version.0.saturating_sub(1));
        }
        Ok(version)
    }

    fn fault(&self, side: &Side, table: Option<&Arc<Table>>) -> Result<Option<Unsound>, HistoryError> {
        let Some(table) = table else { return Ok(None) };
        let version = side.snapshot.version();
        side.readable.fault(&side.snapshot, table).map_err(|source| HistoryError::Diff { version, source })
    }

    /// Opens gaps for the tables of a side whose leaves can't be read.
    fn look_closely(&mut self, side: &Side, since: Option<Version>) -> Result<(), HistoryError> {
        for table in &side.readable.schema().tables {
            let Some(fault) = self.fault(side, Some(table))? else { continue };
            if self.gaps.tables.contains_key(&fault.rowid) {
                continue;
            }
            let since = match since {
                Some(since) => since,
                None => self.last_sound(side.snapshot.version(), Some((fault.rowid, &fault.name)))?,
            };
            self.open(fault, since)?;
        }
        Ok(())
    }

    fn changes(&mut self, entry: &mut Entry, before: Option<&Side>, after: Side) -> Result<Changesets, HistoryError> {
        let base = entry.base;
        for table in after.readable.unsound() {
            match self.gaps.tables.get_mut(&table.rowid) {
                Some(gap) => gap.now = table.clone(),
                None => self.open(table.clone(), self.gaps.dark.unwrap_or(base))?,
            }
        }
        let Some(before) = before else { return self.out_of_the_dark(entry, after) };
        let mut back = self.back(&after)?;
        let mut told = self.captured(entry, before, &after, &back, Trees::All)?;
        if told.is_none() {
            // Leaves that can't be read are found by reading them.
            self.look_closely(before, None)?;
            self.look_closely(&after, Some(base))?;
            back.extend(self.back(&after)?);
            told = self.captured(entry, before, &after, &back, Trees::All)?;
        }
        if told.is_none() {
            told = self.captured(entry, before, &after, &back, Trees::Tables)?;
        }
        let Some((schema, mut changeset)) = told else {
            self.gaps.dark = Some(base);
            let reason = "its pages contradict each other".to_owned();
            entry.unreadable.push(Unreadable { table: None, was: None, reason });
            return Ok(Changesets::default());
        };
        for (table, gap) in back {
            entry.reaches = entry.reaches.min(gap);
            changeset.extend(self.rows_since(&after, &table, gap)?);
        }
        Ok((schema, changeset))
    }

    /// The tables that can be read again, each with the version since which they could not be.
    fn back(&mut self, after: &Side) -> Result<Vec<(Arc<Table>, Version)>, HistoryError> {
        let mut back = Vec::new();
        let rowids: Vec<i64> = self.gaps.tables.keys().copied().collect();
        for rowid in rowids {
            if after.readable.unsound().iter().any(|table| table.rowid == rowid) {
                continue;
            }
            let Some(gap) = self.gaps.tables.get(&rowid) else { continue };
            let name = gap.was.as_ref().unwrap_or(&gap.now.name);
            let table = found(after, rowid, name).cloned();
            if let Some(fault) = self.fault(after, table.as_ref())? {
                self.gaps.tables.entry(rowid).and_modify(|gap| gap.now = fault);
                continue;
            }
            let Some(gap) = self.gaps.tables.remove(&rowid) else { continue };
            let Some(table) = table.filter(|table| table.is_tracked()) else { continue };
            let was = gap.was.unwrap_or(gap.now.name);
            let since = self.last_sound(gap.since, Some((rowid, &was)))?;
            back.push((table, since));
        }
        Ok(back)
    }

    /// The changes of the tables that could be read before and can be now; nothing if the pages make no sense.
    fn captured(
        &self,
        entry: &Entry,
        before: &Side,
        after: &Side,
        back: &[(Arc<Table>, Version)],
        trees: Trees,
    ) -> Result<Option<Changesets>, HistoryError> {
        let mut left_out: Vec<Unsound> = self.gaps.tables.values().map(|gap| gap.now.clone()).collect();
        left_out.extend(back.iter().map(|(table, _)| Unsound {
            rowid: table.schema_rowid,
            name: table.name.clone(),
            reason: String::new(),
        }));
        let side = |at| self.side(at, trees, &left_out);
        let (Ok(old), Ok(new)) = (side(before.snapshot.version())?, side(entry.version)?) else { return Ok(None) };
        let newer = (&after.snapshot as &dyn maniac_base::PageSource, &new.readable);
        match old.readable.changes_to(&before.snapshot, newer, &entry.pages) {
            Ok(told) => Ok(Some(told)),
            Err(error) if error.is_about_content() => Ok(None),
            Err(source) => Err(HistoryError::Diff { version: entry.version, source }),
        }
    }

    fn rows_since(&self, after: &Side, table: &Table, since: Version) -> Result<Vec<u8>, HistoryError> {
        let version = after.snapshot.version();
        let older = match self.side(since, Trees::All, &[])? {
            Ok(older) => older,
            Err(_) => return Ok(Vec::new()),
        };
        let told = after.readable.rows_since(&after.snapshot, (&older.snapshot, &older.readable), table);
        told.map_err(|source| HistoryError::Diff { version, source })
    }

    /// The first version of which something can be read again: what differs from the last one, table by table.
    fn out_of_the_dark(&mut self, entry: &mut Entry, after: Side) -> Result<Changesets, HistoryError> {
        let since = self.gaps.dark.take().unwrap_or(entry.base);
        (entry.since, entry.reaches) = (since, since);
        let back = self.back(&after)?;
        self.look_closely(&after, Some(since))?;
        let mut changeset = Vec::new();
        for table in &after.readable.schema().tables {
            let (rowid, name) = (table.schema_rowid, &table.name);
            if self.gaps.tables.contains_key(&rowid) {
                continue;
            }
            let known = back.iter().find(|(other, _)| other.schema_rowid == rowid).map(|(_, since)| *since);
            let since = match known {
                Some(since) => since,
                None => self.last_sound(since, Some((rowid, name)))?,
            };
            entry.reaches = entry.reaches.min(since);
            changeset.extend(self.rows_since(&after, table, since)?);
        }
        let older = self.store.snapshot(self.branch, since)?;
        let schema = Readable::schema_between(&older, &after.snapshot);
        let schema = schema.map_err(|source: DiffError| HistoryError::Diff { version: entry.version, source })?;
        Ok((schema, changeset))
    }
}

/// A table by its row in `sqlite_schema`, or by its name where that row is gone.
fn found<'s>(side: &'s Side, rowid: i64, name: &str) -> Option<&'s Arc<Table>> {
    let tables = &side.readable.schema().tables;
    let by_rowid = tables.iter().find(|table| table.schema_rowid == rowid);
    by_rowid.or_else(|| tables.iter().find(|table| table.name.eq_ignore_ascii_case(name)))
}

/// What there is to be said of a table that can't be read, as JSON.
pub fn unreadable_reason(unreadable: &Unreadable) -> String {
    let mut told = JsonObject::default();
    told.add("reason", &Value::text(&unreadable.reason));
    unreadable.was.iter().for_each(|was| told.add("was", &Value::text(was)));
    told.finish()
}
