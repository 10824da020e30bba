//! `maniac_diff(a, b [, table])`: one row per row that differs between two branches, versions or times.

use maniac_history::relations::{self, Point, Relation, Rows};
use rusqlite::ffi;
use rusqlite::types::Value;
use rusqlite::vtab::IndexConstraintOp::{self, SQLITE_INDEX_CONSTRAINT_EQ};

use super::table_function::{TableFunction, text_argument};
use crate::errors::{VfsError, VfsResult};
use crate::vfs::Database;

pub struct Diff;

impl TableFunction for Diff {
    const RELATION: Relation = relations::DIFF;
    const ARGUMENTS: &'static [(&'static str, &'static str)] = &[("a", ""), ("b", ""), ("only_table", "TEXT")];
    const FILTERS: &'static [(usize, IndexConstraintOp)] = &[(0, SQLITE_INDEX_CONSTRAINT_EQ)];

    /// What leads from `a` to `b`, which is what this connection sees unless it is given.
    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let Some(from) = point(&arguments[0])? else {
            let message = "maniac_diff(a, b) needs to know what to compare: a branch, a version or a time";
            return Err(VfsError::new(ffi::SQLITE_ERROR, message));
        };
        let to = match point(&arguments[1])? {
            Some(to) => to,
            None => Point::Version(database.version()?.0 as i64),
        };
        let only = match (text_argument(&arguments[2], "table")?, &arguments[Self::ARGUMENTS.len()]) {
            (None, Some(Value::Text(table))) => Some(table.clone()),
            (only, _) => only,
        };
        let (store, branch) = (database.store(), database.branch());
        Ok(relations::diff(&from.snapshot(store, branch)?, &to.snapshot(store, branch)?, only)?)
    }
}

fn point(argument: &Option<Value>) -> VfsResult<Option<Point>> {
    match argument {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(Point::Text(text.clone()))),
        Some(Value::Integer(version)) => Ok(Some(Point::Version(*version))),
        Some(other) => {
            let message = format!("a branch, version or time cannot be a {}", other.data_type());
            Err(VfsError::new(ffi::SQLITE_ERROR, message))
        }
    }
}
