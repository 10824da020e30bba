//! Writes fail in the middle of a transaction that is too large for memory: the file that its old pages are set aside in, the
//! one that its new pages spill to, the segment that it becomes. Nothing of it is there afterwards, and the next one works.

use maniac_sql_tests::dice::Dice;
use maniac_torture::engine::scratch;
use maniac_torture::faults::{EIO, ENOSPC, Fault, Faults, WRITES};
use maniac_torture::host::{Host, HostKind};

const STORE: &str = "file:shop.maniac?vfs=maniac";
const FULL: i32 = 13;
const IOERR: i32 = 10;

/// About a page each: more than the 16 MiB of a journal that are kept in memory, and, with the new ones, more than the
/// 64 MiB of a transaction.
const OLD_ROWS: u32 = 6_000;
const NEW_ROWS: u32 = 15_000;

fn rows(count: u32, what: &str) -> String {
    format!(
        "INSERT INTO t(x) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         SELECT '{what}' || hex(zeroblob(1900)) FROM n"
    )
}

fn large_transaction(host: &mut Host) -> Result<(), i32> {
    let sql = ["BEGIN".into(), "UPDATE t SET x = 'new' || x".into(), rows(NEW_ROWS, "new"), "COMMIT".into()];
    sql.iter().try_for_each(|sql: &String| host.run(sql).map(drop)).map_err(|error| {
        // SQLite has rolled back by itself where the error left no choice.
        let _ = host.run("ROLLBACK");
        error.code
    })
}

fn check(host: &mut Host, rows: u32, what: &str) {
    let beginning = if rows == OLD_ROWS { "old" } else { "new" };
    assert_eq!(host.value("SELECT count(*) FROM t"), rows.to_string(), "{what}");
    assert_eq!(host.value(&format!("SELECT count(*) FROM t WHERE x NOT GLOB '{beginning}*'")), "0", "{what}");
    assert_eq!(host.value("PRAGMA integrity_check"), "ok", "{what}");
}

#[test]
fn a_transaction_larger_than_memory() {
    let mut dice = Dice::new("faults_of_large", 5);
    let directory = scratch();
    let faults = Faults::new(directory.path(), "shop.maniac");
    let wrapper = faults.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let connect = || {
        let mut host = Host::start_under(HostKind::Rust, directory.path(), &wrapper);
        host.open(STORE).unwrap();
        host.run("PRAGMA cache_size = 100").unwrap();
        host
    };
    let mut host = connect();
    host.run("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
    host.run(&rows(OLD_ROWS, "old")).unwrap();
    // Nothing fails: how many calls there are, on a branch that nobody needs.
    host.value("SELECT maniac_branch_create('counted')");
    host.open(&format!("{STORE}&branch=counted")).unwrap();
    host.run("PRAGMA cache_size = 100").unwrap();
    faults.arm(u64::MAX, WRITES, Fault { errno: EIO, persistent: false, short: false });
    large_transaction(&mut host).unwrap();
    let calls = faults.seen();
    println!("{calls} calls");
    assert!(calls > 5_000, "a transaction larger than memory writes to files");
    check(&mut host, OLD_ROWS + NEW_ROWS, "nothing failed");
    host = connect();
    let parts = 12;
    for part in 0..parts {
        // A write that was cut short is tried again, and fails only when the disk has not recovered.
        let (persistent, short) = [(false, false), (true, false), (true, true)][dice.below(3) as usize];
        let fault = Fault { errno: if part % 2 == 0 { ENOSPC } else { EIO }, persistent, short };
        // The first and the last calls, and some of each part in between.
        let n = match part {
            0 => 1,
            1 => calls,
            _ => calls / parts * part + dice.below(calls / parts),
        };
        let what = format!("call {n} of {calls}, {fault:?}");
        faults.arm(n, WRITES, fault);
        let code = large_transaction(&mut host).expect_err(&what);
        assert!(faults.failed() > 0, "{what}");
        assert!(if fault.errno == ENOSPC { code == FULL } else { code & 0xff == IOERR }, "{what}: {code}");
        check(&mut host, OLD_ROWS, &what);
        faults.disarm();
        host.run("UPDATE t SET x = 'old' || x WHERE id = 1").unwrap_or_else(|error| panic!("{what}, after: {error:?}"));
        check(&mut host, OLD_ROWS, &what);
        if part % 4 == 3 {
            host = connect();
            check(&mut host, OLD_ROWS, &format!("{what}, opened again"));
        }
    }
    large_transaction(&mut host).unwrap();
    check(&mut host, OLD_ROWS + NEW_ROWS, "in the end");
}
