//! Hosts of every kind work on one store at once: the command line, Python's module, apsw with its own SQLite, Rust.

use maniac_sql_tests::dice::Dice;
use maniac_torture::engine::scratch;
use maniac_torture::host::{Host, HostKind};

const STORE: &str = "file:shop.maniac?vfs=maniac";
const BUSY: i32 = 5;
const BUSY_SNAPSHOT: i32 = 517;

fn hosts(directory: &std::path::Path, kinds: &[HostKind]) -> Vec<Host> {
    let start = |kind: &HostKind| {
        let mut host = Host::start(*kind, directory);
        host.open(STORE).unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        host
    };
    kinds.iter().map(start).collect()
}

/// Whether an error has this code, or, where a host tells none, its message.
fn is(error: &maniac_torture::host::Refusal, code: i32) -> bool {
    error.code == code || (error.code == 0 && error.message.contains("database is locked"))
}

#[test]
fn what_one_host_writes_all_others_see() {
    let directory = scratch();
    let mut dice = Dice::new("hosts", 3);
    let mut hosts = hosts(directory.path(), &[HostKind::ALL, HostKind::ALL].concat());
    hosts[0].run("CREATE TABLE t(id INTEGER PRIMARY KEY, host INTEGER, x TEXT)").unwrap();
    let mut rows = 0;
    for round in 0..120 {
        let writer = dice.below(hosts.len() as u64) as usize;
        hosts[writer]
            .run(&format!("INSERT INTO t(host, x) VALUES ({writer}, hex(zeroblob({}))), (NULL, 'y')", dice.below(3000)))
            .unwrap_or_else(|error| panic!("round {round}, host {writer}: {error:?}"));
        rows += 2;
        let reader = dice.below(hosts.len() as u64) as usize;
        assert_eq!(hosts[reader].value("SELECT count(*) FROM t"), rows.to_string(), "round {round}, host {reader}");
        if dice.below(20) == 0 {
            let killed = dice.below(hosts.len() as u64) as usize;
            hosts[killed].kill();
            let kind = HostKind::ALL[killed % HostKind::ALL.len()];
            hosts[killed] = Host::start(kind, directory.path());
            hosts[killed].open(STORE).unwrap();
        }
    }
    for host in &mut hosts {
        assert_eq!(host.value("PRAGMA integrity_check"), "ok");
        assert_eq!(host.value("SELECT count(*) FROM t"), rows.to_string());
    }
}

#[test]
fn a_long_reader_sees_one_version_and_may_not_write_afterwards() {
    let directory = scratch();
    for reader in HostKind::ALL {
        let mut hosts = hosts(directory.path(), &[reader, HostKind::Rust]);
        hosts[1].run("DROP TABLE IF EXISTS t").unwrap();
        hosts[1].run("CREATE TABLE t(x)").unwrap();
        hosts[1].run("INSERT INTO t VALUES (1)").unwrap();
        hosts[0].run("BEGIN").unwrap();
        assert_eq!(hosts[0].value("SELECT sum(x) FROM t"), "1");
        for x in 2..40 {
            hosts[1].run(&format!("INSERT INTO t VALUES ({x})")).unwrap();
            assert_eq!(hosts[0].value("SELECT sum(x) FROM t"), "1", "{reader:?} after {x}");
        }
        // At once, and not after a timeout: waiting would not help.
        hosts[0].run("PRAGMA busy_timeout = 60000").unwrap();
        let error = hosts[0].run("INSERT INTO t VALUES (0)").unwrap_err();
        assert!(is(&error, BUSY_SNAPSHOT), "{reader:?}: {error:?}");
        assert_eq!(hosts[0].value("SELECT sum(x) FROM t"), "1", "{reader:?} still reads its version");
        hosts[0].run("ROLLBACK").unwrap();
        hosts[0].run("INSERT INTO t VALUES (1000)").unwrap();
        assert_eq!(hosts[0].value("SELECT sum(x) FROM t"), "1780", "{reader:?}");
    }
}

#[test]
fn a_busy_timeout_makes_a_writer_wait_for_its_turn() {
    let directory = scratch();
    for waiting in HostKind::ALL {
        let mut hosts = hosts(directory.path(), &[waiting, HostKind::Python]);
        hosts[1].run("DROP TABLE IF EXISTS t").unwrap();
        hosts[1].run("CREATE TABLE t(x)").unwrap();
        hosts[1].run("BEGIN IMMEDIATE").unwrap();
        hosts[1].run("INSERT INTO t VALUES (1)").unwrap();
        let error = hosts[0].run("BEGIN IMMEDIATE").unwrap_err();
        assert!(is(&error, BUSY), "{waiting:?}: {error:?}");
        hosts[0].run("PRAGMA busy_timeout = 60000").unwrap();
        let [mut first, mut second] = <[Host; 2]>::try_from(hosts).ok().expect("two");
        let waiter = std::thread::spawn(move || {
            first.run("BEGIN IMMEDIATE").unwrap();
            let seen = first.value("SELECT count(*) FROM t");
            first.run("INSERT INTO t VALUES (2)").unwrap();
            first.run("COMMIT").unwrap();
            seen
        });
        std::thread::sleep(std::time::Duration::from_millis(150));
        second.run("COMMIT").unwrap();
        assert_eq!(waiter.join().unwrap(), "1", "{waiting:?} began when the other was done");
        assert_eq!(second.value("SELECT count(*) FROM t"), "2", "{waiting:?}");
    }
}

