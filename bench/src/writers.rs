//! Processes, or threads of one, that write to one branch, or one file, as fast as they can; each commit is durable.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::engine::{Engine, scratch};
use crate::figures::{Table, median, number, percentile};
use crate::{Outcome, scale};

const ROUNDS: usize = 3;

struct Setup {
    title: &'static str,
    processes: usize,
    /// In each process.
    threads: usize,
    synchronous: &'static str,
    /// Each fsync takes a millisecond more.
    slow_disk: bool,
}

const SETUPS: [Setup; 7] = {
    const ONE: Setup = Setup { title: "1", processes: 1, threads: 1, synchronous: "FULL", slow_disk: false };
    [
        Setup { title: "1, synchronous=OFF", synchronous: "OFF", ..ONE },
        ONE,
        Setup { title: "4", processes: 4, ..ONE },
        Setup { title: "16", processes: 16, ..ONE },
        Setup { title: "16 threads", threads: 16, ..ONE },
        Setup { title: "1, slow disk", slow_disk: true, ..ONE },
        Setup { title: "16, slow disk", processes: 16, slow_disk: true, ..ONE },
    ]
};

/// What one writer does in a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Insert,
    Immediate,
}

impl Work {
    const ALL: [(Self, &str, &str); 2] = [
        (Self::Insert, "insert", "one row, autocommit"),
        (Self::Immediate, "immediate", "BEGIN IMMEDIATE, a counter and a row"),
    ];
}

/// Commits per second of all writers, and the time of each commit in milliseconds.
struct Figures {
    rate: f64,
    times: Vec<f64>,
}

pub fn run() -> Outcome<String> {
    let mut table = Table::new(&[
        "",
        "writers",
        "SQLite WAL, commits/s",
        "Maniac, commits/s",
        "ratio",
        "p50 ms",
        "p99 ms",
        "longest ms",
    ]);
    for (work, name, title) in Work::ALL {
        for setup in &SETUPS {
            let (mut rates, mut times) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
            for round in 0..ROUNDS {
                eprintln!("{title}, {} writers, round {} of {ROUNDS}", setup.title, round + 1);
                for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                    let figures = measure(Engine::BOTH[side], work, name, setup)?;
                    rates[side].push(figures.rate);
                    times[side].push(figures.times);
                }
            }
            let [stock, maniac] = [0, 1].map(|side| median(&rates[side]));
            let both = |percent| {
                let of = |side: usize| {
                    let rounds: Vec<f64> = times[side].iter().map(|times| percentile(times, percent)).collect();
                    number(if percent < 100.0 { median(&rounds) } else { percentile(&rounds, 100.0) })
                };
                format!("{}; {}", of(0), of(1))
            };
            table.row(&[
                title,
                setup.title,
                &number(stock),
                &number(maniac),
                &format!("{:.2}x", maniac / stock),
                &both(50.0),
                &both(99.0),
                &both(100.0),
            ]);
        }
    }
    Ok(format!(
        "## Many writers of one branch\n\nProcesses with a connection each, or threads of one process, `synchronous=FULL` if nothing else is said, a busy \
         timeout of 60 s, {:.1} s a round; \
         medians of {ROUNDS} rounds, both engines in each. The times are of a commit with its waiting, SQLite's and Maniac's; \
         the longest is that of all rounds. On the slow disk each fsync takes a millisecond more. One writer that waits for \
         no disk is as fast as writers can be that come one after the other.\n\n{}",
        seconds(),
        table.finish()
    ))
}

fn seconds() -> f64 {
    10.0 / scale() as f64
}

