//! `maniac_changes(from, to [, branch])`: one row per changed row.

use maniac_history::relations::{self, ChangesOf, Relation, Rows};
use rusqlite::types::Value;
use rusqlite::vtab::IndexConstraintOp::{self, SQLITE_INDEX_CONSTRAINT_EQ};

use super::table_function::{TableFunction, VERSION_FILTERS, integer_argument, text_argument, versions_within};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Changes;

impl TableFunction for Changes {
    const RELATION: Relation = relations::CHANGES;
    const ARGUMENTS: &'static [(&'static str, &'static str)] =
        &[("from_version", "INTEGER"), ("to_version", "INTEGER"), ("branch", "TEXT")];
    const FILTERS: &'static [(usize, IndexConstraintOp)] = {
        let [equal, at_least, above, at_most, below] = VERSION_FILTERS;
        &[equal, at_least, above, at_most, below, (2, SQLITE_INDEX_CONSTRAINT_EQ)]
    };

    /// The versions after `from` up to and including `to`, or of these only those that the query's conditions leave;
    /// all of them by default.
    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let branch = database.branch_named(text_argument(&arguments[2], "branch")?.as_deref())?;
        let filters = &arguments[Self::ARGUMENTS.len()..];
        let table = match &filters[VERSION_FILTERS.len()] {
            Some(Value::Text(table)) => Some(table.clone()),
            _ => None,
        };
        let of = ChangesOf {
            from: integer_argument(&arguments[0], "from")?,
            to: integer_argument(&arguments[1], "to")?,
            within: versions_within(filters),
            table,
        };
        Ok(relations::changes(database.store(), branch, of)?)
    }
}
