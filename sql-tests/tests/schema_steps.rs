//! Transactions of every kind beside many tables, changes of the schema above all: what `maniac_diff` says of one, which
//! the log has, is what a comparison of the two snapshots finds, row by row and in the same order. `maniac_log` of some
//! versions is that part of the whole.

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools};

const TABLES: u64 = 120;
const STEPS: u64 = 60;

fn text(session: &mut Session, sql: &str) -> String {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter()
        .map(|row| row.iter().map(|value| format!("{value} ")).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}

fn create(n: u64) -> String {
    let columns = match n % 4 {
        0 => "(id INTEGER PRIMARY KEY, a TEXT, b)",
        1 => "(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b)",
        2 => "(id TEXT PRIMARY KEY, a TEXT, b) WITHOUT ROWID",
        _ => "(id, a TEXT, b)",
    };
    format!("CREATE TABLE T_{n}{columns}; INSERT INTO t_{n} VALUES ({n}, 'first', 1), ({n} + 1, 'second', 2);")
}

/// A step that every other one may follow: tables that it renames, drops or gives other columns are its own.
fn change(dice: &mut Dice, n: u64) -> String {
    let (table, own) = (dice.below(TABLES), TABLES + n);
    let rows =
        format!("UPDATE t_{table} SET b = {n}; INSERT OR REPLACE INTO t_{table}(id, a) VALUES ({n} + 1000, 'new');");
    let made = create(own);
    match n % 15 {
        0 => made,
        1 => format!("ALTER TABLE t_{table} ADD COLUMN more{n} INTEGER DEFAULT {n};"),
        2 => format!("ALTER TABLE t_{table} ADD COLUMN more{n} TEXT; {rows}"),
        3 => {
            format!("{made} COMMIT; BEGIN; ALTER TABLE t_{own} RENAME COLUMN a TO \"A {n}\"; UPDATE t_{own} SET b = 5;")
        }
        4 => format!(
            "{made} COMMIT; BEGIN; ALTER TABLE t_{own} RENAME TO renamed_{n}; DELETE FROM renamed_{n} WHERE b = 1;"
        ),
        5 => format!("{made} COMMIT; BEGIN; ALTER TABLE t_{own} DROP COLUMN a; INSERT INTO t_{own} VALUES (77, 7);"),
        6 => format!("{made} COMMIT; BEGIN; DROP TABLE t_{own}; {rows}"),
        7 => format!(
            "{made} COMMIT; BEGIN; DROP TABLE t_{own}; CREATE TABLE t_{own}(id INTEGER PRIMARY KEY, z); INSERT INTO t_{own} VALUES (9, 9);"
        ),
        8 => format!("CREATE INDEX index_{n} ON t_{table}(a); {rows}"),
        9 => format!(
            "CREATE VIEW view_{n} AS SELECT * FROM t_{table}; CREATE TRIGGER trigger_{n} AFTER INSERT ON t_{table} BEGIN SELECT 1; END; {rows}"
        ),
        10 => format!(
            "CREATE VIRTUAL TABLE words_{n} USING fts5(body); INSERT INTO words_{n} VALUES ('some words of {n}');"
        ),
        11 => format!("INSERT INTO words_{} VALUES ('more words'); PRAGMA user_version = {n};", n - 1),
        12 => format!("DROP TABLE words_{};", n - 2),
        13 => format!("CREATE TABLE long_{n}({}); INSERT INTO long_{n}(c0) VALUES ({n});", columns(n, 400)),
        _ => rows,
    }
}

fn columns(n: u64, count: u64) -> String {
    (0..count).map(|column| format!("c{column} INTEGER DEFAULT {n}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_the_log_says_of_a_transaction_is_what_a_comparison_finds() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new("schema_steps", 12);
    let mut session = Session::new(Kind::Sqlite, &tools, directory.path());
    session.open("file:shop.maniac?vfs=maniac").unwrap();
    session.run(&format!("BEGIN; {} COMMIT", (0..TABLES).map(create).collect::<String>())).unwrap();
    for n in 0..STEPS {
        let change = change(&mut dice, n);
        let (setup, change) = change.split_once("COMMIT; BEGIN;").unwrap_or(("", &change));
        session.run(&format!("BEGIN; {setup} COMMIT")).unwrap_or_else(|error| panic!("{setup}: {error}"));
        let before = text(&mut session, "SELECT maniac_head()");
        // Another branch's snapshot has the same content, but the log has nothing that leads on from it.
        text(&mut session, &format!("SELECT maniac_branch_create('before{n}')"));
        session.run(&format!("BEGIN; {change} COMMIT")).unwrap_or_else(|error| panic!("{change}: {error}"));
        let after = text(&mut session, "SELECT maniac_head()");
        for only in ["", ", 'sqlite_schema'", ", 'sqlite_sequence'", ", 'T_7'"] {
            let logged = text(&mut session, &format!("SELECT * FROM maniac_diff({before}, {after}{only})"));
            let compared = text(&mut session, &format!("SELECT * FROM maniac_diff('before{n}', {after}{only})"));
            assert!(!only.is_empty() || !logged.is_empty(), "{change}");
            assert_eq!(logged, compared, "{change}");
        }
    }
    let head = text(&mut session, "SELECT maniac_head()").trim().parse::<u64>().unwrap();
    let whole = "SELECT * FROM (SELECT * FROM maniac_log() LIMIT -1 OFFSET 0)";
    for _ in 0..40 {
        let (low, high) = (dice.below(head + 2), dice.below(head + 2));
        for range in [
            format!("version = {low}"),
            format!("version >= {low} AND version < {high}"),
            format!("version > {low} AND version <= {high}"),
            format!("version > {low} - 0.5"),
            format!("version > -{low}"),
        ] {
            let part = text(&mut session, &format!("SELECT * FROM maniac_log() WHERE {range}"));
            assert_eq!(part, text(&mut session, &format!("{whole} WHERE {range}")), "{range}");
        }
    }
    session.exit().unwrap();
}
