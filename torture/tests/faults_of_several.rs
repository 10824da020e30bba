//! Every call that changes a file fails once while a transaction over two branches commits, in each way that SQLite has of
//! committing several databases: the transaction is there on both branches, or, with an error, on none.

use std::path::Path;

use maniac_torture::engine::scratch;
use maniac_torture::faults::{ALL, EIO, ENOSPC, Fault, Faults};
use maniac_torture::host::{Host, HostKind};

const FULL: i32 = 13;
const IOERR: i32 = 10;

/// What a connection opens first, and what it says before the transaction.
const WAYS: &[(&str, &str)] = &[
    // A super-journal in this VFS; one in another; none.
    ("file:shop.maniac?vfs=maniac&branch=third", "PRAGMA cache_size"),
    ("file:plain.db?vfs=unix", "PRAGMA cache_size"),
    ("file::memory:", "PRAGMA cache_size"),
    // Which databases have changed shows late, or only at the end.
    ("file::memory:", "PRAGMA journal_mode = memory"),
    ("file::memory:", "PRAGMA journal_mode = off"),
    ("file::memory:", "PRAGMA locking_mode = exclusive"),
    // SQLite makes no super-journal for databases whose synchronous is OFF.
    ("file:shop.maniac?vfs=maniac&branch=third", "PRAGMA a.synchronous = off"),
    ("file::memory:", "PRAGMA a.synchronous = off"),
];

fn prepare(directory: &Path) {
    let mut host = Host::start(HostKind::Rust, directory);
    host.open("file:shop.maniac?vfs=maniac").unwrap();
    host.run("CREATE TABLE t(x, filler)").unwrap();
    for branch in ["dev", "third", "idle"] {
        host.value(&format!("SELECT maniac_branch_create('{branch}')"));
    }
    host.open("file:plain.db?vfs=unix").unwrap();
    host.run("CREATE TABLE u(x)").unwrap();
}

fn connect(directory: &Path, wrapper: &[&str], first: &str, before: &str) -> Host {
    let mut host = Host::start_under(HostKind::Rust, directory, wrapper);
    host.open(first).unwrap();
    for (name, branch) in [("a", "main"), ("b", "dev"), ("idle", "idle")] {
        host.run(&format!("ATTACH 'file:shop.maniac?vfs=maniac&branch={branch}' AS {name}")).unwrap();
    }
    host.run(before).unwrap();
    host
}

fn rows(host: &mut Host, schema: &str) -> String {
    host.value(&format!("SELECT coalesce(group_concat(x), '') FROM (SELECT x FROM {schema}.t ORDER BY x)"))
}

fn commit(host: &mut Host, number: u32) -> Result<(), i32> {
    let sql = [
        "BEGIN IMMEDIATE".to_string(),
        format!("INSERT INTO a.t VALUES ({number}, randomblob(20000))"),
        format!("INSERT INTO b.t VALUES ({number}, randomblob(9000))"),
        "COMMIT".to_string(),
    ];
    sql.iter().try_for_each(|sql| host.run(sql).map(drop)).map_err(|error| {
        // SQLite has rolled back by itself where the error left no choice.
        let _ = host.run("ROLLBACK");
        error.code
    })
}

/// False when no call was left to fail.
fn run(way: (&str, &str), n: u64, fault: Fault) -> bool {
    let directory = scratch();
    prepare(directory.path());
    let faults = Faults::new(directory.path(), "shop.maniac");
    let wrapper = faults.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut host = connect(directory.path(), &wrapper, way.0, way.1);
    commit(&mut host, 1).unwrap();
    faults.arm(n, ALL, fault);
    let outcome = commit(&mut host, 2);
    let failed = faults.failed() > 0;
    faults.disarm();
    let what = format!("{way:?}, call {n}, {fault:?}: {outcome:?}");
    let expected = match outcome {
        Ok(()) => "1,2",
        Err(code) => {
            assert!(if fault.errno == ENOSPC { code == FULL } else { code & 0xff == IOERR }, "{what}");
            "1"
        }
    };
    for round in 0..2 {
        assert_eq!([rows(&mut host, "a"), rows(&mut host, "b")], [expected; 2], "{what}, round {round}");
        assert_eq!(host.value("PRAGMA a.integrity_check"), "ok", "{what}");
        assert_eq!(host.value("PRAGMA b.integrity_check"), "ok", "{what}");
        if round == 0 {
            drop(host);
            host = connect(directory.path(), &[], way.0, way.1);
        }
    }
    commit(&mut host, 3).unwrap_or_else(|code| panic!("{what}, afterwards: {code}"));
    assert_eq!(
        [rows(&mut host, "a"), rows(&mut host, "b")],
        [format!("{expected},3"), format!("{expected},3")],
        "{what}"
    );
    failed
}

#[test]
fn on_both_branches_or_on_none() {
    for way in WAYS {
        for errno in [ENOSPC, EIO] {
            for persistent in [false, true] {
                let fault = Fault { errno, persistent, short: false };
                let failures = (1..).take_while(|n| run(*way, *n, fault)).count();
                println!("{way:?}: {failures} calls failed, one after the other, with {fault:?}");
                assert!(failures >= 2, "{way:?}: a write and an fsync at least");
            }
        }
    }
}
