//! What a statement gave: rows, or an error with its extended code. Made so that two of them can be compared.

use rusqlite::types::Value;
use rusqlite::{Connection, Error};

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Rows(Vec<Vec<Value>>),
    /// Extended code and message, without what tells the engines apart.
    Error(i32, String),
}

/// Rows that are read of one statement; more only cost time.
const MOST_ROWS: usize = 20_000;

impl Answer {
    pub fn from_error(error: &Error) -> Answer {
        match error {
            Error::SqliteFailure(code, message) => {
                Answer::Error(code.extended_code, without_paths(message.as_deref().unwrap_or_default()))
            }
            other => Answer::Error(-1, other.to_string()),
        }
    }

    pub fn of<T>(result: rusqlite::Result<T>) -> Answer {
        match result {
            Ok(_) => Answer::Rows(Vec::new()),
            Err(error) => Answer::from_error(&error),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Answer::Error(..))
    }
}

/// Runs one statement to its end.
pub fn run(connection: &Connection, sql: &str) -> Answer {
    query(connection, sql).map_or_else(|error| Answer::from_error(&error), Answer::Rows)
}

pub fn query(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query(())?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        if out.len() < MOST_ROWS {
            out.push((0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?);
        }
    }
    Ok(out)
}

/// The first column of the first row.
pub fn value(connection: &Connection, sql: &str) -> rusqlite::Result<Value> {
    connection.query_row(sql, (), |row| row.get(0))
}

/// The files of the two engines have different names, which some messages repeat.
fn without_paths(message: &str) -> String {
    let word = |word: &str| {
        if word.contains(".db") || word.contains(".maniac") { "PATH".to_string() } else { word.to_string() }
    };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
