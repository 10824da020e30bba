//! Foreign keys are not enforced change by change, since any order of changes would do; they are looked at in the end.

use std::collections::HashSet;

use rusqlite::Connection;

use super::conflict::{Conflict, Kind, Resolution};
use super::table::quote;
use crate::errors::{VfsError, VfsResult};

/// A row that refers to nothing: its table, rowid, and the table that it should be found in.
pub type Violation = (String, Option<i64>, String, i64);

/// The rows of tables that refer to one of `touched`, or are one of them, which refer to nothing.
pub fn violations(db: &Connection, schema: &str, touched: &[String]) -> VfsResult<HashSet<Violation>> {
    check(db, schema, touched).map_err(VfsError::sql)
}

fn check(db: &Connection, schema: &str, touched: &[String]) -> rusqlite::Result<HashSet<Violation>> {
    let mut found = HashSet::new();
    let sql = format!(
        "SELECT DISTINCT s.name, f.\"table\" FROM {}.sqlite_schema s, main.pragma_foreign_key_list(s.name, ?1) f \
         WHERE s.type = 'table'",
        quote(schema)
    );
    let mut referring = db.prepare(&sql)?;
    let pairs = referring.query_map([schema], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let is_touched = |name: &str| touched.iter().any(|table| table.eq_ignore_ascii_case(name));
    let mut children = HashSet::new();
    for pair in pairs {
        let (child, parent) = pair?;
        if (is_touched(&child) || is_touched(&parent)) && children.insert(child.clone()) {
            let mut check = db.prepare(&format!("PRAGMA {}.foreign_key_check({})", quote(schema), quote(&child)))?;
            let rows = check.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            for row in rows {
                found.insert(row?);
            }
        }
    }
    Ok(found)
}

pub fn conflict((table, rowid, parent, _): Violation) -> Conflict {
    let rowid = rowid.map_or_else(|| "null".to_owned(), |rowid| rowid.to_string());
    Conflict {
        table,
        op: None,
        kind: Kind::ForeignKey,
        key: format!("{{\"_rowid_\":{rowid}}}"),
        old: None,
        new: None,
        current: Some(format!("refers to no row of {parent}")),
        resolution: Resolution::Aborted,
        reason: None,
    }
}
