//! The writing sqlite3 is killed at random moments, again and again. What it had acknowledged is all there, what it had
//! begun is not there in part, and the database is whole.
//!
//! Every transaction is a batch of rows that know how many they are, in two tables, with values long enough for
//! overflow pages. `MANIAC_ROUNDS` makes the loop longer.

use std::time::Duration;

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Failure, Kind, Session, Tools, Value};

const STORE: &str = "file:shop.maniac?vfs=maniac";

fn rounds() -> u64 {
    std::env::var("MANIAC_ROUNDS").map_or(50, |rounds| rounds.parse().expect("MANIAC_ROUNDS is a number"))
}

/// One integer that a query gives.
fn number(session: &mut Session, sql: &str) -> i64 {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    match rows.as_slice() {
        [row] => match row.as_slice() {
            [Value::Integer(digits)] => digits.parse().expect("64 bits"),
            other => panic!("{sql}: {other:?}"),
        },
        other => panic!("{sql}: {other:?}"),
    }
}

fn transaction(batch: i64, size: u64) -> String {
    format!(
        "BEGIN; \
         INSERT INTO batches VALUES ({batch}, {size}); \
         INSERT INTO parts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {size}) \
           SELECT {batch} * 100000 + i, {batch}, hex(randomblob(i % 17 * 200)) FROM n; \
         UPDATE counters SET batches = batches + 1, parts = parts + {size}; \
         COMMIT;"
    )
}

#[test]
fn acknowledged_commits_survive_and_none_is_partial() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new("kill_nine", 20_260_101);
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open(STORE).unwrap();
    writer
        .run(
            "CREATE TABLE batches(batch INTEGER PRIMARY KEY, size INTEGER); \
             CREATE TABLE parts(id INTEGER PRIMARY KEY, batch INTEGER, filler TEXT); \
             CREATE INDEX parts_batch ON parts(batch); \
             CREATE TABLE counters(batches INTEGER, parts INTEGER); \
             INSERT INTO counters VALUES (0, 0);",
        )
        .unwrap();

    let mut begun = 0;
    let mut survived = 0;
    for round in 0..rounds() {
        // Levels of durability differ in what a power cut may take, not in what a killed process may.
        let level = ["FULL", "NORMAL", "OFF"][(round % 3) as usize];
        writer.run(&format!("PRAGMA synchronous = {level}; PRAGMA cache_size = {};", 10 + dice.below(200))).unwrap();
        let acknowledged = run_until_killed(&mut writer, &mut dice, &mut begun);

        // A process that was not there before looks at what the dead one left.
        let mut reader = Session::new(Kind::Sqlite, &tools, directory.path());
        reader.open(STORE).unwrap();
        check(&mut reader, round, acknowledged, begun);
        // The one under way when the kill came may be there, wholly, or not: nobody was told.
        let newest = number(&mut reader, "SELECT ifnull(max(batch), 0) FROM batches");
        survived += u64::from(newest == begun);
        begun = newest;
        reader.exit().unwrap();
    }
    println!("{begun} batches; of {} killed transactions {survived} had reached the log", rounds());
}

/// Writes transactions until a SIGKILL after a random while ends the process. Returns the last acknowledged batch;
/// `begun` is then the last one sent.
fn run_until_killed(writer: &mut Session, dice: &mut Dice, begun: &mut i64) -> i64 {
    let process = writer.process_id().expect("the writer has just run a statement");
    let process = rustix::process::Pid::from_raw(process as i32).expect("a process id is positive");
    let pause = Duration::from_micros(500 + dice.below(60_000));
    let killer = std::thread::spawn(move || {
        std::thread::sleep(pause);
        rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("the writer runs until now");
    });
    let mut acknowledged = *begun;
    loop {
        *begun += 1;
        // Mostly small ones, now and then one that spills out of the cache.
        let size = if dice.below(8) == 0 { 200 + dice.below(3000) } else { 1 + dice.below(20) };
        match writer.run(&transaction(*begun, size)) {
            Ok(_) => acknowledged = *begun,
            Err(Failure::Lost(_)) => break,
            Err(error) => {
                let reason = writer.run("SELECT maniac_last_error()");
                panic!("batch {begun}: {error}; last error: {reason:?}")
            }
        }
    }
    killer.join().unwrap();
    acknowledged
}

fn check(reader: &mut Session, round: u64, acknowledged: i64, begun: i64) {
    let newest = number(reader, "SELECT ifnull(max(batch), 0) FROM batches");
    assert!(
        (acknowledged..=begun).contains(&newest),
        "round {round}: batch {acknowledged} was acknowledged and {begun} begun, but the newest is {newest}"
    );
    let count = number(reader, "SELECT count(*) FROM batches");
    assert_eq!(count, newest, "round {round}: every batch up to the newest is there");
    let partial = number(
        reader,
        "SELECT count(*) FROM batches AS b WHERE size <> (SELECT count(*) FROM parts AS p WHERE p.batch = b.batch)",
    );
    assert_eq!(partial, 0, "round {round}: batches with some of their parts");
    let orphans = number(reader, "SELECT count(*) FROM parts WHERE batch NOT IN (SELECT batch FROM batches)");
    assert_eq!(orphans, 0, "round {round}: parts without their batch");
    let sums = number(
        reader,
        "SELECT (SELECT count(*) FROM batches) = batches AND (SELECT count(*) FROM parts) = parts FROM counters",
    );
    assert_eq!(sums, 1, "round {round}: the counters agree with the rows");
    let integrity = reader.run("PRAGMA integrity_check").unwrap();
    assert_eq!(integrity, vec![vec![Value::Text("ok".into())]], "round {round}");
}
