//! A history with every kind of statement, step by step, in a native mirror and in a DuckLake: after each step both equal
//! the source, for all tables, columns and types. Every few steps the mirrors are detached and attached again, or the
//! process is killed, so that each kind of step is also caught up with.

use maniac_sql_tests::{Kind, Session, Tools, compare};

const STORE: &str = "file:shop.maniac?vfs=maniac";

const START: &str = "\
    CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, price REAL, made DATETIME, cost DECIMAL(9, 2));
    CREATE TABLE empty_one(id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE keyless(a INTEGER, b TEXT);
    CREATE TABLE by_two(a TEXT, b INTEGER, v TEXT, PRIMARY KEY (b, a));
    CREATE TABLE rowless(k TEXT, n INTEGER, v BLOB, PRIMARY KEY (k, n)) WITHOUT ROWID;
    CREATE TABLE null_keys(k TEXT PRIMARY KEY, v INTEGER);
    INSERT INTO items(id, name, price) VALUES (1, 'anvil', 0.5), (2, NULL, -0.0);
    INSERT INTO keyless VALUES (1, 'same'), (1, 'same'), (NULL, NULL);
    INSERT INTO by_two VALUES ('x', 1, 'one'), ('x', 2, NULL), ('', 1, 'empty');
    INSERT INTO rowless VALUES ('a', 1, x'00'), ('b', 2, NULL);
    INSERT INTO null_keys VALUES ('a', 1), (NULL, 2), (NULL, 3);";

const STEPS: &[(&str, &str)] = &[
    ("a new table with rows", "CREATE TABLE born(id INTEGER PRIMARY KEY, x REAL); INSERT INTO born VALUES (1, 0.5)"),
    ("an empty new table", "CREATE TABLE bare(x)"),
    (
        "a column with a default",
        "ALTER TABLE items ADD COLUMN stock INTEGER DEFAULT 7; INSERT INTO items(id) VALUES (3)",
    ),
    ("a text default", "ALTER TABLE items ADD COLUMN state TEXT NOT NULL DEFAULT 'it''s new'"),
    ("a default of its own in a keyless table", "ALTER TABLE keyless ADD COLUMN c REAL DEFAULT 1.5"),
    ("old and new rows after ADD COLUMN", "UPDATE items SET stock = 8 WHERE id = 1; DELETE FROM items WHERE id = 2"),
    (
        "a renamed column",
        "ALTER TABLE items RENAME COLUMN state TO \"the state\"; UPDATE items SET \"the state\" = 'old'",
    ),
    (
        "a renamed key column",
        "ALTER TABLE by_two RENAME COLUMN b TO number; UPDATE by_two SET v = 'n' WHERE number = 1",
    ),
    ("a dropped column", "ALTER TABLE items DROP COLUMN cost; UPDATE items SET price = 9.5"),
    (
        "a column in the middle dropped, rows changed",
        "BEGIN; ALTER TABLE by_two DROP COLUMN v; DELETE FROM by_two WHERE a = ''; COMMIT",
    ),
    ("a renamed table", "ALTER TABLE born RENAME TO grown; INSERT INTO grown VALUES (2, 1.5)"),
    (
        "a name with other case",
        "ALTER TABLE grown RENAME TO g; ALTER TABLE g RENAME TO Grown; UPDATE Grown SET x = 2.5",
    ),
    (
        "two tables change names",
        "BEGIN; ALTER TABLE bare RENAME TO swap; ALTER TABLE empty_one RENAME TO bare; ALTER TABLE swap RENAME TO empty_one; COMMIT",
    ),
    (
        "a table made anew under its name",
        "BEGIN; DROP TABLE Grown; CREATE TABLE Grown(k TEXT PRIMARY KEY, y BLOB); INSERT INTO Grown VALUES ('k', x'01'); COMMIT",
    ),
    ("a dropped table", "DROP TABLE empty_one"),
    (
        "odd names",
        "CREATE TABLE \"select\"(\"from\" INTEGER PRIMARY KEY, \"a b\" TEXT, \"it's \"\"quoted\"\"\" TEXT); \
      CREATE TABLE \"größe; DROP\"(\"名前\" TEXT, \"Group\" INTEGER); CREATE TABLE \"a.b\"(\"c.d\" PRIMARY KEY); \
      INSERT INTO \"select\" VALUES (1, 'x', 'y'); INSERT INTO \"größe; DROP\" VALUES ('ä', 1); INSERT INTO \"a.b\" VALUES ('z')",
    ),
    (
        "odd names change",
        "UPDATE \"select\" SET \"a b\" = 'q'; UPDATE \"größe; DROP\" SET \"Group\" = 2; DELETE FROM \"a.b\"; ALTER TABLE \"a.b\" RENAME COLUMN \"c.d\" TO \"order\"",
    ),
    (
        "keyless rows",
        "DELETE FROM keyless WHERE rowid = 1; INSERT INTO keyless(a, b) VALUES (1, 'same'), (5, 'n'); UPDATE keyless SET b = 'was null' WHERE a IS NULL",
    ),
    (
        "changed keys",
        "UPDATE by_two SET number = number + 10, a = a || '!'; UPDATE rowless SET n = -n; UPDATE items SET id = id + 100",
    ),
    (
        "keys that change places",
        "BEGIN; UPDATE rowless SET k = 't' WHERE k = 'a'; UPDATE rowless SET k = 'a' WHERE k = 'b'; UPDATE rowless SET k = 'b' WHERE k = 't'; COMMIT",
    ),
    (
        "NULL keys",
        "INSERT INTO null_keys VALUES (NULL, 4), ('b', 5); UPDATE null_keys SET v = v + 10 WHERE k IS NULL; DELETE FROM null_keys WHERE v = 12",
    ),
    (
        "NULL keys become keys",
        "UPDATE null_keys SET k = 'k' || v WHERE k IS NULL; UPDATE null_keys SET k = NULL WHERE v = 5",
    ),
    (
        "many rows",
        "INSERT INTO items(id, name, stock) WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 2499) SELECT i, 'item ' || i, i % 7 FROM n",
    ),
    (
        "many partly changed rows",
        "UPDATE items SET price = id / 4.0 WHERE stock < 5; DELETE FROM items WHERE id % 11 = 0",
    ),
    (
        "large blobs",
        "INSERT INTO rowless VALUES ('large', 1, randomblob(300000)), ('large', 2, zeroblob(70000)); UPDATE rowless SET n = 3 WHERE n = 2 AND k = 'large'",
    ),
    (
        "a large blob partly changed",
        "UPDATE rowless SET v = CAST(substr(v, 1, 1000) || x'00ff' || substr(v, 1003) AS BLOB) WHERE k = 'large'",
    ),
    (
        "a new key by writing the table anew",
        "BEGIN; CREATE TABLE t(a TEXT, number INTEGER PRIMARY KEY); INSERT INTO t SELECT a, min(number) FROM by_two GROUP BY a; DROP TABLE by_two; ALTER TABLE t RENAME TO by_two; COMMIT",
    ),
    (
        "generated columns",
        "CREATE TABLE made(id INTEGER PRIMARY KEY, w INTEGER); INSERT INTO made VALUES (1, 5); CREATE INDEX made_w ON made(w); CREATE VIEW seen AS SELECT * FROM made",
    ),
    ("everything gone", "DELETE FROM items; DELETE FROM keyless; DELETE FROM rowless"),
    (
        "and new again after a vacuum",
        "VACUUM; INSERT INTO items(id, name) VALUES (1, 'again'); INSERT INTO keyless(a) VALUES (1)",
    ),
];

/// What happens to the mirrors before a step.
enum Between {
    Nothing,
    Detached,
    Killed,
}

fn between(place: usize) -> Between {
    match place % 5 {
        2 => Between::Detached,
        4 => Between::Killed,
        _ => Between::Nothing,
    }
}

#[test]
fn mirrors_equal_the_source_after_every_step() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open(STORE).unwrap();
    writer.run(START).unwrap();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db").unwrap();
    let lake =
        format!("LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files');", tools.ducklake.display());
    let attach = "CALL maniac_attach('shop.maniac'); \
                  CALL maniac_attach('shop.maniac', lake := 'lake', schema := 'shop_lake');";
    duckdb.run(&format!("{lake} {attach}")).unwrap();

    let compare_both = |writer: &mut Session, duckdb: &mut Session, name: &str| {
        duckdb
            .run("CALL maniac_wait('shop'); CALL maniac_wait('shop_lake');")
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for schema in ["shop", "lake.shop_lake"] {
            compare::all(writer, duckdb, schema).unwrap_or_else(|error| panic!("{name}: {schema}: {error}"));
        }
    };
    compare_both(&mut writer, &mut duckdb, "the first copy");
    for (place, (name, step)) in STEPS.iter().enumerate() {
        match between(place) {
            Between::Nothing => {}
            Between::Detached => {
                duckdb.run("CALL maniac_detach('shop'); CALL maniac_detach('shop_lake');").unwrap();
            }
            Between::Killed => duckdb.kill().unwrap(),
        }
        writer.run(step).unwrap_or_else(|error| panic!("{name}: {error}"));
        match between(place) {
            Between::Nothing => {}
            Between::Detached => drop(duckdb.run(attach).unwrap_or_else(|error| panic!("{name}: {error}"))),
            Between::Killed => {
                duckdb.run(&format!("{lake} {attach}")).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
        compare_both(&mut writer, &mut duckdb, name);
    }
    duckdb.exit().unwrap();
    writer.exit().unwrap();
}
