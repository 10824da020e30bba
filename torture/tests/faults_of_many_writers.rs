//! Calls fail while five processes write to two branches: each builds on commits of others that are not on disk yet, and
//! waits for fsyncs that may be another's. What was acknowledged is there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use maniac_sql_tests::dice::Dice;
use maniac_torture::engine::scratch;
use maniac_torture::faults::{ALL, EIO, ENOSPC, Fault, Faults};
use maniac_torture::host::{Host, HostKind};

/// The branch of each writer.
const WRITERS: [&str; 5] = ["main", "main", "main", "dev", "dev"];
const COMMITS: u64 = 24;

fn connect(directory: &Path, wrapper: &[&str], branch: &str, level: &str) -> Host {
    let mut host = Host::start_under(HostKind::Rust, directory, wrapper);
    host.open(&format!("file:shop.maniac?vfs=maniac&branch={branch}")).unwrap();
    host.run(&format!("PRAGMA synchronous = {level}")).unwrap();
    host.run("PRAGMA busy_timeout = 60000").unwrap();
    host
}

fn rounds() -> u64 {
    std::env::var("MANIAC_ROUNDS").map_or(24, |rounds| rounds.parse().expect("MANIAC_ROUNDS is a number"))
}

/// Two rows a commit. Gives those that were acknowledged, and those that were not.
fn write(mut host: Host, first: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut done, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for n in first..first + COMMITS {
        let sql = format!("INSERT INTO t VALUES ({n}, zeroblob({})), ({n}, 'second')", n % 7 * 900);
        match host.run(&sql) {
            Ok(_) => done.insert(n),
            Err(error) => {
                assert!(matches!(error.code & 0xff, 10 | 13), "{n}: {error:?}");
                failed.insert(n)
            }
        };
    }
    (done, failed)
}

fn check(directory: &Path, branch: &str, done: &BTreeSet<u64>, what: &str) {
    let mut host = connect(directory, &[], branch, "FULL");
    assert_eq!(host.value("PRAGMA integrity_check"), "ok", "{what}");
    let rows = host.run("SELECT n, count(*) FROM t GROUP BY n").unwrap();
    assert!(rows.iter().all(|row| row[1] == "2"), "{what}: a part of a commit on {branch}");
    let found: BTreeSet<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert!(done.is_subset(&found), "{what}: lost on {branch}: {:?}", done - &found);
    assert!(found.is_subset(done), "{what}: there on {branch}, and was refused: {:?}", &found - done);
}

#[test]
fn what_was_acknowledged_is_there_and_nothing_else() {
    let mut dice = Dice::new("faults_of_many_writers", 9);
    let (mut acknowledged, mut refused) = (0, 0);
    for round in 0..rounds() {
        let directory = scratch();
        let faults = Faults::new(directory.path(), "shop.maniac");
        let wrapper = faults.wrapper();
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut host = connect(directory.path(), &[], "main", "FULL");
        host.run("CREATE TABLE t(n, filler)").unwrap();
        host.value("SELECT maniac_branch_create('dev')");
        drop(host);
        let fault = Fault {
            errno: if dice.below(2) == 0 { ENOSPC } else { EIO },
            persistent: dice.below(3) == 0,
            short: dice.below(2) == 0,
        };
        let (n, level) = (1 + dice.below(8 * COMMITS), ["FULL", "FULL", "NORMAL"][dice.below(3) as usize]);
        let what = format!("round {round}, call {n}, {fault:?}, {level}");
        let hosts = WRITERS.map(|branch| connect(directory.path(), &wrapper, branch, level));
        faults.arm(n, ALL, fault);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let writers = hosts.into_iter().zip(0..).map(|(host, n)| scope.spawn(move || write(host, 1000 * n)));
            writers.collect::<Vec<_>>().into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        faults.disarm();
        let mut done = BTreeMap::<&str, BTreeSet<u64>>::new();
        for ((branch, (acked, failed)), n) in WRITERS.iter().zip(outcomes).zip(0..) {
            let (again, failed_again) = write(connect(directory.path(), &wrapper, branch, level), 1000 * n + 500);
            assert!(failed_again.is_empty(), "{what}: the store works again: {failed_again:?}");
            acknowledged += acked.len() + again.len();
            refused += failed.len();
            done.entry(branch).or_default().extend(acked.into_iter().chain(again));
        }
        for without_head in [false, true] {
            if without_head {
                std::fs::remove_file(directory.path().join("shop.maniac/HEAD")).unwrap();
            }
            for (branch, done) in &done {
                check(directory.path(), branch, done, &format!("{what}, HEAD gone: {without_head}"));
            }
        }
    }
    println!("{acknowledged} commits acknowledged, {refused} refused");
    assert!(refused > 0, "faults are met");
}
