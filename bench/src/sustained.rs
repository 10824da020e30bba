//! A writer that commits as fast as it can, and a mirror that follows meanwhile: what each of them does in a second, how
//! far the mirror is behind, and how long it takes to be there once the writer has stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maniac_sql_tests::{Kind, Session, Tools, Value};
use rusqlite::Connection;

use crate::backlog::peak_bytes;
use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number, percentile};
use crate::mirrors::{MIRRORS, Mirror};
use crate::{Outcome, scale};

/// How long the writer writes.
const MILLISECONDS: u64 = 10_000;
/// Between two looks at the status.
const PERIOD: Duration = Duration::from_millis(100);

pub fn run() -> Outcome<String> {
    let time = Duration::from_millis(MILLISECONDS / scale());
    let mut table = Table::new(&[
        "each",
        "mirror",
        "writer, commits/s",
        "of the writer alone",
        "applied, transactions/s",
        "applied, rows/s",
        "lag p50",
        "lag max",
        "then caught up in",
        "peak MB",
    ]);
    for rows_each in [1, 10] {
        let each = if rows_each == 1 { "1 row" } else { "10 rows" };
        // Before and after, since a machine's speed changes while this runs.
        let mut alone = vec![write_alone(rows_each, time)?];
        let mut followed = Vec::new();
        for mirror in MIRRORS {
            eprintln!("sustained: {each}, {} ({time:?})", mirror.name);
            followed.push((mirror, follow(mirror, rows_each, time)?));
        }
        alone.push(write_alone(rows_each, time)?);
        let alone = alone.iter().sum::<f64>() / alone.len() as f64;
        table.row(&[each, "none", &number(alone), "1.00", "", "", "", "", "", ""]);
        for (mirror, measured) in followed {
            let ms = |value: f64| format!("{value:.0} ms");
            table.row(&[
                each,
                mirror.name,
                &number(measured.written),
                &format!("{:.2}", measured.written / alone),
                &number(measured.applied),
                &number(measured.applied * rows_each as f64),
                &ms(median(&measured.lags)),
                &ms(percentile(&measured.lags, 100.0)),
                &ms(measured.caught_up.as_secs_f64() * 1000.0),
                &number(measured.peak as f64 / 1e6),
            ]);
        }
    }
    Ok(format!(
        "## Following a writer that never rests\n\nOne writer for {} s, inserting transactions one after the other, \
         synchronous NORMAL; applied: by the mirror in the same time; lag: `lag_ms` of `maniac_status()`, asked every {} \
         ms; caught up: until `maniac_wait` returns, from the writer's last commit on. Peak MB: resident memory of the \
         `duckdb` process (`VmHWM`), in which the mapped log counts.\n\n{}\n",
        time.as_secs_f64(),
        PERIOD.as_millis(),
        table.finish()
    ))
}

struct Measured {
    /// Commits in a second.
    written: f64,
    /// Transactions in a second.
    applied: f64,
    /// In milliseconds.
    lags: Vec<f64>,
    caught_up: Duration,
    /// Bytes.
    peak: u64,
}

fn table_of_ticks(directory: &std::path::Path) -> Outcome<Connection> {
    let writer = Engine::Maniac.open(directory, "shop")?;
    writer.execute_batch("PRAGMA synchronous = NORMAL; CREATE TABLE ticks(id INTEGER PRIMARY KEY, payload TEXT)")?;
    Ok(writer)
}

struct Written {
    per_second: f64,
    /// When the last commit returned.
    last: Instant,
}

/// Commits until told to stop or until the time is over.
fn write(writer: &Connection, rows_each: u64, time: Duration, stop: &AtomicBool) -> Result<Written, rusqlite::Error> {
    let mut insert = writer.prepare("INSERT INTO ticks(payload) VALUES ('a payload of some forty bytes, not more')")?;
    let (mut begin, mut commit) = (writer.prepare("BEGIN")?, writer.prepare("COMMIT")?);
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < time && !stop.load(Ordering::Relaxed) {
        if rows_each > 1 {
            begin.execute([])?;
        }
        for _ in 0..rows_each {
            insert.execute([])?;
        }
        if rows_each > 1 {
            commit.execute([])?;
        }
        count += 1;
    }
    let last = Instant::now();
    Ok(Written { per_second: count as f64 / (last - start).as_secs_f64(), last })
}

fn write_alone(rows_each: u64, time: Duration) -> Outcome<f64> {
    eprintln!("sustained: a writer alone, {rows_each} rows each ({time:?})");
    let directory = scratch()?;
    let writer = table_of_ticks(directory.path())?;
    Ok(write(&writer, rows_each, time, &AtomicBool::new(false))?.per_second)
}

fn follow(mirror: &Mirror, rows_each: u64, time: Duration) -> Outcome<Measured> {
    let directory = scratch()?;
    let tools = Tools::find();
    let writer = table_of_ticks(directory.path())?;
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db")?;
    duckdb.set_patience(Duration::from_secs(600));
    if mirror.lake {
        let ducklake = tools.ducklake.display();
        duckdb.run(&format!("LOAD '{ducklake}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')"))?;
    }
    let lake = if mirror.lake { ", lake := 'lake'" } else { "" };
    duckdb.run(&format!("CALL maniac_attach('shop.maniac'{lake}{}); CALL maniac_wait('shop')", mirror.options))?;

    let before = look(&mut duckdb)?;
    let stop = AtomicBool::new(false);
    let mut lags = Vec::new();
    let (written, applied, caught_up) = std::thread::scope(|scope| -> Outcome<_> {
        let start = Instant::now();
        let stop = &stop;
        let writing = scope.spawn(move || write(&writer, rows_each, time, stop));
        let mut watch = || -> Outcome<f64> {
            loop {
                let seen = look(&mut duckdb)?;
                if writing.is_finished() {
                    return Ok((seen.transactions - before.transactions) / start.elapsed().as_secs_f64());
                }
                lags.push(seen.lag_ms);
                let next = Instant::now() + PERIOD;
                while Instant::now() < next && !writing.is_finished() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        };
        let applied = watch();
        stop.store(true, Ordering::Relaxed);
        let written = writing.join().map_err(|_| "the writer panicked")??;
        duckdb.run("CALL maniac_wait('shop', timeout_ms := 600000)")?;
        Ok((written.per_second, applied?, written.last.elapsed()))
    })?;
    let peak = peak_bytes(duckdb.process_id().ok_or("duckdb runs")?)?;
    duckdb.exit()?;
    Ok(Measured { written, applied, lags, caught_up, peak })
}

/// What the status says.
struct Look {
    transactions: f64,
    lag_ms: f64,
}

fn look(duckdb: &mut Session) -> Outcome<Look> {
    let rows = duckdb.run("SELECT transactions, lag_ms FROM maniac_status()")?;
    match rows.first().map(Vec::as_slice) {
        Some([Value::Integer(transactions), Value::Integer(lag)]) => {
            Ok(Look { transactions: transactions.parse()?, lag_ms: lag.parse()? })
        }
        other => Err(format!("the status is {other:?}").into()),
    }
}
