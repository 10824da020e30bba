//! Changes of the schema, alone and together with rows.

use maniac_base::Value;
use maniac_changeset::{Item, Op, Reader};
use maniac_oracle::case::{Case, counts, targets};
use maniac_sqlite_format::TableKind;

type Row = Vec<Option<Value<'static>>>;

fn changes(changeset: &[u8]) -> Vec<(Op, Row, Row)> {
    let items = Reader::new(changeset).map(Result::unwrap);
    let changes = items.filter_map(|item| match item {
        Item::Table(_) => None,
        Item::Change(change) => {
            let row = |record: Option<maniac_changeset::Record<'_>>| -> Row {
                record.iter().flat_map(|record| record.values()).map(|value| value.map(Value::into_owned)).collect()
            };
            Some((change.op, row(change.old), row(change.new)))
        }
    });
    changes.collect()
}

fn integer(value: i64) -> Option<Value<'static>> {
    Some(Value::Integer(value))
}

const SETUP: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 10, 20), (2, 30, 40)";

#[test]
fn an_added_column_is_no_change_of_rows() {
    let mut case = Case::new(SETUP);
    let ddl = "ALTER TABLE t ADD COLUMN c DEFAULT 7";
    let captured = case.run_and_copy(ddl, ddl);
    assert!(captured.changeset.is_empty());
    let schema = changes(&captured.schema);
    assert_eq!((schema.len(), schema[0].0), (1, Op::Update));
    assert_eq!(targets(&captured.schema), [("sqlite_schema".to_string(), false)]);
    case.advance(captured);
    // The row was written before the column: its old value is the default.
    let captured = case.run_and_copy("UPDATE t SET c = 8 WHERE id = 1", "");
    assert_eq!(
        changes(&captured.changeset),
        [(Op::Update, vec![integer(1), None, None, integer(7)], vec![None, None, None, integer(8)])]
    );
    case.advance(captured);
}

#[test]
fn rows_come_in_the_newer_shape() {
    let mut case = Case::new(SETUP);
    let ddl = "ALTER TABLE t DROP COLUMN a; ALTER TABLE t RENAME TO u";
    let captured = case.run_and_copy(
        "UPDATE t SET a = 0, b = 21 WHERE id = 1; ALTER TABLE t DROP COLUMN a; DELETE FROM t WHERE id = 2; \
         ALTER TABLE t RENAME TO u; INSERT INTO u VALUES(3, 50)",
        ddl,
    );
    assert_eq!(counts(&captured.changeset), [("u", 1, 1, 1)]);
    assert_eq!(
        changes(&captured.changeset),
        [
            (Op::Delete, vec![integer(2), integer(40)], vec![]),
            (Op::Update, vec![integer(1), integer(20)], vec![None, integer(21)]),
            (Op::Insert, vec![], vec![integer(3), integer(50)]),
        ]
    );
    case.advance(captured);
}

#[test]
fn a_renamed_column_keeps_its_values() {
    let mut case = Case::new(SETUP);
    let ddl = "ALTER TABLE t RENAME COLUMN a TO z";
    let captured = case.run_and_copy(&format!("{ddl}; UPDATE t SET z = 11 WHERE id = 1"), ddl);
    assert_eq!(
        changes(&captured.changeset),
        [(Op::Update, vec![integer(1), integer(10), None], vec![None, integer(11), None])]
    );
    case.advance(captured);
}

#[test]
fn a_dropped_table_has_no_rows_and_a_new_one_only_inserts() {
    let mut case = Case::new(&format!("{SETUP}; CREATE TABLE other(x PRIMARY KEY); INSERT INTO other VALUES(1), (2)"));
    let ddl = "DROP TABLE t; CREATE TABLE fresh(x TEXT PRIMARY KEY, y)";
    let captured = case.run_and_copy(
        "DELETE FROM t WHERE id = 1; DROP TABLE t; CREATE TABLE fresh(x TEXT PRIMARY KEY, y); \
         INSERT INTO fresh VALUES('a', 1), ('b', 2)",
        ddl,
    );
    assert_eq!(counts(&captured.changeset), [("fresh", 2, 0, 0)]);
    case.advance(captured);
}

