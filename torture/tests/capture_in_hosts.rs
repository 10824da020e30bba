//! What is captured doesn't depend on the SQLite that wrote it: the same statements in the command line, in Python's
//! module, in apsw with its own newer SQLite and in a program in Rust leave the same changes behind.

use std::process::Command;

use maniac_sql_tests::{Tools, tools};
use maniac_torture::engine::scratch;
use maniac_torture::host::{Host, HostKind};

/// Every kind of table and statement whose rows SQLite stores the same in all its versions.
const HISTORY: &[&str] = &[
    "PRAGMA foreign_keys = ON",
    "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL, made DATE)",
    "CREATE TABLE parts(a TEXT, b INT, v BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "CREATE TABLE loose(x, y)",
    "CREATE TABLE nulls(k TEXT PRIMARY KEY, item REFERENCES items ON DELETE SET NULL)",
    "CREATE TABLE made(n INT, twice INT AS (n * 2) STORED, thrice INT AS (n * 3))",
    "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
    "CREATE INDEX by_price ON items(price)",
    "INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
     SELECT i, 'item ' || i, i / 4.0, date('2026-01-01', i || ' days') FROM n",
    "INSERT INTO parts SELECT 'part ' || id % 7, id, zeroblob(id % 50) FROM items",
    "INSERT INTO loose VALUES (1, 9223372036854775807), (-0.0, 1e300), (NULL, x'00ff'), (1, 1)",
    "INSERT INTO nulls VALUES ('a', 1), (NULL, 2), (NULL, 3), ('b', 4)",
    "INSERT INTO made(n) VALUES (1), (2), (NULL)",
    "INSERT INTO counted(x) VALUES ('first'), (hex(zeroblob(9000)))",
    "CREATE TRIGGER follow AFTER DELETE ON items BEGIN DELETE FROM loose WHERE x = old.id; END",
    "DELETE FROM items WHERE id IN (1, 2, 2999)",
    "UPDATE items SET id = id + 10000 WHERE id BETWEEN 100 AND 120",
    "REPLACE INTO items(id, name) VALUES (5, 'item 6')",
    "UPDATE counted SET x = substr(x, 1, 17990) || '0123456789' WHERE id = 2",
    "INSERT INTO parts VALUES ('part 1', 1, 'text') ON CONFLICT DO UPDATE SET v = excluded.v",
    "ALTER TABLE items ADD COLUMN stock INT DEFAULT 7",
    "BEGIN",
    "UPDATE items SET stock = 8 WHERE id % 500 = 0",
    "ALTER TABLE items RENAME COLUMN name TO title",
    "INSERT INTO items(title) VALUES ('after the rename')",
    "CREATE TABLE born(k TEXT PRIMARY KEY, v)",
    "INSERT INTO born VALUES ('k', 1)",
    "SAVEPOINT s",
    "DELETE FROM born",
    "ROLLBACK TO s",
    "COMMIT",
    "ALTER TABLE loose RENAME TO lost",
    "ALTER TABLE parts DROP COLUMN v",
    "CREATE VIEW cheap AS SELECT * FROM items WHERE price < 1",
    "DELETE FROM lost",
    "DROP TABLE born",
    "VACUUM",
    "ANALYZE",
    "UPDATE items SET price = price + 1 WHERE id <= 50",
];

/// What each function tells of the history. Times are the hosts' own.
const ASKED: &[&str] = &[
    "SELECT maniac_head()",
    "SELECT version, \"table\", op, key, old, new, shadow_of FROM maniac_changes",
    "SELECT version, kind, tables, rows FROM maniac_log",
    "SELECT \"table\", op, key, old, new FROM maniac_diff(9) WHERE \"table\" <> 'sqlite_schema'",
    "SELECT hex(maniac_changeset(0, maniac_head()))",
    "SELECT hex(maniac_changeset(l.version - 1, l.version)) FROM maniac_log AS l WHERE l.version > 0",
];

#[test]
fn every_host_leaves_the_same_changes_behind() {
    let mut told: Option<Vec<Vec<Vec<String>>>> = None;
    for kind in HostKind::ALL {
        let directory = scratch();
        let mut host = Host::start(kind, directory.path());
        host.open("file:shop.maniac?vfs=maniac").unwrap();
        for sql in HISTORY {
            host.run(sql).unwrap_or_else(|error| panic!("{kind:?}: {sql}: {error:?}"));
        }
        let answers: Vec<_> = ASKED
            .iter()
            .map(|sql| host.run(sql).unwrap_or_else(|error| panic!("{kind:?}: {sql}: {error:?}")))
            .collect();
        assert!(answers.iter().all(|rows| !rows.is_empty()), "{kind:?}");
        match &told {
            None => told = Some(answers),
            Some(told) => {
                for ((sql, told), answer) in ASKED.iter().zip(told).zip(&answers) {
                    let first = told.iter().zip(answer).find(|(told, answer)| told != answer);
                    assert!(told == answer, "{kind:?}: {sql}: {} and {} rows, {first:?}", told.len(), answer.len());
                }
            }
        }
    }
}

#[test]
fn apsw_applies_inverts_and_joins_what_a_store_gives() {
    let (directory, tools) = (scratch(), Tools::find());
    let root = tools::workspace_root();
    let output = Command::new(root.join(".venv/bin/python"))
        .arg(root.join("torture/hosts/changesets.py"))
        .arg(tools.sqlite_extension())
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{}", String::from_utf8_lossy(&output.stderr));
}
