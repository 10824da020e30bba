//! A native table whose rows change again and again, a few of them at a time, takes no more room than twice its rows, and some.

use maniac_sql_tests::{Kind, Session, Tools, Value};

const ROWS: i64 = 9_900;
/// So many of its rows are gone before a table is copied anew.
const TOLERATED: i64 = 500_000;

#[test]
fn a_table_whose_rows_change_again_and_again_is_copied_anew() {
    let directory = tempfile::tempdir().unwrap();
    let tools = Tools::find();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    let tables = format!(
        "PRAGMA synchronous = OFF; CREATE TABLE keyed(id INTEGER PRIMARY KEY, n INTEGER); \
         CREATE TABLE own(rowid TEXT, id INTEGER PRIMARY KEY, n INTEGER); \
         INSERT INTO keyed WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {ROWS}) SELECT i, 0 FROM s; \
         INSERT INTO own SELECT 'row ' || id, id * 1000, 0 FROM keyed"
    );
    writer.run(&tables).unwrap();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db").unwrap();
    duckdb.run("CALL maniac_attach('shop.maniac', mode := 'streaming')").unwrap();

    let number = |duckdb: &mut Session, sql: &str| match &duckdb.run(sql).unwrap()[0][0] {
        Value::Integer(digits) => digits.parse::<i64>().unwrap(),
        other => panic!("{sql}: {other:?}"),
    };
    let mut places = Vec::new();
    for round in 1..=TOLERATED / ROWS + 1 {
        writer.run("UPDATE keyed SET n = n + 1; UPDATE own SET n = n + 1").unwrap();
        duckdb.run("CALL maniac_wait('shop')").unwrap();
        assert_eq!(number(&mut duckdb, "SELECT sum(n)::BIGINT FROM shop.keyed"), round * ROWS);
        places.push(number(&mut duckdb, "SELECT max(rowid) + 1 FROM shop.keyed"));
    }
    // Rows are where they were written, behind those that are gone.
    let last = places.pop().unwrap();
    let expected: Vec<i64> = (2..2 + places.len() as i64).map(|times| times * ROWS).collect();
    assert_eq!((places, last), (expected, ROWS));
    let groups = "SELECT count(DISTINCT row_group_id) FROM pragma_storage_info('shop.own')";
    duckdb.run("CHECKPOINT").unwrap();
    assert_eq!(number(&mut duckdb, groups), 1, "though it hides where its rows are");
    assert_eq!(number(&mut duckdb, "SELECT repaired_tables + errors FROM maniac_status()"), 0);

    writer.run("UPDATE keyed SET n = 7 WHERE id = 9; DELETE FROM own WHERE id > 5000").unwrap();
    duckdb.run("CALL maniac_wait('shop')").unwrap();
    assert_eq!(number(&mut duckdb, "SELECT n FROM shop.keyed WHERE id = 9"), 7);
    assert_eq!(number(&mut duckdb, "SELECT count(*) FROM shop.own"), 5);
    duckdb.exit().unwrap();
    writer.exit().unwrap();
}
