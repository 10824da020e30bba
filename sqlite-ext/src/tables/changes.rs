//! `maniac_changes(from, to [, branch])`: one row per changed row.

use maniac_base::Version;
use maniac_history::relations::{self, ChangesOf, Relation, Rows};
use rusqlite::types::Value;
use rusqlite::vtab::IndexConstraintOp::{self, *};

use super::table_function::{TableFunction, integer_argument, text_argument};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Changes;

impl TableFunction for Changes {
    const RELATION: Relation = relations::CHANGES;
    const ARGUMENTS: &'static [(&'static str, &'static str)] =
        &[("from_version", "INTEGER"), ("to_version", "INTEGER"), ("branch", "TEXT")];
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
        let branch = database.branch_named(text_argument(&arguments[2], "branch")?.as_deref())?;
        let filters = &arguments[Self::ARGUMENTS.len()..];
        let bound = |n: usize| match filters[n] {
            Some(Value::Integer(version)) => Some(Version(version.max(0) as u64)),
            _ => None,
        };
        let before = |version: Version| Version(version.0.saturating_sub(1));
        let after = [bound(0).map(before), bound(1).map(before), bound(2)];
        let up_to = [bound(0), bound(3), bound(4).map(before)];
        let table = match &filters[5] {
            Some(Value::Text(table)) => Some(table.clone()),
            _ => None,
        };
        let of = ChangesOf {
            from: integer_argument(&arguments[0], "from")?,
            to: integer_argument(&arguments[1], "to")?,
            within: (after.into_iter().flatten().max(), up_to.into_iter().flatten().min()),
            table,
        };
        Ok(relations::changes(database.store(), branch, of)?)
    }
}
