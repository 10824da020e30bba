//! Sixteen processes write to one branch. Transfers between accounts never change their sum, whatever dies; what was
//! acknowledged is there; everybody is served, in the order of asking.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::tools::workspace_root;
use maniac_torture::engine::scratch;
use maniac_torture::host::{Host, HostKind};

const WRITERS: usize = 16;
const ACCOUNTS: u64 = 10;
const SUM: &str = "1000";

fn rounds() -> u64 {
    std::env::var("MANIAC_ROUNDS").map_or(2, |rounds| rounds.parse().expect("MANIAC_ROUNDS is a number"))
}

fn connect(directory: &Path, timeout: u32) -> Host {
    let mut host = Host::start(HostKind::Rust, directory);
    host.open("file:bank.maniac?vfs=maniac").unwrap();
    host.run(&format!("PRAGMA busy_timeout = {timeout}")).unwrap();
    host
}

fn bank(directory: &Path) -> Host {
    let mut host = connect(directory, 60_000);
    host.run("CREATE TABLE accounts(id INTEGER PRIMARY KEY, cents INTEGER)").unwrap();
    host.run("CREATE TABLE ledger(writer, n, PRIMARY KEY(writer, n))").unwrap();
    host.run(&format!("INSERT INTO accounts SELECT value, 100 FROM json_each('[1,2,3,4,5,6,7,8,9,{ACCOUNTS}]')"))
        .unwrap();
    host
}

/// Gives how many transfers were acknowledged before the writer died, if it did.
fn transfer(host: &Mutex<Host>, writer: usize, count: u64, level: &str, dice: &mut Dice) -> u64 {
    let run = |sql: &str| host.lock().unwrap().run(sql);
    if run(&format!("PRAGMA synchronous = {level}")).is_err() {
        return 0;
    }
    for n in 0..count {
        let (from, to) = (1 + dice.below(ACCOUNTS), 1 + dice.below(ACCOUNTS));
        let statements = [
            "BEGIN IMMEDIATE".to_owned(),
            format!("UPDATE accounts SET cents = cents - 7 WHERE id = {from}"),
            format!("UPDATE accounts SET cents = cents + 7 WHERE id = {to}"),
            format!("INSERT INTO ledger VALUES ({writer}, {n})"),
            if n % 9 == 8 { "ROLLBACK".to_owned() } else { "COMMIT".to_owned() },
        ];
        for sql in &statements {
            match run(sql) {
                Ok(_) => {}
                // It was killed.
                Err(error) if error.code == -1 => return n,
                Err(error) => panic!("writer {writer}, transfer {n}: {sql}: {error:?}"),
            }
        }
    }
    count
}

#[test]
fn the_sum_never_wavers_and_everybody_is_served() {
    let mut dice = Dice::new("many_writers", 11);
    for round in 0..rounds() {
        let directory = scratch();
        let mut check = bank(directory.path());
        let count = 30;
        let level = ["FULL", "FULL", "NORMAL"][dice.below(3) as usize];
        let hosts: Vec<_> = (0..WRITERS).map(|_| Mutex::new(connect(directory.path(), 60_000))).collect();
        let ids: Vec<u32> = hosts.iter().map(|host| host.lock().unwrap().process_id()).collect();
        let (kills, over) = (dice.below(4), AtomicBool::new(false));
        let acknowledged: Vec<u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = hosts
                .iter()
                .enumerate()
                .map(|(writer, host)| {
                    let mut dice = Dice::seeded(round * 100 + writer as u64);
                    scope.spawn(move || transfer(host, writer, count, level, &mut dice))
                })
                .collect();
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::SeqCst) {
                    let rows = check.run("SELECT sum(cents), (SELECT count(*) FROM ledger) FROM accounts").unwrap();
                    assert_eq!(rows[0][0], SUM, "round {round}");
                    let now: u64 = rows[0][1].parse().unwrap();
                    assert!(now >= seen, "round {round}: {seen} transfers, then {now}");
                    seen = now;
                }
            });
            for _ in 0..kills {
                std::thread::sleep(Duration::from_millis(dice.below(80)));
                let victim = ids[dice.below(WRITERS as u64) as usize];
                let killed = Command::new("kill").args(["-9", &victim.to_string()]).output().unwrap();
                // It may be dead already.
                drop(killed);
            }
            let acknowledged = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
            over.store(true, Ordering::SeqCst);
            reader.join().unwrap();
            acknowledged
        });
        let served = acknowledged.iter().filter(|transfers| **transfers == count).count();
        println!("round {round}, {level}: {acknowledged:?}");
        assert!(served as u64 >= WRITERS as u64 - kills, "round {round}: a writer that lives does all of its work");
        let mut check = connect(directory.path(), 60_000);
        assert_eq!(check.value("SELECT sum(cents) FROM accounts"), SUM, "round {round}");
        assert_eq!(check.value("PRAGMA integrity_check"), "ok", "round {round}");
        for (writer, transfers) in acknowledged.iter().enumerate() {
            let expected = (0..*transfers).filter(|n| n % 9 != 8).count();
            let sql = format!("SELECT count(*) FROM ledger WHERE writer = {writer} AND n < {transfers}");
            assert_eq!(check.value(&sql), expected.to_string(), "round {round}, writer {writer}");
        }
        check.run("INSERT INTO ledger VALUES ('later', 1)").unwrap();
    }
}