fn measure(engine: Engine, work: Work, name: &str, setup: &Setup) -> Outcome<Figures> {
    let directory = scratch()?;
    let connection = engine.open(directory.path(), "writers")?;
    connection.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE counter(n); INSERT INTO counter VALUES (0)",
    )?;
    let side = if engine == Engine::Stock { "stock" } else { "maniac" };
    let program = std::env::current_exe()?;
    let workers: Vec<_> = (0..setup.processes)
        .map(|_| {
            let mut command = Command::new(&program);
            if setup.slow_disk {
                command.env("LD_PRELOAD", program.with_file_name("libslow_disk.so"));
            }
            command
                .args(["writer", side, name, &seconds().to_string(), &setup.threads.to_string(), setup.synchronous])
                .arg(directory.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    let mut workers = workers;
    for worker in &mut workers {
        // Each says when it is ready, and begins when its input ends.
        worker.stdout.as_mut().expect("a pipe").read_exact(&mut [0])?;
    }
    let start = Instant::now();
    workers.iter_mut().for_each(|worker| drop(worker.stdin.take()));
    let mut times = Vec::new();
    for worker in workers {
        let output = worker.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("a writer failed: {}", output.status).into());
        }
        let micros = output.stdout.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
        times.extend(micros.map(|micros| f64::from(micros) / 1000.0));
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
    let counter: i64 = connection.query_row("SELECT n FROM counter", [], |row| row.get(0))?;
    if rows != times.len() as i64 || counter != if work == Work::Immediate { rows } else { 0 } {
        return Err(format!("{rows} rows and a counter of {counter} after {} commits", times.len()).into());
    }
    Ok(Figures { rate, times })
}

/// One of the writers: prints the microseconds of each commit.
pub fn worker(arguments: &[String]) -> Outcome<()> {
    let [side, name, seconds, threads, synchronous, directory] = arguments else {
        return Err("writer SIDE WORK SECONDS THREADS SYNCHRONOUS DIRECTORY".into());
    };
    let engine = if side == "stock" { Engine::Stock } else { Engine::Maniac };
    let work = Work::ALL.iter().find(|work| work.1 == name).ok_or("no such work")?.0;
    let length = Duration::from_secs_f64(seconds.parse()?);
    let connections = (0..threads.parse()?)
        .map(|_| {
            let connection = engine.open(Path::new(directory), "writers")?;
            connection.busy_timeout(Duration::from_secs(60))?;
            connection.pragma_update(None, "synchronous", synchronous)?;
            Ok(connection)
        })
        .collect::<Outcome<Vec<_>>>()?;
    let mut out = std::io::stdout().lock();
    out.write_all(b"r")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let start = Instant::now();
    let write = |connection: Connection| -> rusqlite::Result<Vec<u32>> {
        let (mut commit, mut micros) = (prepare(&connection, work)?, Vec::new());
        while start.elapsed() < length {
            let begin = Instant::now();
            commit(micros.len() as i64)?;
            micros.push(begin.elapsed().as_micros().min(u128::from(u32::MAX)) as u32);
        }
        Ok(micros)
    };
    let write = &write;
    let all = std::thread::scope(|scope| {
        let writers: Vec<_> =
            connections.into_iter().map(|connection| scope.spawn(move || write(connection))).collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect::<rusqlite::Result<Vec<_>>>()
    })?;
    for micros in all.into_iter().flatten() {
        out.write_all(&micros.to_le_bytes())?;
    }
    Ok(())
}

fn prepare(connection: &Connection, work: Work) -> rusqlite::Result<Box<dyn FnMut(i64) -> rusqlite::Result<()> + '_>> {
    let mut insert = connection.prepare("INSERT INTO t(v) VALUES (?1)")?;
    if work == Work::Insert {
        return Ok(Box::new(move |n| insert.execute([n]).map(drop)));
    }
    let mut begin = connection.prepare("BEGIN IMMEDIATE")?;
    let mut count = connection.prepare("UPDATE counter SET n = n + 1")?;
    let mut commit = connection.prepare("COMMIT")?;
    Ok(Box::new(move |n| {
        begin.execute([])?;
        count.execute([])?;
        insert.execute([n])?;
        commit.execute([]).map(drop)
    }))
}
