//! A first copy that takes a moment says on a terminal how far it is, and leaves the line as it was.

use std::process::{Command, Stdio};

use maniac_sql_tests::{Kind, Session, Tools};

#[test]
fn a_terminal_shows_the_rows_copied_so_far() {
    let (tools, directory) = (Tools::find(), tempfile::tempdir().unwrap());
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    // Enough for a few tenths of a second on any machine.
    writer
        .run(
            "CREATE TABLE orders(id INTEGER PRIMARY KEY, note TEXT); INSERT INTO orders WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT i, 'a note, the one of row ' || i FROM n",
        )
        .unwrap();
    let sql = format!("LOAD '{}';\nCALL maniac_attach('shop.maniac');\n", tools.duckdb_extension().display());
    std::fs::write(directory.path().join("attach.sql"), sql).unwrap();
    // `script` gives the command a terminal of its own.
    let output = Command::new("script")
        .args(["-qec", &format!("'{}' -unsigned -f attach.sql", tools.duckdb.display()), "/dev/null"])
        .current_dir(directory.path())
        .env("HOME", directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.split("maniac: copying orders: ").skip(1).collect();
    assert!(!lines.is_empty(), "{text}");
    let rows: Vec<u64> = lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(rows.is_sorted() && rows.iter().all(|rows| *rows <= 3_000_000), "{rows:?}");
    let end = lines.last().unwrap();
    assert!(end.starts_with(&format!("{} rows\r\x1b[K", rows.last().unwrap())), "{end:?}");
    assert!(text.contains("3000000"), "{text}");
}
