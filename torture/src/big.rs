//! A database of several gigabytes, past the page at 1 GiB that SQLite never writes, made by transactions far larger than
//! any cache, while another branch keeps committing. Memory stays bounded.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::engine::{Engine, scratch};

/// Bytes in a row's filler.
const FILLER: u64 = 3000;
const ROWS_PER_GIGABYTE: u64 = (1 << 30) / 3100;
/// Memory of the process that belongs to no file, in MiB: SQLite's caches, a transaction's pages up to where they go to a
/// file, the index of the log, and what the allocator keeps.
const MOST_MEMORY: u64 = 400;

/// What goes on meanwhile.
#[derive(Default)]
struct Meanwhile {
    over: AtomicBool,
    /// Commits on the other branch.
    commits: AtomicU64,
    /// The most memory seen, in KiB.
    memory: AtomicU64,
}

pub fn run(gigabytes: u64) -> Result<(), String> {
    let directory = scratch();
    let said = |error: rusqlite::Error| error.to_string();
    let connection = Engine::Maniac.open(directory.path(), "big").map_err(said)?;
    connection
        .execute_batch(
            "PRAGMA cache_size = -2000; CREATE TABLE big(id INTEGER PRIMARY KEY, half INTEGER, filler BLOB); \
             CREATE TABLE small(id INTEGER PRIMARY KEY); SELECT maniac_branch_create('dev');",
        )
        .map_err(said)?;
    let meanwhile = Meanwhile::default();
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&meanwhile));
        let other = scope.spawn(|| keep_committing(directory.path(), &meanwhile));
        let outcome = grow(&connection, gigabytes, &meanwhile);
        meanwhile.over.store(true, SeqCst);
        other.join().expect("no panic").map_err(said)?;
        outcome.map_err(said)
    })?;
    drop(connection);
    look(directory.path(), gigabytes).map_err(said)?;
    let memory = meanwhile.memory.load(SeqCst) >> 10;
    println!("memory that belongs to no file: at most {memory} MiB");
    if memory > MOST_MEMORY { Err(format!("more than {MOST_MEMORY} MiB of memory")) } else { Ok(()) }
}

/// One transaction for all rows, one that changes a column of every row, and one that is rolled back.
fn grow(connection: &Connection, gigabytes: u64, meanwhile: &Meanwhile) -> rusqlite::Result<()> {
    let rows = gigabytes * ROWS_PER_GIGABYTE;
    let step = |name: &str, sql: &str| -> rusqlite::Result<()> {
        let (start, before) = (Instant::now(), meanwhile.commits.load(SeqCst));
        connection.execute_batch(sql)?;
        let commits = meanwhile.commits.load(SeqCst) - before;
        let memory = meanwhile.memory.load(SeqCst) >> 10;
        println!("{name}: {:.1?}, {commits} commits on another branch meanwhile, {memory} MiB", start.elapsed());
        assert!(commits > 0, "another branch keeps committing");
        Ok(())
    };
    let insert = format!(
        "INSERT INTO big WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         SELECT i, i / 2, randomblob({FILLER}) FROM n"
    );
    step("insert of all rows", &insert)?;
    step("update of all rows", "UPDATE big SET half = half + 1")?;
    step("rollback of the same", "BEGIN; UPDATE big SET half = 0; ROLLBACK")
}

fn keep_committing(directory: &Path, meanwhile: &Meanwhile) -> rusqlite::Result<()> {
    let connection = Connection::open(format!("{}&branch=dev", Engine::Maniac.uri(directory, "big")))?;
    while !meanwhile.over.load(SeqCst) {
        connection.execute("INSERT INTO small VALUES (NULL)", ())?;
        meanwhile.commits.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Samples the memory that is the process's own: pages of mapped files are the system's to take back.
fn watch(meanwhile: &Meanwhile) {
    while !meanwhile.over.load(SeqCst) {
        let status = std::fs::read_to_string("/proc/self/status").expect("a Linux system");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a field of status");
        let kilobytes = line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number");
        meanwhile.memory.fetch_max(kilobytes, SeqCst);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn look(directory: &Path, gigabytes: u64) -> rusqlite::Result<()> {
    let start = Instant::now();
    let connection = Engine::Maniac.open(directory, "big")?;
    println!("opened again: {:.1?}", start.elapsed());
    let rows = (gigabytes * ROWS_PER_GIGABYTE) as i64;
    let sum: i64 = connection.query_row("SELECT sum(half - id / 2) FROM big", (), |row| row.get(0))?;
    assert_eq!(sum, rows, "every row once more than half of its number");
    let (pages, size): (i64, i64) =
        connection.query_row("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    assert!(gigabytes < 2 || pages * size > 1 << 30, "past the page at 1 GiB");
    let integrity: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0))?;
    assert_eq!(integrity, "ok");
    println!("{} MiB in {pages} pages, integrity ok: {:.1?}", pages * size >> 20, start.elapsed());
    Ok(())
}
