//! One thing done to both databases.

use std::path::Path;

use maniac_sql_tests::dice::Dice;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::settings::Settings;
use super::statements::Statements;
use crate::answer::{self, Answer};

#[derive(Debug, Clone)]
pub enum Step {
    Sql(String),
    /// Reads some rows, runs a statement in between, and reads on.
    Between {
        select: String,
        rows: u64,
        statement: String,
    },
    /// A statement that is interrupted after so many steps of the virtual machine.
    Interrupted {
        statement: String,
        steps: i32,
    },
    /// Writes into a stored value, with a statement between opening and writing.
    Blob {
        table: String,
        column: &'static str,
        row: i64,
        offset: usize,
        bytes: Vec<u8>,
        statement: Option<String>,
    },
    /// Copies the database to a plain file, so many pages at a time, with a statement in between.
    BackupOut {
        pages: i32,
        statement: Option<String>,
    },
    /// Replaces the database by a copy of a plain one.
    BackupIn {
        pages: i32,
        rows: u64,
    },
    /// Writes a compact copy with VACUUM INTO: to a plain file, or to what the connection's VFS makes of a plain name.
    VacuumInto {
        vfs: &'static str,
    },
}

impl Step {
    pub fn random(dice: &mut Dice, settings: &Settings) -> Step {
        let mut statements = Statements { dice, settings };
        match statements.dice.below(60) {
            0 | 1 => {
                let (select, statement) = (statements.select(), statements.next());
                Step::Between { select, rows: statements.dice.below(6), statement }
            }
            2 => {
                let statement = statements.next();
                Step::Interrupted { statement, steps: 1 + statements.dice.below(400) as i32 }
            }
            3 | 4 => {
                let table = statements.table();
                let statement = (statements.dice.below(4) == 0).then(|| statements.next());
                let dice = statements.dice;
                let column = ["b", "c", "d"][dice.below(3) as usize];
                let bytes = vec![b'A' + dice.below(20) as u8; 1 + dice.below(80) as usize];
                Step::Blob {
                    table,
                    column,
                    row: dice.below(300) as i64,
                    offset: dice.below(60) as usize,
                    bytes,
                    statement,
                }
            }
            5 => {
                let statement = (statements.dice.below(3) == 0).then(|| statements.insert());
                Step::BackupOut { pages: 1 + statements.dice.below(20) as i32, statement }
            }
            6 if statements.dice.below(4) == 0 => {
                Step::BackupIn { pages: 1 + statements.dice.below(20) as i32, rows: statements.dice.below(400) }
            }
            7 if statements.dice.below(2) == 0 => Step::VacuumInto { vfs: statements.pick(&["?vfs=unix", ""]) },
            _ => Step::Sql(statements.next()),
        }
    }

    /// Does it on one connection. `scratch` is a directory for copies.
    pub fn run(&self, connection: &mut Connection, settings: &Settings, scratch: &Path) -> Vec<Answer> {
        match self {
            Step::Sql(sql) => vec![answer::run(connection, sql)],
            Step::Between { select, rows, statement } => between(connection, select, *rows, statement),
            Step::Interrupted { statement, steps } => {
                let hook = connection.progress_handler(*steps, Some(|| true));
                let answer = answer::run(connection, statement);
                let unhook = connection.progress_handler(0, None::<fn() -> bool>);
                vec![Answer::of(hook), answer, Answer::of(unhook)]
            }
            Step::Blob { table, column, row, offset, bytes, statement } => {
                write_blob(connection, (table, column, *row), *offset, bytes, statement.as_deref())
            }
            Step::BackupOut { pages, statement } => backup_out(connection, *pages, statement.as_deref(), scratch),
            Step::BackupIn { pages, rows } => backup_in(connection, *pages, *rows, settings, scratch),
            Step::VacuumInto { vfs } => {
                let copy = scratch.join("into.db");
                let answer = answer::run(connection, &format!("VACUUM INTO 'file:{}{vfs}'", copy.display()));
                let mut answers = vec![answer];
                if !answers[0].is_error() {
                    answers.extend(whole(&copy));
                }
                remove(&copy);
                answers
            }
        }
    }
}

