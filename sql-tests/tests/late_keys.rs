//! A large native table gets its primary key when it changes in small batches again and again, and not for large ones. The
//! database can be opened after a kill whatever happens around that.

use std::path::Path;

use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const STORE: &str = "file:shop.maniac?vfs=maniac";

fn duckdb(tools: &Tools, directory: &Path) -> Session {
    let mut duckdb = Session::new(Kind::Duckdb, tools, directory);
    duckdb.open("olap.db").unwrap();
    duckdb.run("CALL maniac_attach('shop.maniac')").unwrap();
    duckdb
}

/// Whether each of the mirror's tables has a primary key, in the order of their names.
fn keys(duckdb: &mut Session) -> Vec<bool> {
    let of_tables = "SELECT has_primary_key FROM duckdb_tables() WHERE schema_name = 'shop' \
                     AND NOT starts_with(table_name, '_maniac') ORDER BY table_name";
    duckdb.run(of_tables).unwrap().into_iter().map(|row| row[0] == Value::Boolean(true)).collect()
}

#[test]
fn a_table_that_changes_in_small_batches_gets_its_key() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open(STORE).unwrap();
    writer
        .run(
            "PRAGMA synchronous = OFF; CREATE TABLE keyless(v TEXT, n INTEGER); \
             CREATE TABLE large(v TEXT, id INTEGER PRIMARY KEY, n INTEGER); \
             INSERT INTO large WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000) \
               SELECT 'row ' || i, i * 2, i FROM n; INSERT INTO keyless SELECT v, n FROM large",
        )
        .unwrap();
    let mut mirror = duckdb(&tools, directory.path());
    let mut batch = |mirror: &mut Session, sql: &str| {
        writer.run(sql).unwrap();
        mirror.run("CALL maniac_wait('shop')").unwrap();
    };
    for n in 0..50 {
        batch(&mut mirror, &format!("UPDATE large SET n = n + 1 WHERE id BETWEEN {n} * 100 AND {n} * 100 + 400"));
    }
    assert_eq!(keys(&mut mirror), [false, false], "reading all keys costs less");
    let mut batches = 0;
    while keys(&mut mirror) != [true, true] {
        batches += 1;
        assert!(batches < 100, "after {batches} batches");
        let (key, row) = (batches * 1000, batches * 7);
        batch(
            &mut mirror,
            &format!(
                "BEGIN; DELETE FROM large WHERE id = {key}; INSERT INTO large VALUES ('between', {key} + 1, 0); \
                 UPDATE keyless SET n = -1 WHERE rowid = {row}; UPDATE large SET v = 'again' WHERE id = 2 * {row}; COMMIT"
            ),
        );
    }
    assert!(batches > 10, "after {batches} batches");
    // What changed in the batch that came with the key changes again, and the database has no checkpoint when it is opened.
    let (key, row) = (batches * 1000, batches * 7);
    batch(
        &mut mirror,
        &format!(
            "DELETE FROM large WHERE id = {key} + 1; UPDATE keyless SET n = -2 WHERE rowid = {row}; \
             UPDATE large SET v = 'and again' WHERE id = 2 * {row}"
        ),
    );
    mirror.kill().unwrap();
    let mut mirror = duckdb(&tools, directory.path());
    assert_eq!(keys(&mut mirror), [true, true]);
    writer.run("UPDATE large SET n = -3 WHERE id % 1000 = 0; DELETE FROM keyless WHERE n % 500 = 0").unwrap();
    mirror.run("CALL maniac_wait('shop')").unwrap();
    assert_eq!(compare::all(&mut writer, &mut mirror, "shop").unwrap(), 2);
    let status = mirror.run("SELECT errors, repaired_tables FROM maniac_status()").unwrap();
    assert_eq!(status, [["0", "0"].map(|digits| Value::Integer(digits.to_string()))]);
    mirror.exit().unwrap();
}