#[test]
fn a_child_of_a_fork_gets_an_error_and_harms_nobody() {
    let directory = scratch();
    for kind in [HostKind::Python, HostKind::Apsw] {
        let mut hosts = hosts(directory.path(), &[kind, HostKind::Rust]);
        hosts[1].run("CREATE TABLE IF NOT EXISTS t(x)").unwrap();
        hosts[0].run("BEGIN IMMEDIATE").unwrap();
        hosts[0].run("INSERT INTO t VALUES (1)").unwrap();
        // From here on a child answers, and its parent only waits.
        hosts[0].run(".fork").unwrap();
        for sql in ["COMMIT", "SELECT * FROM t", "INSERT INTO t VALUES (2)"] {
            let error = hosts[0].run(sql).expect_err(sql);
            assert_eq!(error.code & 0xff, 21, "{kind:?}, {sql}: {error:?}");
        }
        let reason = hosts[0].value("SELECT maniac_last_error()");
        assert!(reason.contains("before this process forked; open it again"), "{kind:?}: {reason}");
        // The parent's transaction is still open: the child may not let go of its lock, not even when it closes.
        hosts[0].open(STORE).unwrap();
        let error = hosts[1].run("BEGIN IMMEDIATE").unwrap_err();
        assert!(is(&error, BUSY), "{kind:?}: {error:?}");
        assert_eq!(hosts[0].value("SELECT count(*) FROM t"), "0", "a connection of the child's own");
        drop(hosts.remove(0));
        let mut last = hosts.remove(0);
        assert_eq!(last.value("SELECT count(*) FROM t"), "0");
    }
}

#[test]
fn a_child_that_outlives_its_parent_keeps_no_lock() {
    let directory = scratch();
    for kind in [HostKind::Python, HostKind::Apsw] {
        let mut hosts = hosts(directory.path(), &[kind, HostKind::Rust]);
        hosts[1].run("CREATE TABLE IF NOT EXISTS t(x)").unwrap();
        hosts[0].run("BEGIN IMMEDIATE").unwrap();
        hosts[0].run("INSERT INTO t VALUES (1)").unwrap();
        hosts[0].run(".fork").unwrap();
        let error = hosts[1].run("BEGIN IMMEDIATE").unwrap_err();
        assert!(is(&error, BUSY), "{kind:?}, while the parent lives: {error:?}");
        hosts[0].kill();
        hosts[1].run("BEGIN IMMEDIATE").unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        hosts[1].run("INSERT INTO t VALUES (2)").unwrap();
        hosts[1].run("COMMIT").unwrap();
        // The child is there, and works with a connection of its own.
        assert!(hosts[0].run("COMMIT").is_err(), "{kind:?}");
        hosts[0].open(STORE).unwrap();
        hosts[0].run("INSERT INTO t VALUES (3)").unwrap();
        assert_eq!(hosts[1].value("SELECT group_concat(x) FROM t"), "2,3", "{kind:?}");
        hosts[1].run("DELETE FROM t").unwrap();
    }
}

/// The pragmas that these send when they connect, and the answers they accept.
#[test]
fn pragmas_of_database_layers() {
    let directory = scratch();
    let django = [
        ("PRAGMA journal_mode = wal", "wal"),
        ("PRAGMA synchronous = normal", ""),
        ("PRAGMA foreign_keys = ON", ""),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA mmap_size = 134217728", "?"),
        ("PRAGMA journal_size_limit = 27103364", "27103364"),
        ("PRAGMA cache_size = 2000", ""),
        ("PRAGMA cache_size", "2000"),
        ("PRAGMA temp_store = memory", ""),
        ("PRAGMA busy_timeout = 5000", "5000"),
        ("PRAGMA legacy_alter_table = ON", ""),
        ("PRAGMA foreign_key_check", ""),
    ];
    let active_record = [
        ("PRAGMA journal_mode = WAL", "wal"),
        ("PRAGMA synchronous = off", ""),
        ("PRAGMA synchronous", "0"),
        ("PRAGMA synchronous = 1", ""),
        ("PRAGMA synchronous", "1"),
        ("PRAGMA mmap_size = 134217728", "?"),
        ("PRAGMA journal_size_limit = 67108864", "67108864"),
        ("PRAGMA cache_size = 2000", ""),
        ("PRAGMA defer_foreign_keys = ON", ""),
        ("PRAGMA encoding", "UTF-8"),
    ];
    let alchemy = [
        ("PRAGMA main.table_info('t')", "?"),
        ("PRAGMA main.foreign_key_list('t')", ""),
        ("PRAGMA main.index_list('t')", ""),
        ("PRAGMA read_uncommitted", "0"),
        ("PRAGMA read_uncommitted = 1", ""),
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA main.journal_mode", "wal"),
        ("PRAGMA wal_autocheckpoint = 1000", "1000"),
        ("PRAGMA wal_checkpoint", "0"),
        ("PRAGMA wal_checkpoint(PASSIVE)", "0"),
        ("PRAGMA wal_checkpoint(TRUNCATE)", "0"),
        ("PRAGMA optimize", ""),
        ("PRAGMA auto_vacuum", "0"),
    ];
    for kind in HostKind::ALL {
        let mut host = hosts(directory.path(), &[kind]).remove(0);
        for (sql, expected) in [&django[..], &active_record, &alchemy].concat() {
            let rows = host.run(sql).unwrap_or_else(|error| panic!("{kind:?}, {sql}: {error:?}"));
            let first = rows.first().and_then(|row| row.first()).map_or("", String::as_str);
            assert!(expected == "?" || first == expected, "{kind:?}, {sql}: {rows:?}");
        }
        host.run("CREATE TABLE IF NOT EXISTS t(x)").unwrap();
        host.run("INSERT INTO t VALUES (1)").unwrap();
    }
}
