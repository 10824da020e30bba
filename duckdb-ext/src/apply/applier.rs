//! One mirror's tables and how far they are: applies batches, detaches. How it comes to be is in `attach`.

use std::collections::HashSet;
use std::sync::Arc;

use maniac_base::Version;

use super::copy::{Copied, Tally, copy_table};
use super::copy_cost::CopyCosts;
use super::flush_check::FlushCheck;
use super::rejects::{self, Rejects};
use super::schema_refresh::is_stale;
use super::views::{OfferedView, Views};
use crate::error::{Error, Result};
use crate::instance::Lease;
use crate::schema::{OnMismatch, Selection, Tables};
use crate::source::parts;
use crate::source::{Commit, Source, SourceTable, Wanted};
use crate::target::INLINED_ROWS;
use crate::target::MaintenanceSettings;
use crate::target::Owner;
use crate::target::Target;
use crate::target::lake::applied_version::{self, AppliedVersion};
use crate::target::lake::catalog_writer::{CatalogWriter, Insertions, insertions};
use crate::target::lake::ducklake_1_5::cache_pin::CachePin;
use crate::target::native::bloat::Bloat;
use crate::target::native::primary_key::PrimaryKeys;
use crate::target::state;

/// What applying a batch did, for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Applied {
    /// Rows written or deleted, after netting.
    pub rows: u64,
    /// Columns widened to hold a value that did not fit.
    pub widened: u64,
    /// Values that were rounded to fit.
    pub rounded: u64,
    /// Values put aside that did not fit.
    pub rejected: u64,
    /// Tables copied anew because the mirror did not have the rows that it should.
    pub repaired: u64,
    /// Tables were made, altered or dropped.
    pub altered: bool,
}

impl Applied {
    fn count(&mut self, other: Applied) {
        self.rows += other.rows;
        self.widened += other.widened;
        self.rejected += other.rejected;
        self.repaired += other.repaired;
        self.altered |= other.altered;
    }

    pub(super) fn add(&mut self, copied: Copied) {
        self.rows += copied.rows;
        self.widened += copied.widened;
        self.rounded += copied.rounded;
        self.rejected += copied.rejected;
    }
}

/// A column, by its names in the source, that is another one in the mirror than its declaration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Differing {
    pub table: String,
    pub column: String,
    /// Its types in order, if it has been widened.
    pub steps: Option<String>,
    /// Its table's name and its own, if the mirror has another.
    pub name: Option<String>,
}

/// Applies one source to one target. Owned by one thread.
pub struct Applier {
    pub(super) session: Lease,
    pub(super) source: Arc<dyn Source>,
    pub(super) target: Target,
    pub(super) owner: Owner,
    /// Which of the source's tables the mirror has.
    pub(super) selection: Selection,
    pub(super) on_mismatch: OnMismatch,
    pub(super) rejects: Rejects,
    pub(super) keys: PrimaryKeys,
    pub(super) bloat: Bloat,
    pub(super) copy_costs: CopyCosts,
    pub(super) tables: Tables,
    pub(super) version: Version,
    /// A transaction failed, and what it was to do may have been done nevertheless.
    pub(super) unsure: bool,
    /// In a lake: rows go into files now, however few they are.
    pub(super) in_files: bool,
    /// For a target in a lake.
    pub(super) applied: AppliedVersion,
    pub(super) direct: CatalogWriter,
    /// For the status: whether new rows may go past DuckLake, or why not.
    pub(super) direct_writes: Option<String>,
    pub(super) flushes: FlushCheck,
    pub(super) views: Views,
    pub(super) upkeep: MaintenanceSettings,
    /// Batches were applied since the mirror was last maintained as a whole.
    pub(super) changed: bool,
    /// In a lake: tables that may have rows or deletions in the catalog, by their names in the mirror.
    pub(super) inlined: HashSet<String>,
    /// Of the transaction under way.
    pub(super) pin: Option<CachePin>,
}

