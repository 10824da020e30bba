//! `maniac_status`: one row about the open store.

use std::ffi::CStr;

use rusqlite::types::Value;

use super::table_function::{Rows, TableFunction};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Status;

impl TableFunction for Status {
    const NAME: &'static CStr = c"maniac_status";
    const DECLARATION: &'static CStr = c"CREATE TABLE x(path TEXT, format INTEGER, branch TEXT, version INTEGER, \
        head INTEGER, durable INTEGER, page_size INTEGER, log_bytes INTEGER, segments INTEGER, index_bytes INTEGER, \
        page_images INTEGER)";
    const COLUMNS: usize = 11;
    const ARGUMENTS: usize = 0;

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        let version = database.version()?;
        let store = database.store();
        let status = store.status()?;
        let integer = |n: u64| Value::Integer(n as i64);
        let row = vec![
            Value::Text(store.path().display().to_string()),
            integer(maniac_store::FORMAT.into()),
            Value::Text(store.branch_by_id(database.branch())?.name),
            integer(version.0),
            integer(status.head.0),
            integer(status.durable.0),
            integer(store.page_size().into()),
            integer(status.log_bytes),
            integer(status.segments),
            integer(status.index_bytes),
            integer(status.page_images),
        ];
        Ok(Box::new(std::iter::once(Ok(row))))
    }
}
