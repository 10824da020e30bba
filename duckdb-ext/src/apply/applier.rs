//! One mirror's tables and how far they are: attaches, applies batches, detaches.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use maniac_base::Version;

use super::Target;
use super::copy::{Copied, copy_table};
use super::keys::Keys;
use super::net::{Net, NetTable, net};
use super::rejects::{self, Rejects, Settled};
use super::rows::{self, Outcome};
use super::state::{self, Owner, State};
use crate::error::{Error, Result};
use crate::host::Session;
use crate::instance::Lease;
use crate::schema::{ColumnType, MirrorTable, OnMismatch, Selection, Step, names_of, plan};
use crate::source::{Commit, Source, SourceTable, Value};

/// A table of a mirror that was just attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    pub table: String,
    pub copied: Copied,
}

/// What applying a batch did, for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Applied {
    /// Rows written or deleted, after netting.
    pub rows: u64,
    /// Columns widened to hold a value that did not fit.
    pub widened: u64,
    /// Values put aside that did not fit.
    pub rejected: u64,
    /// Tables copied anew because the mirror did not have the rows that it should.
    pub repaired: u64,
}

impl Applied {
    pub fn add(&mut self, copied: Copied) {
        self.rows += copied.rows;
        self.widened += copied.widened;
        self.rejected += copied.rejected;
    }
}

/// Applies one source to one target. Owned by one thread.
pub struct Applier {
    session: Lease,
    source: Arc<dyn Source>,
    target: Target,
    owner: Owner,
    /// Which of the source's tables the mirror has.
    selection: Selection,
    on_mismatch: OnMismatch,
    rejects: Rejects,
    keys: Keys,
    tables: Vec<MirrorTable>,
    version: Version,
}

