//! `maniac_log([branch])`: one row per version of the branch's line.

use std::ffi::CStr;

use maniac_base::Version;
use maniac_history::{JsonObject, LogEntry, log};
use maniac_store::{EntryKind, time_text};
use rusqlite::types::Value;

use super::table_function::{Rows, TableFunction, text_argument};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Log;

impl TableFunction for Log {
    const NAME: &'static CStr = c"maniac_log";
    const DECLARATION: &'static CStr = c"CREATE TABLE x(version INTEGER, time TEXT, kind TEXT, tables TEXT, \
        rows INTEGER, pages INTEGER, bytes INTEGER, branch TEXT HIDDEN)";
    const COLUMNS: usize = 7;
    const ARGUMENTS: usize = 1;

    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let branch = database.branch_named(text_argument(&arguments[0], "branch")?.as_deref())?;
        let rows = log(database.store(), branch, Version(0))?;
        Ok(Box::new(rows.map(|entry| Ok(row_of(&entry?)))))
    }
}

fn row_of(entry: &LogEntry) -> Vec<Value> {
    let kind = match (entry.kind, entry.schema_changed) {
        (EntryKind::Transaction, _) if entry.unreadable.is_some() => "unreadable",
        (EntryKind::Transaction, false) => "transaction",
        (EntryKind::Transaction, true) => "schema",
        (EntryKind::BranchCreated, _) => "branch created",
        (EntryKind::BranchDropped, _) => "branch dropped",
        (EntryKind::BranchRenamed, _) => "branch renamed",
    };
    let mut tables = JsonObject::default();
    for table in &entry.tables {
        tables.add(&table.table, &maniac_base::Value::Integer(table.rows() as i64));
    }
    let rows: u64 = entry.tables.iter().map(maniac_history::TableCount::rows).sum();
    // Of what can't be read nobody knows.
    let known = |value| if entry.unreadable.is_some() { Value::Null } else { value };
    vec![
        Value::Integer(entry.version.0 as i64),
        Value::Text(time_text(entry.time_ms)),
        Value::Text(kind.into()),
        known(Value::Text(tables.finish())),
        known(Value::Integer(rows as i64)),
        Value::Integer(entry.pages as i64),
        Value::Integer(entry.bytes as i64),
    ]
}
