//! How an applier takes its mirror up: made by a first copy, or resumed at the version that it shows.

use std::collections::HashSet;
use std::sync::Arc;

use maniac_base::Version;
use parking_lot::Mutex;

use super::Applier;
use super::copy::{Copied, Tally};
use super::copy_cost::CopyCosts;
use super::current::counted;
use super::flush_check::{Damage, FlushCheck};
use super::rejects::Rejects;
use super::views::Views;
use crate::error::{Error, Result};
use crate::host::Session;
use crate::instance::Lease;
use crate::schema::{COLUMNS_TABLE, MirrorTable, OnMismatch, Selection, Tables, quote_text, renew};
use crate::source::Source;
use crate::target::INLINED_ROWS;
use crate::target::Owner;
use crate::target::lake::applied_version::{self, AppliedVersion};
use crate::target::lake::catalog_writer::CatalogWriter;
use crate::target::native::bloat::Bloat;
use crate::target::native::primary_key::PrimaryKeys;
use crate::target::state::{self, State, Terms};
use crate::target::upsert;
use crate::target::{MaintenanceChange, MaintenanceSettings, Target};

/// Seconds after which an applier of another machine that said that it was compacting is believed to be dead.
const COMPACTING_LIMIT: i64 = 10 * 60;

/// Is told of each table that is copied, with the tally of its rows.
type Progress<'a> = &'a dyn Fn(&str, Arc<Tally>);

/// A table of a mirror that was just attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    pub table: String,
    pub copied: Copied,
}

/// What the caller wants of the mirror. What is not given stays as it is stored with it.
pub struct Choices {
    pub selection: Selection,
    pub on_mismatch: Option<OnMismatch>,
    pub upkeep: MaintenanceChange,
    /// Whether small batches may go past DuckLake into a lake's catalog.
    pub direct_writes: bool,
}

impl Applier {
    /// Takes up the mirror that is in the target, or makes it: all tables at one version, in one transaction. `turn` is held
    /// for all but the copying, during which other mirrors in the lake go on.
    pub fn attach(
        session: Lease,
        source: Arc<dyn Source>,
        target: Target,
        owner: Owner,
        choices: Choices,
        turn: Option<&Mutex<()>>,
        progress: Progress,
    ) -> Result<(Applier, Vec<Attached>)> {
        if target.lake {
            session.run(&Target::inline(INLINED_ROWS))?;
        }
        let (schema_exists, state) = session.look_around(|session| state::find(session, &target))?;
        let on_mismatch = choices.on_mismatch.or(state.as_ref().map(|state| state.on_mismatch)).unwrap_or_default();
        let upkeep = choices.upkeep;
        let direct = target.lake.then(|| CatalogWriter::new(&session, &target, choices.direct_writes));
        let (direct, direct_writes) = direct.unzip();
        let mut applier = Applier {
            session,
            source,
            target,
            owner,
            selection: choices.selection,
            on_mismatch,
            rejects: Rejects::default(),
            keys: PrimaryKeys::default(),
            bloat: Bloat::default(),
            copy_costs: CopyCosts::default(),
            tables: Tables::default(),
            version: Version(0),
            unsure: false,
            in_files: false,
            applied: AppliedVersion::default(),
            direct: direct.unwrap_or_default(),
            direct_writes,
            flushes: FlushCheck::default(),
            views: Views::default(),
            upkeep: upkeep.of(MaintenanceSettings::default()),
            changed: true,
            inlined: HashSet::new(),
            pin: None,
        };
        let attached = match state {
            Some(state) => {
                let _turn = turn.map(Mutex::lock);
                applier.views = applier.session.look_around(|session| Views::find(session, &applier.target))?;
                applier.resume(&state, upkeep, progress)?
            }
            None => {
                let made = applier.target.lake && !schema_exists;
                if made {
                    let _turn = turn.map(Mutex::lock);
                    applier.make_lake_schema()?;
                }
                let copied = applier.copy_first(schema_exists || made, turn, progress);
                if copied.is_err() && made {
                    let _turn = turn.map(Mutex::lock);
                    applier.drop_schema();
                }
                copied?
            }
        };
        applier.learn_keys()?;
        applier.note_all_inlined();
        {
            let _turn = turn.map(Mutex::lock);
            applier.note_views(true);
            applier.refresh_views();
        }
        Ok((applier, attached))
    }