impl Applier {
    /// Takes up the mirror that is in the target, or makes it: all tables at one version, in one transaction. Without
    /// `on_mismatch` a mirror that is there keeps its own.
    pub fn attach(
        session: Lease,
        source: Arc<dyn Source>,
        target: Target,
        owner: Owner,
        selection: Selection,
        on_mismatch: Option<OnMismatch>,
        progress: &dyn Fn(&str, Arc<AtomicU64>),
    ) -> Result<(Applier, Vec<Attached>)> {
        let (schema_exists, state) = state::read(&session, &target)?;
        let on_mismatch = on_mismatch.or(state.as_ref().map(|state| state.on_mismatch)).unwrap_or_default();
        let (tables, version, rejects, keys) = (Vec::new(), Version(0), Rejects::default(), Keys::default());
        let mut applier =
            Applier { session, source, target, owner, selection, on_mismatch, rejects, keys, tables, version };
        let attached = match state {
            Some(state) => applier.resume(&state)?,
            None => applier.transaction(|applier| applier.first_copy(schema_exists, progress))?,
        };
        applier.learn_keys()?;
        Ok((applier, attached))
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Applies commits that follow each other, in one transaction: afterwards the mirror shows the last of them, or on
    /// failure what it showed before. A commit that changes the schema must come alone.
    pub fn apply(&mut self, commits: &[Commit]) -> Result<Applied> {
        let Some(last) = commits.last() else { return Ok(Applied::default()) };
        let (before, to) = (self.tables.clone(), last.version);
        let mut refused = HashSet::new();
        loop {
            let outcome = self.transaction(|applier| applier.write(commits, &refused));
            match outcome {
                Ok((applied, made)) => {
                    self.version = to;
                    if made {
                        self.learn_keys()?;
                    }
                    return Ok(applied);
                }
                Err(error) => {
                    self.tables.clone_from(&before);
                    // The connection may have failed after the commit was done: the state tells.
                    let (_, state) = state::read(&self.session, &self.target)?;
                    if state.is_some_and(|state| state.owner == self.owner.token() && state.version == to) {
                        self.tables = state::read_tables(&self.session, &self.target)?;
                        self.version = to;
                        self.learn_keys()?;
                        return Ok(Applied::default());
                    }
                    self.learn_keys()?;
                    // DuckDB refuses some statements that SQLite allows, such as dropping a column before an indexed
                    // one. The tables concerned are copied instead.
                    let another_way = matches!(error, Error::Database { .. }) && refused.is_empty();
                    if last.schema.is_none() || !another_way {
                        return Err(error);
                    }
                    refused = self.source.tables(to)?.into_iter().map(|table| table.name).collect();
                }
            }
        }
    }

    /// How many of the commits come before the first that has a value which its column cannot hold.
    pub fn fitting(&self, commits: &[Commit]) -> usize {
        let misfit = |commit: &Commit| commit.tables.iter().any(|changes| rejects::has_misfit(&self.tables, changes));
        commits.iter().position(misfit).unwrap_or(commits.len())
    }

    /// Leaves the mirror for the next applier to take up.
    pub fn detach(mut self) -> Result<()> {
        self.transaction(|applier| {
            state::release(&applier.session, &applier.target, &applier.owner)?;
            applier.mark("detached", applier.version)
        })
    }

    fn transaction<T>(&mut self, work: impl FnOnce(&mut Applier) -> Result<T>) -> Result<T> {
        self.session.run("BEGIN")?;
        let outcome = work(self).and_then(|value| self.session.run("COMMIT").map(|_| value));
        if outcome.is_err() {
            // Fails when there is no transaction any more, which is what is wanted.
            drop(self.session.run("ROLLBACK"));
        }
        outcome
    }

    fn first_copy(&mut self, schema_exists: bool, progress: &dyn Fn(&str, Arc<AtomicU64>)) -> Result<Vec<Attached>> {
        let at = self.source.head()?;
        let mut names = names_of(&[]);
        let tables: Vec<MirrorTable> =
            self.selected(at)?.iter().map(|table| MirrorTable::of_source(table, &mut names)).collect();
        if schema_exists {
            refuse_clashes(&self.session, &self.target, &tables)?;
        } else {
            self.session.run(&format!("CREATE SCHEMA {}", self.target.schema_name()))?;
        }
        let (session, target) = (&self.session, &self.target);
        state::create(session, target, &self.source.identity(), at, &self.owner, &self.selection, self.on_mismatch)?;
        Rejects::create(session, target)?;
        self.tables = tables;
        let mut attached = Vec::new();
        for place in 0..self.tables.len() {
            let name = self.tables[place].name.clone();
            let copied = self.copy_at(place, at, &|rows| progress(&name, rows))?;
            attached.push(Attached { table: name, copied });
        }
        attached.sort_by(|a, b| a.table.cmp(&b.table));
        state::write_tables(&self.session, &self.target, &self.tables)?;
        self.mark(&format!("copied at version {at}"), at)?;
        self.version = at;
        Ok(attached)
    }

    fn resume(&mut self, state: &State) -> Result<Vec<Attached>> {
        let identity = self.source.identity();
        let shown = self.target.shown();
        if state.store != identity.store || state.branch_id != identity.branch_id {
            return Err(Error::input(format!(
                "{shown} mirrors branch {} of {}, not branch {} of {}: choose another schema with schema := '...', or \
                 drop that one",
                state.branch, state.location, identity.branch, identity.location
            )));
        }
        let head = self.source.head()?;
        if state.version > head {
            return Err(Error::input(format!(
                "{shown} shows version {} and {} is at {head}: the store is older than its mirror. Drop the schema \
                 {shown} to copy it anew",
                state.version, identity.location
            )));
        }
        if !self.selection.is_all() && self.selection != state.selection {
            return Err(Error::input(format!(
                "{shown} was made with other tables ({}): leave tables and exclude out to go on with those, choose another \
                 schema with schema := '...', or drop that one",
                state.selection.to_text()
            )));
        }
        self.selection = state.selection.clone();
        let rival = Owner::parse(&state.owner).filter(|other| *other != self.owner);
        if let Some(other) = rival.filter(crate::mirror::is_alive) {
            return Err(Error::input(format!(
                "{shown} is being applied by process {} on this machine: call maniac_detach there, or end it, first",
                other.process
            )));
        }
        self.version = state.version;
        self.transaction(|applier| {
            state::claim(&applier.session, &applier.target, &applier.owner, applier.on_mismatch)?;
            applier.rejects = Rejects::open(&applier.session, &applier.target)?;
            applier.mark("attached", applier.version)
        })?;
        self.tables = state::read_tables(&self.session, &self.target)?;
        let mut attached = Vec::new();
        for table in &self.tables {
            let sql = format!("SELECT count(*)::VARCHAR FROM {}", self.target.table(&table.name));
            let rows = self.session.value(&sql)?.and_then(|count| count.parse().ok()).unwrap_or(0);
            attached.push(Attached { table: table.name.clone(), copied: Copied { rows, ..Copied::default() } });
        }
        attached.sort_by(|a, b| a.table.cmp(&b.table));
        Ok(attached)
    }

    /// Writes a batch, in the transaction. Returns also whether tables were made or altered.
    fn write(&mut self, commits: &[Commit], refused: &HashSet<String>) -> Result<(Applied, bool)> {
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
            return Ok((Applied::default(), false));
        };
        debug_assert!(commits.len() == 1 || commits.iter().all(|commit| commit.schema.is_none()));
        let at = last.version;
        let mut copied = HashSet::new();
        let mut applied = Applied::default();
        if let Some(change) = &first.schema {
            // Rejects name tables and columns, and are right again after a copy.
            let named = self.tables.iter().filter(|table| self.rejects.may_have(&table.name));
            let copies = named.map(|table| table.source.clone()).chain(refused.iter().cloned()).collect();
            let plan = plan(&self.tables, &self.selected(at)?, change, &copies);
            self.tables = plan.tables;
            for step in &plan.steps {
                if let Step::Drop { table } = step {
                    self.rejects.forget(&self.session, &self.target, table)?;
                }
                match (step, self.target.statement(step)?) {
                    (_, Some(statement)) => drop(self.session.run(&statement)?),
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
            let outcome = match unkeyed.contains(name.as_str()) {
                // Rows without a key are found by nothing: the table is copied.
                true => Outcome::Diverged,
                false => {
                    let table = &self.tables[place];
                    self.complete(table, &mut changes, at)?;
                    let (session, target) = (&self.session, &self.target);
                    match self.rejects.settle(session, target, table, &mut changes, self.on_mismatch, at)? {
                        Settled::Widen(columns) => Outcome::Misfits(columns),
                        Settled::Aside(_) if !self.keys.prepare(session, target, table, &changes)? => Outcome::Diverged,
                        Settled::Aside(rejected) => {
                            let outcome = rows::apply(session, target, table, &changes)?;
                            applied.rejected += if outcome == Outcome::Applied { rejected } else { 0 };
                            outcome
                        }
                    }
                }
            };
            match outcome {
                Outcome::Applied => applied.rows += changes.changes.len() as u64,
                outcome => {
                    self.session.run(&format!("DROP TABLE {}", self.target.table(&self.tables[place].name)))?;
                    match outcome {
                        Outcome::Misfits(columns) => {
                            applied.widened += columns.len() as u64;
                            for column in columns {
                                self.tables[place].columns[column].column_type = ColumnType::Varchar;
                            }
                        }
                        _ if unkeyed.contains(name.as_str()) => {}
                        _ => applied.repaired += 1,
                    }
                    applied.add(self.copy(&name, at)?);
                    copied.insert(name);
                }
            }
        }
        let made = first.schema.is_some() || !copied.is_empty();
        if made {
            state::write_tables(&self.session, &self.target, &self.tables)?;
        }
        state::advance(&self.session, &self.target, &self.owner, self.version, at, last.time_ms)?;
        let (from, to) = (first.version, at);
        let what = if from == to { format!("version {to}") } else { format!("versions {from} to {to}") };
        self.mark(&what, at)?;
        Ok((applied, made))
    }

    fn learn_keys(&mut self) -> Result<()> {
        self.keys.refresh(&self.session, &self.target, &self.tables)
    }

    /// The source's tables that the mirror has.
    fn selected(&self, at: Version) -> Result<Vec<SourceTable>> {
        let mut tables = self.source.tables(at)?;
        tables.retain(|table| self.selection.has(&table.name));
        Ok(tables)
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

    /// Makes and fills the table of a source table, which is not in the target now.
    fn copy(&mut self, source_name: &str, at: Version) -> Result<Copied> {
        let Some(place) = self.tables.iter().position(|table| table.source.eq_ignore_ascii_case(source_name)) else {
            return Err(Error::source(format!("table {source_name} is not there at version {at}")));
        };
        self.copy_at(place, at, &|_| {})
    }

    fn copy_at(&mut self, place: usize, at: Version, progress: &dyn Fn(Arc<AtomicU64>)) -> Result<Copied> {
        let (session, target, table) = (&self.session, &self.target, &mut self.tables[place]);
        self.rejects.forget(session, target, &table.name)?;
        let copied = copy_table(session, target, &*self.source, at, table, self.on_mismatch, progress)?;
        if copied.rejected > 0 {
            self.rejects.note(&table.name);
        }
        Ok(copied)
    }

    /// Says in the lake's own history what this transaction does.
    fn mark(&self, what: &str, version: Version) -> Result<()> {
        let identity = self.source.identity();
        let message = format!("{} {}: {what}", identity.location, identity.branch);
        let extra = format!(
            "{{\"store\": \"{}\", \"branch_id\": {}, \"schema\": {}, \"version\": {version}}}",
            identity.store,
            identity.branch_id,
            serde_json::Value::from(self.target.schema.as_str())
        );
        match self.target.mark(&message, &extra) {
            Some(statement) => self.session.run(&statement).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// A schema that is there already must not have what the mirror would make.
fn refuse_clashes(session: &Session, target: &Target, tables: &[MirrorTable]) -> Result<()> {
    let place = |from: &str, name: &str| {
        format!(
            "SELECT {name} FROM {from}() WHERE lower(database_name) = lower({}) AND lower(schema_name) = lower({})",
            crate::schema::quote_text(&target.catalog),
            crate::schema::quote_text(&target.schema)
        )
    };
    let sql = format!("{} UNION ALL {}", place("duckdb_tables", "table_name"), place("duckdb_views", "view_name"));
    let taken: HashSet<String> =
        session.query(&sql)?.into_iter().flatten().flatten().map(|name| name.to_lowercase()).collect();
    match tables.iter().find(|table| taken.contains(&table.name.to_lowercase())) {
        None => Ok(()),
        Some(table) => Err(Error::input(format!(
            "{} has a table {} that is not a mirror's: choose another schema with schema := '...'",
            target.shown(),
            table.name
        ))),
    }
}
