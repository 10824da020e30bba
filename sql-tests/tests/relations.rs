//! What a store tells about itself is the same in SQLite and in DuckDB: columns, their order and types, and every value.

use std::path::Path;

use maniac_sql_tests::{Kind, Session, Tools, Value};

/// A history with everything that a row of a relation can show.
const HISTORY: &[&str] = &[
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v, stored AS (id + 1) STORED, virt AS (id + 2) VIRTUAL)",
    "CREATE TABLE pair(a TEXT, b BLOB, n, PRIMARY KEY (b, a)) WITHOUT ROWID; CREATE TABLE loose(x DECIMAL(10, 2))",
    "CREATE TABLE \"k's \"\"own\"\"\"(name TEXT PRIMARY KEY, n INT); CREATE VIRTUAL TABLE docs USING fts5(body)",
    "INSERT INTO t(id, v) VALUES (1, NULL), (2, 0.1), (3, 1e300), (4, 9e999), (5, -9223372036854775808), \
     (9223372036854775807, x'00FF10'), (-7, 'quo\"te'), (8, char(10) || 'line' || char(9)), (9, 'ünï'), (10, -0.0), \
     (11, 3.0), (12, x'')",
    "INSERT INTO pair VALUES ('a', x'01', 1.5), ('b', x'', NULL); INSERT INTO loose VALUES (1), (2.5), ('text')",
    "INSERT INTO \"k's \"\"own\"\"\" VALUES (NULL, 1), ('x', NULL); INSERT INTO docs VALUES ('a quick fox')",
    "SELECT maniac_branch_create('new'); SELECT maniac_branch_rename('new', 'dev')",
    "SELECT maniac_branch_create('past', 'main', 3)",
    "BEGIN; UPDATE t SET v = v || '!' WHERE id > 8; DELETE FROM loose WHERE x = 1; UPDATE pair SET n = x'AA'; COMMIT",
    "ATTACH 'file:shop.maniac?vfs=maniac&branch=dev' AS dev",
    "UPDATE dev.t SET id = id + 100 WHERE id = 3; CREATE TABLE dev.fresh(a REAL, b); INSERT INTO dev.fresh VALUES (0.30000000000000004, 1e-7)",
    "BEGIN; INSERT INTO main.loose VALUES (3); INSERT INTO dev.loose VALUES (4); COMMIT; DETACH dev",
    "SELECT maniac_merge('dev')",
    "SELECT maniac_branch_drop('past')",
    "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, ')', ', ((') WHERE name = 'loose'",
    "INSERT INTO t(id, v) VALUES (20, 'unreadable')",
    "UPDATE sqlite_schema SET sql = replace(sql, ', ((', ')') WHERE name = 'loose'; PRAGMA writable_schema = RESET",
    "ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE loose ADD COLUMN y DEFAULT 'seven'; DROP TABLE docs",
    "UPDATE loose SET y = NULL; PRAGMA user_version = 7",
    "SELECT maniac_tag('first', 3); SELECT maniac_tag('ünï'); SELECT maniac_retain('90 minutes')",
];

/// A relation, its arguments in SQLite, and those in DuckDB behind the store.
const CALLS: &[(&str, &str, &str)] = &[
    ("maniac_branches", "", ""),
    ("maniac_tags", "", ""),
    ("maniac_log", "", ""),
    ("maniac_log", "('dev')", ", branch := 'dev'"),
    ("maniac_changes", "", ""),
    ("maniac_changes", "(3, 9)", ", \"from\" := 3, \"to\" := 9"),
    ("maniac_changes", "(-5, NULL, 'dev')", ", \"from\" := -5, branch := 'dev'"),
    ("maniac_diff", "(1)", ", a := 1"),
    ("maniac_diff", "('main', 'dev')", ", a := 'main', b := 'dev'"),
    ("maniac_diff", "(5, 9, 't')", ", a := 5, b := 9, \"table\" := 't'"),
    ("maniac_diff", "('3', '12')", ", a := '3', b := '12'"),
    ("maniac_tables", "", ""),
    ("maniac_tables", "('dev')", ", branch := 'dev'"),
    ("maniac_store", "", ""),
];

