//! `maniac_store`: one row about the open store.

use maniac_history::relations::{self, Relation, Rows};
use rusqlite::types::Value;

use super::table_function::TableFunction;
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Store;

impl TableFunction for Store {
    const RELATION: Relation = relations::STORE;

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        let version = database.version()?;
        Ok(relations::store(database.store(), database.branch(), version)?)
    }
}