/// How many wait, as `HEAD` tells.
fn queued(directory: &Path) -> u32 {
    let head = std::fs::read(directory.join("bank.maniac/HEAD")).unwrap();
    u32::from_le_bytes(head[216..220].try_into().unwrap())
}

#[test]
fn who_waits_first_is_served_first() {
    let directory = scratch();
    let mut first = bank(directory.path());
    first.run("CREATE TABLE served(n INTEGER PRIMARY KEY, writer)").unwrap();
    first.run("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let mut host = connect(directory.path(), 60_000);
            scope.spawn(move || host.run(&format!("INSERT INTO served(writer) VALUES ({writer})")).unwrap());
            while queued(directory.path()) <= writer {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        first.run("COMMIT").unwrap();
    });
    assert_eq!(queued(directory.path()), 0);
    assert_eq!(
        first.value("SELECT group_concat(writer) FROM (SELECT writer FROM served ORDER BY n)"),
        "0,1,2,3,4,5,6,7"
    );
}

#[test]
fn without_a_timeout_busy_comes_at_once_and_leaves_no_trace() {
    let directory = scratch();
    let mut holder = bank(directory.path());
    holder.run("BEGIN IMMEDIATE").unwrap();
    let mut hasty = connect(directory.path(), 0);
    for sql in ["BEGIN IMMEDIATE", "INSERT INTO ledger VALUES ('hasty', 1)"] {
        assert_eq!(hasty.run(sql).unwrap_err().code & 0xff, 5, "{sql}");
    }
    assert_eq!(queued(directory.path()), 0);
    holder.run("COMMIT").unwrap();
    hasty.run("INSERT INTO ledger VALUES ('hasty', 1)").unwrap();
    // One whose timeout ends stays away as well.
    holder.run("BEGIN IMMEDIATE").unwrap();
    let mut patient = connect(directory.path(), 30);
    assert_eq!(patient.run("INSERT INTO ledger VALUES ('patient', 1)").unwrap_err().code & 0xff, 5);
    holder.run("COMMIT").unwrap();
    hasty.run("INSERT INTO ledger VALUES ('hasty', 2)").unwrap();
    hasty.run("INSERT INTO ledger VALUES ('hasty', 3)").unwrap();
    patient.run("INSERT INTO ledger VALUES ('patient', 1)").unwrap();
}

/// Where the first database is not a store, SQLite sleeps in another VFS: such a writer polls, beside others who queue.
#[test]
fn whoever_polls_is_served_beside_those_who_queue() {
    let directory = scratch();
    drop(bank(directory.path()));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let mut host = connect(directory.path(), 60_000);
            let over = &over;
            scope.spawn(move || {
                for n in 0.. {
                    host.run(&format!("INSERT INTO ledger VALUES ({writer}, {n})")).unwrap();
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        let mut poller = Host::start(HostKind::Rust, directory.path());
        poller.open("file::memory:").unwrap();
        poller.run("ATTACH 'file:bank.maniac?vfs=maniac' AS bank").unwrap();
        poller.run("PRAGMA busy_timeout = 60000").unwrap();
        let outcome = (0..3).try_for_each(|n| {
            poller.run("BEGIN IMMEDIATE")?;
            poller.run(&format!("INSERT INTO bank.ledger VALUES ('poller', {n})"))?;
            poller.run("COMMIT").map(drop)
        });
        over.store(true, Ordering::SeqCst);
        outcome.unwrap();
    });
}

/// A transaction that read first is stale when somebody else has committed; one that begins with BEGIN IMMEDIATE is not.
#[test]
fn reading_first_makes_stale() {
    let directory = scratch();
    let (mut one, mut other) = (bank(directory.path()), connect(directory.path(), 60_000));
    one.run("BEGIN").unwrap();
    one.value("SELECT count(*) FROM ledger");
    other.run("INSERT INTO ledger VALUES ('other', 1)").unwrap();
    assert_eq!(one.run("INSERT INTO ledger VALUES ('one', 1)").unwrap_err().code, 517, "SQLITE_BUSY_SNAPSHOT");
    one.run("ROLLBACK").unwrap();
    one.run("BEGIN IMMEDIATE").unwrap();
    assert_eq!(one.value("SELECT count(*) FROM ledger"), "1");
    one.run("INSERT INTO ledger VALUES ('one', 1)").unwrap();
    one.run("COMMIT").unwrap();
}

/// SQLite tells an extension of interrupts since 3.41; apsw has a newer one.
#[test]
fn an_interrupt_ends_the_wait() {
    let directory = scratch();
    let mut holder = bank(directory.path());
    holder.run("BEGIN IMMEDIATE").unwrap();
    let root = workspace_root();
    let output = Command::new(root.join(".venv/bin/python"))
        .arg(root.join("torture/hosts/interrupt.py"))
        .arg(root.join("dist/maniac"))
        .arg("file:bank.maniac?vfs=maniac")
        .current_dir(directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.trim(), "InterruptError", "{}", String::from_utf8_lossy(&output.stderr));
    holder.run("INSERT INTO ledger VALUES ('holder', 1)").unwrap();
    holder.run("COMMIT").unwrap();
}
