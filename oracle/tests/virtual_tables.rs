//! Merges of virtual tables with the options of the newest SQLite that the stock command line may lack: afterwards the
//! merging connection, which has used the indexes before, finds everything, and the indexes are sound.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// Loads the extension into this process's SQLite.
fn load() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("dist");
    let extension = std::env::var_os("MANIAC_DIST").map_or(default, PathBuf::from).join("maniac");
    let loader = Connection::open_in_memory().unwrap();
    // SAFETY: the extension is ours, built from this checkout.
    unsafe {
        loader.load_extension_enable().unwrap();
        loader.load_extension(extension, None::<&str>).expect("`make build` comes first");
    }
}

struct Store {
    directory: tempfile::TempDir,
    main: Connection,
    dev: Connection,
}

impl Store {
    /// Two branches with this schema in a new store.
    fn new(schema: &str) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let main = open(directory.path(), "main");
        main.execute_batch(schema).unwrap();
        text(&main, "SELECT maniac_branch_create('dev')");
        let dev = open(directory.path(), "dev");
        Store { directory, main, dev }
    }

    /// The same on a connection that has seen nothing.
    fn fresh(&self) -> Connection {
        open(self.directory.path(), "main")
    }
}

fn open(directory: &Path, branch: &str) -> Connection {
    Connection::open(format!("file:{}/s.maniac?vfs=maniac&branch={branch}", directory.display())).unwrap()
}

fn text(db: &Connection, sql: &str) -> String {
    let value = db.query_row(sql, (), |row| row.get::<_, rusqlite::types::Value>(0));
    match value.unwrap_or_else(|error| panic!("{sql}: {error}")) {
        rusqlite::types::Value::Null => "NULL".into(),
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => panic!("{sql}: {other:?}"),
    }
}

fn found(db: &Connection, table: &str, word: &str) -> String {
    text(db, &format!("SELECT group_concat(rowid) FROM (SELECT rowid FROM {table}('{word}') ORDER BY rowid)"))
}

fn check(db: &Connection, table: &str) {
    db.execute_batch(&format!("INSERT INTO {table}({table}) VALUES ('integrity-check')")).unwrap();
    assert_eq!(text(db, "PRAGMA integrity_check"), "ok");
}

#[test]
fn documents_come_with_every_option() {
    load();
    for options in ["", ", detail = none", ", detail = column, columnsize = 0", ", tokendata = 1", ", prefix = '1 2'"] {
        let store = Store::new(&format!(
            "CREATE VIRTUAL TABLE x USING fts5(a, b UNINDEXED{options}); INSERT INTO x(rowid, a) VALUES (1, 'word'), (2, 'word');"
        ));
        store.dev.execute_batch("INSERT INTO x(x, rank) VALUES ('secure-delete', 1)").unwrap();
        store
            .dev
            .execute_batch("DELETE FROM x WHERE rowid = 1; INSERT INTO x(rowid, a, b) VALUES (10, 'word', 5)")
            .unwrap();
        store
            .main
            .execute_batch("INSERT INTO x(rowid, a) VALUES (20, 'word'); INSERT INTO x(x) VALUES ('rebuild')")
            .unwrap();
        assert_eq!(found(&store.main, "x", "word"), "1,2,20", "{options}");
        assert_eq!(text(&store.main, "SELECT maniac_merge('dev') ->> '$.conflicts'"), "0", "{options}");
        for db in [&store.main, &store.fresh()] {
            assert_eq!(found(db, "x", "word"), "2,10,20", "{options}");
            assert_eq!(text(db, "SELECT b FROM x WHERE rowid = 10"), "5");
            check(db, "x");
        }
        store.main.execute_batch("INSERT INTO x(a) VALUES ('word')").unwrap();
        assert_eq!(found(&store.main, "x", "word"), "2,10,20,21", "{options}");
        check(&store.main, "x");
    }
}

#[test]
fn what_cannot_be_merged_comes_over_whole_or_is_refused() {
    load();
    for (options, columns) in [
        ("content = ''", "a"),
        ("content = '', contentless_delete = 1", "a"),
        ("content = '', contentless_delete = 1, contentless_unindexed = 1, u UNINDEXED", "a"),
        ("locale = 1", "a"),
    ] {
        let store = Store::new(&format!(
            "CREATE VIRTUAL TABLE x USING fts5({columns}, {options}); INSERT INTO x(rowid, a) VALUES (1, 'word');"
        ));
        assert_eq!(found(&store.main, "x", "word"), "1", "{options}");
        store.dev.execute_batch("INSERT INTO x(rowid, a) VALUES (10, 'word'), (11, 'other')").unwrap();
        assert_eq!(text(&store.main, "SELECT maniac_merge('dev') ->> '$.conflicts'"), "0", "{options}");
        for db in [&store.main, &store.fresh()] {
            assert_eq!(found(db, "x", "word"), "1,10", "{options}");
            check(db, "x");
        }
        store.main.execute_batch("INSERT INTO x(rowid, a) VALUES (20, 'word')").unwrap();
        assert_eq!(found(&store.main, "x", "word"), "1,10,20", "{options}");
        check(&store.main, "x");

        store.dev.execute_batch("INSERT INTO x(rowid, a) VALUES (30, 'word')").unwrap();
        for way in ["abort", "ours", "theirs"] {
            let sql = format!("SELECT maniac_merge('dev', '{way}')");
            let refused = store.main.query_row(&sql, (), |row| row.get::<_, String>(0)).unwrap_err().to_string();
            assert!(refused.contains("both branches changed it") && refused.contains("\"x\""), "{refused}");
            assert_eq!(text(&store.main, "SELECT kind FROM maniac_conflicts"), "virtual table");
        }
        assert_eq!(found(&store.main, "x", "word"), "1,10,20", "{options}");
        check(&store.main, "x");
    }
}

#[test]
fn entries_come_as_they_are() {
    load();
    let store = Store::new(
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b, +\"the name\" TEXT); INSERT INTO r VALUES (1, 1, 2, 'one');",
    );
    store.dev.execute_batch("INSERT INTO r VALUES (2, 0.1, 0.2, x'00'), (3, 1e30, 2e30, NULL)").unwrap();
    store.main.execute_batch("INSERT INTO r VALUES (4, -5, 5, 'four')").unwrap();
    assert_eq!(text(&store.main, "SELECT maniac_merge('dev') ->> '$.conflicts'"), "0");
    for db in [&store.main, &store.fresh()] {
        assert_eq!(text(db, "SELECT rtreecheck('r')"), "ok");
        assert_eq!(
            text(db, "SELECT group_concat(id || quote(\"the name\")) FROM (SELECT * FROM r ORDER BY id)"),
            "1'one',2X'00',3NULL,4'four'"
        );
    }
    text(&store.dev, "SELECT maniac_merge('main')");
    assert_eq!(text(&store.dev, "SELECT rtreecheck('r')"), "ok");
    assert_eq!(text(&store.dev, "SELECT group_concat(id) FROM (SELECT * FROM r ORDER BY id)"), "1,2,3,4");
}
