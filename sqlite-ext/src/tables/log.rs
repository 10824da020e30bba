//! `maniac_log([branch])`: one row per version of the branch's line.

use maniac_history::relations::{self, Relation, Rows};
use rusqlite::types::Value;
use rusqlite::vtab::IndexConstraintOp;

use super::table_function::{TableFunction, VERSION_FILTERS, text_argument, versions_within};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Log;

impl TableFunction for Log {
    const RELATION: Relation = relations::LOG;
    const ARGUMENTS: &'static [(&'static str, &'static str)] = &[("branch", "TEXT")];
    const FILTERS: &'static [(usize, IndexConstraintOp)] = &VERSION_FILTERS;

    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let branch = database.branch_named(text_argument(&arguments[0], "branch")?.as_deref())?;
        Ok(relations::log(database.store(), branch, versions_within(&arguments[Self::ARGUMENTS.len()..]))?)
    }
}
