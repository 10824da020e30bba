//! What the captured changes are good for, and what they cost: differences, merges and changesets of a store with a
//! million rows.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number, percentile};
use crate::{Outcome, scale};

const ROUNDS: usize = 50;
const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL)";

struct Bench {
    main: Connection,
    dev: Connection,
    rows: u64,
}

pub fn run() -> Outcome<String> {
    let directory = scratch()?;
    let mut bench = Bench::new(directory.path(), 1_000_000 / scale())?;
    let mut table = Table::new(&["", "unit", "median", "99th percentile"]);
    let mut tell = |name: &str, unit: &str, values: &[f64]| {
        table.row(&[name, unit, &number_of(median(values)), &number_of(percentile(values, 99.0))]);
    };
    let rows = number(bench.rows as f64);
    bench.dev.execute_batch("UPDATE t SET a = 'changed' WHERE id = 5000")?;
    let one = bench.repeat(|bench| bench.difference(1))?;
    tell(&format!("difference of one row, two branches of {rows} rows"), "ms", &one);
    let merges = bench.repeat(Bench::merge)?;
    tell("merge of one row", "ms", &merges);
    bench.dev.execute_batch("UPDATE t SET b = -b WHERE id % (SELECT max(id) / 1000 FROM t) = 1")?;
    let thousand = bench.repeat(|bench| bench.difference(1000))?;
    tell("difference of about 1,000 rows in as many pages", "ms", &thousand);
    let applied = bench.apply()?;
    tell("changeset of 10,000 updates applied", "rows/s", &applied);
    let derived = bench.derive()?;
    tell("changes of a transaction too large to carry them, derived and read", "rows/s", &derived);
    Ok(format!(
        "## Differences, merges and changesets\n\nMedians of up to {ROUNDS} rounds on one store.\n\n{}\n",
        table.finish()
    ))
}

/// Milliseconds can be small.
fn number_of(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { number(value) }
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

impl Bench {
    fn new(directory: &Path, rows: u64) -> Outcome<Bench> {
        let main = Engine::Maniac.open(directory, "capture")?;
        main.execute_batch(&format!(
            "{SCHEMA}; INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT i, 'a name with the number ' || i, i / 8.0 FROM n;"
        ))?;
        main.query_row("SELECT maniac_branch_create('dev')", [], |row| row.get::<_, i64>(0))?;
        let store = directory.join("capture.maniac");
        let dev = Connection::open(format!("file:{}?vfs=maniac&branch=dev", store.display()))?;
        Ok(Bench { main, dev, rows })
    }

    fn repeat(&mut self, mut once: impl FnMut(&mut Bench) -> Outcome<f64>) -> Outcome<Vec<f64>> {
        (0..ROUNDS).map(|_| once(self)).collect()
    }

    fn difference(&self, at_least: i64) -> Outcome<f64> {
        let start = Instant::now();
        let mut select = self.main.prepare("SELECT \"table\", op, key, old, new FROM maniac_diff('main', 'dev')")?;
        let mut rows = select.query([])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let _: String = row.get(2)?;
            seen += 1;
        }
        let taken = ms(start);
        assert!(seen >= at_least.min(self.rows as i64 / 1000), "{seen} rows differ");
        Ok(taken)
    }

    fn merge(&mut self) -> Outcome<f64> {
        self.dev.execute_batch("UPDATE t SET b = b + 1 WHERE id = 7")?;
        let start = Instant::now();
        let told: String = self.main.query_row("SELECT maniac_merge('dev')", [], |row| row.get(0))?;
        let taken = ms(start);
        assert!(told.contains("\"conflicts\":0"), "{told}");
        Ok(taken)
    }

    /// Applies changes of one branch to the other, forth and back.
    fn apply(&mut self) -> Outcome<Vec<f64>> {
        let mut rates = Vec::new();
        for _ in 0..10 {
            let head: i64 = self.dev.query_row("SELECT maniac_head()", [], |row| row.get(0))?;
            self.dev.execute_batch("UPDATE t SET a = a || 'x' WHERE id <= 10000")?;
            let sql = "SELECT maniac_changeset(?1, maniac_head())";
            let changeset: Vec<u8> = self.dev.query_row(sql, [head], |row| row.get(0))?;
            let start = Instant::now();
            let rows: i64 = self.main.query_row("SELECT maniac_apply(?1)", [changeset], |row| row.get(0))?;
            rates.push(rows as f64 / start.elapsed().as_secs_f64());
        }
        Ok(rates)
    }

    fn derive(&mut self) -> Outcome<Vec<f64>> {
        let mut rates = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            let sql = "SELECT count(*) FROM maniac_changes(1, 2)";
            let rows: i64 = self.main.query_row(sql, [], |row| row.get(0))?;
            assert_eq!(rows as u64, self.rows, "the bulk insert is version 2");
            rates.push(rows as f64 / start.elapsed().as_secs_f64());
        }
        Ok(rates)
    }
}