/// Calls that both refuse, and a part of the reason.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("maniac_log", "('nowhere')", ", branch := 'nowhere'", "no branch \"nowhere\""),
    ("maniac_changes", "(0, 999)", ", \"to\" := 999", "is in the future"),
    ("maniac_diff", "", "", "what to compare: a branch, a version or a time"),
    (
        "maniac_diff",
        "('someday')",
        ", a := 'someday'",
        "\"someday\" is no branch, no tag, no version and no ISO-8601 time",
    ),
    ("maniac_diff", "(1, 999)", ", a := 1, b := 999", "is in the future"),
    ("maniac_diff", "('2001-01-01')", ", a := '2001-01-01'", "has nothing at 2001-01-01"),
    ("maniac_tables", "('nowhere')", ", branch := 'nowhere'", "no branch \"nowhere\""),
];

fn rows(session: &mut Session, sql: &str) -> Vec<Vec<Value>> {
    session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn texts(session: &mut Session, sql: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.to_string();
    rows(session, sql).iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

fn sessions(directory: &Path) -> (Session, Session) {
    let tools = Tools::find();
    let mut sqlite = Session::new(Kind::Sqlite, &tools, directory);
    sqlite.open("file:shop.maniac?vfs=maniac").unwrap();
    (sqlite, Session::new(Kind::Duckdb, &tools, directory))
}

#[test]
fn both_hosts_tell_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sqlite, mut duckdb) = sessions(directory.path());
    HISTORY.iter().for_each(|sql| drop(rows(&mut sqlite, sql)));
    for (relation, in_sqlite, in_duckdb) in CALLS {
        let call = format!("{relation}{in_sqlite}");
        let from = format!("{relation}('shop.maniac'{in_duckdb})");
        let shared =
            texts(&mut sqlite, &format!("SELECT name, type FROM pragma_table_xinfo('{relation}') WHERE hidden = 0"));
        let all = texts(&mut duckdb, &format!("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {from})"));
        let mut columns = Vec::new();
        for ((name, kind), (other, duckdb_kind)) in shared.iter().zip(&all) {
            assert_eq!(name, other, "{relation}: {shared:?} {all:?}");
            columns.push(match (kind.as_str(), duckdb_kind.as_str()) {
                ("INTEGER", "BIGINT") | ("TEXT", "VARCHAR") => format!("\"{name}\""),
                ("TEXT", "TIMESTAMP") => format!("strftime(\"{name}\", '%Y-%m-%dT%H:%M:%S.%gZ')"),
                kinds => panic!("{relation}.{name}: {kinds:?}"),
            });
        }
        // What only mirrors know stands behind.
        let own = if *relation == "maniac_tables" { all.len() - 4 } else { all.len() };
        assert_eq!(shared.len(), own, "{relation}: {shared:?} {all:?}");
        let told = rows(&mut sqlite, &format!("SELECT * FROM {call}"));
        assert!(!told.is_empty(), "{call}");
        assert_eq!(told, rows(&mut duckdb, &format!("SELECT {} FROM {from}", columns.join(", "))), "{call}");
    }
    let all = format!("{:?}", rows(&mut sqlite, "SELECT * FROM maniac_changes"));
    for seen in ["UNREADABLE", "x'00FF10'", "-9223372036854775808", "Infinity", "_rowid_", "docs_content", "1e300"] {
        assert!(all.contains(seen), "{seen} is not in the history");
    }
    let kinds = "SELECT group_concat(DISTINCT kind) FROM (SELECT kind FROM maniac_log UNION SELECT kind FROM maniac_log('dev'))";
    let kinds = rows(&mut sqlite, kinds);
    assert_eq!(kinds[0][0].to_string(), "branch created,branch renamed,schema,transaction,unreadable");
    [sqlite, duckdb].iter_mut().for_each(|session| session.exit().unwrap());
}

#[test]
fn both_hosts_refuse_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sqlite, mut duckdb) = sessions(directory.path());
    rows(&mut sqlite, "CREATE TABLE t(a)");
    for (relation, in_sqlite, in_duckdb, reason) in REFUSED {
        let calls = [format!("{relation}{in_sqlite}"), format!("{relation}('shop.maniac'{in_duckdb})")];
        for (session, call) in [&mut sqlite, &mut duckdb].into_iter().zip(calls) {
            let refused = session.run(&format!("SELECT * FROM {call}")).expect_err(&call).to_string();
            assert!(refused.contains(reason), "{call}: {refused}");
        }
    }
    [sqlite, duckdb].iter_mut().for_each(|session| session.exit().unwrap());
}
