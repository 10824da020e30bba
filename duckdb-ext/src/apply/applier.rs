//! One mirror's tables and how far they are: attaches, applies batches, detaches.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use maniac_base::Version;

use super::Target;
use super::copy::copy_table;
use super::net::{Net, NetTable, net};
use super::rows::{self, Outcome};
use super::state::{self, Owner, State};
use crate::error::{Error, Result};
use crate::host::Session;
use crate::instance::Lease;
use crate::schema::{ColumnType, MirrorTable, Step, names_of, plan};
use crate::source::{Commit, Source, Value};

/// A table of a mirror that was just attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    pub table: String,
    pub rows: u64,
}

/// What applying a batch did, for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Applied {
    /// Rows written or deleted, after netting.
    pub rows: u64,
    /// Columns widened to hold a value that did not fit.
    pub widened: u64,
    /// Tables copied anew because the mirror did not have the rows that it should.
    pub repaired: u64,
}

/// Applies one source to one target. Owned by one thread.
pub struct Applier {
    session: Lease,
    source: Arc<dyn Source>,
    target: Target,
    owner: Owner,
    tables: Vec<MirrorTable>,
    version: Version,
}

impl Applier {
    /// Takes up the mirror that is in the target, or makes it: all tables at one version, in one transaction.
    pub fn attach(
        session: Lease,
        source: Arc<dyn Source>,
        target: Target,
        owner: Owner,
        progress: &dyn Fn(&str, Arc<AtomicU64>),
    ) -> Result<(Applier, Vec<Attached>)> {
        let (schema_exists, state) = state::read(&session, &target)?;
        let mut applier = Applier { session, source, target, owner, tables: Vec::new(), version: Version(0) };
        let attached = match state {
            Some(state) => applier.resume(&state)?,
            None => applier.transaction(|applier| applier.first_copy(schema_exists, progress))?,
        };
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
                Ok(applied) => {
                    self.version = to;
                    return Ok(applied);
                }
                Err(error) => {
                    self.tables.clone_from(&before);
                    // The connection may have failed after the commit was done: the state tells.
                    let (_, state) = state::read(&self.session, &self.target)?;
                    if state.is_some_and(|state| state.owner == self.owner.token() && state.version == to) {
                        self.tables = state::read_tables(&self.session, &self.target)?;
                        self.version = to;
                        return Ok(Applied::default());
                    }
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
            self.source.tables(at)?.iter().map(|table| MirrorTable::of_source(table, &mut names)).collect();
        if schema_exists {
            refuse_clashes(&self.session, &self.target, &tables)?;
        } else {
            self.session.run(&format!("CREATE SCHEMA {}", self.target.schema_name()))?;
        }
        state::create(&self.session, &self.target, &self.source.identity(), at, &self.owner)?;
        let mut attached = Vec::new();
        for mut table in tables {
            let name = table.name.clone();
            let told = |rows| progress(&name, rows);
            let rows = copy_table(&self.session, &self.target, &*self.source, at, &mut table, &told)?;
            attached.push(Attached { table: name, rows });
            self.tables.push(table);
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
        let rival = Owner::parse(&state.owner).filter(|other| *other != self.owner);
        if let Some(other) = rival.filter(crate::mirror::is_alive) {
            return Err(Error::input(format!(
                "{shown} is being applied by process {} on this machine: call maniac_detach there, or end it, first",
                other.process
            )));
        }
        self.version = state.version;
        self.transaction(|applier| {
            state::claim(&applier.session, &applier.target, &applier.owner)?;
            applier.mark("attached", applier.version)
        })?;
        self.tables = state::read_tables(&self.session, &self.target)?;
        let mut attached = Vec::new();
        for table in &self.tables {
            let sql = format!("SELECT count(*)::VARCHAR FROM {}", self.target.table(&table.name));
            let rows = self.session.value(&sql)?.and_then(|count| count.parse().ok()).unwrap_or(0);
            attached.push(Attached { table: table.name.clone(), rows });
        }
        attached.sort_by(|a, b| a.table.cmp(&b.table));
        Ok(attached)
    }

    fn write(&mut self, commits: &[Commit], refused: &HashSet<String>) -> Result<Applied> {
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else { return Ok(Applied::default()) };
        debug_assert!(commits.len() == 1 || commits.iter().all(|commit| commit.schema.is_none()));
        let at = last.version;
        let mut copied = HashSet::new();
        let mut applied = Applied::default();
        if let Some(change) = &first.schema {
            let plan = plan(&self.tables, &self.source.tables(at)?, change, refused);
            self.tables = plan.tables;
            for step in &plan.steps {
                match (step, self.target.statement(step)?) {
                    (_, Some(statement)) => drop(self.session.run(&statement)?),
                    (Step::Copy { table }, None) => {
                        applied.rows += self.copy(&table.source, at)?;
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
                    self.complete(&self.tables[place], &mut changes, at)?;
                    rows::apply(&self.session, &self.target, &self.tables[place], &changes)?
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
                    applied.rows += self.copy(&name, at)?;
                    copied.insert(name);
                }
            }
        }
        if first.schema.is_some() || !copied.is_empty() {
            state::write_tables(&self.session, &self.target, &self.tables)?;
        }
        state::advance(&self.session, &self.target, &self.owner, self.version, at, last.time_ms)?;
        let (from, to) = (first.version, at);
        let what = if from == to { format!("version {to}") } else { format!("versions {from} to {to}") };
        self.mark(&what, at)?;
        Ok(applied)
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
    fn copy(&mut self, source_name: &str, at: Version) -> Result<u64> {
        let Some(place) = self.tables.iter().position(|table| table.source.eq_ignore_ascii_case(source_name)) else {
            return Err(Error::source(format!("table {source_name} is not there at version {at}")));
        };
        copy_table(&self.session, &self.target, &*self.source, at, &mut self.tables[place], &|_| {})
    }

    /// Says in the lake's own history what this transaction does.
    fn mark(&self, what: &str, version: Version) -> Result<()> {
        let identity = self.source.identity();
        let message = format!("{} {}: {what}", identity.location, identity.branch);
        let extra = format!(
            "{{\"store\": \"{}\", \"branch_id\": {}, \"version\": {version}}}",
            identity.store, identity.branch_id
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
