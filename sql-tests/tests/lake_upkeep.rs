//! A lake that is maintained every second while rows change in it, through kills: every snapshot that is left shows what
//! the store had at the version that it names, and the current tables equal the source.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const ROWS: u64 = 300;
const LOOKS: usize = 40;
/// Half seconds that the stream may take to leave that many behind.
const PATIENCE: usize = 240;

/// One to some hundred rows of a table of a few hundred change, by key or by range; sometimes rows come and go.
fn change(dice: &mut Dice) -> String {
    let (low, number) = (dice.below(ROWS), dice.below(1_000_000));
    match dice.below(6) {
        0 => format!("UPDATE t SET v = 'range {number}' WHERE id BETWEEN {low} AND {low} + 250"),
        1 => format!("DELETE FROM t WHERE id = {low}; DELETE FROM k WHERE a = 'key {low}'"),
        2 => format!("INSERT OR REPLACE INTO t VALUES ({low}, 'new {number}')"),
        3 => format!("INSERT OR REPLACE INTO k VALUES ('key {low}', {number})"),
        _ => {
            format!("UPDATE t SET v = 'one {number}' WHERE id = {low}; UPDATE k SET b = {number} WHERE a = 'key {low}'")
        }
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(digits) => digits.parse().unwrap(),
        other => panic!("an integer: {other:?}"),
    }
}

/// The snapshots that name a version.
fn marked(duckdb: &mut Session) -> Vec<Vec<Value>> {
    duckdb
        .run(
            "SELECT snapshot_id, TRY_CAST(commit_extra_info AS JSON)->>'version' AS version FROM lake.snapshots() \
             WHERE version IS NOT NULL ORDER BY 1",
        )
        .unwrap()
}

fn rewrites(duckdb: &mut Session) -> i64 {
    let count = "SELECT count(*) FROM lake.snapshots() WHERE commit_message LIKE '%: rewrite, at%'";
    integer(&duckdb.run(count).unwrap()[0][0])
}

/// Compares snapshots, spread over those that name a version, with the store at that version.
fn check_the_past(duckdb: &mut Session) -> usize {
    let marked = marked(duckdb);
    let step = marked.len().div_ceil(LOOKS);
    for row in marked.iter().step_by(step) {
        let [snapshot, Value::Text(version)] = row.as_slice() else { panic!("{row:?}") };
        let snapshot = integer(snapshot);
        for table in ["t", "k"] {
            let sides = [
                format!("FROM lake.shop.{table} AT (VERSION => {snapshot})"),
                format!("FROM maniac_scan('shop.maniac', '{table}', at := '{version}')"),
            ];
            let [a, b] = &sides;
            let differing = duckdb
                .run(&format!("SELECT count(*) FROM (({a} EXCEPT ALL {b}) UNION ALL ({b} EXCEPT ALL {a}))"))
                .unwrap_or_else(|error| panic!("snapshot {snapshot}, version {version}, {table}: {error}"));
            assert_eq!(integer(&differing[0][0]), 0, "snapshot {snapshot}, version {version}, {table}");
        }
    }
    marked.len()
}

#[test]
fn a_maintained_lake_keeps_its_past_and_its_present() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    writer
        .run(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE k(a TEXT PRIMARY KEY, b INTEGER); \
             INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
               SELECT i, 'first' FROM n; INSERT INTO k SELECT 'key ' || id, id FROM t;"
        ))
        .unwrap();
    let mut dice = Dice::new("lake_upkeep", 20_261_120);
    let mut writers_dice = Dice::seeded(dice.below(u64::MAX));
    let stop = AtomicBool::new(false);
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db").unwrap();
    let attach = |keep: u64| {
        format!(
            "LOAD '{}'; ATTACH IF NOT EXISTS 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); \
             CALL maniac_attach('shop.maniac', lake := 'lake', batch_timeout_ms := 20, maintain_every_s := 1, \
                                keep_snapshots_s := {keep})",
            tools.ducklake.display()
        )
    };
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                writer.run(&format!("BEGIN; {}; COMMIT;", change(&mut writers_dice))).unwrap();
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        for _ in 0..3 {
            duckdb.run(&attach(3600)).unwrap();
            std::thread::sleep(Duration::from_millis(1500 + dice.below(1500)));
            duckdb.kill().unwrap();
        }
        duckdb.run(&attach(3600)).unwrap();
        // However slow the machine is, until there is enough of a past, and a part of it was rewritten.
        for _ in 0..PATIENCE {
            std::thread::sleep(Duration::from_millis(500));
            if marked(&mut duckdb).len() > 2 * LOOKS && rewrites(&mut duckdb) > 0 {
                break;
            }
        }
        stop.store(true, Ordering::Release);
        stream.join().unwrap();
    });
    duckdb.run("CALL maniac_wait('shop'); CALL maniac_maintain('shop')").unwrap();
    assert_eq!(compare::all(&mut writer, &mut duckdb, "lake.shop").unwrap(), 2);
    assert!(rewrites(&mut duckdb) > 0, "files were rewritten meanwhile");
    let all = check_the_past(&mut duckdb);
    assert!(all > LOOKS, "{all} snapshots name their version");

    // With less to keep, most of them go, and those that stay are as right.
    duckdb.run("CALL maniac_detach('shop')").unwrap();
    duckdb.run(&attach(1)).unwrap();
    for n in 0..30 {
        writer.run(&change(&mut dice)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        if n == 20 {
            duckdb.kill().unwrap();
            duckdb.run(&attach(1)).unwrap();
        }
    }
    // Paused, it expires only what it is told to.
    let still = "CALL maniac_wait('shop'); CALL maniac_pause('shop'); CALL maniac_maintain('shop', step := 'expire')";
    duckdb.run(still).unwrap();
    assert!(check_the_past(&mut duckdb) < all);
    assert_eq!(compare::all(&mut writer, &mut duckdb, "lake.shop").unwrap(), 2);
    let troubles = duckdb.run("SELECT repaired_tables, errors, last_error FROM maniac_status()").unwrap();
    assert_eq!(troubles, [[Value::Integer("0".into()), Value::Integer("0".into()), Value::Null]]);
    println!("{all} snapshots");
    duckdb.exit().unwrap();
    writer.exit().unwrap();
}
