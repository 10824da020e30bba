//! `maniac_branches`: one row per branch.

use std::ffi::CStr;

use rusqlite::types::Value;

use super::table_function::{Rows, TableFunction};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Branches;

impl TableFunction for Branches {
    const NAME: &'static CStr = c"maniac_branches";
    const DECLARATION: &'static CStr = c"CREATE TABLE x(name TEXT, parent TEXT, fork INTEGER, head INTEGER, \
        created TEXT, pages INTEGER, commits INTEGER)";
    const COLUMNS: usize = 7;
    const ARGUMENTS: usize = 0;

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        let branches = database.store().branches()?;
        let name_of = |id| branches.iter().find(|branch| branch.id == id).map(|branch| branch.name.clone());
        let rows: Vec<_> = branches
            .iter()
            .map(|branch| {
                Ok(vec![
                    Value::Text(branch.name.clone()),
                    branch.parent.and_then(name_of).map_or(Value::Null, Value::Text),
                    Value::Integer(branch.fork.0 as i64),
                    Value::Integer(branch.head.0 as i64),
                    Value::Text(maniac_store::time_text(branch.created_ms)),
                    Value::Integer(i64::from(branch.pages)),
                    Value::Integer(branch.commits as i64),
                ])
            })
            .collect();
        Ok(Box::new(rows.into_iter()))
    }
}
