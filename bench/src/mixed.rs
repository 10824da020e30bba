//! A mixed load: one client commits without pause, another asks a mirror without pause. What each of them does in a second,
//! by the number of DuckDB's threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maniac_sql_tests::{Kind, Session, Tools, Value};
use rusqlite::{Connection, params};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number, percentile};
use crate::{Outcome, scale};

const ROWS: u64 = 1_000_000;
const MILLISECONDS: u64 = 12_000;
const QUESTION: &str = "SELECT c % 10 AS g, count(*), sum(a), avg(d) FROM orders GROUP BY 1 ORDER BY 3 DESC";
/// Answers between two looks at the status.
const LOOK_EVERY: u64 = 10;

pub fn run() -> Outcome<String> {
    let (rows, time) = (ROWS / scale(), Duration::from_millis(MILLISECONDS / scale()));
    let mut table = Table::new(&[
        "mirror",
        "DuckDB's threads",
        "transactions/s",
        "commit p50",
        "commit p99",
        "queries/s",
        "lag p50",
        "lag max",
    ]);
    for (mirror, lake, threads) in
        [("none", false, 0), ("native", false, 1), ("native", false, 2), ("DuckLake", true, 1), ("DuckLake", true, 2)]
    {
        eprintln!("mixed: {mirror}, {threads} threads ({time:?})");
        let measured = measure(lake, threads, rows, time)?;
        let ms = |values: &[f64], percent: f64| match values.is_empty() {
            true => String::new(),
            false => format!("{:.2} ms", percentile(values, percent)),
        };
        let asked = threads > 0;
        table.row(&[
            mirror,
            &if asked { threads.to_string() } else { String::new() },
            &number(measured.commits.len() as f64 / measured.seconds),
            &format!("{:.2} ms", median(&measured.commits)),
            &ms(&measured.commits, 99.0),
            &if asked { format!("{:.1}", measured.answers as f64 / measured.seconds) } else { String::new() },
            &ms(&measured.lags, 50.0),
            &ms(&measured.lags, 100.0),
        ]);
    }
    Ok(format!(
        "## A mixed load on two cores\n\nOne client commits transactions of an INSERT and an UPDATE into a table of {} rows \
         for {} s, synchronous FULL; another asks `{QUESTION}` without pause.\n\n{}\n",
        number(rows as f64),
        time.as_secs_f64(),
        table.finish()
    ))
}

#[derive(Default)]
struct Measured {
    /// Milliseconds of each transaction.
    commits: Vec<f64>,
    answers: u64,
    /// In milliseconds.
    lags: Vec<f64>,
    seconds: f64,
}

/// `threads` of DuckDB's; 0 for the writer alone.
fn measure(lake: bool, threads: u32, rows: u64, time: Duration) -> Outcome<Measured> {
    let directory = scratch()?;
    let writer = Engine::Maniac.open(directory.path(), "shop")?;
    writer.execute_batch(&format!(
        "PRAGMA synchronous = FULL; CREATE TABLE orders(id INTEGER PRIMARY KEY, c INT, a REAL, d INT); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO orders SELECT i, i % 1000, i * 0.5, i % 365 FROM n"
    ))?;
    let mut duckdb = if threads > 0 { Some(attach(directory.path(), lake, threads)?) } else { None };
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let mut measured = std::thread::scope(|scope| -> Outcome<Measured> {
        let stop = &stop;
        let writing = scope.spawn(move || write(&writer, rows, time, stop));
        let mut measured = Measured::default();
        let asked = duckdb.as_mut().map(|(duckdb, question)| ask(duckdb, question, time, &mut measured));
        if asked.as_ref().is_some_and(Result::is_err) {
            stop.store(true, Ordering::Relaxed);
        }
        measured.commits = writing.join().map_err(|_| "the writer panicked")??;
        asked.transpose()?;
        Ok(measured)
    })?;
    measured.seconds = start.elapsed().as_secs_f64();
    if let Some((duckdb, _)) = &mut duckdb {
        duckdb.exit()?;
    }
    Ok(measured)
}

fn attach(directory: &std::path::Path, lake: bool, threads: u32) -> Outcome<(Session, String)> {
    let tools = Tools::find();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory);
    duckdb.open("olap.db")?;
    let (mut options, mut place) = ("", "shop");
    if lake {
        let ducklake = tools.ducklake.display();
        duckdb.run(&format!("LOAD '{ducklake}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')"))?;
        (options, place) = (", lake := 'lake'", "lake.shop");
    }
    duckdb.run(&format!("SET threads = {threads}; CALL maniac_attach('shop.maniac'{options})"))?;
    Ok((duckdb, QUESTION.replace("FROM orders", &format!("FROM {place}.orders"))))
}

fn ask(duckdb: &mut Session, question: &str, time: Duration, measured: &mut Measured) -> Outcome<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        duckdb.run(question)?;
        measured.answers += 1;
        if measured.answers.is_multiple_of(LOOK_EVERY)
            && let Some(Value::Integer(lag)) = duckdb.run("SELECT lag_ms FROM maniac_status()")?.concat().first()
        {
            measured.lags.push(lag.parse()?);
        }
    }
    Ok(())
}

/// Transactions until the time is over, each with the milliseconds that it took.
fn write(writer: &Connection, rows: u64, time: Duration, stop: &AtomicBool) -> Result<Vec<f64>, rusqlite::Error> {
    let mut insert = writer.prepare("INSERT INTO orders(c, a, d) VALUES (?, ?, ?)")?;
    let mut update = writer.prepare("UPDATE orders SET a = a + 1 WHERE id = ?")?;
    let (mut begin, mut commit) = (writer.prepare("BEGIN IMMEDIATE")?, writer.prepare("COMMIT")?);
    let (start, mut took) = (Instant::now(), Vec::new());
    let mut random = 1_u64;
    while start.elapsed() < time && !stop.load(Ordering::Relaxed) {
        // A multiplicative generator: any spread of keys will do.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = (random >> 33) as i64;
        let one = Instant::now();
        begin.execute([])?;
        insert.execute(params![key % 1000, (key % 10_000) as f64 / 100.0, key % 365])?;
        update.execute(params![key % rows as i64 + 1])?;
        commit.execute([])?;
        took.push(one.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}
