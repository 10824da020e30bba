//! One transaction that changes millions of rows, against a first copy of what it leaves: seconds and memory of the
//! process that mirrors. The last step is a backlog of middle-sized ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maniac_sql_tests::{Kind, Session, Tools};
use rusqlite::Connection;

use crate::backlog::{bytes_of, peak_bytes};
use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const ROWS: u64 = 3_000_000;
const LIMITS: [&str; 2] = ["1GB", "200MB"];
const COPIES: usize = 3;
/// The backlog has so many transactions, each of which changes this share of the rows.
const TRANSACTIONS: u64 = 40;
const SHARE: u64 = 10;

struct Target {
    name: &'static str,
    options: &'static str,
}

const TARGETS: [Target; 2] =
    [Target { name: "native", options: "" }, Target { name: "DuckLake", options: ", lake := 'lake'" }];

pub fn run(rows: Option<u64>) -> Outcome<String> {
    let rows = rows.unwrap_or(ROWS / scale()).max(SHARE * 2);
    let heads = ["target", "memory_limit", "transaction", "s", "first copy, s", "ratio", "peak MB", "own MB"];
    let mut table = Table::new(&heads);
    for target in &TARGETS {
        for limit in LIMITS {
            measure(rows, target, limit, &mut table)?;
        }
    }
    Ok(format!(
        "## Large transactions\n\nA table of a number and a text; {} rows. Each step is committed while the mirror is \
         paused; then resumed, until `maniac_wait` returns. Beside it the first copy of the same result by another \
         process: the median of {COPIES}. The backlog is {TRANSACTIONS} transactions that update a {SHARE}th of the rows \
         each. Peak MB: the most that the mirror's process had resident during the step (`VmHWM`), in which the mapped \
         log counts. Own MB: without what is mapped (`RssAnon`, looked at every 2 ms); DuckDB's share of it is limited by \
         `memory_limit`.\n\n{}\n",
        number(rows as f64),
        table.finish()
    ))
}

fn steps(rows: u64) -> Vec<(&'static str, Vec<String>)> {
    let share = rows / SHARE;
    let middle = (0..TRANSACTIONS).map(|n| {
        let first = n * 7 % SHARE * share;
        format!("UPDATE b SET v = 'text ' || {n} || ' of ' || id WHERE id > {first} AND id <= {first} + {share}")
    });
    vec![
        (
            "insert",
            vec![format!(
                "WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < {rows}) \
                 INSERT INTO b SELECT i, 'some text, number ' || i FROM x"
            )],
        ),
        ("update all", vec!["UPDATE b SET v = v || '!'".to_string()]),
        ("update a third", vec!["UPDATE b SET v = v || '?' WHERE id % 3 = 0".to_string()]),
        ("backlog", middle.collect()),
        ("delete half", vec!["DELETE FROM b WHERE id % 2".to_string()]),
        ("delete all", vec!["DELETE FROM b".to_string()]),
    ]
}

fn measure(rows: u64, target: &Target, limit: &str, table: &mut Table) -> Outcome<()> {
    let directory = scratch()?;
    let writer = Engine::Maniac.open(directory.path(), "shop")?;
    writer.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE b(id INTEGER PRIMARY KEY, v TEXT)")?;
    let mut mirror = open(directory.path(), "mirror", limit)?;
    attach(&mut mirror, target)?;
    let process = mirror.process_id().ok_or("duckdb runs")?;
    for (name, statements) in steps(rows) {
        eprintln!("large: {}, {limit}, {name}", target.name);
        mirror.run("CALL maniac_pause('shop')")?;
        commit(&writer, &statements)?;
        forget_peak(process)?;
        let own = Own::watch(process);
        let start = Instant::now();
        mirror.run("CALL maniac_resume('shop'); CALL maniac_wait('shop', timeout_ms := 3600000)")?;
        let seconds = start.elapsed().as_secs_f64();
        let (peak, own) = (peak_bytes(process)?, own.peak()?);
        let mut copies = Vec::with_capacity(COPIES);
        for n in 0..COPIES {
            let mut copy = open(directory.path(), &format!("copy {name} {n}"), limit)?;
            copies.push(attach(&mut copy, target)?);
            copy.exit()?;
        }
        let copy = median(&copies);
        table.row(&[
            target.name,
            limit,
            name,
            &format!("{seconds:.2}"),
            &format!("{copy:.2}"),
            &format!("{:.2}", seconds / copy),
            &number(peak as f64 / 1e6),
            &number(own as f64 / 1e6),
        ]);
    }
    mirror.exit()?;
    Ok(())
}

fn commit(writer: &Connection, statements: &[String]) -> Outcome<()> {
    Ok(statements.iter().try_for_each(|statement| writer.execute_batch(statement))?)
}

/// A DuckDB with a database and a lake of its own.
fn open(directory: &Path, name: &str, limit: &str) -> Outcome<Session> {
    let tools = Tools::find();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory);
    duckdb.set_patience(Duration::from_secs(3600));
    duckdb.open(&format!("{name}.db"))?;
    duckdb.run(&format!(
        "SET memory_limit = '{limit}'; LOAD '{}'; ATTACH 'ducklake:{name}.ducklake' AS lake (DATA_PATH '{name} files')",
        tools.ducklake.display()
    ))?;
    Ok(duckdb)
}

/// Makes the mirror, and gives the seconds that it takes.
fn attach(duckdb: &mut Session, target: &Target) -> Outcome<f64> {
    let start = Instant::now();
    duckdb.run(&format!("CALL maniac_attach('shop.maniac'{})", target.options))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Has `VmHWM` start anew.
fn forget_peak(process: u32) -> Outcome<()> {
    Ok(std::fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// Watches the memory of a process that is not mapped from files.
struct Own {
    ends: Arc<AtomicBool>,
    watcher: thread::JoinHandle<u64>,
}

impl Own {
    fn watch(process: u32) -> Own {
        let ends = Arc::new(AtomicBool::new(false));
        let end = ends.clone();
        let watcher = thread::spawn(move || {
            let mut peak = 0;
            while !end.load(Ordering::Relaxed) {
                peak = bytes_of(process, "RssAnon:").unwrap_or(0).max(peak);
                thread::sleep(Duration::from_millis(2));
            }
            peak
        });
        Own { ends, watcher }
    }

    fn peak(self) -> Outcome<u64> {
        self.ends.store(true, Ordering::Relaxed);
        Ok(self.watcher.join().map_err(|_| "the watcher of the memory panicked")?)
    }
}
