//! What crash tests write, and how they know that all of it is there.
//!
//! Every transaction is a batch: a row that names it, rows that it must come with, and a transfer between two accounts of
//! the same branch. Some transactions do so on two branches at once. A writer says on its output which batches were
//! acknowledged, each with its branch; the test compares after the crash.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use maniac_sql_tests::dice::Dice;
use rusqlite::{Connection, Error, ErrorCode};

use crate::engine::load_extension;

pub const BRANCHES: [&str; 4] = ["main", "dev", "left", "right"];
const ACCOUNTS: i64 = 20;
const CENTS: i64 = 1000;

fn uri(store: &Path, branch: &str) -> String {
    format!("file:{}?vfs=maniac&branch={branch}", store.display())
}

fn open(store: &Path, branch: &str) -> rusqlite::Result<Connection> {
    open_uri(&uri(store, branch))
}

fn open_uri(uri: &str) -> rusqlite::Result<Connection> {
    load_extension()?;
    let connection = Connection::open(uri)?;
    connection.busy_timeout(std::time::Duration::from_secs(20))?;
    Ok(connection)
}

/// A store with the accounts and, for the others, branches of `main`. Small pages: a large transaction has many.
pub fn prepare(store: &Path) -> rusqlite::Result<()> {
    let connection = open(store, "main")?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = 512; BEGIN; \
         CREATE TABLE batches(id INTEGER PRIMARY KEY, size INTEGER, twin INTEGER); \
         CREATE TABLE parts(batch INTEGER, n INTEGER, filler BLOB, PRIMARY KEY (batch, n)) WITHOUT ROWID; \
         CREATE TABLE accounts(id INTEGER PRIMARY KEY, cents INTEGER CHECK (cents >= 0)); \
         INSERT INTO accounts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS}) \
           SELECT i, {CENTS} FROM n; COMMIT;"
    ))?;
    BRANCHES[1..]
        .iter()
        .try_for_each(|branch| connection.query_row("SELECT maniac_branch_create(?1, 'main')", [branch], |_| Ok(())))
}

/// What a writer does.
pub struct Writer<'a> {
    pub store: &'a Path,
    pub branch: &'a str,
    pub other: &'a str,
    /// Batches are numbered from here, so that writers and rounds don't meet.
    pub first: i64,
    pub synchronous: &'a str,
    /// One transaction in so many is large.
    pub large: u64,
}

impl Writer<'_> {
    /// Writes until somebody kills the process.
    pub fn run(&self) -> Result<(), String> {
        self.write().map_err(|error| error.to_string())
    }

    fn write(&self) -> rusqlite::Result<()> {
        let mut dice = Dice::seeded(self.first as u64);
        let alone = open(self.store, self.branch)?;
        // SQLite commits on several databases in three ways; it depends on the first one of a connection.
        let plain = self.store.with_file_name(format!("{}-beside.db", self.branch));
        let (both, first) = match dice.below(3) {
            0 => (open(self.store, self.branch)?, "main"),
            1 => (open_uri("file::memory:")?, "one"),
            _ => (open_uri(&format!("file:{}?vfs=unix", plain.display()))?, "one"),
        };
        if first == "one" {
            both.execute("ATTACH ?1 AS one", [uri(self.store, self.branch)])?;
        }
        both.execute("ATTACH ?1 AS other", [uri(self.store, self.other)])?;
        for (connection, schema) in [(&alone, "main"), (&both, first), (&both, "other")] {
            connection.pragma_update(Some(schema), "synchronous", self.synchronous)?;
            connection.pragma_update(Some(schema), "cache_size", 40)?;
        }
        for id in self.first.. {
            let twin = dice.below(3) == 0;
            let connection = if twin { &both } else { &alone };
            let schemas: &[&str] = if twin { &[first, "other"] } else { &["main"] };
            let (size, bytes) = match dice.below(self.large) {
                0 => (3, 900_000),
                _ => (1 + dice.below(12), dice.below(900)),
            };
            let sql: String = schemas.iter().map(|schema| batch(schema, id, size, bytes, twin, &mut dice)).collect();
            while let Err(error) = connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql} COMMIT;")) {
                // Two writers of two branches each may wait for each other until one gives up.
                let busy = matches!(&error, Error::SqliteFailure(code, _) if code.code == ErrorCode::DatabaseBusy);
                if !busy {
                    return Err(error);
                }
                if !connection.is_autocommit() {
                    connection.execute_batch("ROLLBACK")?;
                }
            }
            let mut out = std::io::stdout().lock();
            let branches = if twin { format!("{} {}", self.branch, self.other) } else { self.branch.to_string() };
            writeln!(out, "{id} {branches}").and_then(|()| out.flush()).expect("the test reads on");
        }
        Ok(())
    }
}

