//! What an update costs a mirror when its table grows: random rows of 1, 10 and 50 million.

use std::time::{Duration, Instant};

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const SIZES: &[u64] = &[1_000_000, 10_000_000, 50_000_000];
const TRANSACTIONS: u64 = 200;
const PER_TRANSACTION: u64 = 100;
/// Then some rounds of so many times as many transactions.
const LARGE: u64 = 10;
const LARGE_ROUNDS: usize = 3;
const ROUNDS: usize = 8;
const LAST_ROUNDS: usize = 5;
const SINGLES: usize = 100;

pub fn run() -> Outcome<String> {
    let mut table = Table::new(&[
        "rows in the table",
        "target",
        "all rounds, us a row",
        "slowest",
        "median of the last five",
        "large rounds",
        "one row alone, ms",
    ]);
    for size in SIZES {
        let size = (size / scale()).max(1000);
        for (target, options) in [("native", ""), ("DuckLake", ", lake := 'lake'")] {
            eprintln!("updates: {target}, {size} rows");
            let Measured { rounds, singles, large } = measure(size, options)?;
            eprintln!("updates: {rounds:.1?} us a row, {large:.1?} in large rounds");
            let mean = rounds.iter().sum::<f64>() / ROUNDS as f64;
            let slowest = rounds.iter().copied().fold(0.0, f64::max);
            let last = median(&rounds[ROUNDS - LAST_ROUNDS..]);
            let cells = [size as f64, mean, slowest, last, median(&large), median(&singles)].map(number);
            table.row(&[&cells[0], target, &cells[1], &cells[2], &cells[3], &cells[4], &cells[5]]);
        }
    }
    Ok(format!(
        "## Random updates\n\n{ROUNDS} rounds of {TRANSACTIONS} transactions of {PER_TRANSACTION} random updated rows each, committed while \
         the mirror was paused; then resumed, until `maniac_wait` returns: microseconds for each updated row. Then \
         {LARGE_ROUNDS} rounds of {LARGE} times as many transactions: the median. {SINGLES} transactions of \
         one random row, from the commit until `maniac_wait` returns: the median. They come last in native tables, where the first of them \
         bring the table's key, and before the large rounds in a lake: those leave deletions by position, which later changes read.\n\n{}\n",
        table.finish()
    ))
}

struct Measured {
    /// Microseconds for each updated row.
    rounds: [f64; ROUNDS],
    large: [f64; LARGE_ROUNDS],
    /// Milliseconds for each transaction.
    singles: Vec<f64>,
}

fn measure(rows: u64, options: &str) -> Outcome<Measured> {
    let directory = scratch()?;
    let tools = Tools::find();
    let writer = Engine::Maniac.open(directory.path(), "shop")?;
    writer.execute_batch(&format!(
        "PRAGMA synchronous = OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, payload TEXT); \
         INSERT INTO t WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) \
           SELECT i, i % 100, 'payload ' || i FROM s"
    ))?;
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.set_patience(Duration::from_secs(600));
    duckdb.open("olap.db")?;
    duckdb.run(&format!(
        "LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); CALL maniac_attach('shop.maniac'{options}); \
         CALL maniac_wait('shop')",
        tools.ducklake.display()
    ))?;
    let mut update = writer.prepare("UPDATE t SET n = n + 1 WHERE id = ?1")?;
    let mut dice = Dice::seeded(1);
    let mut change = |count: u64| -> Outcome<()> {
        writer.execute_batch("BEGIN")?;
        for _ in 0..count {
            update.execute([(dice.below(rows) + 1) as i64])?;
        }
        Ok(writer.execute_batch("COMMIT")?)
    };
    let mut rounds = [0.0; ROUNDS];
    for round in &mut rounds {
        *round = catch_up(&mut duckdb, TRANSACTIONS, &mut change)?;
    }
    let lake = !options.is_empty();
    let mut singles = Vec::with_capacity(SINGLES);
    if lake {
        one_by_one(&mut duckdb, &mut singles, &mut change)?;
    }
    let mut large = [0.0; LARGE_ROUNDS];
    for round in &mut large {
        *round = catch_up(&mut duckdb, TRANSACTIONS * LARGE, &mut change)?;
    }
    if !lake {
        one_by_one(&mut duckdb, &mut singles, &mut change)?;
    }
    duckdb.exit()?;
    Ok(Measured { rounds, singles, large })
}

/// Commits transactions while the mirror is paused, and gives the microseconds that it then takes for each of their rows.
fn catch_up(duckdb: &mut Session, transactions: u64, change: &mut impl FnMut(u64) -> Outcome<()>) -> Outcome<f64> {
    duckdb.run("CALL maniac_pause('shop')")?;
    for _ in 0..transactions {
        change(PER_TRANSACTION)?;
    }
    let start = Instant::now();
    duckdb.run("CALL maniac_resume('shop'); CALL maniac_wait('shop', timeout_ms := 600000)")?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / (transactions * PER_TRANSACTION) as f64)
}

/// Commits transactions of one row, and adds the milliseconds until the mirror shows each.
fn one_by_one(
    duckdb: &mut Session,
    singles: &mut Vec<f64>,
    change: &mut impl FnMut(u64) -> Outcome<()>,
) -> Outcome<()> {
    for _ in 0..SINGLES {
        change(1)?;
        let start = Instant::now();
        duckdb.run("CALL maniac_wait('shop')")?;
        singles.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
