//! All that a connection sees, as answers.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::answer::{self, Answer};

/// Definitions, rows of all tables, and the size in pages, of one attached database.
pub fn content(connection: &Connection, schema: &str) -> Vec<Answer> {
    let mut questions = vec![format!("SELECT type, name, tbl_name, sql FROM {schema}.sqlite_schema ORDER BY rowid")];
    // Temporary tables lie in a file of SQLite's own, whose shape is not the VFS's affair.
    if schema != "temp" {
        questions.push(format!("SELECT rootpage FROM {schema}.sqlite_schema ORDER BY rowid"));
        let pragmas = ["page_count", "freelist_count", "user_version", "encoding", "auto_vacuum"];
        questions.extend(pragmas.iter().map(|pragma| format!("PRAGMA {schema}.{pragma}")));
    }
    let mut answers: Vec<Answer> = questions.iter().map(|sql| answer::run(connection, sql)).collect();
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