fn batch(schema: &str, id: i64, size: u64, bytes: u64, twin: bool, dice: &mut Dice) -> String {
    let (from, to) = (1 + dice.below(ACCOUNTS as u64), 1 + dice.below(ACCOUNTS as u64));
    format!(
        "INSERT INTO {schema}.batches VALUES ({id}, {size}, {}); \
         INSERT INTO {schema}.parts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {size}) \
           SELECT {id}, i, randomblob({bytes}) FROM n; \
         UPDATE OR IGNORE {schema}.accounts SET cents = cents - 10 WHERE id = {from}; \
         UPDATE {schema}.accounts SET cents = cents + 10 * changes() WHERE id = {to};",
        u8::from(twin)
    )
}

/// Looks at every branch again and again; ends with an error when a snapshot is not whole.
pub fn read(store: &Path) -> Result<(), String> {
    let look = || -> rusqlite::Result<Option<String>> {
        let connections: Vec<_> = BRANCHES.iter().map(|branch| open(store, branch)).collect::<rusqlite::Result<_>>()?;
        loop {
            for (connection, branch) in connections.iter().zip(BRANCHES) {
                connection.execute_batch("BEGIN")?;
                let sum = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
                let before =
                    (sum("SELECT sum(cents) FROM accounts")?, sum("SELECT sum(size) FROM batches").unwrap_or(0));
                let parts = sum("SELECT count(*) FROM parts")?;
                let after =
                    (sum("SELECT sum(cents) FROM accounts")?, sum("SELECT sum(size) FROM batches").unwrap_or(0));
                connection.execute_batch("COMMIT")?;
                if before != after || before != (ACCOUNTS * CENTS, parts) {
                    return Ok(Some(format!("{branch}: {before:?}, then {after:?}, with {parts} parts")));
                }
            }
        }
    };
    match look() {
        Ok(what) => Err(what.unwrap_or_default()),
        Err(error) => Err(format!("a reader failed: {error}")),
    }
}

/// The batches that a branch holds. Panics when anything is not whole.
pub fn check(store: &Path, branch: &str, what: &str) -> Batches {
    let connection = open(store, branch).unwrap_or_else(|error| panic!("{what}, {branch}: {error}"));
    let number = |sql: &str| -> i64 {
        connection
            .query_row(sql, (), |row| row.get(0))
            .unwrap_or_else(|error| panic!("{what}, {branch}: {sql}: {error}"))
    };
    let integrity: String =
        connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).expect("a check gives a row");
    assert_eq!(integrity, "ok", "{what}, {branch}");
    assert_eq!(
        number("SELECT sum(cents) FROM accounts"),
        ACCOUNTS * CENTS,
        "{what}, {branch}: the sum of the accounts"
    );
    let partial = "SELECT count(*) FROM batches WHERE size <> (SELECT count(*) FROM parts WHERE batch = id)";
    assert_eq!(number(partial), 0, "{what}, {branch}: batches with some of their parts");
    let orphans = "SELECT count(*) FROM parts WHERE batch NOT IN (SELECT id FROM batches)";
    assert_eq!(number(orphans), 0, "{what}, {branch}: parts of no batch");
    let ids = |sql: &str| -> BTreeSet<i64> {
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map((), |row| row.get(0)).expect("rows");
        rows.map(|id| id.expect("an id")).collect()
    };
    Batches { all: ids("SELECT id FROM batches"), twins: ids("SELECT id FROM batches WHERE twin") }
}

pub struct Batches {
    pub all: BTreeSet<i64>,
    /// Those that another branch must hold, too.
    pub twins: BTreeSet<i64>,
}
