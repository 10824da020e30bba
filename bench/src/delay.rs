//! From the return of a commit in SQLite until an answer of DuckDB shows it.
//!
//! A writer in this process commits one row every few milliseconds and notes when the commit returned. The `duckdb`
//! command line, which has the mirror, is asked for the newest row again and again; a row's delay ends when the first
//! answer that shows it has arrived. So the asking itself is part of the figure: how long a question takes is given too.
//! On few cores it also takes the applier's time. Hence a second run, in which the reader waits for its own commit
//! (`maniac_wait` with its version), notes when that returned, and only then asks.

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use maniac_sql_tests::{Kind, Session, Tools, Value};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, percentile};
use crate::mirrors::{MIRRORS, Mirror};
use crate::{Outcome, scale};

const PER_SECOND: u64 = 200;

pub fn run() -> Outcome<String> {
    let count = (2_000 / scale()).max(50) as usize;
    let mut table = Table::new(&[
        "mirror",
        "p50",
        "p99",
        "max",
        "one question takes (p50)",
        "`maniac_wait` returns (p50; p99)",
        "answered after it (p50; p99)",
    ]);
    for mirror in MIRRORS {
        eprintln!("delay: {} ({count} commits, twice)", mirror.name);
        let measured = measure(mirror, count, ask)?;
        let waited = measure(mirror, count, wait_and_ask)?;
        let ms = |value: f64| format!("{:.1} ms", value * 1000.0);
        let both = |values: &[f64]| format!("{}; {}", ms(median(values)), ms(percentile(values, 99.0)));
        table.row(&[
            mirror.name,
            &ms(percentile(&measured.delays, 50.0)),
            &ms(percentile(&measured.delays, 99.0)),
            &ms(percentile(&measured.delays, 100.0)),
            &ms(median(&measured.questions)),
            &both(&waited.applied),
            &both(&waited.delays),
        ]);
    }
    Ok(format!(
        "## From commit to queryable\n\nOne writer, {PER_SECOND} single-row commits per second, synchronous FULL, {count} commits. DuckDB \
         asked without pause; then, in a run of its own, by a reader that waits for the newest commit with `maniac_wait` \
         and then asks.\n\n{}\n",
        table.finish()
    ))
}

#[derive(Default)]
struct Measured {
    /// From a commit until an answer showed it.
    delays: Vec<f64>,
    questions: Vec<f64>,
    /// From a commit until `maniac_wait` for it returned.
    applied: Vec<f64>,
}

/// What a reader has while the writer commits.
struct Reader<'a> {
    duckdb: &'a mut Session,
    question: String,
    count: usize,
    /// `committed[i]` is when the commit of row i + 1 returned.
    committed: &'a Mutex<Vec<Instant>>,
    /// The version of the first row's commit; the others follow.
    first_version: usize,
    writer: &'a JoinHandle<Result<(), rusqlite::Error>>,
}

impl Reader<'_> {
    /// The newest row that DuckDB shows.
    fn newest(&mut self) -> Outcome<usize> {
        let rows = self.duckdb.run(&self.question)?;
        match rows.first().and_then(|row| row.first()) {
            Some(Value::Integer(digits)) => Ok(digits.parse()?),
            other => Err(format!("{}: {other:?}", self.question).into()),
        }
    }

    /// Whether rows are still to come that the reader has not seen; not if the writer failed.
    fn goes_on(&self, seen: usize) -> bool {
        let ended = self.writer.is_finished();
        seen < if ended { self.committed().len() } else { self.count }
    }

    fn committed(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.committed.lock().expect("the writer doesn't panic with it")
    }
}

fn measure(mirror: &Mirror, count: usize, read: fn(Reader<'_>) -> Outcome<Measured>) -> Outcome<Measured> {
    let directory = scratch()?;
    let tools = Tools::find();
    let connection = Engine::Maniac.open(directory.path(), "shop")?;
    connection.execute_batch("CREATE TABLE ticks(id INTEGER PRIMARY KEY, payload TEXT)")?;
    let head: i64 = connection.query_row("SELECT maniac_head()", [], |row| row.get(0))?;

    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db")?;
    let (lake, schema) = if mirror.lake {
        let load =
            format!("LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')", tools.ducklake.display());
        duckdb.run(&load)?;
        (", lake := 'lake'", "lake.shop")
    } else {
        ("", "shop")
    };
    duckdb.run(&format!("CALL maniac_attach('shop.maniac'{lake}{}); CALL maniac_wait('shop')", mirror.options))?;

    let committed = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let times = committed.clone();
    let writer = std::thread::spawn(move || -> Result<(), rusqlite::Error> {
        let mut insert =
            connection.prepare("INSERT INTO ticks(payload) VALUES ('a payload of some forty bytes, not more')")?;
        let start = Instant::now();
        for n in 0..count {
            insert.execute([])?;
            times.lock().expect("the reader doesn't panic with it").push(Instant::now());
            // On schedule, not a pause after each commit: a slow commit doesn't lower the rate.
            let next = start + Duration::from_micros(1_000_000 / PER_SECOND * (n as u64 + 1));
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    });
    let question = format!("SELECT ifnull(max(id), 0) FROM {schema}.ticks");
    let first_version = usize::try_from(head)? + 1;
    let reader = Reader { duckdb: &mut duckdb, question, count, committed: &committed, first_version, writer: &writer };
    let outcome = read(reader);
    writer.join().map_err(|_| "the writer panicked")??;
    duckdb.exit()?;
    outcome
}

fn ask(mut reader: Reader<'_>) -> Outcome<Measured> {
    let mut measured = Measured::default();
    while reader.goes_on(measured.delays.len()) {
        let asked = Instant::now();
        let newest = reader.newest()?;
        let answered = Instant::now();
        measured.questions.push((answered - asked).as_secs_f64());
        let committed = reader.committed();
        // A row may be seen before its commit has returned to the writer: that is no delay, and noted as soon as it has.
        for row in measured.delays.len()..newest.min(committed.len()) {
            measured.delays.push(answered.saturating_duration_since(committed[row]).as_secs_f64());
        }
    }
    Ok(measured)
}

fn wait_and_ask(mut reader: Reader<'_>) -> Outcome<Measured> {
    let mut measured = Measured::default();
    let mut seen = 0;
    while reader.goes_on(seen) {
        let newest = reader.committed().iter().copied().enumerate().next_back();
        let Some((place, at)) = newest.filter(|(place, _)| *place >= seen) else {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        };
        let row = place + 1;
        let version = reader.first_version + row - 1;
        reader.duckdb.run(&format!("CALL maniac_wait('shop', version := {version})"))?;
        measured.applied.push(at.elapsed().as_secs_f64());
        let asked = Instant::now();
        if reader.newest()? < row {
            return Err(format!("maniac_wait returned, and row {row} is not there").into());
        }
        measured.questions.push(asked.elapsed().as_secs_f64());
        measured.delays.push(at.elapsed().as_secs_f64());
        seen = row;
    }
    Ok(measured)
}
