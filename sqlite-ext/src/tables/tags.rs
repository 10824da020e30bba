//! `maniac_tags`: one row per tag.

use maniac_history::relations::{self, Relation, Rows};
use rusqlite::types::Value;

use super::table_function::TableFunction;
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Tags;

impl TableFunction for Tags {
    const RELATION: Relation = relations::TAGS;

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        Ok(relations::tags(database.store())?)
    }
}
