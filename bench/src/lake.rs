//! What a stream of updates does to a lake, with and without the mirror's maintenance: files, bytes, snapshots, and how
//! long a query takes, along 100,000 updated rows.

use std::path::Path;
use std::time::{Duration, Instant};

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools, Value};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const UPDATES: u64 = 100_000;
const ROWS: u64 = 100_000;
const PER_TRANSACTION: u64 = 10;
const TRANSACTIONS_PER_SECOND: u64 = 200;
const POINTS: u64 = 5;
const QUERIES: usize = 9;

/// As often and with as little kept as makes a minute show what a day does.
const MODES: &[(&str, &str)] =
    &[("without", "maintain_every_s := 0"), ("with", "maintain_every_s := 10, keep_snapshots_s := 10")];

pub fn run() -> Outcome<String> {
    let mut table =
        Table::new(&["maintenance", "updates", "data files", "delete files", "MB", "snapshots", "query, ms"]);
    for (mode, options) in MODES {
        eprintln!("lake: {mode} maintenance");
        measure(mode, options, &mut table)?;
    }
    Ok(format!(
        "## A lake under updates\n\n{} rows; {} random ones updated, {PER_TRANSACTION} per transaction, \
         {TRANSACTIONS_PER_SECOND} transactions per second, micro-batches of 100 ms. With maintenance every 10 s, keeping \
         snapshots for 10 s (defaults: 60 s and a week), and files that nothing needs deleted at each point (default: after 10 \
         minutes). MB: data files and catalog on disk. The query counts, sums and groups the whole table, median of \
         {QUERIES}.\n\n{}\n",
        number((ROWS / scale()) as f64),
        number((UPDATES / scale()) as f64),
        table.finish()
    ))
}

fn measure(mode: &str, options: &str, table: &mut Table) -> Outcome<()> {
    let directory = scratch()?;
    let tools = Tools::find();
    let (rows, updates) = (ROWS / scale(), UPDATES / scale());
    let writer = Engine::Maniac.open(directory.path(), "shop")?;
    writer.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL; CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, payload TEXT); \
         INSERT INTO t WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) \
           SELECT i, i % 100, 'a payload of some forty bytes, number ' || i FROM s"
    ))?;
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db")?;
    duckdb.run(&format!(
        "LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); \
         CALL maniac_attach('shop.maniac', lake := 'lake', {options})",
        tools.ducklake.display()
    ))?;
    let mut update = writer.prepare("UPDATE t SET n = n + 1 WHERE id = ?1")?;
    let mut dice = Dice::seeded(1);
    for point in 0..=POINTS {
        duckdb.run("CALL maniac_wait('shop')")?;
        if mode == "with" {
            duckdb.run("CALL maniac_maintain('shop', step := 'clean', older_than_s := 0)")?;
        }
        table.row(&look(mode, point * updates / POINTS, directory.path(), &mut duckdb)?.each_ref().map(String::as_str));
        if point == POINTS {
            break;
        }
        let start = Instant::now();
        for n in 0..updates / POINTS / PER_TRANSACTION {
            writer.execute_batch("BEGIN")?;
            for _ in 0..PER_TRANSACTION {
                update.execute([(dice.below(rows) + 1) as i64])?;
            }
            writer.execute_batch("COMMIT")?;
            let next = start + Duration::from_micros(1_000_000 / TRANSACTIONS_PER_SECOND * (n + 1));
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    duckdb.exit()?;
    Ok(())
}

fn look(mode: &str, updates: u64, directory: &Path, duckdb: &mut Session) -> Outcome<[String; 7]> {
    let text = |value: &Value| match value {
        Value::Integer(digits) => digits.clone(),
        other => format!("{other:?}"),
    };
    let counts = duckdb.run(
        "SELECT count(*), count(delete_file), (SELECT count(*) FROM lake.snapshots()) \
         FROM ducklake_list_files('lake', 't', schema => 'shop')",
    )?;
    let mut times = Vec::with_capacity(QUERIES);
    for _ in 0..QUERIES {
        let start = Instant::now();
        duckdb.run("SELECT n % 10, count(*), sum(n), max(payload) FROM lake.shop.t GROUP BY 1")?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let bytes: u64 = ["files", "lake.ducklake", "lake.ducklake.wal"]
        .iter()
        .map(|name| bytes_under(&directory.join(name)))
        .sum::<Outcome<u64>>()?;
    let [data, deletes, snapshots] = counts[0].as_slice() else { return Err("three counts".into()) };
    Ok([
        mode.to_string(),
        number(updates as f64),
        text(data),
        text(deletes),
        number(bytes as f64 / 1e6),
        text(snapshots),
        number(median(&times)),
    ])
}

fn bytes_under(path: &Path) -> Outcome<u64> {
    if !path.exists() {
        return Ok(0);
    }
    if path.is_file() {
        return Ok(path.metadata()?.len());
    }
    std::fs::read_dir(path)?.map(|entry| bytes_under(&entry?.path())).sum()
}
