//! A store against stock SQLite in WAL mode: the same statements through the same library, one engine after the other
//! within each round, the order swapped from round to round.

use std::time::Instant;

use maniac_sql_tests::dice::Dice;
use rusqlite::{Connection, params};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number};
use crate::{Outcome, scale};

const ROUNDS: usize = 5;
const SCHEMA: &str = "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, amount REAL, note TEXT)";
const INSERT: &str = "INSERT INTO orders(customer, amount, note) VALUES (?1, ?2, ?3)";
const NOTE: &str = "a note of some sixty bytes, as long as an address or a short comment";

/// What is measured, in units per second of `unit`.
struct Workload {
    name: &'static str,
    unit: &'static str,
    measure: fn(&mut Bench) -> Outcome<f64>,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "single-row commits, synchronous FULL",
        unit: "commits/s",
        measure: |bench| bench.commits("FULL", 2_000),
    },
    Workload {
        name: "single-row commits, synchronous NORMAL",
        unit: "commits/s",
        measure: |bench| bench.commits("NORMAL", 20_000),
    },
    Workload { name: "bulk insert of 1 M rows, one transaction", unit: "rows/s", measure: Bench::bulk },
    Workload { name: "random point reads by key", unit: "reads/s", measure: Bench::points },
    Workload { name: "range reads of 1,000 rows", unit: "rows/s", measure: Bench::ranges },
    Workload { name: "full scan (sum of a column)", unit: "rows/s", measure: Bench::scan },
];

/// One engine in one round. The bulk insert's table is what the reads read.
struct Bench {
    connection: Connection,
    rows: u64,
    dice: Dice,
}

pub fn run() -> Outcome<String> {
    let version = rusqlite::version();
    let mut measured = vec![[const { Vec::new() }; 2]; WORKLOADS.len()];
    for round in 0..ROUNDS {
        let directory = scratch()?;
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut benches = Vec::new();
        for engine in Engine::BOTH {
            let connection = engine.open(directory.path(), "bench")?;
            connection.execute_batch(SCHEMA)?;
            benches.push(Bench { connection, rows: 1_000_000 / scale(), dice: Dice::seeded(round as u64) });
        }
        for (workload, values) in WORKLOADS.iter().zip(&mut measured) {
            for side in order {
                eprintln!("round {} of {ROUNDS}: {} ({:?})", round + 1, workload.name, Engine::BOTH[side]);
                values[side].push((workload.measure)(&mut benches[side])?);
            }
        }
    }
    let mut table = Table::new(&[
        "",
        "unit",
        &format!("SQLite {version} WAL"),
        "Maniac",
        "ratio",
        "lowest and highest ratio of a round",
    ]);
    for (workload, [stock, maniac]) in WORKLOADS.iter().zip(&measured) {
        let (stock_median, maniac_median) = (median(stock), median(maniac));
        let ratios: Vec<f64> = maniac.iter().zip(stock).map(|(maniac, stock)| maniac / stock).collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        table.row(&[
            workload.name,
            workload.unit,
            &number(stock_median),
            &number(maniac_median),
            &format!("{:.2}x", maniac_median / stock_median),
            &format!("{lowest:.2} to {highest:.2}"),
        ]);
    }
    Ok(format!(
        "## Store against stock SQLite\n\nMedians of {ROUNDS} rounds, both engines in each; higher is better. Change capture is on in the store.\n\n{}\n",
        table.finish()
    ))
}

impl Bench {
    fn commits(&mut self, synchronous: &str, count: u64) -> Outcome<f64> {
        let count = count / scale();
        self.connection.pragma_update(None, "synchronous", synchronous)?;
        let mut insert = self.connection.prepare(INSERT)?;
        let start = Instant::now();
        for n in 0..count {
            insert.execute(params![(n % 1000) as i64, n as f64 / 8.0, NOTE])?;
        }
        Ok(per_second(count, start))
    }

    fn bulk(&mut self) -> Outcome<f64> {
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.execute_batch("DELETE FROM orders")?;
        let start = Instant::now();
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare(INSERT)?;
            for n in 0..self.rows {
                insert.execute(params![(n % 1000) as i64, n as f64 / 8.0, NOTE])?;
            }
        }
        transaction.commit()?;
        Ok(per_second(self.rows, start))
    }

    fn points(&mut self) -> Outcome<f64> {
        let count = 100_000 / scale();
        let mut select = self.connection.prepare("SELECT amount FROM orders WHERE id = ?1")?;
        let start = Instant::now();
        for _ in 0..count {
            let id = (self.dice.below(self.rows) + 1) as i64;
            let amount: f64 = select.query_row([id], |row| row.get(0))?;
            assert_eq!(amount, (id - 1) as f64 / 8.0, "the row that was asked for");
        }
        Ok(per_second(count, start))
    }

    fn ranges(&mut self) -> Outcome<f64> {
        let (count, width) = (1_000 / scale(), 1_000);
        let mut select = self.connection.prepare("SELECT customer, amount FROM orders WHERE id BETWEEN ?1 AND ?2")?;
        let start = Instant::now();
        for _ in 0..count {
            let first = (self.dice.below(self.rows - width) + 1) as i64;
            let mut rows = select.query([first, first + width as i64 - 1])?;
            let mut seen = 0;
            while rows.next()?.is_some() {
                seen += 1;
            }
            assert_eq!(seen, width, "all rows of the range");
        }
        Ok(per_second(count * width, start))
    }

    fn scan(&mut self) -> Outcome<f64> {
        let start = Instant::now();
        let customers: i64 = self.connection.query_row("SELECT sum(customer) FROM orders", [], |row| row.get(0))?;
        assert!(customers > 0);
        Ok(per_second(self.rows, start))
    }
}

fn per_second(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}
