//! `maniac_diff(a, b [, table])`: one row per row that differs between two branches, versions or times.

use std::ffi::CStr;

use maniac_history::{TableRow, difference_rows};
use maniac_store::{Moment, Snapshot};
use rusqlite::ffi;
use rusqlite::types::Value;
use rusqlite::vtab::IndexConstraintOp::{self, SQLITE_INDEX_CONSTRAINT_EQ};

use super::table_function::{Rows, TableFunction, text_argument};
use crate::errors::{VfsError, VfsResult};
use crate::vfs::Database;

pub struct Diff;

impl TableFunction for Diff {
    const NAME: &'static CStr = c"maniac_diff";
    const DECLARATION: &'static CStr =
        c"CREATE TABLE x(\"table\" TEXT, op TEXT, key TEXT, old TEXT, new TEXT, shadow_of TEXT, \
        a HIDDEN, b HIDDEN, only_table TEXT HIDDEN)";
    const COLUMNS: usize = 6;
    const ARGUMENTS: usize = 3;
    const FILTERS: &'static [(usize, IndexConstraintOp)] = &[(0, SQLITE_INDEX_CONSTRAINT_EQ)];

    /// What leads from `a` to `b`, which is what this connection sees unless it is given.
    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let Some(from) = snapshot(database, &arguments[0])? else {
            let message = "maniac_diff(a, b) needs to know what to compare: a branch, a version or a time";
            return Err(VfsError::new(ffi::SQLITE_ERROR, message));
        };
        let to = match snapshot(database, &arguments[1])? {
            Some(to) => to,
            None => {
                let version = database.version()?;
                database.store().snapshot(database.branch(), version)?
            }
        };
        let only = match (text_argument(&arguments[2], "table")?, &arguments[Self::ARGUMENTS]) {
            (None, Some(Value::Text(table))) => Some(table.clone()),
            (only, _) => only,
        };
        let rows = difference_rows(&from, &to, only)?;
        let version = to.version();
        Ok(Box::new(rows.map(move |row| {
            Ok(row_of(row.map_err(|source| maniac_history::HistoryError::Changeset { version, source })?))
        })))
    }
}

/// A whole number is a version. A text is the name of a branch, at its head, if there is one of that name; else a version
/// or a time. Versions and times are those of this connection's branch.
fn snapshot(database: &mut Database, argument: &Option<Value>) -> VfsResult<Option<Snapshot>> {
    let store = database.store();
    let moment = match argument {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Text(text)) => match store.branches()?.into_iter().find(|branch| branch.name == *text) {
            Some(branch) => return Ok(Some(store.snapshot(branch.id, branch.head)?)),
            None => Moment::parse(text).map_err(|_| {
                VfsError::new(
                    ffi::SQLITE_ERROR,
                    format!("\"{text}\" is no branch, no version and no ISO-8601 time; SELECT name FROM maniac_branches lists the branches"),
                )
            })?,
        },
        Some(Value::Integer(version)) => Moment::parse(&version.to_string())?,
        Some(other) => {
            let message = format!("a branch, version or time cannot be a {}", other.data_type());
            return Err(VfsError::new(ffi::SQLITE_ERROR, message));
        }
    };
    let version = store.resolve(database.branch(), moment)?;
    Ok(Some(store.snapshot(database.branch(), version)?))
}

fn row_of(row: TableRow) -> Vec<Value> {
    vec![
        Value::Text(row.table),
        Value::Text(row.op.name().into()),
        Value::Text(row.key),
        row.old.into(),
        row.new.into(),
        row.shadow_of.into(),
    ]
}
