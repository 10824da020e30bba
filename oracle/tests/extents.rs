//! About how much of each table a transaction changed, told from a sample, against what changed.

use std::collections::BTreeMap;

use maniac_diff::Extent;
use maniac_oracle::case::{Case, counts};

const SETUP: &str = "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c); CREATE TABLE w(a TEXT PRIMARY KEY, b) WITHOUT ROWID; \
     CREATE TABLE k(a TEXT PRIMARY KEY, b); CREATE INDEX i ON t(b); \
     WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 60000) INSERT INTO t SELECT x * 2, x, \
     'some text ' || x FROM s; INSERT INTO w SELECT 'key ' || a, b FROM t; INSERT INTO k SELECT 'key ' || a, b FROM t";

/// The tables' extents, and what the transaction changed without those that are not wanted.
fn extents(case: &mut Case, sql: &str, unwanted: &str) -> (BTreeMap<String, Extent>, Vec<(String, u64)>) {
    let before = case.pages.clone();
    case.run(sql);
    let mut extents = BTreeMap::new();
    let captured = case.tracker.capture_wanted(&before, &case.pages, &case.dirty, &mut |table, extent| {
        extents.insert(table.name.clone(), extent);
        table.name != unwanted
    });
    let captured = captured.unwrap();
    let changed = counts(&captured.changeset).into_iter();
    let changed = changed.map(|(table, inserts, updates, deletes)| (table.to_string(), inserts + updates + deletes));
    let changed = changed.collect();
    case.advance(captured);
    (extents, changed)
}

#[test]
fn extents_are_near_what_changed() {
    for page_size in [512, 4096, 65536] {
        let mut case = Case::new(&format!("PRAGMA page_size = {page_size}; {SETUP}"));
        for sql in [
            "UPDATE t SET c = c || '!'; UPDATE w SET b = b + 1; UPDATE k SET b = b + 1",
            "UPDATE t SET c = c || '!' WHERE a % 40 = 0; UPDATE w SET b = -b WHERE b % 20 = 0",
            "UPDATE t SET c = 'short' WHERE a BETWEEN 20000 AND 30000",
            "INSERT INTO t SELECT a + 1, b, c FROM t WHERE a % 3 = 0",
            "INSERT INTO t SELECT a + 1000000, b, c FROM t",
            "DELETE FROM t WHERE a % 2 = 0; DELETE FROM w WHERE b % 2; DELETE FROM k WHERE rowid > 30000",
            "DELETE FROM t; DELETE FROM w; DELETE FROM k",
        ] {
            let (extents, changed) = extents(&mut case, sql, "");
            for (table, rows) in changed {
                let about = extents[&table].rows;
                assert!(about >= rows / 2 && about <= rows * 3, "{page_size}, {sql}: {table} {about}, not {rows}");
            }
        }
    }
}

#[test]
fn rows_that_only_moved_are_none_that_changed() {
    let mut case = Case::new(SETUP);
    let captured = case.run("DELETE FROM t WHERE a % 10 = 0; DELETE FROM w WHERE b % 10 = 0");
    case.advance(captured);
    let (extents, changed) = extents(&mut case, "VACUUM", "");
    assert_eq!(changed, []);
    assert_eq!((extents["t"].rows, extents["k"].rows), (0, 0));
}

#[test]
fn rows_of_other_tables_are_left_out() {
    let mut case = Case::new(SETUP);
    let sql = "UPDATE t SET b = 0 WHERE a < 100; UPDATE w SET b = 0 WHERE b < 100; DELETE FROM k WHERE b = 7";
    let (_, changed) = extents(&mut case, sql, "w");
    assert_eq!(changed, [("t".to_string(), 49), ("k".to_string(), 1)]);
    let (_, changed) = extents(&mut case, "DROP TABLE k; CREATE TABLE k(a); INSERT INTO k VALUES(1), (2)", "k");
    assert_eq!(changed, []);
}

#[test]
fn the_first_transaction_has_extents_too() {
    let mut case = Case::new("");
    let (extents, changed) = extents(&mut case, SETUP, "w");
    assert_eq!(changed, [("t".to_string(), 60000), ("k".to_string(), 60000)]);
    assert!(extents.values().all(|extent| (30_000..=180_000).contains(&extent.rows)), "{extents:?}");
    assert!((1_000_000..3_000_000).contains(&extents["t"].bytes), "{extents:?}");
}
