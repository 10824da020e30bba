//! A branch's entries as commits, with the rows decoded of those tables that are asked for.

use std::collections::HashSet;
use std::ops::Range;

use maniac_base::Version;
use maniac_changeset::{Change, ChangesetError, Item, Op, Reader, Record, TableHeader, Target};
use maniac_history::{Follower, HistoryError, sound_difference};
use maniac_sqlite_format::{Selection, Table};
use maniac_store::{Entry, Unreadable};

use super::local::{LocalSource, table_changes};
use super::{BorrowedValue, Commit, Commits, Extent, Follows, RowChange, TableChange, TableChanges, Value, Wanted};
use crate::error::{Error, Result};

/// The rows of a larger changeset are counted before those of tables that are followed are decoded. To count takes a tenth
/// of the time.
const LARGE: usize = 1 << 20;

pub struct LocalCommits {
    source: LocalSource,
    follower: Follower,
    wanted: Wanted,
    /// The version before the first of those that can't be read.
    gap: Option<Version>,
}

impl LocalCommits {
    pub fn new(source: LocalSource, follower: Follower, wanted: Wanted) -> LocalCommits {
        LocalCommits { source, follower, wanted, gap: None }
    }

    /// Why nobody can tell what an entry changed in the tables asked for, if so. Behind a gap of such entries it gets all
    /// changes since the version before them.
    fn is_unreadable(&self, entry: &mut Entry) -> std::result::Result<Option<String>, HistoryError> {
        let names = |table: &Unreadable| [table.table.clone(), table.was.clone()].into_iter().flatten();
        let is_wanted = |table: &&Unreadable| table.table.is_none() || names(table).any(|name| (self.wanted)(&name));
        if let Some(table) = entry.unreadable.iter().find(is_wanted) {
            return Ok(Some(table.reason.clone()));
        }
        let Some(gap) = self.gap else { return Ok(None) };
        let stream = &self.source.stream;
        match sound_difference(&stream.snapshot(gap)?, &stream.snapshot(entry.version)?, Selection::Changeset) {
            Ok(told) => {
                (entry.schema, entry.changeset) = told;
                (entry.since, entry.left_out) = (gap, Vec::new());
                Ok(None)
            }
            Err(HistoryError::Diff { source, .. }) if source.is_about_content() => Ok(Some(source.reason())),
            Err(error) => Err(error),
        }
    }
}

impl Commits for LocalCommits {
    fn next(&mut self, follows: Follows<'_>) -> Result<Option<Commit>> {
        let source = self.source.clone();
        let failed = |error| source.of_history(error);
        let mut wanted = |version, table: &Table, extent| follows(version, &table.name, extent);
        let Some(entry) = self.follower.next_wanted(&mut wanted) else { return Ok(None) };
        let mut entry = entry.map_err(failed)?;
        let broken = |version| move |error| Error::source(format!("the changes of version {version}: {error}"));
        if let Some(reason) = self.is_unreadable(&mut entry).map_err(failed)? {
            self.gap.get_or_insert(entry.base);
            let commit = commit_of(&entry, None, follows).map_err(broken(entry.version))?;
            return Ok(Some(Commit { unreadable: Some(reason), ..commit }));
        }
        self.gap = None;
        let schema = source.stream.schema_change(&entry).map_err(failed)?;
        let newer = schema.as_ref().map(|schema| &*schema.after);
        if let Some(changeset) = source.records.changeset(&entry, newer, |at| source.snapshot(at))? {
            entry.changeset = changeset;
        }
        commit_of(&entry, schema.as_ref().map(table_changes), follows).map_err(broken(entry.version)).map(Some)
    }
}