impl Applier {
    pub fn version(&self) -> Version {
        self.version
    }

    /// The columns that have been widened or have another name.
    pub fn differing(&self) -> Vec<Differing> {
        let columns = self.tables.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)));
        let told = columns.map(|(table, column)| {
            let other_name =
                !table.source.eq_ignore_ascii_case(&table.name) || !column.source.eq_ignore_ascii_case(&column.name);
            Differing {
                table: table.source.clone(),
                column: column.source.clone(),
                steps: (!column.narrower.is_empty()).then(|| column.steps()),
                name: other_name.then(|| format!("{}.{}", table.name, column.name)),
            }
        });
        told.filter(|told| told.steps.is_some() || told.name.is_some()).collect()
    }

    /// Whether new rows may go past DuckLake, or why not; `None` for a native target.
    pub fn direct_writes(&self) -> Option<String> {
        self.direct_writes.clone()
    }

    /// The source's views.
    pub fn views(&self) -> Vec<OfferedView> {
        self.views.offered()
    }

    /// What a lake needs from time to time; `None` for a native target.
    pub fn upkeep(&self) -> Option<MaintenanceSettings> {
        self.target.lake.then_some(self.upkeep)
    }

    /// Applies commits that follow each other, which `Coalesce` has let join: in one transaction, or where that can't be, as many
    /// of them as can be, in several. Returns how many, at least one; afterwards the mirror shows the last of these, or on
    /// failure what it showed before.
    pub fn apply(&mut self, commits: &[Commit]) -> Result<(usize, Applied)> {
        let error = match self.apply_whole(commits) {
            Ok(applied) => return Ok((commits.len(), applied)),
            Err(error) if self.unsure => return Err(error),
            Err(error) => error,
        };
        // What comes before a misfit can be applied, and so can what comes before a change of the schema that fails.
        let fitting = self.fitting(commits);
        let parts: Vec<&[Commit]> = match error {
            Error::Overtaken(_) | Error::Expired(_) => return Err(error),
            _ if commits.iter().any(|commit| commit.schema.is_some()) => parts(commits).collect(),
            Error::Misfit { .. } if fitting > 0 => vec![&commits[..fitting]],
            _ => return Err(error),
        };
        let (mut count, mut all) = (0, Applied::default());
        for part in parts.into_iter().filter(|part| part.len() < commits.len()) {
            match self.apply(part) {
                Ok((applied, what)) => {
                    count += applied;
                    all.count(what);
                    if applied < part.len() {
                        break;
                    }
                }
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if count > 0 { Ok((count, all)) } else { Err(error) }
    }

    /// Applies the commits in one transaction.
    fn apply_whole(&mut self, commits: &[Commit]) -> Result<Applied> {
        let Some(last) = commits.last() else { return Ok(Applied::default()) };
        let to = last.version;
        if self.target.lake {
            self.note_inlined(commits);
        }
        let new_rows = self.target.lake.then(|| insertions(commits, &self.tables)).flatten();
        if let Some(new_rows) = &new_rows
            && let Some(applied) = self.add(new_rows, commits)?
        {
            return Ok(applied);
        }
        self.keys.add_due(&self.session, &self.target, &self.tables, commits);
        let before = (self.tables.clone(), self.keys.clone());
        let mut refused = false;
        let mut damaged = HashSet::new();
        let mut renewed = false;
        loop {
            let outcome = self.transaction(|applier| applier.write(commits, refused, &damaged));
            match outcome {
                Ok(applied) => {
                    self.version = to;
                    self.applied.committed(applied.rows > 0);
                    if self.applied.has_others() {
                        self.direct.give_way();
                    }
                    match &new_rows {
                        Some(new_rows) if !applied.altered => {
                            self.direct.saw(new_rows, &self.tables, self.applied.last());
                        }
                        _ => self.direct.forget(),
                    }
                    self.changed = true;
                    if applied.altered {
                        self.note_changed_inlined(&before.0);
                        self.leave_version();
                    }
                    return Ok(applied);
                }
                Err(error) => {
                    (self.tables, self.keys) = before.clone();
                    // The connection may have failed after the commit was done.
                    self.unsure = true;
                    self.make_sure()?;
                    if self.version == to {
                        self.learn_keys()?;
                        return Ok(Applied { altered: true, ..Applied::default() });
                    }
                    if self.target.lake && is_stale(&error) && !renewed {
                        renewed = true;
                        self.refresh_schema()?;
                        continue;
                    }
                    let changes_schema = commits.iter().any(|commit| commit.schema.is_some());
                    let is_whole = !changes_schema || commits.len() == 1;
                    if !matches!(error, Error::Database { .. }) || refused || !damaged.is_empty() || !is_whole {
                        return Err(error);
                    }
                    // DuckDB refuses some statements that SQLite allows, such as dropping a column before an indexed one. The
                    // tables concerned are copied instead.
                    refused = changes_schema;
                    damaged = self.damaged(commits);
                    if !refused && damaged.is_empty() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Adds a batch of new rows to a lake directly, if that can be done; see `catalog_writer`.
    fn add(&mut self, new_rows: &Insertions, commits: &[Commit]) -> Result<Option<Applied>> {
        let (Some(base), [first, .., last] | [first @ last]) = (self.applied.own(), commits) else { return Ok(None) };
        if new_rows.iter().any(|(place, _)| self.rejects.may_have(&self.tables[*place].name)) {
            return Ok(None);
        }
        let mut direct = std::mem::take(&mut self.direct);
        let batch = direct.prepare(&self.session, &self.target, &self.tables, new_rows, base);
        let outcome = match batch {
            Ok(Some(batch)) => {
                let (message, extra) = self.labels(&versions(first, last), Some(last.version));
                let written = self.transaction(|applier| direct.write(&applier.session, &batch, &message, &extra));
                if matches!(written, Ok(true)) {
                    direct.wrote(batch);
                }
                written
            }
            not_possible => {
                self.direct = direct;
                return not_possible.map(|_| None);
            }
        };
        self.direct = direct;
        match outcome {
            Ok(true) => {
                self.version = last.version;
                self.applied.added(base);
                self.changed = true;
                let rows = new_rows.iter().map(|(_, changes)| changes.changes.len() as u64).sum();
                Ok(Some(Applied { rows, ..Applied::default() }))
            }
            Ok(false) => {
                self.direct.give_way();
                Ok(None)
            }
            // Somebody else has changed the lake meanwhile, or the connection has failed, perhaps after the commit. DuckLake's own way
            // tells more.
            Err(_) => {
                self.direct.give_way();
                self.unsure = true;
                self.make_sure()?;
                Ok((self.version == last.version).then(Applied::default))
            }
        }
    }

    /// Finds out, after a failure that could not be judged when it happened, which version the mirror shows.
    pub fn make_sure(&mut self) -> Result<()> {
        if !self.unsure {
            return Ok(());
        }
        self.applied = AppliedVersion::default();
        let state = state::read(&self.session, &self.target)?;
        if state.owner != self.owner.token() {
            return Err(state::overtaken(&self.target));
        }
        let shown = applied_version::version(&self.session, &self.target, &self.source.identity(), &state)?;
        let shown = shown.ok_or_else(|| {
            Error::Expired(format!(
                "the snapshots of the lake that recorded which version {} shows are gone: detach it and attach it again, \
                 which copies the tables anew",
                self.target.shown()
            ))
        })?;
        if shown != self.version {
            self.tables = state::read_tables(&self.session, &self.target)?;
            self.version = shown;
        }
        self.unsure = false;
        Ok(())
    }

    /// How many of the commits come before the first that has a value which its column cannot hold.
    fn fitting(&self, commits: &[Commit]) -> usize {
        let misfit = |commit: &Commit| commit.tables.iter().any(|changes| rejects::has_misfit(&self.tables, changes));
        commits.iter().position(misfit).unwrap_or(commits.len())
    }

    /// Whether `settle` has something to write.
    pub fn is_open(&self) -> bool {
        self.applied.is_open()
    }

    /// Leaves the mirror for the next applier to take up.
    pub fn detach(mut self) -> Result<()> {
        self.make_sure()?;
        self.transaction(|applier| {
            state::release(&applier.session, &applier.target, &applier.owner, applier.version)?;
            applier.mark("detached", Some(applier.version))
        })
    }

    pub(super) fn transaction<T>(&mut self, work: impl FnOnce(&mut Applier) -> Result<T>) -> Result<T> {
        self.session.run("BEGIN")?;
        let outcome = work(self).and_then(|value| self.session.run("COMMIT").map(|_| value));
        if outcome.is_err() {
            // Fails when there is no transaction any more, which is what is wanted.
            drop(self.session.run("ROLLBACK"));
            if self.target.lake {
                // Wherever it failed.
                drop(self.session.run(&Target::inline(INLINED_ROWS)));
                self.in_files = false;
            }
        }
        self.pin = None;
        outcome
    }

    /// To be called in a transaction before and after it makes, alters or drops a table.
    pub(super) fn pin(&mut self) {
        match &self.pin {
            Some(pin) => pin.renew(),
            None => self.pin = CachePin::new(&self.session, &self.target),
        }
    }

    /// Which tables the mirror asks for.
    pub fn wanted(&self) -> Wanted {
        let selection = self.selection.clone();
        Arc::new(move |table| selection.has(table))
    }

    /// The source's tables that the mirror has.
    pub(super) fn selected(&self, at: Version) -> Result<Vec<SourceTable>> {
        let mut tables = self.source.tables(at)?;
        tables.retain(|table| self.selection.has(&table.name));
        Ok(tables)
    }

    /// Makes and fills a table, which is not in the target now.
    pub(super) fn copy_at(&mut self, place: usize, at: Version, progress: &dyn Fn(Arc<Tally>)) -> Result<Copied> {
        self.pin();
        let (session, target, table) = (&self.session, &self.target, self.tables.table(place));
        self.rejects.forget(session, target, &table.name)?;
        self.bloat.forget(&table.name);
        let made = |tally| {
            if let Some(pin) = &self.pin {
                pin.renew();
            }
            progress(tally);
        };
        let copied = copy_table(session, target, &*self.source, at, table, self.on_mismatch, &made)?;
        self.keys.copied(target, table, copied.rows);
        if copied.rejected > 0 {
            self.rejects.note(&table.name);
        }
        Ok(copied)
    }

    pub(super) fn learn_keys(&mut self) -> Result<()> {
        self.keys.refresh(&self.session, &self.target, &self.tables)
    }

    /// Says in the lake's own history what this transaction does, and which version the mirror then shows, if that is known.
    pub(super) fn mark(&self, what: &str, version: Option<Version>) -> Result<()> {
        let (message, extra) = self.labels(what, version);
        match self.target.mark(&message, &extra) {
            Some(statement) => self.session.run(&statement).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The message of a snapshot and its extra information.
    pub(super) fn labels(&self, what: &str, version: Option<Version>) -> (String, String) {
        let identity = self.source.identity();
        let message = format!("{} {}: {what}", identity.location, identity.branch);
        let version = version.map_or(String::new(), |version| format!(", \"version\": {version}"));
        let extra = format!(
            "{{\"store\": \"{}\", \"branch_id\": {}, \"schema\": {}{version}}}",
            identity.store,
            identity.branch_id,
            serde_json::Value::from(self.target.schema.as_str())
        );
        (message, extra)
    }
}

pub(super) fn versions(first: &Commit, last: &Commit) -> String {
    match (first.version, last.version) {
        (from, to) if from == to => format!("version {to}"),
        (from, to) => format!("versions {from} to {to}"),
    }
}
