//! What flushes of other clients have done to a mirror's tables in a lake.
//!
//! A flush whose commit DuckLake 1.5.5 starts over, because anything else was committed to the lake meanwhile, brings rows
//! back that were deleted, for good and without an error. A mirror's own flushes are not started over, but those of other
//! clients are, unless these set `ducklake_max_retry_count` to 0. Such damage shows: `count(*)`, which DuckLake answers from
//! its statistics, is another number than that of the rows.
//!
//! So the applier looks now and then whether somebody else has flushed tables of the mirror, and counts the rows of these.
//! What is damaged is made anew, in one transaction: from the source, and the mirror's own tables from what the applier
//! knows.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Applier;
use super::rejects::Rejects;
use super::schema_refresh::is_stale;
use crate::error::Result;
use crate::host::Session;
use crate::schema::{COLUMNS_TABLE, REJECTS_TABLE, STATE_TABLE, Tables, quote_text};
use crate::target::AUTHOR;
use crate::target::Target;
use crate::target::lake::applied_version::{self, AppliedVersion};
use crate::target::state;

/// How often the applier looks.
const PERIOD: Duration = Duration::from_secs(5);

/// What is known of the lake's flushes. Knowing nothing is right, and makes the next look count more.
#[derive(Default)]
pub struct FlushCheck {
    /// The lake's newest snapshot at the last look.
    seen: Option<i64>,
    looked: Option<Instant>,
}

/// Tables of a mirror that are damaged.
#[derive(Default)]
pub struct Damage {
    /// By their names in the source.
    pub tables: HashSet<String>,
    /// The state, or the columns: what a mirror remembers of itself.
    pub memory: bool,
    pub rejects: bool,
}

impl Damage {
    pub fn is_none(&self) -> bool {
        self.tables.is_empty() && !self.memory && !self.rejects
    }
}

impl Applier {
    /// Looks, if the last look was long ago, whether others' flushes have damaged the mirror, and repairs it. Returns how many
    /// tables were made anew.
    pub fn check_flushes(&mut self) -> Result<u64> {
        if !self.target.lake || self.flushes.looked.is_some_and(|looked| looked.elapsed() < PERIOD) {
            return Ok(0);
        }
        self.make_sure()?;
        self.flushes.looked = Some(Instant::now());
        let before = self.flushes.seen;
        let damage = self.damage_by_flushes()?;
        if damage.is_none() {
            return Ok(0);
        }
        let tables = self.tables.clone();
        let repaired = self.transaction(|applier| applier.undo_flushes(&damage));
        self.applied = AppliedVersion::default();
        self.direct.forget();
        match repaired {
            Ok(repaired) => {
                self.learn_keys()?;
                self.note_all_inlined();
                self.leave_version();
                Ok(repaired)
            }
            Err(error) => {
                // To be found again by the next look.
                self.flushes.seen = before;
                self.tables = tables;
                self.unsure = true;
                Err(error)
            }
        }
    }

    /// What of the mirror others have flushed since the last look, and is damaged.
    pub(super) fn damage_by_flushes(&mut self) -> Result<Damage> {
        let mut damage = Damage::default();
        for name in flushed(&self.session, &self.target, &mut self.flushes)? {
            let mut damaged = is_damaged(&self.session, &self.target, &name);
            if damaged.as_ref().is_err_and(is_stale) {
                self.refresh_schema()?;
                damaged = is_damaged(&self.session, &self.target, &name);
            }
            if !damaged? {
                continue;
            }
            match name.as_str() {
                STATE_TABLE | COLUMNS_TABLE => damage.memory = true,
                REJECTS_TABLE => damage.rejects = true,
                _ => {
                    let table = self.tables.iter().find(|table| table.name == name);
                    damage.tables.extend(table.map(|table| table.source.clone()));
                }
            }
        }
        if damage.rejects {
            let tables = self.tables.iter().filter(|table| self.rejects.may_have(&table.name));
            damage.tables.extend(tables.map(|table| table.source.clone()));
        }
        Ok(damage)
    }

