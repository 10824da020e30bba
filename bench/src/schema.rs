//! Changes of the schema beside more and more tables: what each costs the store, and mirrors natively and in a lake, against
//! what SQLite, DuckDB and DuckLake take for the same statements.

use std::path::Path;
use std::time::{Duration, Instant};

use maniac_sql_tests::{Kind, Session, Tools};
use rusqlite::Connection;

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median};
use crate::{Outcome, scale};

const COUNTS: [u64; 3] = [10, 100, 1000];
/// Changes of which the median is taken.
const ROUNDS: u64 = 15;
const PATIENCE: Duration = Duration::from_secs(3600);

struct Place {
    name: &'static str,
    lake: bool,
}

const PLACES: [Place; 2] = [Place { name: "native", lake: false }, Place { name: "DuckLake", lake: true }];

/// Seconds.
struct Times {
    copy: f64,
    /// Of one change.
    alter: f64,
    /// Of as many new tables as there are.
    grow: f64,
}

pub fn run() -> Outcome<String> {
    let mut mirrors = Table::new(&[
        "tables",
        "target",
        "first copy, s",
        "alone, s",
        "one ALTER (p50), ms",
        "alone, ms",
        "as many CREATE and INSERT, s",
        "alone, s",
    ]);
    let mut stores = Table::new(&[
        "tables",
        "ALTER in a store, ms",
        "in a plain file, ms",
        "CREATE and INSERT in a store, ms",
        "in a plain file, ms",
        "`maniac_log`, ms",
        "`maniac_diff`, ms",
    ]);
    let mut counts = COUNTS.map(|count| (count / scale()).max(10)).to_vec();
    counts.dedup();
    for count in counts {
        eprintln!("schema: {count} tables, the store");
        stores.row(&of_store(count)?.each_ref().map(String::as_str));
        for place in &PLACES {
            eprintln!("schema: {count} tables, {}", place.name);
            let (mirror, alone) = (mirrored(place, count)?, alone(place, count)?);
            let ms = |seconds: f64| format!("{:.1}", seconds * 1000.0);
            let seconds = |seconds: f64| format!("{seconds:.2}");
            let row = [
                count.to_string(),
                place.name.to_string(),
                seconds(mirror.copy),
                seconds(alone.copy),
                ms(mirror.alter),
                ms(alone.alter),
                seconds(mirror.grow),
                seconds(alone.grow),
            ];
            mirrors.row(&row.each_ref().map(String::as_str));
        }
    }
    Ok(format!(
        "## Changes of the schema\n\nTables of five columns and ten rows. First copy: `maniac_attach`. ALTER: one column added to one \
         table, from the commit until `maniac_wait` returns in a streaming mirror, median of {ROUNDS}. As many CREATE and INSERT: a new \
         table with a row in each of as many transactions, from the first of them until a mirror in its default mode shows the last. \
         Alone: DuckDB or DuckLake with the same statements and without the extension, those of the first copy in one \
         transaction.\n\n{}\nWhat they cost in SQLite, medians of {ROUNDS}: commits until they return; `maniac_log` for the newest \
         version, and `maniac_diff` of it and the one before, which added a column.\n\n{}\n",
        mirrors.finish(),
        stores.finish()
    ))
}

fn create(schema: &str, table: &str, key: &str) -> String {
    format!("CREATE TABLE {schema}{table}(id {key}, v TEXT, a INTEGER, b TEXT, c TEXT)")
}

fn insert(schema: &str, table: &str, rows: u64) -> String {
    let rows: Vec<String> = (1..=rows).map(|row| format!("({row}, 'row {row}', 1, '2', NULL)")).collect();
    format!("INSERT INTO {schema}{table} VALUES {}", rows.join(", "))
}

/// One transaction that makes so many tables.
fn fill(schema: &str, count: u64, key: &str) -> String {
    let table = |n| format!("{}; {};", create(schema, &format!("t{n}"), key), insert(schema, &format!("t{n}"), 10));
    format!("BEGIN; {} COMMIT", (0..count).map(table).collect::<String>())
}

/// A transaction that makes and fills a table.
fn grow(schema: &str, n: u64, key: &str) -> String {
    let table = format!("g{n}");
    format!("BEGIN; {}; {}; COMMIT", create(schema, &table, key), insert(schema, &table, 1))
}

fn alter(schema: &str, n: u64) -> String {
    format!("ALTER TABLE {schema}t{} ADD COLUMN more{n} INTEGER DEFAULT 1", n % 10)
}

fn writer(engine: Engine, directory: &Path, name: &str) -> Outcome<Connection> {
    let writer = engine.open(directory, name)?;
    writer.execute_batch("PRAGMA synchronous = NORMAL")?;
    Ok(writer)
}

