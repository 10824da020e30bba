//! Stores of older formats open, and go on in the newest one.
//!
//! `fixtures/format-1` is a log that a build of format 1 wrote, without the zeroes behind it.

use std::fs;
use std::path::Path;

use maniac_sql_tests::{Kind, Session, Tools};

const NAME: &str = "0000000000000001.wals";

fn text(session: &mut Session, sql: &str) -> String {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let line = |row: &Vec<_>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    rows.iter().map(line).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_store_of_format_1_opens_and_goes_on() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("shop.maniac/log");
    fs::create_dir_all(&log).unwrap();
    let fixture = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format-1/log").join(NAME)).unwrap();
    fs::write(log.join(NAME), &fixture).unwrap();
    let open = |parameters: &str| {
        let mut session = Session::new(Kind::Sqlite, &tools, directory.path());
        session.open(&format!("file:shop.maniac?vfs=maniac{parameters}")).unwrap();
        session
    };
    let shop = "SELECT id, name, price FROM shop ORDER BY id";

    let mut main = open("");
    let first = "2 chair 42.0, 3 table 100.9, 4 shelf 71.0, 5 rug 16.0, 6 vase 8.0";
    assert_eq!(text(&mut main, shop), first);
    assert_eq!(text(&mut open("&at=4"), shop), "1 lamp 12.5, 2 chair 41.0, 3 table 99.9");
    assert_eq!(text(&mut open("&branch=dev"), shop), "2 chair 41.0, 3 table 99.9, 4 shelf 70.0");
    assert_eq!(text(&mut open("&branch=older"), "SELECT count(*) FROM shop"), "3");
    let kinds = "SELECT version, kind, tables FROM maniac_log";
    let log_of_main = "1 schema {}, 2 transaction {\"shop\":3}, 3 schema {}, 4 transaction {\"shop\":1}, \
                       12 transaction {\"shop\":1}, 13 transaction {\"shop\":2}, 14 transaction {\"shop\":5}";
    assert_eq!(text(&mut main, kinds), log_of_main);
    assert!(fs::read(log.join(NAME)).unwrap().starts_with(&fixture), "reading has changed the log");

    main.run("UPDATE shop SET price = 0 WHERE id = 6; DELETE FROM shop WHERE id = 2").unwrap();
    assert_eq!(text(&mut main, "SELECT maniac_head()"), "16");
    // What older builds wrote stays as they wrote it.
    assert_eq!(fs::read(log.join(NAME)).unwrap(), fixture);
    let segments: Vec<_> = fs::read_dir(&log).unwrap().map(|file| file.unwrap().path()).collect();
    let newest = segments.iter().max().unwrap();
    assert!(segments.len() == 2 && newest.ends_with("000000000000000f.wals"), "{segments:?}");
    assert_eq!(fs::read(newest).unwrap()[4], 2, "the format of {newest:?}");

    let last = "3 table 100.9, 4 shelf 71.0, 5 rug 16.0, 6 vase 0.0";
    drop(main);
    fs::remove_file(directory.path().join("shop.maniac/HEAD")).unwrap();
    let mut main = open("");
    assert_eq!(text(&mut main, shop), last);
    assert_eq!(text(&mut main, "PRAGMA integrity_check"), "ok");
    assert_eq!(text(&mut open("&at=14"), shop), first);
    let changes = text(&mut main, "SELECT version, op, old FROM maniac_changes(12, 16) WHERE op = 'DELETE'");
    assert_eq!(
        changes,
        "13 DELETE {\"id\":1,\"name\":\"lamp\",\"price\":12.5}, 16 DELETE {\"id\":2,\"name\":\"chair\",\"price\":42.0}"
    );

    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.run("CALL maniac_attach('shop.maniac')").unwrap();
    assert_eq!(text(&mut duckdb, "SELECT id, name, price FROM shop.shop ORDER BY id"), last);
}
