//! `maniac_tables([branch])`: one row per column of the branch's tables.

use maniac_history::Stream;
use maniac_history::relations::{self, Relation, Rows};
use rusqlite::types::Value;

use super::table_function::{TableFunction, text_argument};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Columns;

impl TableFunction for Columns {
    const RELATION: Relation = relations::TABLES;
    const ARGUMENTS: &'static [(&'static str, &'static str)] = &[("branch", "TEXT")];

    /// Of the version that this connection sees, or of the head of another branch.
    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows> {
        let branch = database.branch_named(text_argument(&arguments[0], "branch")?.as_deref())?;
        let own = branch == database.branch();
        let version = if own { database.version()? } else { database.store().branch_head(branch)? };
        Ok(relations::tables(&*Stream::new(database.store(), branch).schema(version)?))
    }
}
