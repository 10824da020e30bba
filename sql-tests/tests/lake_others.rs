//! Mirrors in a lake that others use too, in ways that DuckLake 1.5.5 does not take by itself (design note 024): another mirror,
//! and a user who has snapshots expire. `python_hosts` has a user who writes meanwhile.

use std::path::Path;
use std::time::Duration;

use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const STORE: &str = "file:shop.maniac?vfs=maniac";

fn writer(directory: &Path, setup: &str) -> Session {
    let mut writer = Session::new(Kind::Sqlite, &Tools::find(), directory);
    writer.open(STORE).unwrap();
    writer.run(setup).unwrap();
    writer
}

fn duckdb(directory: &Path) -> Session {
    let tools = Tools::find();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory);
    duckdb.open("olap.db").unwrap();
    let lake = "ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')";
    duckdb.run(&format!("LOAD '{}'; {lake}", tools.ducklake.display())).unwrap();
    duckdb
}

fn integer(session: &mut Session, sql: &str) -> i64 {
    match &session.run(sql).unwrap()[0][0] {
        Value::Integer(digits) => digits.parse().unwrap(),
        other => panic!("{sql}: {other:?}"),
    }
}

/// The mirror has what the store has, and has copied nothing to have it.
fn assert_same(writer: &mut Session, duckdb: &mut Session, mirror: &str) {
    duckdb.run(&format!("CALL maniac_wait('{mirror}')")).unwrap();
    compare::all(writer, duckdb, &format!("lake.{mirror}")).unwrap();
    assert_eq!(integer(duckdb, "SELECT sum(repaired_tables)::BIGINT FROM maniac_status()"), 0);
}

/// Changes of rows that leave deleted rows behind in files.
fn churn(round: usize) -> String {
    format!(
        "BEGIN; DELETE FROM t WHERE id % 7 = {round} % 7; INSERT OR REPLACE INTO t WITH RECURSIVE n(i) AS \
         (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT i, {round} FROM n; COMMIT"
    )
}

/// What a transaction that makes a table refers to belongs to a cache, which lets go of it when a snapshot expires that has the
/// same tables.
#[test]
fn tables_are_made_while_ducklake_forgets_what_it_has_read() {
    const TABLES: usize = 40;
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path(), "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let mut duckdb = duckdb(directory.path());
    duckdb.run("CREATE TABLE lake.own (i INTEGER); CALL maniac_attach('shop.maniac', lake := 'lake')").unwrap();
    for round in 0..3 {
        duckdb.run("CALL maniac_pause('shop')").unwrap();
        let before = integer(&mut duckdb, "SELECT id FROM lake.current_snapshot()");
        duckdb.run(&"INSERT INTO lake.own VALUES (1); ".repeat(40)).unwrap();
        let mut made = String::from("BEGIN; ");
        for table in 0..TABLES {
            made += &format!(
                "CREATE TABLE made_{round}_{table}(id INTEGER PRIMARY KEY, v TEXT); \
                 INSERT INTO made_{round}_{table} WITH RECURSIVE n(i) AS \
                 (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i, 'row ' || i FROM n; "
            );
        }
        writer.run(&format!("{made} COMMIT")).unwrap();
        let head = integer(&mut writer, "SELECT maniac_head()");
        duckdb.run("CALL maniac_resume('shop')").unwrap();
        for snapshot in before + 1..before + 40 {
            let expire = format!("ducklake_expire_snapshots('lake', versions => [{snapshot}])");
            duckdb.run(&format!("SELECT count(*) FROM {expire}; SELECT max(name) FROM duckdb_settings()")).unwrap();
            if integer(&mut duckdb, "SELECT applied_version FROM maniac_status()") >= head {
                break;
            }
            // Not so often that it expires while the mirror reads it anew.
            std::thread::sleep(Duration::from_millis(30));
        }
        duckdb.run("CALL maniac_wait('shop')").unwrap();
    }
    assert_same(&mut writer, &mut duckdb, "shop");
}

/// A compaction whose commit has to start over because of another one makes the database unusable.
#[test]
fn one_mirror_is_maintained_while_another_follows() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(directory.path(), "CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER)");
    let mut duckdb = duckdb(directory.path());
    for mirror in ["one", "another"] {
        duckdb
            .run(&format!(
                "CALL maniac_attach('shop.maniac', lake := 'lake', schema := '{mirror}', mode := 'streaming')"
            ))
            .unwrap();
    }
    for round in 0..10 {
        for part in 0..4 {
            writer.run(&churn(4 * round + part)).unwrap();
        }
        duckdb.run("CALL maniac_wait('one')").unwrap();
        writer.run(&churn(round)).unwrap();
        duckdb.run("CALL maniac_maintain('one')").unwrap();
    }
    assert_same(&mut writer, &mut duckdb, "one");
    assert_same(&mut writer, &mut duckdb, "another");
}
