//! `maniac_conflicts`: what stood in the way of this connection's last `maniac_apply` or `maniac_merge`.

use std::ffi::CStr;

use rusqlite::types::Value;

use super::table_function::{Rows, TableFunction};
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Conflicts;

impl TableFunction for Conflicts {
    const NAME: &'static CStr = c"maniac_conflicts";
    const DECLARATION: &'static CStr = c"CREATE TABLE x(\"table\" TEXT, op TEXT, kind TEXT, key TEXT, old TEXT, \
        new TEXT, current TEXT, resolution TEXT, reason TEXT)";
    const COLUMNS: usize = 9;
    const ARGUMENTS: usize = 0;

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        let text = |text: Option<String>| text.map_or(Value::Null, Value::Text);
        let rows = database.conflicts().to_vec().into_iter().map(move |conflict| {
            Ok(vec![
                Value::Text(conflict.table),
                text(conflict.op.map(|op| op.name().to_owned())),
                Value::Text(conflict.kind.name().into()),
                Value::Text(conflict.key),
                text(conflict.old),
                text(conflict.new),
                text(conflict.current),
                Value::Text(conflict.resolution.name().into()),
                text(conflict.reason),
            ])
        });
        Ok(Box::new(rows))
    }
}
