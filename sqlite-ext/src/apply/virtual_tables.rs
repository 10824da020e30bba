//! Virtual tables when changes are applied: what their modules have to do besides.

use std::collections::BTreeSet;

use maniac_history::{Index, IndexStep, MergePlan};
use rusqlite::Connection;

use super::conflict::{Conflict, Kind, Resolution};
use super::merge::object_key;
use super::table::quote;
use crate::errors::{VfsError, VfsResult};

/// The virtual tables that the plan can't merge, and those that it could if this connection had their modules.
pub fn refused(db: &Connection, plan: &MergePlan) -> Vec<Conflict> {
    let mut refused: Vec<_> = plan.refusals.iter().map(|one| conflict(&one.table, one.reason.clone())).collect();
    let needed = plan.indexes.iter().filter(|index| index.step != IndexStep::Reread);
    for table in needed.map(|index| &index.table).collect::<BTreeSet<_>>() {
        let prepared = db.prepare(&format!("SELECT 1 FROM main.{}", quote(table)));
        let error = prepared.err().map(|error| error.to_string());
        if let Some(error) = error.filter(|error| error.contains("no such module") || error.contains("tokenizer")) {
            refused.push(conflict(table, format!("{error}; merge on a connection that has it")));
        }
    }
    refused
}

fn conflict(table: &str, reason: String) -> Conflict {
    Conflict {
        table: table.to_owned(),
        op: None,
        kind: Kind::VirtualTable,
        key: object_key("table", table),
        old: None,
        new: None,
        current: None,
        resolution: Resolution::Aborted,
        reason: Some(format!("table \"{table}\": {reason}")),
    }
}

/// The steps that are left when all rows are in place, settings before indexes.
pub fn finish(db: &Connection, schema: &str, indexes: &[Index]) -> VfsResult<()> {
    for wanted in [IndexStep::Configure, IndexStep::Rebuild, IndexStep::Reread] {
        for index in indexes.iter().filter(|index| index.step == wanted) {
            let done = match wanted {
                IndexStep::Configure => configure(db, schema, &index.table),
                IndexStep::Rebuild => rebuild(db, schema, &index.table),
                IndexStep::Reread => reread(db, schema, &index.table),
                IndexStep::Write => Ok(()),
            };
            done.map_err(|error| {
                VfsError::new(rusqlite::ffi::SQLITE_ERROR, format!("table {}: {error}", index.table))
            })?;
        }
    }
    Ok(())
}

/// FTS5 takes its settings from memory until it is told of them.
fn configure(db: &Connection, schema: &str, table: &str) -> rusqlite::Result<()> {
    let (schema, name) = (quote(schema), quote(table));
    let stored = quote(&format!("{table}_config"));
    let mut settings = db.prepare(&format!("SELECT k, v FROM {schema}.{stored} WHERE k <> 'version'"))?;
    let settings = settings.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    for setting in settings.collect::<rusqlite::Result<Vec<(String, rusqlite::types::Value)>>>()? {
        db.execute(&format!("INSERT INTO {schema}.{name}({name}, rank) VALUES (?1, ?2)"), setting)?;
    }
    Ok(())
}

fn rebuild(db: &Connection, schema: &str, table: &str) -> rusqlite::Result<()> {
    let (schema, name) = (quote(schema), quote(table));
    db.execute_batch(&format!("INSERT INTO {schema}.{name}({name}) VALUES ('rebuild')"))
}

/// Modules have parts of an index in memory, which they forget when a savepoint is rolled back in which they were to
/// write. Where a module isn't there, nothing is in memory.
fn reread(db: &Connection, schema: &str, table: &str) -> rusqlite::Result<()> {
    let nothing = format!("DELETE FROM {}.{} WHERE 0", quote(schema), quote(table));
    let Ok(mut nothing) = db.prepare(&nothing) else { return Ok(()) };
    db.execute_batch("SAVEPOINT maniac_reread")?;
    // A table that takes no such statement has no part of this.
    let _ = nothing.raw_execute();
    db.execute_batch("ROLLBACK TO maniac_reread; RELEASE maniac_reread")?;
    Ok(())
}
