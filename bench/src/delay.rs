//! From the return of a commit in SQLite until an answer of DuckDB shows it.
//!
//! A writer in this process commits one row every few milliseconds and notes when the commit returned. The `duckdb`
//! command line, which has the mirror, is asked for the newest row again and again; a row's delay ends when the first
//! answer that shows it has arrived. So the asking itself is part of the figure: how long a question takes is given too.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use maniac_sql_tests::{Kind, Session, Tools, Value};

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, percentile};
use crate::{Outcome, scale};

const PER_SECOND: u64 = 200;

struct Mirror {
    name: &'static str,
    lake: bool,
    options: &'static str,
}

const MIRRORS: &[Mirror] = &[
    Mirror { name: "native, streaming", lake: false, options: ", mode := 'streaming'" },
    Mirror { name: "native, micro_batch (the default)", lake: false, options: "" },
    Mirror { name: "DuckLake, streaming", lake: true, options: ", mode := 'streaming'" },
    Mirror { name: "DuckLake, micro_batch (the default)", lake: true, options: "" },
];

pub fn run() -> Outcome<String> {
    let count = (2_000 / scale()).max(50) as usize;
    let mut table = Table::new(&["mirror", "p50", "p99", "max", "one question takes (p50)"]);
    for mirror in MIRRORS {
        eprintln!("delay: {} ({count} commits)", mirror.name);
        let measured = measure(mirror, count)?;
        let ms = |value: f64| format!("{:.1} ms", value * 1000.0);
        table.row(&[
            mirror.name,
            &ms(percentile(&measured.delays, 50.0)),
            &ms(percentile(&measured.delays, 99.0)),
            &ms(percentile(&measured.delays, 100.0)),
            &ms(median(&measured.questions)),
        ]);
    }
    Ok(format!(
        "## From commit to queryable\n\nOne writer, {PER_SECOND} single-row commits per second, synchronous FULL, {count} commits; DuckDB asked without pause.\n\n{}\n",
        table.finish()
    ))
}

struct Measured {
    delays: Vec<f64>,
    questions: Vec<f64>,
}

fn measure(mirror: &Mirror, count: usize) -> Outcome<Measured> {
    let directory = scratch()?;
    let tools = Tools::find();
    let connection = Engine::Maniac.open(directory.path(), "shop")?;
    connection.execute_batch("CREATE TABLE ticks(id INTEGER PRIMARY KEY, payload TEXT)")?;

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

    // committed[i] is when the commit of row i + 1 returned.
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
    let mut measured = Measured { delays: Vec::with_capacity(count), questions: Vec::new() };
    while measured.delays.len() < count {
        let asked = Instant::now();
        let rows = duckdb.run(&question)?;
        let answered = Instant::now();
        measured.questions.push((answered - asked).as_secs_f64());
        let newest = match rows.first().and_then(|row| row.first()) {
            Some(Value::Integer(digits)) => digits.parse::<usize>()?,
            other => return Err(format!("{question}: {other:?}").into()),
        };
        let committed = committed.lock().expect("the writer doesn't panic with it");
        // A row may be seen before its commit has returned to the writer: that is no delay, and noted as soon as it has.
        let seen = newest.min(committed.len());
        for row in measured.delays.len()..seen {
            measured.delays.push(answered.saturating_duration_since(committed[row]).as_secs_f64());
        }
        if writer.is_finished() && committed.len() < count {
            break;
        }
    }
    writer.join().map_err(|_| "the writer panicked")??;
    duckdb.exit()?;
    Ok(measured)
}