fn duckdb(kind: Kind, place: &Place, directory: &Path) -> Outcome<Session> {
    let tools = Tools::find();
    let mut duckdb = Session::new(kind, &tools, directory);
    duckdb.open("olap.db")?;
    duckdb.set_patience(PATIENCE);
    if place.lake {
        let ducklake = tools.ducklake.display();
        duckdb.run(&format!("LOAD '{ducklake}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')"))?;
    }
    Ok(duckdb)
}

fn seconds<T>(run: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64())
}

fn medians(mut once: impl FnMut(u64) -> Outcome<f64>) -> Outcome<f64> {
    Ok(median(&(0..ROUNDS).map(&mut once).collect::<Outcome<Vec<f64>>>()?))
}

fn mirrored(place: &Place, count: u64) -> Outcome<Times> {
    let directory = scratch()?;
    let shop = writer(Engine::Maniac, directory.path(), "shop")?;
    shop.execute_batch(&fill("", count, "INTEGER PRIMARY KEY"))?;
    let grown = writer(Engine::Maniac, directory.path(), "grown")?;
    grown.execute_batch(&create("", "first", "INTEGER PRIMARY KEY"))?;
    let mut duckdb = duckdb(Kind::Duckdb, place, directory.path())?;
    let lake = if place.lake { ", lake := 'lake'" } else { "" };
    let attach = format!("CALL maniac_attach('shop.maniac', mode := 'streaming'{lake})");
    let copy = seconds(|| Ok(duckdb.run(&attach)?))?;
    let alter = medians(|n| {
        shop.execute_batch(&alter("", n))?;
        seconds(|| Ok(duckdb.run("CALL maniac_wait('shop')")?))
    })?;
    duckdb.run(&format!("CALL maniac_detach('shop'); CALL maniac_attach('grown.maniac'{lake})"))?;
    let grow = seconds(|| {
        (0..count).try_for_each(|n| grown.execute_batch(&grow("", n, "INTEGER PRIMARY KEY")))?;
        Ok(duckdb.run("CALL maniac_wait('grown', timeout_ms := 3600000)")?)
    })?;
    duckdb.exit()?;
    Ok(Times { copy, alter, grow })
}

fn alone(place: &Place, count: u64) -> Outcome<Times> {
    let directory = scratch()?;
    let mut duckdb = duckdb(Kind::PlainDuckdb, place, directory.path())?;
    let (catalog, key) = if place.lake { ("lake.", "BIGINT") } else { ("", "BIGINT PRIMARY KEY") };
    duckdb.run(&format!("CREATE SCHEMA {catalog}shop; CREATE SCHEMA {catalog}grown"))?;
    let shop = format!("{catalog}shop.");
    let fill = fill(&shop, count, key);
    let copy = seconds(|| Ok(duckdb.run(&fill)?))?;
    let alter = medians(|n| seconds(|| Ok(duckdb.run(&alter(&shop, n))?)))?;
    let all: Vec<String> = (0..count).map(|n| grow(&format!("{catalog}grown."), n, key)).collect();
    let grow = seconds(|| Ok(duckdb.run(&all.join("; "))?))?;
    duckdb.exit()?;
    Ok(Times { copy, alter, grow })
}

fn of_store(count: u64) -> Outcome<[String; 7]> {
    let directory = scratch()?;
    let key = "INTEGER PRIMARY KEY";
    let mut commits = Vec::new();
    for engine in [Engine::Maniac, Engine::Stock] {
        let connection = writer(engine, directory.path(), "shop")?;
        connection.execute_batch(&fill("", count, key))?;
        let times = |sql: fn(u64) -> String| medians(|n| seconds(|| Ok(connection.execute_batch(&sql(n))?)));
        commits.push((times(|n| grow("", n, "INTEGER PRIMARY KEY"))?, times(|n| alter("", n))?));
        if engine == Engine::Maniac {
            let read =
                |sql: &str| medians(|_| seconds(|| Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)));
            let log = read("SELECT count(tables) FROM maniac_log() WHERE version = maniac_head()")?;
            let diff = read("SELECT count(new) FROM maniac_diff(maniac_head() - 1, maniac_head())")?;
            commits.push((log, diff));
        }
    }
    let [store, read, stock] = commits.as_slice() else { return Err("three pairs of figures".into()) };
    let ms = |seconds: f64| format!("{:.2}", seconds * 1000.0);
    Ok([count.to_string(), ms(store.1), ms(stock.1), ms(store.0), ms(stock.0), ms(read.0), ms(read.1)])
}
