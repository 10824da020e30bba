//! `maniac_changes(from, to [, branch])`: one row per changed row.

use std::ffi::CStr;

use maniac_base::Version;
use maniac_history::{RowChange, changes};
use maniac_store::{Moment, time_text};
use rusqlite::types::Value;
use rusqlite::vtab::IndexConstraintOp::{self, *};

use super::table_function::{Rows, TableFunction, integer_argument, text_argument};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Changes;

impl TableFunction for Changes {
    const NAME: &'static CStr = c"maniac_changes";
    const DECLARATION: &'static CStr = c"CREATE TABLE x(version INTEGER, time TEXT, \"table\" TEXT, op TEXT, \
        key TEXT, old TEXT, new TEXT, shadow_of TEXT, from_version INTEGER HIDDEN, to_version INTEGER HIDDEN, branch TEXT HIDDEN)";
    const COLUMNS: usize = 8;
    const ARGUMENTS: usize = 3;
    const FILTERS: &'static [(usize, IndexConstraintOp)] = &[
        (0, SQLITE_INDEX_CONSTRAINT_EQ),
        (0, SQLITE_INDEX_CONSTRAINT_GE),
        (0, SQLITE_INDEX_CONSTRAINT_GT),
        (0, SQLITE_INDEX_CONSTRAINT_LE),
        (0, SQLITE_INDEX_CONSTRAINT_LT),
        (2, SQLITE_INDEX_CONSTRAINT_EQ),
    ];

    /// The versions after `from` up to and including `to`, or of these only those that the query's conditions leave;
    /// all of them by default.
    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let from = integer_argument(&arguments[0], "from")?.map_or(Version(0), |n| Version(n.max(0) as u64));
        let branch = database.branch_named(text_argument(&arguments[2], "branch")?.as_deref())?;
        let to = match integer_argument(&arguments[1], "to")? {
            Some(to) => Version(to.max(0) as u64),
            None => database.store().head(),
        };
        // Refuses the future.
        database.store().resolve(branch, Moment::Version(to))?;
        let bound = |n: usize| match arguments[Self::ARGUMENTS + n] {
            Some(Value::Integer(version)) => Some(Version(version.max(0) as u64)),
            _ => None,
        };
        let before = |version: Version| Version(version.0.saturating_sub(1));
        let lower = [bound(0).map(before), bound(1).map(before), bound(2)];
        let upper = [bound(0), bound(3), bound(4).map(before)];
        let from = lower.into_iter().flatten().fold(from, Version::max);
        let to = upper.into_iter().flatten().fold(to, Version::min);
        let table = match &arguments[Self::ARGUMENTS + 5] {
            Some(Value::Text(table)) => Some(table.clone()),
            _ => None,
        };
        let rows = changes(database.store(), branch, from, to, table)?;
        Ok(Box::new(rows.map(|row| Ok(row_of(row?)))))
    }
}

fn row_of(row: RowChange) -> Vec<Value> {
    vec![
        Value::Integer(row.version.0 as i64),
        Value::Text(time_text(row.time_ms)),
        row.table.into(),
        Value::Text(row.op.name().into()),
        row.key.into(),
        row.old.into(),
        row.new.into(),
        row.shadow_of.into(),
    ]
}
