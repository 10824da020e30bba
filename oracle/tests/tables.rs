//! Tables and rows that need care of their own.

use maniac_oracle::case::{Case, counts, targets};
use maniac_sqlite_format::{KeyForm, TableKind};

#[test]
fn a_row_with_null_in_its_key_is_not_lost() {
    let mut case = Case::new("CREATE TABLE t(a TEXT, b INT, c, PRIMARY KEY(a, b))");
    let table = case.tracker.schema().table("t").unwrap();
    assert_eq!(table.key_form(), KeyForm::Declared { nullable: true });
    for (sql, expected, expected_targets) in [
        ("INSERT INTO t VALUES('a', 1, 1), (NULL, 1, 2), ('a', NULL, 3), (NULL, 1, 4)", (4, 0, 0), vec![false, true]),
        ("UPDATE t SET c = 5 WHERE c = 4", (0, 1, 0), vec![true]),
        ("UPDATE t SET a = 'key' WHERE c = 2", (1, 0, 1), vec![false, true]),
        ("UPDATE t SET b = NULL WHERE c = 1", (1, 0, 1), vec![false, true]),
        ("DELETE FROM t", (0, 0, 4), vec![false, true]),
    ] {
        let captured = case.run_and_copy(sql, "");
        let (inserts, updates, deletes) = expected;
        assert_eq!(counts(&captured.changeset), [("t", inserts, updates, deletes)], "{sql}");
        let expected: Vec<_> = expected_targets.into_iter().map(|null| ("t".to_string(), null)).collect();
        assert_eq!(targets(&captured.changeset), expected, "{sql}");
        case.advance(captured);
    }
}

#[test]
fn shadow_tables_are_rows_and_virtual_tables_are_not() {
    let mut case = Case::new("");
    // Creating a virtual table writes first rows into its shadow tables, so a copy that runs the same statement has them.
    let captured =
        case.run("CREATE VIRTUAL TABLE docs USING fts5(title, body); CREATE VIRTUAL TABLE box USING rtree(id, x0, x1)");
    assert!(targets(&captured.changeset).contains(&("docs_config".to_string(), false)));
    case.advance(captured);
    let captured = case.run_and_copy(
        "INSERT INTO docs VALUES('one', 'a quick brown fox'), ('two', 'a lazy dog'); INSERT INTO box VALUES(1, 0, 5)",
        "",
    );
    let tables: Vec<String> = targets(&captured.changeset).into_iter().map(|(table, _)| table).collect();
    assert!(tables.contains(&"docs_content".to_string()) && tables.contains(&"box_node".to_string()), "{tables:?}");
    assert!(!tables.contains(&"docs".to_string()));
    for name in &tables {
        let kind = &case.tracker.schema().table(name).unwrap().kind;
        assert!(matches!(kind, TableKind::Shadow { of } if of == "docs" || of == "box"), "{name}: {kind:?}");
    }
    let virtual_table = case.tracker.schema().table("DOCS").unwrap();
    assert_eq!(virtual_table.kind, TableKind::Virtual { module: "fts5".into() });
    let found: String =
        case.copy().query_row("SELECT title FROM docs WHERE docs MATCH 'lazy'", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "two");
    case.advance(captured);
}

#[test]
fn sqlites_own_tables_stay_out() {
    let mut case = Case::new("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, b); CREATE INDEX i ON t(b)");
    let captured = case.run("INSERT INTO t(b) VALUES(1), (2)");
    assert_eq!(targets(&captured.changeset), [("t".to_string(), false)]);
    case.advance(captured);
    let captured = case.run("ANALYZE");
    assert!(captured.changeset.is_empty());
    case.advance(captured);
}

#[test]
fn the_key_of_a_keyless_table_is_its_rowid() {
    let mut case = Case::new("CREATE TABLE t(a, b)");
    let captured = case.run_and_copy("INSERT INTO t(_rowid_, a) VALUES(-5, 1), (9, 1)", "");
    case.advance(captured);
    let captured =
        case.run_and_copy("UPDATE t SET _rowid_ = 10 WHERE _rowid_ = 9; UPDATE t SET b = 2 WHERE _rowid_ = -5", "");
    assert_eq!(counts(&captured.changeset), [("t", 1, 1, 1)]);
    case.advance(captured);
}

/// REPLACE gives a row another rowid; its key is the same, so it is one update.
#[test]
fn a_row_that_moved_to_another_rowid_is_one_update() {
    let mut case =
        Case::new("CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v, w); INSERT INTO t VALUES('a', 1, 2), ('b', 3, 4)");
    let captured = case.run_and_copy("REPLACE INTO t VALUES('a', 1, 5)", "");
    assert_eq!(counts(&captured.changeset), [("t", 0, 1, 0)]);
    case.advance(captured);
    let captured = case.run_and_copy("REPLACE INTO t VALUES('a', 1, 5)", "");
    assert_eq!(counts(&captured.changeset), []);
    case.advance(captured);
}

/// Keys that a collation takes for equal are two keys in a changeset: the old one goes before the new one comes.
#[test]
fn a_key_may_change_within_its_collation() {
    for options in ["", " WITHOUT ROWID"] {
        let mut case = Case::new(&format!(
            "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v){options}; INSERT INTO t VALUES('a', 1), ('b', 2)"
        ));
        let captured = case.run_and_copy("UPDATE t SET k = 'A' WHERE k = 'a'", "");
        assert_eq!(counts(&captured.changeset), [("t", 1, 0, 1)]);
        case.advance(captured);
    }
}

/// A collation that only the application knows: the order of the tree is unknown here, the rows are found all the same.
#[test]
fn a_collation_of_the_applications_own() {
    let mut case = Case::new("");
    case.db.create_collation("backwards", |a, b| b.cmp(a)).unwrap();
    let captured = case.run("CREATE TABLE t(k TEXT PRIMARY KEY COLLATE backwards, v) WITHOUT ROWID");
    case.advance(captured);
    let captured = case.run(
        "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 500) \
         INSERT INTO t SELECT 'key ' || x, zeroblob(x % 50) FROM s",
    );
    assert_eq!(counts(&captured.changeset), [("t", 500, 0, 0)]);
    case.advance(captured);
    let captured = case
        .run("DELETE FROM t WHERE length(v) = 7; INSERT INTO t VALUES('key', 1); UPDATE t SET v = 0 WHERE k = 'key 9'");
    assert_eq!(counts(&captured.changeset), [("t", 1, 1, 10)]);
    case.advance(captured);
}