fn between(connection: &Connection, select: &str, rows: u64, statement: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut read = || -> rusqlite::Result<()> {
        let mut prepared = connection.prepare(select)?;
        let mut cursor = prepared.query(())?;
        let mut seen = 0;
        let mut ran = false;
        loop {
            if seen == rows && !std::mem::replace(&mut ran, true) {
                answers.push(answer::run(connection, statement));
            }
            let Some(row) = cursor.next()? else { break };
            answers.push(Answer::Rows(vec![vec![row.get(0)?]]));
            seen += 1;
        }
        Ok(())
    };
    let end = Answer::of(read());
    answers.push(end);
    answers
}

fn write_blob(
    connection: &Connection,
    (table, column, row): (&str, &str, i64),
    offset: usize,
    bytes: &[u8],
    statement: Option<&str>,
) -> Vec<Answer> {
    let (schema, table) = table.split_once('.').unwrap_or(("main", table));
    let mut blob = match connection.blob_open(schema, table, column, row, false) {
        Ok(blob) => blob,
        Err(error) => return vec![Answer::from_error(&error)],
    };
    let mut answers = Vec::new();
    if let Some(statement) = statement {
        answers.push(answer::run(connection, statement));
    }
    let mut before = vec![0; bytes.len().min(blob.len().saturating_sub(offset))];
    answers.push(Answer::of(blob.read_at_exact(&mut before, offset)));
    answers.push(Answer::Rows(vec![vec![before.into()]]));
    answers.push(Answer::of(blob.write_at(bytes, offset)));
    answers.push(Answer::of(blob.close()));
    answers
}

/// Copies until the end, and says what went wrong on the way.
fn copy(from: &Connection, to: &mut Connection, pages: i32, between: impl FnOnce()) -> Answer {
    let mut between = Some(between);
    let result = (|| {
        let backup = Backup::new(from, to)?;
        // Somebody who writes all the time could make a copy start over for ever.
        for _ in 0..10_000 {
            match backup.step(pages)? {
                StepResult::Done => return Ok("done"),
                StepResult::More => {
                    if let Some(between) = between.take() {
                        between();
                    }
                }
                _ => return Ok("busy"),
            }
        }
        Ok("endless")
    })();
    match result {
        Ok(end) => Answer::Rows(vec![vec![end.to_string().into()]]),
        Err(error) => Answer::from_error(&error),
    }
}

fn backup_out(connection: &Connection, pages: i32, statement: Option<&str>, scratch: &Path) -> Vec<Answer> {
    let path = scratch.join("copy.db");
    let mut answers = Vec::new();
    let copied = {
        let mut to = Connection::open(&path).expect("a new plain file");
        let between = || answers.extend(statement.map(|statement| answer::run(connection, statement)));
        copy(connection, &mut to, pages, between)
    };
    answers.push(copied);
    if !answers.iter().any(Answer::is_error) {
        answers.extend(whole(&path));
    }
    remove(&path);
    answers
}

fn backup_in(connection: &mut Connection, pages: i32, rows: u64, settings: &Settings, scratch: &Path) -> Vec<Answer> {
    let path = scratch.join("source.db");
    let copied = {
        let from = Connection::open(&path).expect("a new plain file");
        from.execute_batch(&format!("PRAGMA encoding = '{}'; {}", settings.encoding, settings.creating("main")))
            .and_then(|()| {
                from.execute_batch(&format!(
                    "CREATE TABLE t0(a INTEGER PRIMARY KEY, b, c, d); CREATE INDEX i0 ON t0(c, b); \
                     CREATE TABLE w0(a PRIMARY KEY, b, c, d) WITHOUT ROWID; \
                     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= {rows}) \
                     INSERT INTO t0 SELECT i, 'backup ' || i, i % 9, zeroblob(i) FROM n; \
                     INSERT INTO w0 SELECT a, b, c, d FROM t0 WHERE a % 3 = 0;"
                ))
            })
            .expect("a plain database");
        copy(&from, connection, pages, || ())
    };
    remove(&path);
    vec![copied]
}

/// What a copied file holds, through a connection of its own.
fn whole(path: &Path) -> Vec<Answer> {
    let vfs = if path.is_dir() { "maniac" } else { "unix" };
    let connection = Connection::open(format!("file:{}?vfs={vfs}", path.display())).expect("the copy opens");
    super::compare::content(&connection, "main")
}

fn remove(path: &Path) {
    let _ = std::fs::remove_dir_all(path);
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}
