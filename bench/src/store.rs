//! What a store is for beyond one file: many writers, branches, opening; and the mixed work of an application.

use std::path::Path;
use std::time::{Duration, Instant};

use maniac_sql_tests::dice::Dice;
use rusqlite::{Connection, params};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const ROUNDS: usize = 3;
const WRITERS: usize = 8;

pub fn run() -> Outcome<String> {
    let (mut mixed, mut writers, mut scans) =
        ([const { Vec::new() }; 2], [const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let engine = Engine::BOTH[side];
            let directory = scratch()?;
            let connection = fill(engine, directory.path(), "mixed", 200_000 / scale())?;
            mixed[side].push(read_and_update(&connection, round as u64)?);
            writers[side].push(many_writers(engine, directory.path())?);
            drop(connection);
            let directory = scratch()?;
            let connection = fill(engine, directory.path(), "large", 1_000_000 / scale())?;
            scans[side].push(scan(&connection)?);
        }
    }
    let mut table = Table::new(&["", "unit", "SQLite WAL", "Maniac", "ratio"]);
    for (name, unit, [stock, maniac]) in [
        ("80 % point reads, 20 % updates, each its own transaction, NORMAL", "statements/s", &mixed),
        ("single-row commits, FULL: one plain file and one writer; 8 branches and 8 writers", "commits/s", &writers),
        ("full scan of 1 GB", "MB/s", &scans),
    ] {
        let (stock, maniac) = (median(stock), median(maniac));
        table.row(&[name, unit, &number(stock), &number(maniac), &format!("{:.2}x", maniac / stock)]);
    }
    Ok(format!(
        "## Many writers, branches, opening\n\nMedians of {ROUNDS} rounds, both engines in each; higher is better.\n\n{}\n{}",
        table.finish(),
        branches_and_opening()?
    ))
}

/// `rows` rows of about a kilobyte.
fn fill(engine: Engine, directory: &Path, name: &str, rows: u64) -> Outcome<Connection> {
    let connection = engine.open(directory, name)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous=NORMAL; CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, body TEXT);
         WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {rows})
         INSERT INTO t SELECT i, i, printf('%01000d', i) FROM g;"
    ))?;
    Ok(connection)
}

fn read_and_update(connection: &Connection, seed: u64) -> Outcome<f64> {
    let count = 50_000 / scale();
    let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
    let mut dice = Dice::seeded(seed);
    let mut select = connection.prepare("SELECT n FROM t WHERE id = ?1")?;
    let mut update = connection.prepare("UPDATE t SET n = n + 1 WHERE id = ?1")?;
    let start = Instant::now();
    for n in 0..count {
        let id = dice.below(rows as u64) as i64 + 1;
        if n % 5 == 0 {
            update.execute([id])?;
        } else {
            select.query_row([id], |row| row.get::<_, i64>(0))?;
        }
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// The plain file has one writer, which is its best; the store has one per branch.
fn many_writers(engine: Engine, directory: &Path) -> Outcome<f64> {
    let each = 500 / scale().min(10);
    let connection = engine.open(directory, "writers")?;
    connection.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)")?;
    let connections: Vec<Connection> = match engine {
        Engine::Stock => vec![connection],
        Engine::Maniac => (0..WRITERS)
            .map(|n| {
                connection.execute_batch(&format!("SELECT maniac_branch_create('b{n}')"))?;
                let store = directory.join("writers.maniac");
                Ok(Connection::open(format!("file:{}?vfs=maniac&branch=b{n}", store.display()))?)
            })
            .collect::<Outcome<_>>()?,
    };
    let count = each * WRITERS as u64 / connections.len() as u64;
    let start = Instant::now();
    let threads: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            std::thread::spawn(move || -> rusqlite::Result<()> {
                connection.pragma_update(None, "synchronous", "FULL")?;
                let mut insert = connection.prepare("INSERT INTO t(n) VALUES (?1)")?;
                (0..count).try_for_each(|n| insert.execute(params![n as i64]).map(drop))
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a writer")?;
    }
    Ok((each * WRITERS as u64) as f64 / start.elapsed().as_secs_f64())
}

fn scan(connection: &Connection) -> Outcome<f64> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let start = Instant::now();
    connection.query_row("SELECT sum(length(body)) FROM t", [], |row| row.get::<_, i64>(0))?;
    Ok(pages as f64 * 4096.0 / 1e6 / start.elapsed().as_secs_f64())
}

fn branches_and_opening() -> Outcome<String> {
    let directory = scratch()?;
    let small = Engine::Maniac.open(directory.path(), "small")?;
    small.execute_batch("CREATE TABLE t(n); INSERT INTO t VALUES (1)")?;
    eprintln!("a store of 5 GB");
    let large = fill(Engine::Maniac, directory.path(), "five", 5_000_000 / scale())?;
    let pages: i64 = large.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let times = |connection: &Connection| -> Outcome<f64> {
        let mut times = Vec::new();
        for n in 0..50 {
            let start = Instant::now();
            connection.execute_batch(&format!("SELECT maniac_branch_create('b{n}')"))?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(median(&times))
    };
    let (on_small, on_large) = (times(&small)?, times(&large)?);
    let (bytes, images): (i64, i64) =
        large
            .query_row("SELECT index_bytes, page_images FROM maniac_store", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    drop(large);
    let open_five = opening(directory.path(), "five")?;
    eprintln!("a store with a log of 64 MB");
    let tail = Engine::Maniac.open(directory.path(), "tail")?;
    tail.execute_batch("PRAGMA synchronous=OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)")?;
    let mut insert = tail.prepare("INSERT INTO t(body) VALUES (?1)")?;
    let mut commits = 0;
    while tail.query_row("SELECT log_bytes FROM maniac_store", [], |row| row.get::<_, i64>(0))? < 63_000_000 {
        (0..1000).try_for_each(|n| insert.execute([format!("row {n}")]).map(drop))?;
        commits += 1000;
    }
    drop(insert);
    drop(tail);
    let open_tail = opening(directory.path(), "tail")?;
    Ok(format!(
        "| what | figure |\n|---|---|\n\
         | creating a branch: database of 8 KB; of {} MB | {on_small:.0} us; {on_large:.0} us ({:.2}x) |\n\
         | opening a store: that one; one whose log has 64 MB in {commits} transactions | {:.1} ms; {:.1} ms |\n\
         | memory of the index | {:.1} bytes for each of {images} page images |\n",
        pages * 4096 / 1_000_000,
        on_large / on_small,
        open_five.as_secs_f64() * 1e3,
        open_tail.as_secs_f64() * 1e3,
        bytes as f64 / images as f64,
    ))
}

/// From nothing to the first answer.
fn opening(directory: &Path, name: &str) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let connection = Engine::Maniac.open(directory, name)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(&times)))
}
