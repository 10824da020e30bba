//! A table read and copied into DuckDB: straight from a store's pages, against `sqlite_scanner` on the same data in a
//! plain file.

use std::time::Instant;

use maniac_sql_tests::{Kind, Session, Tools};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const REPEATS: usize = 7;

/// What is timed: the same for both sides, on a table `{t}`.
const QUERIES: &[(&str, &str)] = &[
    ("sum of one column", "SELECT sum(b), count(*) FROM {t}"),
    ("group by, two columns", "SELECT a % 10, sum(b) FROM {t} GROUP BY 1 ORDER BY 1"),
    ("all columns", "SELECT max(id), max(a), max(b), max(name), max(made), max(note) FROM {t}"),
    ("copy, native, no key", "CREATE OR REPLACE TABLE copied AS FROM {t}"),
    ("copy, DuckLake", "CREATE OR REPLACE TABLE lake.copied AS FROM {t}"),
];

pub fn run() -> Outcome<String> {
    let rows = (1_000_000 / scale()).max(1000);
    let directory = scratch()?;
    let tools = Tools::find();
    for engine in Engine::BOTH {
        engine.open(directory.path(), "shop")?.execute_batch(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b REAL, name TEXT, made DATETIME, note TEXT); \
             INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
               SELECT i, i * 7919 % 100000, i / 8.0, 'name ' || (i % 1000), datetime(1300000000 + i, 'unixepoch'), \
               'some note of text ' || i FROM n"
        ))?;
    }
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db")?;
    let scanner = tools.duckdb.with_file_name("sqlite_scanner.duckdb_extension");
    duckdb.run(&format!(
        "LOAD '{}'; ATTACH 'shop.db' AS plain (TYPE sqlite, READ_ONLY); \
         LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); SET preserve_insertion_order = false",
        scanner.display(),
        tools.ducklake.display()
    ))?;

    let mut table = Table::new(&["", "sqlite_scanner, ms", "from pages, ms", "ratio"]);
    for (name, query) in QUERIES {
        eprintln!("scan: {name}");
        let sides = ["plain.t", "maniac_scan('shop.maniac', 't')"].map(|side| query.replace("{t}", side));
        let ms = compare(&mut duckdb, &sides)?;
        table.row(&[name, &number(ms[0]), &number(ms[1]), &format!("{:.2}", ms[0] / ms[1])]);
    }
    for (name, lake) in
        [("first copy of a mirror, native, with its key", ""), ("first copy of a mirror, DuckLake", ", lake := 'lake'")]
    {
        eprintln!("scan: {name}");
        let place = if lake.is_empty() { "" } else { "lake." };
        let drop = format!("DROP SCHEMA IF EXISTS {place}shop CASCADE");
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..REPEATS {
            times[0].push(timed(&mut duckdb, &format!("CREATE OR REPLACE TABLE {place}copied AS FROM plain.t"))?);
            times[1].push(timed(&mut duckdb, &format!("CALL maniac_attach('shop.maniac'{lake})"))?);
            duckdb.run(&format!("CALL maniac_detach('shop'); {drop}"))?;
        }
        let ms = times.map(|times| median(&times));
        table.row(&[name, &number(ms[0]), &number(ms[1]), &format!("{:.2}", ms[0] / ms[1])]);
    }
    duckdb.exit()?;
    Ok(format!(
        "## Reading and copying a table\n\n{} rows of 6 columns; medians of {REPEATS}, taken in turns; opening the store is part \
         of every scan.\n\n{}\n",
        number(rows as f64),
        table.finish()
    ))
}

/// Medians of the two statements, in milliseconds, taken in turns so that what else the machine does hits both.
fn compare(duckdb: &mut Session, sides: &[String; 2]) -> Outcome<[f64; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..REPEATS {
        for (side, times) in sides.iter().zip(&mut times) {
            times.push(timed(duckdb, side)?);
        }
    }
    Ok(times.map(|times| median(&times)))
}

fn timed(duckdb: &mut Session, statement: &str) -> Outcome<f64> {
    let start = Instant::now();
    duckdb.run(statement)?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}