/// The same name with another key is another table.
#[test]
fn a_table_made_anew_with_another_key_starts_empty() {
    let mut case = Case::new(SETUP);
    let ddl = "DROP TABLE t; CREATE TABLE t(id TEXT PRIMARY KEY, a) WITHOUT ROWID";
    let captured = case.run_and_copy(&format!("{ddl}; INSERT INTO t VALUES('x', 1)"), ddl);
    assert_eq!(counts(&captured.changeset), [("t", 1, 0, 0)]);
    case.advance(captured);
}

/// The way that SQLite's documentation gives for changes that ALTER TABLE can't make: the rows are the same in the end.
#[test]
fn a_table_copied_into_its_successor_changes_what_differs() {
    let mut case = Case::new(SETUP);
    let captured = case.run(
        "CREATE TABLE new_t(id INTEGER PRIMARY KEY, b, a TEXT); INSERT INTO new_t SELECT id, b, a FROM t; \
         DROP TABLE t; ALTER TABLE new_t RENAME TO t; UPDATE t SET b = 41 WHERE id = 2",
    );
    // Column a is TEXT now, so both rows changed in it; nothing was deleted or inserted.
    assert_eq!(counts(&captured.changeset), [("t", 0, 2, 0)]);
    case.advance(captured);
}

#[test]
fn indexes_views_and_triggers_are_rows_of_the_schema() {
    let mut case = Case::new(SETUP);
    let captured = case.run(
        "CREATE INDEX i ON t(a); CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END",
    );
    assert!(captured.changeset.is_empty());
    assert_eq!(changes(&captured.schema).iter().map(|change| change.0).collect::<Vec<_>>(), [Op::Insert; 3]);
    case.advance(captured);
    let captured = case.run("DROP INDEX i; DROP VIEW v; INSERT INTO t VALUES(5, 5, 5)");
    assert_eq!(counts(&captured.changeset), [("t", 1, 0, 0)]);
    assert_eq!(changes(&captured.schema).iter().map(|change| change.0).collect::<Vec<_>>(), [Op::Delete; 2]);
    case.advance(captured);
}

/// A virtual table takes a table that is there already for its shadow, whose own row of the schema stays as it is.
#[test]
fn a_table_may_become_a_shadow() {
    let setup =
        "CREATE TABLE docs_content(docid INTEGER PRIMARY KEY, c0body); INSERT INTO docs_content VALUES(1, 'one')";
    let mut case = Case::new(setup);
    for (sql, shadow) in [
        (
            "CREATE VIRTUAL TABLE docs USING fts4(content='docs_content', c0body); INSERT INTO docs_content VALUES(2, 'two')",
            true,
        ),
        ("DROP TABLE docs; UPDATE docs_content SET c0body = 'ten' WHERE docid = 2", false),
    ] {
        let captured = case.run(sql);
        case.advance(captured);
        let table = case.tracker.schema().table("docs_content").unwrap();
        assert_eq!(matches!(table.kind, TableKind::Shadow { .. }), shadow, "{sql}");
    }
}

/// A definition longer than a page, changed in its last bytes: the leaf of `sqlite_schema` with it is not page 1.
#[test]
fn a_long_definition_may_change_in_its_overflow_pages_alone() {
    let many: String = (0..60).map(|i| format!("CREATE TABLE filler{i}(a, b, c); ")).collect();
    let columns: Vec<String> = (0..700).map(|i| format!("column_number_{i}")).collect();
    let mut case = Case::new(&format!("{many} CREATE TABLE wide({}, last)", columns.join(", ")));
    let captured = case.run("ALTER TABLE wide RENAME COLUMN last TO tail");
    assert_eq!(changes(&captured.schema).len(), 1);
    case.advance(captured);
    assert_eq!(case.tracker.schema().table("wide").unwrap().columns.last().unwrap().name, "tail");
}

/// The same bytes mean another value in a column of another type, whether the rows were written anew or not.
#[test]
fn equal_bytes_may_mean_another_value() {
    for sql in [
        "DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, a REAL, b); INSERT INTO t VALUES(1, 10, 20), (2, 30, 40)",
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = 'CREATE TABLE t(id INTEGER PRIMARY KEY, a REAL, b)' WHERE name = 't'",
    ] {
        let mut case = Case::new(SETUP);
        let captured = case.run(sql);
        let real = |value| Some(Value::Real(value));
        assert_eq!(
            changes(&captured.changeset),
            [
                (Op::Update, vec![integer(1), integer(10), None], vec![None, real(10.0), None]),
                (Op::Update, vec![integer(2), integer(30), None], vec![None, real(30.0), None]),
            ],
            "{sql}"
        );
        case.advance(captured);
    }
}
