//! Everything that a connection sees, as answers.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::answer::{self, Answer};

/// Definitions, rows of all tables, and the size in pages, of one attached database.
pub fn content(connection: &Connection, schema: &str) -> Vec<Answer> {
    let definitions = format!("SELECT type, name, tbl_name, rootpage, sql FROM {schema}.sqlite_schema ORDER BY rowid");
    let mut answers: Vec<Answer> = [
        definitions.as_str(),
        &format!("PRAGMA {schema}.page_count"),
        &format!("PRAGMA {schema}.freelist_count"),
        &format!("PRAGMA {schema}.user_version"),
        &format!("PRAGMA {schema}.encoding"),
        &format!("PRAGMA {schema}.auto_vacuum"),
    ]
    .iter()
    .map(|sql| answer::run(connection, sql))
    .collect();
    let tables = format!("SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' ORDER BY name");
    for table in answer::query(connection, &tables).unwrap_or_default() {
        if let [Value::Text(name)] = table.as_slice() {
            answers.push(answer::run(connection, &format!("SELECT * FROM {schema}.\"{name}\"")));
        }
    }
    answers
}

/// The counters that a connection keeps.
pub fn counters(connection: &Connection) -> Answer {
    let sql = "SELECT changes(), total_changes(), last_insert_rowid()";
    let mut row = match answer::run(connection, sql) {
        Answer::Rows(rows) => rows.into_iter().next().unwrap_or_default(),
        error => return error,
    };
    row.push(Value::Integer(connection.is_autocommit().into()));
    Answer::Rows(vec![row])
}
