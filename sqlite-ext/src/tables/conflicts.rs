//! `maniac_conflicts`: what stood in the way of this connection's last `maniac_apply` or `maniac_merge`.

use maniac_history::relations::{Field, Relation, Rows, Type};
use rusqlite::types::Value;

use super::table_function::TableFunction;
use crate::errors::VfsResult;
use crate::vfs::Database;

pub struct Conflicts;

impl TableFunction for Conflicts {
    const RELATION: Relation = Relation {
        name: "maniac_conflicts",
        columns: &[
            ("table", Type::Text),
            ("op", Type::Text),
            ("kind", Type::Text),
            ("key", Type::Text),
            ("old", Type::Text),
            ("new", Type::Text),
            ("current", Type::Text),
            ("resolution", Type::Text),
            ("reason", Type::Text),
        ],
    };

    fn rows(database: &mut Database, _: &[Option<Value>]) -> VfsResult<Rows> {
        let rows = database.conflicts().to_vec().into_iter().map(|conflict| {
            Ok(vec![
                Field::Text(conflict.table),
                conflict.op.map_or(Field::Null, |op| Field::text(op.name())),
                Field::text(conflict.kind.name()),
                Field::Text(conflict.key),
                conflict.old.into(),
                conflict.new.into(),
                conflict.current.into(),
                Field::text(conflict.resolution.name()),
                conflict.reason.into(),
            ])
        });
        Ok(Box::new(rows))
    }
}
