//! What a batch does to the mirror's tables: the changes of the schema, then those of the rows, or a copy where they can't be
//! followed.

use std::collections::HashSet;

use maniac_base::Version;

use super::applier::versions;
use super::copy::widen;
use super::net::{Net, NetTable, net};
use super::rejects::Settled;
use super::rows::{self, Outcome};
use super::state::{self, Moved};
use super::target::{INLINED_BYTES, INLINED_ROWS};
use super::{Applied, Applier, Target};
use crate::error::Result;
use crate::schema::{MirrorTable, Step, plan};
use crate::source::{Commit, Value};

impl Applier {
    /// Writes a batch, in the transaction. `refused` are tables whose change of schema DuckDB has refused, and `damaged` those that
    /// are not what the mirror has made: they are copied. Returns also whether tables were made or altered.
    pub(super) fn write(
        &mut self,
        commits: &[Commit],
        refused: &HashSet<String>,
        damaged: &HashSet<String>,
    ) -> Result<(Applied, bool)> {
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
            return Ok((Applied::default(), false));
        };
        debug_assert!(commits.len() == 1 || commits.iter().all(|commit| commit.schema.is_none()));
        let at = last.version;
        let mut copied = HashSet::new();
        let mut applied = Applied::default();
        if self.target.lake {
            self.ledger.begin(&self.session, &self.target, &self.owner)?;
        }
        if let Some(change) = &first.schema {
            // Rejects name tables and columns, and are right again after a copy.
            let named = self.tables.iter().filter(|table| self.rejects.may_have(&table.name));
            let copies = named.map(|table| table.source.clone()).chain(refused.iter().cloned()).collect();
            let plan = plan(&self.tables, &self.selected(at)?, change, &copies, self.target.lake);
            self.tables = plan.tables;
            for step in &plan.steps {
                if let Step::Drop { table } = step {
                    self.rejects.forget(&self.session, &self.target, table)?;
                }
                match (step, self.target.statement(step)?) {
                    (_, Some(statement)) => {
                        self.pin();
                        self.session.run(&statement)?;
                        self.pin();
                    }
                    (Step::Copy { table }, None) => {
                        applied.add(self.copy(&table.source, at)?);
                        copied.insert(table.source.clone());
                    }
                    (_, None) => {}
                }
            }
        }
        let unkeyed: HashSet<&str> =
            commits.iter().flat_map(|commit| commit.unkeyed.iter().map(String::as_str)).collect();
        let mut netted = net(commits);
        for name in &unkeyed {
            if !netted.iter().any(|(table, _)| table == name) {
                netted.push((name.to_string(), NetTable::default()));
            }
        }
        for (name, mut changes) in netted {
            // Tables that a mirror does not have are SQLite's own.
            let Some(place) = self.tables.iter().position(|table| table.source.eq_ignore_ascii_case(&name)) else {
                continue;
            };
            if copied.contains(&self.tables[place].source) {
                continue;
            }
            let lost = damaged.contains(&self.tables[place].source);
            // Rows without a key are found by nothing.
            let copied_anew = unkeyed.contains(name.as_str())
                || !lost && self.wear.count(&self.session, &self.target, &self.tables[place], &changes)?;
            let outcome = match copied_anew || lost {
                true => Outcome::Diverged,
                false => {
                    self.complete(&self.tables[place], &mut changes, at)?;
                    self.put_in_files(self.target.lake && changes.bytes() > INLINED_BYTES)?;
                    let table = &self.tables[place];
                    let (session, target) = (&self.session, &self.target);
                    match self.rejects.settle(session, target, table, &mut changes, self.on_mismatch, at)? {
                        Settled::Widen(columns) => Outcome::Misfits(columns),
                        Settled::Fitting { .. } if !self.keys.check(session, target, table, &changes)? => {
                            Outcome::Diverged
                        }
                        Settled::Fitting { rounded, rejected } => {
                            let rows = self.wear.rows(&table.name);
                            let by_index = self.keys.by_index(target, table, rows, changes.deleted());
                            let outcome = rows::apply(session, target, table, by_index, &changes)?;
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
                            let table = &mut self.tables[place];
                            widen(&self.target, &*self.source, at, table, &columns, self.on_mismatch)?;
                        }
                        _ if copied_anew => {}
                        _ => applied.repaired += 1,
                    }
                    applied.add(self.copy(&name, at)?);
                    copied.insert(name);
                }
            }
        }
        self.put_in_files(false)?;
        let tables_changed = first.schema.is_some() || !copied.is_empty();
        applied.altered = tables_changed;
        if tables_changed {
            state::write_tables(&self.session, &self.target, &self.tables)?;
        }
        let moved = Moved { from: self.version, to: at, time_ms: last.time_ms };
        match self.target.lake {
            true => self.ledger.advance(&self.session, &self.target, &self.owner, moved, tables_changed)?,
            false => state::advance(&self.session, &self.target, &self.owner, moved)?,
        }
        self.mark(&versions(first, last), Some(at))?;
        Ok((applied, tables_changed))
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

    /// The source's names of the tables that somebody else has dropped or altered in the mirror.
    pub(super) fn damaged(&self) -> HashSet<String> {
        let tables = self.tables.iter().filter(|table| !rows::is_intact(&self.session, &self.target, table));
        tables.map(|table| table.source.clone()).collect()
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
