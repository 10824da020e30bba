//! A table read and copied into DuckDB: straight from a store's pages, against `sqlite_scanner` on the same data in a
//! plain file.

use std::time::Instant;

use maniac_sql_tests::{Kind, Session, Tools};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const QUERY_REPEATS: usize = 5;
const COPY_REPEATS: usize = 5;

/// Queries that are timed: the same for both sides, on a table `{t}`.
const QUERIES: &[(&str, &str)] = &[
    ("sum of one column", "SELECT sum(b), count(*) FROM {t}"),
    ("group by, two columns", "SELECT a % 10, sum(b) FROM {t} GROUP BY 1 ORDER BY 1"),
    ("all columns", "SELECT max(id), max(a), max(b), max(name), max(made), max(note) FROM {t}"),
];

pub fn run() -> Outcome<String> {
    let rows = (10_000_000 / scale()).max(1000);
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
         LOAD '{}'; ATTACH ':memory:' AS fleeting; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); \
         ATTACH 'ducklake:lake_2.ducklake' AS lake_2 (DATA_PATH 'files_2'); CALL lake_2.set_option('parquet_version', 2); \
         SET preserve_insertion_order = false",
        scanner.display(),
        tools.ducklake.display()
    ))?;

    let mut queries = Table::new(&["", "sqlite_scanner, ms", "from pages, ms", "ratio"]);
    for (name, query) in QUERIES {
        eprintln!("scan: {name}");
        let sides = ["plain.t", "maniac_scan('shop.maniac', 't')"].map(|side| query.replace("{t}", side));
        let ms = compare(&mut duckdb, &sides)?;
        queries.row(&[name, &number(ms[0]), &number(ms[1]), &format!("{:.2}", ms[0] / ms[1])]);
    }

    duckdb.run("CREATE TABLE stored AS FROM maniac_scan('shop.maniac', 't')")?;
    let names = ["file, ms", "in memory, ms", "DuckLake, ms", "DuckLake set to Parquet 2, ms"];
    let head: Vec<&str> = std::iter::once("").chain(names.into_iter().flat_map(|name| [name, "ratio"])).collect();
    let mut copies = Table::new(&head);
    let targets = [
        ("", ""),
        ("fleeting.", ", database := 'fleeting'"),
        ("lake.", ", lake := 'lake'"),
        ("lake_2.", ", lake := 'lake_2'"),
    ];
    let mut times = Vec::new();
    for (place, option) in targets {
        times.push(copy(&mut duckdb, place, option)?);
    }
    for (place, name) in COPIES.iter().enumerate() {
        let cells = times.iter().flat_map(|ms| [number(ms[place]), format!("{:.2}", ms[0] / ms[place])]);
        let cells: Vec<String> = std::iter::once(name.to_string()).chain(cells).collect();
        copies.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    duckdb.exit()?;
    Ok(format!(
        "## Reading and copying a table\n\n{} rows of 6 columns; medians of {QUERY_REPEATS} and {COPY_REPEATS}, taken in \
         turns; a ratio is how many times as fast as `sqlite_scanner`.\n\n{}\n\nCopies into a DuckDB file, a database in memory, a DuckLake \
         as it is by default, where only the mirror has Parquet's version 2, and one in which everything has it. The last row is what DuckDB itself takes to write the rows, read from a table of its own.\n\n{}\n",
        number(rows as f64),
        queries.finish(),
        copies.finish()
    ))
}

/// What `copy` times, in its order.
const COPIES: [&str; 4] = [
    "`CREATE TABLE AS` from `sqlite_scanner`",
    "`CREATE TABLE AS` from `maniac_scan`",
    "first copy of a mirror, whole",
    "`CREATE TABLE AS` from a DuckDB table",
];

/// Medians of the ways to get the table into a database, in milliseconds. Each starts with the others' tables gone.
fn copy(duckdb: &mut Session, place: &str, target: &str) -> Outcome<[f64; 4]> {
    let mut times = [const { Vec::new() }; 4];
    for round in 0..COPY_REPEATS {
        eprintln!("scan: copies into {}, round {}", if place.is_empty() { "a file" } else { place }, round + 1);
        for (way, source) in [(0, "plain.t"), (1, "maniac_scan('shop.maniac', 't')"), (3, "stored")] {
            times[way].push(timed(duckdb, &format!("CREATE TABLE {place}copied AS FROM {source}"))?);
            duckdb.run(&format!("DROP TABLE {place}copied; CHECKPOINT"))?;
        }
        times[2].push(timed(duckdb, &format!("CALL maniac_attach('shop.maniac'{target})"))?);
        duckdb.run(&format!("CALL maniac_detach('shop'); DROP SCHEMA {place}shop CASCADE; CHECKPOINT"))?;
    }
    Ok(times.map(|times| median(&times)))
}

/// Medians of the two statements, in milliseconds, taken in turns so that what else the machine does hits both.
fn compare(duckdb: &mut Session, sides: &[String; 2]) -> Outcome<[f64; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..QUERY_REPEATS {
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
