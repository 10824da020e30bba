//! A mirror that was away comes back to a long backlog: transactions per second until it has caught up, and the most
//! memory that its process took meanwhile.

use std::time::Instant;

use maniac_sql_tests::{Kind, Session, Tools};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, number};
use crate::{Outcome, scale};

struct Backlog {
    name: &'static str,
    transactions: u64,
    rows_each: u64,
}

const BACKLOGS: &[Backlog] = &[
    Backlog { name: "1 row", transactions: 1_000_000, rows_each: 1 },
    Backlog { name: "10 rows", transactions: 100_000, rows_each: 10 },
];

pub fn run() -> Outcome<String> {
    let mut table = Table::new(&["each", "target", "transactions", "seconds", "transactions/s", "rows/s", "peak MB"]);
    for backlog in BACKLOGS {
        measure(backlog, &mut table)?;
    }
    Ok(format!(
        "## Catching up with a backlog\n\nInserting transactions, committed while the mirror was detached; then attached, \
         until `maniac_wait` returns. Peak MB: resident memory of the `duckdb` process (`VmHWM`), in which the mapped log \
         counts.\n\n{}\n",
        table.finish()
    ))
}

fn measure(backlog: &Backlog, table: &mut Table) -> Outcome<()> {
    let directory = scratch()?;
    let tools = Tools::find();
    let writer = Engine::Maniac.open(directory.path(), "shop")?;
    writer.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE ticks(id INTEGER PRIMARY KEY, payload TEXT)")?;
    let attach = |lake: &str| format!("CALL maniac_attach('shop.maniac'{lake}); CALL maniac_wait('shop');");
    let mut targets = Vec::new();
    for (name, lake) in [("native", ""), ("DuckLake", ", lake := 'lake'")] {
        let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
        duckdb.open(&format!("{name}.db"))?;
        if !lake.is_empty() {
            let ducklake = tools.ducklake.display();
            duckdb.run(&format!("LOAD '{ducklake}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')"))?;
        }
        duckdb.run(&format!("{} CALL maniac_detach('shop')", attach(lake)))?;
        targets.push((name, lake, duckdb));
    }
    let transactions = backlog.transactions / scale();
    eprintln!("backlog: writing {transactions} transactions of {}", backlog.name);
    let mut insert = writer.prepare("INSERT INTO ticks(payload) VALUES ('a payload of some forty bytes, not more')")?;
    for _ in 0..transactions {
        if backlog.rows_each > 1 {
            writer.execute_batch("BEGIN")?;
        }
        for _ in 0..backlog.rows_each {
            insert.execute([])?;
        }
        if backlog.rows_each > 1 {
            writer.execute_batch("COMMIT")?;
        }
    }
    for (name, lake, mut duckdb) in targets {
        eprintln!("backlog: {name}");
        let start = Instant::now();
        duckdb.set_patience(std::time::Duration::from_secs(600));
        duckdb
            .run(&format!("CALL maniac_attach('shop.maniac'{lake}); CALL maniac_wait('shop', timeout_ms := 600000)"))?;
        let seconds = start.elapsed().as_secs_f64();
        let peak = peak_bytes(duckdb.process_id().ok_or("duckdb runs")?)?;
        table.row(&[
            backlog.name,
            name,
            &number(transactions as f64),
            &number(seconds),
            &number(transactions as f64 / seconds),
            &number((transactions * backlog.rows_each) as f64 / seconds),
            &number(peak as f64 / 1e6),
        ]);
        duckdb.exit()?;
    }
    Ok(())
}

/// The most memory that a process has had resident.
pub fn peak_bytes(process: u32) -> Outcome<u64> {
    bytes_of(process, "VmHWM:")
}

/// A figure of a process's memory, by its name in `/proc`.
pub fn bytes_of(process: u32, name: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
