//! Calls fail while two processes write to two branches: each waits for fsyncs that may be the other's. What was acknowledged
//! is there; what failed may be there where the other branch's commit had followed it in the log (`docs/format.md`), but whole.

use std::collections::BTreeSet;
use std::path::Path;

use maniac_sql_tests::dice::Dice;
use maniac_torture::engine::scratch;
use maniac_torture::faults::{ALL, EIO, ENOSPC, Fault, Faults};
use maniac_torture::host::{Host, HostKind};

const BRANCHES: [&str; 2] = ["main", "dev"];
const COMMITS: u64 = 60;

fn connect(directory: &Path, wrapper: &[&str], branch: &str, level: &str) -> Host {
    let mut host = Host::start_under(HostKind::Rust, directory, wrapper);
    host.open(&format!("file:shop.maniac?vfs=maniac&branch={branch}")).unwrap();
    host.run(&format!("PRAGMA synchronous = {level}")).unwrap();
    host
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

fn check(directory: &Path, branch: &str, done: &BTreeSet<u64>, failed: &BTreeSet<u64>, what: &str) {
    let mut host = connect(directory, &[], branch, "FULL");
    assert_eq!(host.value("PRAGMA integrity_check"), "ok", "{what}");
    let rows = host.run("SELECT n, count(*) FROM t GROUP BY n").unwrap();
    assert!(rows.iter().all(|row| row[1] == "2"), "{what}: a part of a commit on {branch}");
    let found: BTreeSet<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert!(done.is_subset(&found), "{what}: lost on {branch}: {:?}", done - &found);
    assert!((&found - done).is_subset(failed), "{what}: nobody wrote {:?}", &(&found - done) - failed);
}

#[test]
fn what_was_acknowledged_on_either_branch_is_there() {
    let mut dice = Dice::new("faults_of_two_writers", 9);
    let (mut acknowledged, mut refused) = (0, 0);
    for round in 0..24 {
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
        let (n, level) = (1 + dice.below(3 * COMMITS), ["FULL", "FULL", "NORMAL"][dice.below(3) as usize]);
        let what = format!("round {round}, call {n}, {fault:?}, {level}");
        let hosts = BRANCHES.map(|branch| connect(directory.path(), &wrapper, branch, level));
        faults.arm(n, ALL, fault);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = hosts.into_iter().map(|host| scope.spawn(|| write(host, 1))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        faults.disarm();
        let again = BRANCHES.map(|branch| write(connect(directory.path(), &wrapper, branch, level), 1001));
        for without_head in [false, true] {
            if without_head {
                std::fs::remove_file(directory.path().join("shop.maniac/HEAD")).unwrap();
            }
            for (branch, (first, second)) in BRANCHES.iter().zip(outcomes.iter().zip(&again)) {
                assert!(second.1.is_empty(), "{what}: the store works again");
                let done = &first.0 | &second.0;
                check(directory.path(), branch, &done, &first.1, &format!("{what}, HEAD gone: {without_head}"));
                acknowledged += done.len();
                refused += first.1.len();
            }
        }
    }
    println!("{acknowledged} commits acknowledged, {refused} refused");
    assert!(refused > 0, "faults are met");
}
