//! Analytic queries on a mirror against stock SQLite on the same data.

use std::time::Instant;

use maniac_sql_tests::{Kind, Session, Tools, Value};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const FACTS: u64 = 10_000_000;
const CUSTOMERS: u64 = 1_000_000;
/// SQLite takes seconds for each, DuckDB milliseconds.
const SQLITE_REPEATS: usize = 3;
const DUCKDB_REPEATS: usize = 9;

/// Each gives one row, so that both sides compute everything and print next to nothing.
const QUERIES: &[(&str, &str)] = &[
    (
        "aggregate of 1 M rows by group",
        "SELECT count(*), sum(n), round(sum(s), 3) FROM (SELECT region, count(*) AS n, avg(score) AS s FROM customers GROUP \
         BY region) AS groups",
    ),
    (
        "join of 10 M rows with 1 M",
        "SELECT count(*), round(sum(amount), 3) FROM (SELECT c.region, sum(f.amount) AS amount FROM facts AS f JOIN customers \
         AS c ON c.id = f.customer GROUP BY c.region) AS groups",
    ),
    (
        "window function over 1 M rows",
        "SELECT max(place), sum(place) FROM (SELECT row_number() OVER (PARTITION BY region ORDER BY score DESC, id) AS place \
         FROM customers) AS places",
    ),
];

pub fn run() -> Outcome<String> {
    let directory = scratch()?;
    let tools = Tools::find();
    let (facts, customers) = (FACTS / scale(), CUSTOMERS / scale());
    eprintln!("analytics: filling");
    for engine in Engine::BOTH {
        engine.open(directory.path(), "shop")?.execute_batch(&format!(
            "CREATE TABLE customers(id INTEGER PRIMARY KEY, region TEXT, score REAL); \
             CREATE TABLE facts(id INTEGER PRIMARY KEY, customer INTEGER, amount REAL); \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {customers}) \
               INSERT INTO customers SELECT i, 'region ' || (i * 7919 % 100), (i * 104729 % 1000003) / 8.0 FROM n; \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {facts}) \
               INSERT INTO facts SELECT i, i * 15485863 % {customers} + 1, (i % 1000) / 4.0 FROM n"
        ))?;
    }
    let mut sqlite = Session::new(Kind::Sqlite, &tools, directory.path());
    sqlite.open("shop.db")?;
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db")?;
    duckdb.run(&format!(
        "LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); CALL maniac_attach('shop.maniac'); \
         CALL maniac_attach('shop.maniac', lake := 'lake', schema := 'laked'); CALL maniac_wait('shop'); \
         CALL maniac_wait('laked')",
        tools.ducklake.display()
    ))?;
    let mut table = Table::new(&["", "SQLite, ms", "native mirror, ms", "ratio", "DuckLake mirror, ms", "ratio"]);
    for (name, query) in QUERIES {
        eprintln!("analytics: {name}");
        let (stock, expected) = timed(&mut sqlite, query, SQLITE_REPEATS)?;
        let mut cells = vec![name.to_string(), number(stock)];
        for schema in ["olap.shop", "lake.laked"] {
            duckdb.run(&format!("USE {schema}"))?;
            let (ms, rows) = timed(&mut duckdb, query, DUCKDB_REPEATS)?;
            assert_eq!(shown(&rows), shown(&expected), "{name} in {schema}");
            cells.extend([format!("{ms:.1}"), format!("{:.0}x", stock / ms)]);
        }
        table.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    duckdb.exit()?;
    Ok(format!(
        "## Analytic queries\n\n{} rows of facts and {} customers; SQLite {} from a plain file, warm; medians of \
         {SQLITE_REPEATS} and {DUCKDB_REPEATS}.\n\n{}\n",
        number(facts as f64),
        number(customers as f64),
        rusqlite::version(),
        table.finish()
    ))
}

fn timed(session: &mut Session, query: &str, repeats: usize) -> Outcome<(f64, Vec<Vec<Value>>)> {
    let rows = session.run(query)?;
    let mut times = Vec::new();
    for _ in 0..repeats {
        let start = Instant::now();
        session.run(query)?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((median(&times), rows))
}

/// The same number, whichever side wrote it.
fn shown(rows: &[Vec<Value>]) -> Vec<String> {
    rows.iter().flatten().map(|value| format!("{value:?}")).map(|text| text.replace("Real", "Integer")).collect()
}
