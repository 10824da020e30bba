//! Virtual tables when changes are applied: what their modules have to do besides.

use std::collections::BTreeSet;

use maniac_history::{Encoding, Index, IndexStep, MergePlan, Raw, Schema, SchemaRow, Translated};
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
        let set = db.execute(&format!("INSERT INTO {schema}.{name}({name}, rank) VALUES (?1, ?2)"), setting);
        // One that this version of FTS5 doesn't know is kept for the next that does.
        let unknown = |error: &rusqlite::Error| {
            error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_ERROR)
        };
        set.map(drop).or_else(|error| if unknown(&error) { Ok(()) } else { Err(error) })?;
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

/// Translates a changeset for a database of this connection.
pub fn translate(db: &Connection, schema: &str, changeset: &[u8]) -> VfsResult<Translated> {
    let rows = schema_rows(db, schema).map_err(VfsError::sql)?;
    // What nobody can read has no virtual tables that are known.
    let schema = Schema::from_rows(rows, Encoding::Utf8).unwrap_or_default();
    maniac_history::translate(&schema, changeset).map_err(VfsError::sql)
}

fn schema_rows(db: &Connection, schema: &str) -> rusqlite::Result<Vec<SchemaRow>> {
    let sql = "SELECT rowid, type, name, tbl_name, ifnull(rootpage, 0), sql FROM {}.sqlite_master WHERE type = 'table'";
    let mut rows = db.prepare(&sql.replace("{}", &quote(schema)))?;
    let rows = rows.query_map((), |row| {
        let (rowid, kind, name) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(SchemaRow { rowid, kind, name, table_name: row.get(3)?, root: row.get(4)?, sql: row.get(5)? })
    })?;
    rows.collect()
}

/// Virtual tables whose shadow rows are applied one by one.
pub struct RawIndexes<'c> {
    db: &'c Connection,
    schema: &'c str,
    indexes: Vec<RawIndex<'c>>,
}

struct RawIndex<'c> {
    raw: &'c Raw,
    /// It can be made anew, since it has all rows of the table that it is of.
    complete: bool,
    /// FTS3 and FTS4 compare an index with its table. Where these differ before, that has nothing to do with the changes.
    checked: bool,
}

impl<'c> RawIndexes<'c> {
    /// What is so before anything is applied.
    pub fn before(db: &'c Connection, schema: &'c str, translated: &'c Translated) -> RawIndexes<'c> {
        let index = |raw: &'c Raw| {
            let compared = matches!(raw.module.as_str(), "fts3" | "fts4");
            let complete = raw.content.is_some() && is_complete(db, schema, raw);
            RawIndex { raw, complete, checked: !compared || is_sound(db, schema, raw) }
        };
        RawIndexes { db, schema, indexes: translated.raw.iter().map(index).collect() }
    }

    /// Takes away conflicts of shadow rows, and gives the virtual tables that they are of.
    pub fn torn(&self, conflicts: &mut Vec<Conflict>) -> BTreeSet<&'c str> {
        let mut torn = BTreeSet::new();
        for RawIndex { raw, .. } in &self.indexes {
            let before = conflicts.len();
            conflicts.retain(|conflict| !raw.storage.iter().any(|name| conflict.table.eq_ignore_ascii_case(name)));
            if conflicts.len() < before {
                torn.insert(raw.table.as_str());
            }
        }
        torn
    }

    /// Makes those anew that don't hold together, and gives conflicts for the ones where that can't be done. Where all
    /// is `undone` anyway, only conflicts are sought.
    pub fn settle(&self, torn: &BTreeSet<&str>, undone: bool) -> VfsResult<Vec<Conflict>> {
        let mut refused = Vec::new();
        for RawIndex { raw, complete, checked } in &self.indexes {
            let is_torn = torn.contains(raw.table.as_str());
            if !is_torn && (undone || !checked || is_sound(self.db, self.schema, raw)) {
                continue;
            }
            if !complete {
                let reason = "its content was changed here too, and can't be merged with that of a changeset";
                refused.push(conflict(&raw.table, reason.to_owned()));
            } else if !undone {
                rebuild(self.db, self.schema, &raw.table).map_err(VfsError::sql)?;
            }
        }
        Ok(refused)
    }
}

/// Whether an index of another table has all its rows, as far as that can be told.
fn is_complete(db: &Connection, schema: &str, raw: &Raw) -> bool {
    let Some((content, rowid)) = &raw.content else { return false };
    let id = if raw.module == "fts5" { "id" } else { "docid" };
    let sizes = format!("{}.{}", quote(schema), quote(&format!("{}_docsize", raw.table)));
    let (content, rowid) = (format!("{}.{}", quote(schema), quote(content)), quote(rowid));
    let sql = format!(
        "SELECT (SELECT count(*) FROM {sizes}) = (SELECT count(*) FROM {content}) AND NOT EXISTS \
         (SELECT 1 FROM {sizes} WHERE {id} NOT IN (SELECT {rowid} FROM {content}))"
    );
    // A view may have no rowid, and not every index has the sizes of its documents.
    db.query_row(&sql, (), |row| row.get(0)).unwrap_or(true)
}

/// Asks the module; one that isn't there says nothing.
fn is_sound(db: &Connection, schema: &str, raw: &Raw) -> bool {
    let (quoted, name) = (quote(schema), quote(&raw.table));
    if db.prepare(&format!("SELECT 1 FROM {quoted}.{name}")).is_err() {
        return true;
    }
    match raw.module.as_str() {
        "rtree" | "rtree_i32" | "geopoly" => {
            let checked =
                db.query_row("SELECT rtreecheck(?1, ?2)", [schema, &raw.table], |row| row.get::<_, String>(0));
            checked.is_ok_and(|found| found == "ok")
        }
        _ => db.execute_batch(&format!("INSERT INTO {quoted}.{name}({name}) VALUES ('integrity-check')")).is_ok(),
    }
}