fn commit_of(
    entry: &Entry,
    schema: Option<Vec<TableChange>>,
    follows: Follows<'_>,
) -> std::result::Result<Commit, ChangesetError> {
    let mut commit = Commit {
        version: entry.version,
        time_ms: entry.time_ms,
        schema,
        unreadable: None,
        tables: Vec::new(),
        unkeyed: Vec::new(),
        left_out: entry.left_out.clone(),
    };
    if entry.changeset.len() < LARGE {
        decode(&entry.changeset, &mut commit)?;
        for place in (0..commit.tables.len()).rev() {
            let table = &commit.tables[place];
            let extent = Extent { rows: table.rows.len() as u64, bytes: entry.changeset.len() as u64 };
            if !follows(entry.version, &table.table, extent) {
                let table = commit.tables.remove(place);
                commit.left_out.push(table.table);
            }
        }
        return Ok(commit);
    }
    let sections = sections(&entry.changeset)?;
    let counted = count(&sections);
    let all: u64 = counted.iter().map(|(_, rows)| rows).sum();
    let mut left_out: HashSet<&str> = HashSet::new();
    for (table, rows) in counted {
        let bytes = (entry.changeset.len() as u64).saturating_mul(rows) / all.max(1);
        if !follows(entry.version, table, Extent { rows, bytes }) {
            left_out.insert(table);
        }
    }
    for section in &sections {
        if section.target.null_key || !left_out.contains(section.target.table) {
            decode(&entry.changeset[section.place.clone()], &mut commit)?;
        }
    }
    commit.left_out.extend(left_out.into_iter().map(str::to_string));
    Ok(commit)
}

/// Adds the rows of a changeset to a commit.
fn decode(changeset: &[u8], commit: &mut Commit) -> std::result::Result<(), ChangesetError> {
    let mut into = None;
    for item in Reader::new(changeset) {
        match item? {
            Item::Table(header) => {
                let target = Target::of(&header);
                into = match target.null_key {
                    true => {
                        commit.unkeyed.push(target.table.to_string());
                        None
                    }
                    false => Some(place_of(&mut commit.tables, target.table, &header)),
                };
            }
            Item::Change(change) => {
                if let Some(place) = into {
                    let table = &mut commit.tables[place];
                    table.rows.push(row_change(&change, &table.key));
                }
            }
        }
    }
    Ok(())
}

/// The part of a changeset that is about one table, from its header on.
struct Section<'c> {
    target: Target<'c>,
    rows: u64,
    place: Range<usize>,
}

fn sections(changeset: &[u8]) -> std::result::Result<Vec<Section<'_>>, ChangesetError> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut reader = Reader::new(changeset);
    loop {
        let start = reader.offset();
        let Some(item) = reader.next().transpose()? else { return Ok(sections) };
        let end = reader.offset();
        match (item, sections.last_mut()) {
            (Item::Table(header), _) => {
                sections.push(Section { target: Target::of(&header), rows: 0, place: start..end });
            }
            (Item::Change(_), Some(section)) => {
                section.rows += 1;
                section.place.end = end;
            }
            (Item::Change(_), None) => {}
        }
    }
}

/// How many rows of each table there are.
fn count<'c>(sections: &[Section<'c>]) -> Vec<(&'c str, u64)> {
    let mut counted: Vec<(&str, u64)> = Vec::new();
    for Section { target, rows, .. } in sections.iter().filter(|section| !section.target.null_key) {
        match counted.iter_mut().find(|(table, _)| *table == target.table) {
            Some((_, known)) => *known += rows,
            None => counted.push((target.table, *rows)),
        }
    }
    counted
}

fn place_of(tables: &mut Vec<TableChanges>, name: &str, header: &TableHeader<'_>) -> usize {
    if let Some(place) = tables.iter().position(|table| table.table == name) {
        return place;
    }
    let key = (0..header.columns()).filter(|column| header.is_key(*column)).collect();
    tables.push(TableChanges { table: name.to_string(), key, rows: Vec::new() });
    tables.len() - 1
}

fn row_change(change: &Change<'_>, key: &[usize]) -> RowChange {
    let all = |record: Option<Record<'_>>| -> Vec<Option<Value>> {
        record
            .map_or_else(Vec::new, |record| record.values().map(|value| value.map(BorrowedValue::into_owned)).collect())
    };
    match change.op {
        Op::Insert => RowChange::Insert(all(change.new).into_iter().map(Option::unwrap_or_default).collect()),
        Op::Delete => RowChange::Delete(all(change.old)),
        Op::Update => {
            // A changeset has the key of an update in its old record alone.
            let (old, mut new) = (all(change.old), all(change.new));
            for place in key {
                if let (Some(new), Some(old)) = (new.get_mut(*place), old.get(*place)) {
                    new.clone_from(old);
                }
            }
            RowChange::Update { old, new }
        }
    }
}