    /// Makes the schema on its own, since DuckLake sets nothing for one that is not committed.
    fn make_lake_schema(&self) -> Result<()> {
        self.session.look_around(|session| {
            session.run("BEGIN")?;
            let made = session.run(&format!("CREATE SCHEMA {}", self.target.schema_name()));
            let made = made.and_then(|_| self.mark("schema made", None)).and_then(|()| session.run("COMMIT"));
            if made.is_err() {
                drop(session.run("ROLLBACK"));
            }
            made?;
            // A lake that refuses this has larger files.
            drop(prefer_parquet_2(session, &self.target));
            Ok(())
        })
    }

    /// Takes the schema away again after a copy that failed. This fails, as it should, if somebody has made something in it.
    fn drop_schema(&self) {
        let statement = format!("DROP SCHEMA {}", self.target.schema_name());
        drop(self.session.look_around(|session| session.run(&statement)));
    }

    /// The first copy, during which other mirrors in the lake go on; but not during its commit.
    fn copy_first(
        &mut self,
        schema_exists: bool,
        turn: Option<&Mutex<()>>,
        progress: Progress,
    ) -> Result<Vec<Attached>> {
        let mut held = None;
        let copied = self.transaction(|applier| {
            let attached = applier.first_copy(schema_exists, progress)?;
            held = turn.map(Mutex::lock);
            Ok(attached)
        });
        // Only the commit failed: a catalog in SQLite is locked to who began before somebody else's commit. Now no other mirror
        // comes in between.
        let copied = match (copied, &held) {
            (Err(_), Some(_)) => self.transaction(|applier| applier.first_copy(schema_exists, progress)),
            (copied, _) => copied,
        }?;
        self.leave_version();
        Ok(copied)
    }

    fn first_copy(&mut self, schema_exists: bool, progress: Progress) -> Result<Vec<Attached>> {
        let at = self.source.head()?;
        let tables = self.fresh_tables(at)?;
        if tables.is_empty() {
            self.refuse_empty_choice(at)?;
        }
        self.pin();
        if schema_exists {
            self.session.look_around(|session| refuse_clashes(session, &self.target, &tables))?;
        } else {
            self.session.run(&format!("CREATE SCHEMA {}", self.target.schema_name()))?;
        }
        state::create(&self.session, &self.target, &self.source.identity(), at, &self.owner, &self.terms())?;
        Rejects::create(&self.session, &self.target)?;
        self.copy_all(tables, at, progress)
    }

