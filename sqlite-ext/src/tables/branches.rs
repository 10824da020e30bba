//! `maniac_branches`: one row per branch.

use maniac_history::relations::{self, Relation, Rows};
use rusqlite::types::Value;

use super::table_function::TableFunction;
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Branches;

impl TableFunction for Branches {
    const RELATION: Relation = relations::BRANCHES;

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        Ok(relations::branches(database.store())?)
    }
}
