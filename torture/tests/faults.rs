//! Every call that changes a file fails once: with a full disk, a broken one, a write cut short. The transaction fails
//! with the right code, nothing of it is there, and the store goes on, in the same process and in the next one.

use std::path::Path;

use maniac_torture::engine::scratch;
use maniac_torture::faults::{ALL, EIO, ENOSPC, Fault, Faults, WRITES};
use maniac_torture::host::{Host, HostKind, Refusal};

const STORE: &str = "file:shop.maniac?vfs=maniac";
const FULL: i32 = 13;
const IOERR: i32 = 10;
const CANTOPEN: i32 = 14;

/// Statements that commit once each; each puts a number into a table of its branch, and some pages beside it.
const WORKLOAD: &[&str] = &[
    "CREATE TABLE log(n INTEGER PRIMARY KEY, filler)",
    "INSERT INTO log VALUES (1, zeroblob(100))",
    "INSERT INTO log VALUES (2, hex(randomblob(30000)))",
    "SELECT maniac_branch_create('dev')",
    "ATTACH 'file:shop.maniac?vfs=maniac&branch=dev' AS dev",
    "BEGIN; INSERT INTO log VALUES (5, 'both'); INSERT INTO dev.log VALUES (5, 'both'); COMMIT",
    "INSERT INTO dev.log VALUES (6, randomblob(100000))",
    "UPDATE log SET filler = randomblob(9000)",
    // More than 4,096 pages: a segment of its own.
    "INSERT INTO log VALUES (8, randomblob(2300000))",
    "INSERT INTO dev.log VALUES (9, 'end')",
];
/// Which of them leave a number in `main` and in `dev`.
const IN_MAIN: &[usize] = &[1, 2, 5, 8];
const IN_DEV: &[usize] = &[1, 2, 5, 6, 9];

/// Runs the statements of a step; a transaction that fails is rolled back.
fn step(host: &mut Host, sql: &str) -> Result<(), Refusal> {
    let mut result = Ok(());
    for part in sql.split("; ") {
        result = host.run(part).map(drop);
        if result.is_err() {
            // SQLite has done so itself where the error left no choice.
            let _ = host.run("ROLLBACK");
            break;
        }
    }
    result
}

/// The numbers that must be there after the first `done` steps.
fn expected(which: &[usize], done: usize) -> String {
    let numbers: Vec<String> = which.iter().filter(|n| **n < done).map(ToString::to_string).collect();
    if numbers.is_empty() { "NULL".into() } else { numbers.join(",") }
}

fn numbers(host: &mut Host, table: &str) -> String {
    host.value(&format!("SELECT group_concat(n) FROM (SELECT n FROM {table} ORDER BY n)"))
}

fn check(host: &mut Host, done: usize, what: &str) {
    if done > 0 {
        assert_eq!(numbers(host, "main.log"), expected(IN_MAIN, done), "{what}");
    }
    if done > 4 {
        assert_eq!(numbers(host, "dev.log"), expected(IN_DEV, done), "{what}");
    }
    assert_eq!(host.value("PRAGMA integrity_check"), "ok", "{what}");
}

/// Opens what step 5 has opened in the connection that is gone.
fn open(directory: &Path, wrapper: &[&str], done: usize, level: &str) -> Result<Host, Refusal> {
    let mut host = Host::start_under(HostKind::Rust, directory, wrapper);
    host.open(STORE)?;
    host.run(&format!("PRAGMA synchronous = {level}"))?;
    host.run("PRAGMA page_size = 512")?;
    host.run("PRAGMA cache_size = 20")?;
    if done > 4 {
        host.run(WORKLOAD[4])?;
        host.run(&format!("PRAGMA dev.synchronous = {level}"))?;
    }
    Ok(host)
}

/// One run with a failure at the n-th call. False when the workload ended before that.
fn run(n: u64, counted: u64, fault: Fault, level: &str) -> bool {
    let directory = scratch();
    let faults = Faults::new(directory.path(), "shop.maniac");
    let wrapper = faults.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    faults.arm(n, counted, fault);
    let what = |done: usize| format!("call {n}, {fault:?}, step {done}");
    let right = |error: &Refusal| match fault.errno {
        ENOSPC => error.code == FULL,
        _ => error.code & 0xff == IOERR,
    };
    let mut host = open(directory.path(), &wrapper, 0, level).unwrap_or_else(|error| {
        assert!(right(&error) || error.code == CANTOPEN, "{}: {error:?}", what(0));
        faults.disarm();
        open(directory.path(), &wrapper, 0, level).unwrap_or_else(|error| panic!("{}, again: {error:?}", what(0)))
    });
    for (done, sql) in WORKLOAD.iter().enumerate() {
        if done == 5 {
            host.run(&format!("PRAGMA dev.synchronous = {level}")).unwrap();
        }
        let Err(error) = step(&mut host, sql) else { continue };
        let reason = host.value("SELECT maniac_last_error()");
        // An SQL function's errors have no codes, and say what happened.
        let by_function = sql.starts_with("SELECT") && error.message.contains("os error");
        assert!(right(&error) || by_function, "{}: {error:?}, {reason}", what(done));
        check(&mut host, done, &what(done));
        faults.disarm();
        if let Err(error) = step(&mut host, sql) {
            panic!("{}: the store is not usable afterwards: {error:?}", what(done));
        }
        check(&mut host, done + 1, &what(done));
    }
    faults.disarm();
    check(&mut host, WORKLOAD.len(), &what(WORKLOAD.len()));
    let head = host.value("SELECT maniac_head()");
    drop(host);
    for without_head in [false, true] {
        if without_head {
            std::fs::remove_file(directory.path().join("shop.maniac/HEAD")).unwrap();
        }
        let mut host = open(directory.path(), &[], WORKLOAD.len(), level).unwrap();
        check(&mut host, WORKLOAD.len(), &format!("{}, reopened, HEAD gone: {without_head}", what(WORKLOAD.len())));
        assert_eq!(host.value("SELECT maniac_head()"), head, "{}", what(WORKLOAD.len()));
    }
    faults.failed() > 0
}

fn every_call(counted: u64, fault: Fault, level: &str) {
    let failures = (1..).take_while(|n| run(*n, counted, fault, level)).count();
    println!("{failures} calls failed, one after the other, with {fault:?}");
    assert!(failures >= 18, "the workload makes more calls than that");
}

#[test]
fn a_full_disk() {
    every_call(WRITES, Fault { errno: ENOSPC, persistent: false, short: false }, "FULL");
}

#[test]
fn a_disk_that_stays_full_and_takes_the_half_of_a_write() {
    every_call(WRITES, Fault { errno: ENOSPC, persistent: true, short: true }, "FULL");
}

#[test]
fn a_broken_disk() {
    every_call(ALL, Fault { errno: EIO, persistent: false, short: false }, "FULL");
}

#[test]
fn a_disk_that_breaks_for_a_while() {
    every_call(ALL, Fault { errno: EIO, persistent: true, short: false }, "FULL");
}

/// SQLite itself takes less care of several databases with OFF.
#[test]
fn a_broken_disk_that_nobody_waits_for() {
    every_call(WRITES, Fault { errno: EIO, persistent: false, short: false }, "OFF");
}