    /// Fails if there are tables, of which none was chosen.
    fn refuse_empty_choice(&self, at: Version) -> Result<()> {
        let names: Vec<String> = self.source.tables(at)?.into_iter().map(|table| table.name).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(Error::input(format!(
                "tables := ... and exclude := ... choose none of the tables of {} ({}): name one of them, or a pattern such as '*'",
                self.source.identity().location,
                names.join(", ")
            ))),
        }
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms { selection: &self.selection, on_mismatch: self.on_mismatch, upkeep: self.upkeep }
    }

    /// Copies all tables again into a mirror of which nobody can tell any more what it shows.
    fn copy_again(&mut self, progress: Progress) -> Result<Vec<Attached>> {
        let at = self.source.head()?;
        self.pin();
        self.views.clear(&self.session, &self.target)?;
        for table in std::mem::take(&mut self.tables).iter() {
            self.session.run(&format!("DROP TABLE IF EXISTS {}", self.target.table(&table.name)))?;
        }
        state::settle(&self.session, &self.target, &self.owner, at, false)?;
        let tables = self.fresh_tables(at)?;
        self.copy_all(tables, at, progress)
    }

    /// Copies all tables as they are now, in one transaction: the store does not keep what follows the version that they show.
    pub(super) fn start_over(&mut self, progress: Progress) -> Result<Vec<Attached>> {
        let copied = self.transaction(|applier| applier.copy_again(progress))?;
        self.leave_version();
        Ok(copied)
    }

    /// The same for a mirror that is attached.
    pub fn catch_up_by_copy(&mut self) -> Result<()> {
        self.start_over(&|_, _| ())?;
        self.learn_keys()?;
        self.note_all_inlined();
        self.note_views(true);
        self.refresh_views();
        Ok(())
    }

    /// Copies the tables that somebody has dropped or altered, as they are at the version that the others show. `stored` are the
    /// tables as the mirror remembers them.
    fn repair(&mut self, damaged: &HashSet<String>, stored: &Tables, progress: Progress) -> Result<()> {
        state::settle(&self.session, &self.target, &self.owner, self.version, false)?;
        for place in 0..self.tables.len() {
            if damaged.contains(&self.tables[place].source) {
                self.pin();
                self.drop_table(place)?;
                let name = self.tables[place].name.clone();
                self.copy_at(place, self.version, &|tally| progress(&name, tally))?;
            }
        }
        state::write_tables(&self.session, &self.target, stored, &self.tables)?;
        self.mark(&format!("repaired at version {}", self.version), Some(self.version))
    }

    fn fresh_tables(&self, at: Version) -> Result<Tables> {
        self.source.check_readable(at, self.wanted())?;
        let mut tables = Tables::default();
        for table in self.selected(at)? {
            let table = MirrorTable::of_source(&table, tables.names(), self.target.lake);
            tables.add(table);
        }
        Ok(tables)
    }

    /// Makes and fills the tables, which become the mirror's.
    fn copy_all(&mut self, tables: Tables, at: Version, progress: Progress) -> Result<Vec<Attached>> {
        let mut attached = Vec::new();
        self.tables = tables;
        for place in 0..self.tables.len() {
            let name = self.tables[place].name.clone();
            let copied = self.copy_at(place, at, &|rows| progress(&name, rows))?;
            attached.push(Attached { table: name, copied });
        }
        attached.sort_by(|a, b| a.table.cmp(&b.table));
        self.session.run(&format!("DELETE FROM {}", self.target.table(COLUMNS_TABLE)))?;
        state::write_tables(&self.session, &self.target, &Tables::default(), &self.tables)?;
        self.mark(&format!("copied at version {at}"), Some(at))?;
        self.version = at;
        Ok(attached)
    }

    fn resume(&mut self, state: &State, upkeep: MaintenanceChange, progress: Progress) -> Result<Vec<Attached>> {
        let identity = self.source.identity();
        let shown = self.target.shown();
        if state.store != identity.store || state.branch_id != identity.branch_id {
            let (was, now) = ((&state.branch, &state.location), (&identity.branch, &identity.location));
            let which = match (was == now, state.store == identity.store) {
                (true, true) => format!(
                    "a branch {} of {} that has been dropped, not the one of that name that is there now",
                    now.0, now.1
                ),
                (true, false) => format!("a store that was at {} before, not the one that is there now", now.1),
                (false, _) => format!("branch {} of {}, not branch {} of {}", was.0, was.1, now.0, now.1),
            };
            return Err(Error::input(format!(
                "{shown} mirrors {which}: choose another schema with schema := '...', or drop that one"
            )));
        }
        self.version =
            applied_version::version(&self.session, &self.target, &identity, state)?.unwrap_or(state.version);
        let head = self.source.head()?;
        if self.version > head {
            return Err(Error::input(format!(
                "{shown} shows version {} and {} is at {head}: the store is older than its mirror. Drop the schema \
                 {shown} to copy it anew",
                self.version, identity.location
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
        self.upkeep = upkeep.of(state.upkeep);
        let rival = Owner::parse(&state.owner).filter(|other| *other != self.owner);
        if let (Some(other), Some(seconds @ ..COMPACTING_LIMIT)) = (&rival, state.compacting)
            && crate::target::may_live(other)
        {
            return Err(Error::input(format!(
                "process {} of another machine has been compacting {shown} for {seconds} s, and it can't be taken over \
                 meanwhile: try again, or detach it there",
                other.process
            )));
        }
        if let Some(other) = rival.filter(crate::target::is_alive) {
            return Err(Error::input(format!(
                "process {} on this machine applies changes to {shown}: call maniac_detach there first, or end it",
                other.process
            )));
        }
        self.tables = state::read_tables(&self.session, &self.target)?;
        self.transaction(|applier| {
            state::claim(&applier.session, &applier.target, &applier.owner, state, &applier.terms())?;
            if applier.target.lake {
                applier.pin();
                applier
                    .session
                    .look_around(|session| applied_version::bar(session, &applier.target, &applier.tables))?;
                applier.pin();
            }
            applier.mark("attached", None)
        })?;
        self.rejects = Rejects::open(&self.session, &self.target)?;
        // Only now can nobody else move it any more.
        self.unsure = true;
        match self.make_sure() {
            Err(Error::Expired(_)) => {
                self.unsure = false;
                return self.start_over(progress);
            }
            sure => sure?,
        }
        if self.target.lake && self.put_in_place(0)? {
            self.refresh_schema()?;
        }
        let flushed = if self.target.lake { self.damage_by_flushes()? } else { Damage::default() };
        if flushed.memory || flushed.rejects {
            let all = Damage { memory: true, rejects: true, ..flushed };
            let copied = self.transaction(|applier| {
                applier.renew_own_tables(&all)?;
                applier.copy_again(progress)
            })?;
            self.leave_version();
            return Ok(copied);
        }
        let sources = match self.selected(self.version) {
            // It was away for longer than the store keeps its past.
            Err(Error::Forgotten(_)) => return self.start_over(progress),
            sources => sources?,
        };
        let stored = self.tables.clone();
        let renewed = renew(&mut self.tables, &sources, self.target.lake);
        let mut damaged = self.session.look_around(|session| upsert::damaged(session, &self.target, &self.tables))?;
        damaged.extend(renewed);
        damaged.extend(flushed.tables);
        if !damaged.is_empty() {
            self.transaction(|applier| applier.repair(&damaged, &stored, progress))?;
            self.leave_version();
        }
        counted(&self.session, &self.target, &self.tables)
    }
}

/// Has the files of a mirror's own schema written in Parquet's version 2, unless the lake's owner has chosen: numbers are
/// stored as differences there, in a quarter to about half of the room.
fn prefer_parquet_2(session: &Session, target: &Target) -> Result<()> {
    let schema = quote_text(&target.schema);
    let chosen = session.value(&format!(
        "SELECT value FROM {}() WHERE option_name = 'parquet_version' AND scope = 'GLOBAL'",
        target.function("options")
    ))?;
    if chosen.is_none() {
        session.run(&format!("CALL {}('parquet_version', 2, schema => {schema})", target.function("set_option")))?;
    }
    Ok(())
}

/// A schema that is there already must not have what the mirror would make.
fn refuse_clashes(session: &Session, target: &Target, tables: &Tables) -> Result<()> {
    let place = |from: &str, name: &str| {
        format!(
            "SELECT {name} FROM {from}() WHERE lower(database_name) = lower({}) AND lower(schema_name) = lower({})",
            quote_text(&target.catalog),
            quote_text(&target.schema)
        )
    };
    let sql = format!("{} UNION ALL {}", place("duckdb_tables", "table_name"), place("duckdb_views", "view_name"));
    let taken: HashSet<String> =
        session.query(&sql)?.into_iter().flatten().flatten().map(|name| name.to_ascii_lowercase()).collect();
    match tables.iter().find(|table| taken.contains(&table.name.to_ascii_lowercase())) {
        None => Ok(()),
        Some(table) => Err(Error::input(format!(
            "{} has a table {} that is not a mirror's: choose another schema with schema := '...'",
            target.shown(),
            table.name
        ))),
    }
}
