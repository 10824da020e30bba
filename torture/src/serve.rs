//! The Rust host: one connection, driven over pipes as `hosts/host.py` is.

use std::io::{BufRead, Write};

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::answer::{self, Answer};
use crate::engine::load_extension;

pub fn serve() -> Result<(), String> {
    load_extension().map_err(|error| error.to_string())?;
    let mut connection = Connection::open_in_memory().map_err(|error| error.to_string())?;
    connection.busy_timeout(std::time::Duration::ZERO).map_err(|error| error.to_string())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let answer = match line.strip_prefix(".open ") {
            Some(uri) => match open(uri) {
                Ok(opened) => {
                    connection = opened;
                    Answer::Rows(Vec::new())
                }
                Err(error) => Answer::from_error(&error),
            },
            None => answer::run(&connection, &line),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(lines(&answer).as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn open(uri: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(uri)?;
    // The library's default is to wait for five seconds; tests ask for what they want.
    connection.busy_timeout(std::time::Duration::ZERO)?;
    Ok(connection)
}

fn lines(answer: &Answer) -> String {
    match answer {
        Answer::Error(code, message) => format!("error {code} {}\n", message.replace('\n', " ")),
        Answer::Rows(rows) => {
            let row = |row: &Vec<Value>| row.iter().map(text).collect::<Vec<_>>().join("\t") + "\n";
            format!("rows {}\n", rows.len()) + &rows.iter().map(row).collect::<String>()
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}