    fn undo_flushes(&mut self, damage: &Damage) -> Result<u64> {
        self.applied.begin(&self.session, &self.target, &self.owner)?;
        self.pin();
        let mut repaired = self.renew_own_tables(damage)?;
        let stored = if damage.memory { Tables::default() } else { self.tables.clone() };
        let damaged: Vec<usize> =
            (0..self.tables.len()).filter(|place| damage.tables.contains(&self.tables[*place].source)).collect();
        for place in damaged {
            self.drop_table(place)?;
            self.copy_at(place, self.version, &|_| {})?;
            repaired += 1;
        }
        state::settle(&self.session, &self.target, &self.owner, self.version, false)?;
        state::write_tables(&self.session, &self.target, &stored, &self.tables)?;
        self.mark(&format!("repaired after a flush at version {}", self.version), Some(self.version))?;
        Ok(repaired)
    }

    /// Makes those of the mirror's own tables anew that are damaged; the columns are still to be written.
    pub(super) fn renew_own_tables(&mut self, damage: &Damage) -> Result<u64> {
        let (session, target) = (&self.session, &self.target);
        let drop_table = |name: &str| session.run(&format!("DROP TABLE {}", target.table(name)));
        let mut renewed = 0;
        if damage.memory {
            drop_table(STATE_TABLE)?;
            drop_table(COLUMNS_TABLE)?;
            let of = self.source.identity();
            state::create(session, target, &of, self.version, &self.owner, &self.terms())?;
            renewed += 2;
        }
        if damage.rejects {
            drop_table(REJECTS_TABLE)?;
            Rejects::create(session, target)?;
            renewed += 1;
        }
        self.pin();
        Ok(renewed)
    }
}

/// The tables in the mirror's schema that somebody other than mirrors has flushed in snapshots that were not seen yet.
fn flushed(session: &Session, target: &Target, flushes: &mut FlushCheck) -> Result<Vec<String>> {
    // Without the tables of the catalog nobody can tell at a bearable price.
    let Some(place) = applied_version::metadata(session, target) else { return Ok(Vec::new()) };
    let seen = flushes.seen.unwrap_or(-1);
    let rows = session.query(&format!(
        "SELECT max(snapshot_id)::VARCHAR, string_agg(changes_made, ',') \
         FILTER (changes_made LIKE '%inline_flush:%' AND author IS DISTINCT FROM '{AUTHOR}') \
         FROM {place}.ducklake_snapshot_changes WHERE snapshot_id > {seen}"
    ))?;
    let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
    let (newest, changes) = (row.next().flatten(), row.next().flatten().unwrap_or_default());
    let ids: HashSet<i64> =
        changes.split(',').filter_map(|change| change.strip_prefix("inline_flush:")?.parse().ok()).collect();
    let mut names = Vec::new();
    if !ids.is_empty() {
        let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let found = session.query(&format!(
            "SELECT table_name FROM {place}.ducklake_table AS t JOIN {place}.ducklake_schema AS s USING (schema_id) \
             WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND lower(s.schema_name) = lower({}) \
             AND t.table_id IN ({ids})",
            quote_text(&target.schema)
        ))?;
        names.extend(found.into_iter().flatten().flatten());
    }
    if let Some(newest) = newest.and_then(|newest| newest.parse().ok()) {
        flushes.seen = Some(newest);
    }
    Ok(names)
}

/// Whether a table has other rows than its statistics say. A limit keeps DuckLake from counting by these.
fn is_damaged(session: &Session, target: &Target, name: &str) -> Result<bool> {
    let table = target.table(name);
    let counted = session.value(&format!("SELECT count(*)::VARCHAR FROM (FROM {table} LIMIT {})", i64::MAX))?;
    // The number that the statistics give may be below zero, for which DuckDB has an error.
    let told = session.value(&format!("SELECT count(*)::VARCHAR FROM {table}"));
    Ok(told.ok() != Some(counted))
}
