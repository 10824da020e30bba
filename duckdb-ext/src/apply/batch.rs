//! What a batch does to the mirror's tables: the changes of the schema, then those of the rows, or a copy where they can't be
//! followed.

use std::collections::HashSet;

use maniac_base::Version;

use super::applier::versions;
use super::copy::widen;
use super::rejects::Settled;
use super::{Applied, Applier};
use crate::error::Result;
use crate::schema::{MirrorTable, Step, plan};
use crate::source::{Commit, TableChange, Value};
use crate::target::INLINED_ROWS;
use crate::target::Target;
use crate::target::lake::inlining::is_for_files;
use crate::target::netting::{Net, NetTable, Nets};
use crate::target::state::{self, Moved};
use crate::target::upsert::{self, Outcome};

/// What a batch's commits come to.
struct Followed<'c> {
    rows: Vec<(String, NetTable)>,
    /// Tables that had changes which are not followed row by row.
    unfollowed: HashSet<&'c str>,
    /// Tables to be made and filled, by their names in lower case.
    copies: HashSet<String>,
    /// Whether tables were altered or dropped.
    altered: bool,
}

impl Applier {
    /// Writes a batch, in the transaction. `refused`: DuckDB has refused its change of the schema, so that the tables concerned are
    /// copied. `damaged` are tables that are not what the mirror has made: they are copied if anything changed in them.
    pub(super) fn write(&mut self, commits: &[Commit], refused: bool, damaged: &HashSet<String>) -> Result<Applied> {
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
            return Ok(Applied::default());
        };
        let at = last.version;
        let before = self.tables.clone();
        let mut applied = Applied::default();
        if self.target.lake {
            self.applied.begin(&self.session, &self.target, &self.owner)?;
        }
        self.views.make_room(&self.session, &self.target, commits)?;
        let Followed { rows: mut netted, unfollowed, copies, altered } = self.follow(commits, refused)?;
        let mut places: Vec<usize> = copies.iter().filter_map(|source| self.tables.place(source)).collect();
        places.sort_unstable();
        for place in places {
            applied.add(self.copy_at(place, at, &|_| {})?);
        }
        let mut copied = copies;
        for name in &unfollowed {
            if !netted.iter().any(|(table, _)| table == name) {
                netted.push((name.to_string(), NetTable::default()));
            }
        }
        for (name, mut changes) in netted {
            // Tables that a mirror does not have are SQLite's own.
            let Some(place) = self.tables.place(&name) else { continue };
            // Rows are written by the places of their columns, which somebody may have renamed or given another type.
            let lost = damaged.contains(&self.tables[place].source)
                || !unfollowed.contains(name.as_str())
                    && !upsert::is_intact(&self.session, &self.target, &self.tables[place]);
            // Rows without a key are found by nothing, and others cost more to follow than to copy.
            let copied_anew = unfollowed.contains(name.as_str())
                || !lost && self.bloat.count(&self.session, &self.target, &self.tables[place], &changes)?;
            let outcome = match copied_anew || lost {
                true => Outcome::Diverged,
                false => {
                    self.complete(&self.tables[place], &mut changes, at)?;
                    let in_files = self.target.lake && is_for_files(&self.tables[place], &changes);
                    self.put_in_files(in_files)?;
                    let table = &self.tables[place];
                    let (session, target) = (&self.session, &self.target);
                    match self.rejects.settle(session, target, table, &mut changes, self.on_mismatch, at)? {
                        Settled::Widen(columns) => Outcome::Misfits(columns),
                        Settled::Fitting { .. } if !self.keys.check(session, target, table, &changes)? => {
                            Outcome::Diverged
                        }
                        Settled::Fitting { rounded, rejected } => {
                            let rows = self.bloat.rows(&table.name);
                            let by_index = self.keys.by_index(target, table, rows, changes.deleted());
                            let outcome = upsert::apply(session, target, table, by_index, in_files, &changes)?;
                            if outcome == Outcome::Applied {
                                applied.rounded += rounded;
                                applied.rejected += rejected;
                            }
                            outcome
                        }
                    }
                }
            };
            match outcome {
                Outcome::Applied => applied.rows += changes.changes.len() as u64,
                outcome => {
                    self.pin();
                    self.drop_table(place)?;
                    match outcome {
                        Outcome::Misfits(columns) => {
                            applied.widened += columns.len() as u64;
                            let table = self.tables.table(place);
                            widen(&self.target, &*self.source, at, table, &columns, self.on_mismatch)?;
                        }
                        _ if copied_anew => {}
                        _ => applied.repaired += 1,
                    }
                    applied.add(self.copy_at(place, at, &|_| {})?);
                    copied.insert(name);
                }
            }
        }
        self.put_in_files(false)?;
        applied.altered = altered || !copied.is_empty();
        state::write_tables(&self.session, &self.target, &before, &self.tables)?;
        let moved = Moved { from: self.version, to: at, time_ms: last.time_ms };
        match self.target.lake {
            true => self.applied.advance(&self.session, &self.target, &self.owner, moved, applied.altered)?,
            false => state::advance(&self.session, &self.target, &self.owner, moved)?,
        }
        self.mark(&versions(first, last), Some(at))?;
        Ok(applied)
    }

    /// Makes the batch's changes of the schema, but for tables that are to be copied, and nets those of the rows.
    fn follow<'c>(&mut self, commits: &'c [Commit], refused: bool) -> Result<Followed<'c>> {
        let (mut nets, mut unfollowed) = (Nets::default(), HashSet::new());
        let (mut copies, mut altered) = (HashSet::new(), false);
        for commit in commits {
            let changes = self.selected_changes(commit.schema.as_deref().unwrap_or_default());
            // Rejects name tables and columns, and are right again after a copy.
            let rejects = &self.rejects;
            let to_copy = |table: &MirrorTable| refused || rejects.may_have(&table.name);
            let steps = plan(&mut self.tables, &mut copies, &changes, &to_copy, self.target.lake);
            // Rows of a table that is dropped, or copied whatever they were.
            for before in changes.iter().filter_map(|change| change.before.as_deref()) {
                nets.discard(before);
                unfollowed.remove(before);
            }
            altered |= !steps.is_empty();
            steps.iter().try_for_each(|step| self.make(step))?;
            let is_copied = |name: &str| copies.contains(&name.to_ascii_lowercase());
            commit.tables.iter().filter(|changes| !is_copied(&changes.table)).for_each(|changes| nets.add(changes));
            unfollowed.extend(commit.unfollowed().map(String::as_str).filter(|name| !is_copied(name)));
        }
        Ok(Followed { rows: nets.finish(), unfollowed, copies, altered })
    }

    /// The changes as far as the mirror has the tables.
    fn selected_changes(&self, changes: &[TableChange]) -> Vec<TableChange> {
        let selected = |change: &TableChange| {
            let after = change.after.clone().filter(|table| self.selection.has(&table.name));
            TableChange { before: change.before.clone(), after }
        };
        changes.iter().map(selected).collect()
    }

    fn make(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Drop { table } => {
                self.rejects.forget(&self.session, &self.target, table)?;
                self.keys.renamed(table, None);
            }
            Step::RenameTable { from, to } => self.keys.renamed(from, Some(to)),
            _ => {}
        }
        let statement = self.target.statement(step)?;
        self.pin();
        self.session.run(&statement)?;
        self.pin();
        Ok(())
    }

    /// Gives partly known rows their other values, from the source's pages: an UPDATE's changes have only the columns that
    /// changed, and looking the others up in a large mirror, above all in a lake, costs a scan. Rows with other keys than
    /// rowids are completed from the mirror.
    fn complete(&self, table: &MirrorTable, changes: &mut NetTable, at: Version) -> Result<()> {
        if !table.key_is_rowid {
            return Ok(());
        }
        let mut places = Vec::new();
        let mut rowids = Vec::new();
        for (place, (key, net)) in changes.changes.iter().enumerate() {
            if let (Net::Patch(_), [Value::Integer(rowid)]) = (net, key.as_slice()) {
                places.push(place);
                rowids.push(*rowid);
            }
        }
        if rowids.is_empty() {
            return Ok(());
        }
        // The net of all changes is the row as it is after the last of them.
        for (place, row) in places.into_iter().zip(self.source.rows(at, &table.source, &rowids)?) {
            if let Some(row) = row {
                changes.changes[place].1 = Net::Replace(row);
            }
        }
        Ok(())
    }

    /// The source's names of the tables with changes in the commits that somebody else has dropped or altered in the mirror.
    pub(super) fn damaged(&self, commits: &[Commit]) -> HashSet<String> {
        let names = commits
            .iter()
            .flat_map(|commit| commit.tables.iter().map(|changes| &changes.table).chain(commit.unfollowed()));
        let places: HashSet<usize> = names.filter_map(|name| self.tables.place(name)).collect();
        let tables = places.into_iter().map(|place| &self.tables[place]);
        let damaged = tables.filter(|table| !upsert::is_intact(&self.session, &self.target, table));
        damaged.map(|table| table.source.clone()).collect()
    }

    pub(super) fn drop_table(&self, place: usize) -> Result<()> {
        self.session.run(&format!("DROP TABLE IF EXISTS {}", self.target.table(&self.tables[place].name)))?;
        Ok(())
    }

    fn put_in_files(&mut self, in_files: bool) -> Result<()> {
        if self.in_files != in_files {
            self.session.run(&Target::inline(if in_files { 0 } else { INLINED_ROWS }))?;
            self.in_files = in_files;
        }
        Ok(())
    }
}
