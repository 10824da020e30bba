//! One process writes a store; two other sqlite3 processes and one DuckDB, with a native mirror and one in a DuckLake,
//! look at it at the same time. After each step all four see the same rows, types included.

use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const STORE: &str = "file:shop.maniac?vfs=maniac";

/// What an application does to its data, one commit or several per step.
const STEPS: &[(&str, &str)] = &[
    (
        "first rows",
        "INSERT INTO items VALUES (1, 'anvil', 10.5, x'00ff', 1, '2013-01-02 03:04:05'), (2, '', -0.0, x'', 0, NULL)",
    ),
    (
        "all kinds of values",
        "INSERT INTO items VALUES (-9223372036854775808, 'lowest', 1e300, zeroblob(10), 1, '2013-12-31 23:59:59'), \
         (9223372036854775807, 'grün''s', 0.1, NULL, NULL, '1969-12-31 00:00:00')",
    ),
    (
        "a thousand rows at once",
        "INSERT INTO items(id, name, price) WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 1099) SELECT i, 'item ' || i, i / 8.0 FROM n",
    ),
    (
        "several tables in one transaction",
        "BEGIN; UPDATE items SET price = price * 2 WHERE id % 3 = 0; DELETE FROM items WHERE id % 10 = 7; \
         INSERT INTO orders SELECT 'c' || (id % 5), id, id * 2, NULL FROM items WHERE id BETWEEN 100 AND 300; COMMIT",
    ),
    (
        "changed keys",
        "UPDATE items SET id = id + 100000 WHERE id BETWEEN 500 AND 520; UPDATE orders SET number = number + 1000 WHERE customer = 'c1'",
    ),
    (
        "long values",
        "INSERT INTO orders VALUES ('long', 1, 1, hex(randomblob(30000))), ('long', 2, 2, hex(randomblob(3000))); UPDATE orders SET note = note || 'z' WHERE customer = 'long'",
    ),
    ("a rollback", "BEGIN; DELETE FROM items; DELETE FROM orders; ROLLBACK"),
    (
        "a savepoint rolled back",
        "BEGIN; INSERT INTO items(id, name) VALUES (7, 'kept'); SAVEPOINT s; DELETE FROM orders; ROLLBACK TO s; RELEASE s; COMMIT",
    ),
    ("replaced rows", "REPLACE INTO items(id, name, price) VALUES (1, 'anvil, replaced', 11.5), (2, 'two', 0.5)"),
    (
        "there and back",
        "INSERT INTO items(id, name) VALUES (77777, 'short'); DELETE FROM items WHERE id = 77777; UPDATE items SET name = name",
    ),
    (
        "an index and a view",
        "CREATE INDEX by_name ON items(name); CREATE VIEW dear AS SELECT * FROM items WHERE price > 100; INSERT INTO items(id, name) VALUES (8, 'indexed')",
    ),
    ("a vacuum", "DELETE FROM items WHERE id BETWEEN 200 AND 800; VACUUM"),
    (
        "after the vacuum",
        "UPDATE items SET price = 3.25 WHERE id > 800; INSERT INTO items(id, name) VALUES (9, 'moved pages')",
    ),
    ("everything gone", "DELETE FROM orders"),
    ("and new again", "INSERT INTO orders VALUES ('c9', 1, 5, 'new')"),
];

fn text(session: &mut Session, sql: &str) -> String {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.first().and_then(|row| row.first()).map(Value::to_string).unwrap_or_else(|| panic!("{sql}: no row"))
}

/// All rows of a table, exactly as they are stored.
fn rows(session: &mut Session, table: &str) -> Vec<Vec<Value>> {
    session.run(&format!("SELECT rowid, * FROM {table} ORDER BY rowid")).unwrap()
}

#[test]
fn two_processes_and_duckdb_see_what_the_writer_wrote() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let sqlite = || {
        let mut session = Session::new(Kind::Sqlite, &tools, directory.path());
        session.open(STORE).unwrap();
        session
    };
    let mut writer = sqlite();
    writer
        .run(
            "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, price REAL, photo BLOB, sold BOOLEAN, made DATETIME); \
             CREATE TABLE orders(customer TEXT, number INTEGER, amount INTEGER, note TEXT, PRIMARY KEY (customer, number));",
        )
        .unwrap();
    let mut readers = [sqlite(), sqlite()];
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb
        .run(&format!(
            "LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'lake_files'); \
             CALL maniac_attach('shop.maniac'); CALL maniac_attach('shop.maniac', lake := 'lake', schema := 'shop_lake');",
            tools.ducklake.display()
        ))
        .unwrap();

    for (name, step) in STEPS {
        writer.run(step).unwrap_or_else(|error| panic!("{name}: {error}"));
        let head = text(&mut writer, "SELECT maniac_head()");
        let written = ["items", "orders"].map(|table| rows(&mut writer, table));
        for reader in &mut readers {
            assert_eq!(text(reader, "SELECT maniac_head()"), head, "{name}: the reader's version");
            assert_eq!(["items", "orders"].map(|table| rows(reader, table)), written, "{name}: what a reader sees");
        }
        for mirror in ["shop", "shop_lake"] {
            duckdb
                .run(&format!("CALL maniac_wait('{mirror}', version := {head})"))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        for schema in ["shop", "lake.shop_lake"] {
            let compared = compare::all(&mut readers[0], &mut duckdb, schema);
            assert_eq!(compared.unwrap_or_else(|error| panic!("{name}: {schema}: {error}")), 2, "{name}: tables");
        }
    }
    let integrity = text(&mut readers[1], "PRAGMA integrity_check");
    assert_eq!(integrity, "ok");
    duckdb.exit().unwrap();
    readers.iter_mut().chain([&mut writer]).for_each(|session| session.exit().unwrap());
}
