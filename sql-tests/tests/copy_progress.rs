//! A first copy that takes a moment says on a terminal how far it is, and leaves the line as it was.

use std::path::Path;
use std::process::{Command, Stdio};

use maniac_sql_tests::{Kind, Session, Tools};

#[test]
fn a_terminal_shows_the_rows_copied_so_far() {
    let (tools, directory) = (Tools::find(), tempfile::tempdir().unwrap());
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    let mut count = 3_000_000;
    writer
        .run(&format!(
            "CREATE TABLE orders(id INTEGER PRIMARY KEY, note TEXT); INSERT INTO orders WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i, 'a note, the one of row ' || i FROM n"
        ))
        .unwrap();
    let mut text = attach_on_a_terminal(&tools, directory.path());
    // A copy that is done within a moment says nothing: however fast the machine, a larger one takes longer.
    while !text.contains(LINE) && count < 50_000_000 {
        assert!(text.contains(&count.to_string()), "{text}");
        writer.run(&format!("INSERT INTO orders SELECT id + {count}, note FROM orders")).unwrap();
        count *= 2;
        text = attach_on_a_terminal(&tools, directory.path());
    }
    let lines: Vec<&str> = text.split(LINE).skip(1).collect();
    assert!(!lines.is_empty(), "{text}");
    let rows: Vec<u64> = lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(rows.is_sorted() && rows.iter().all(|rows| *rows <= count), "{rows:?}");
    let end = lines.last().unwrap();
    assert!(end.starts_with(&format!("{} rows\r\x1b[K", rows.last().unwrap())), "{end:?}");
    assert!(text.contains(&count.to_string()), "{text}");
}

/// What comes before the number of rows.
const LINE: &str = "maniac: copying orders: ";

/// What a terminal shows of a mirror's first copy.
fn attach_on_a_terminal(tools: &Tools, directory: &Path) -> String {
    let sql = format!("LOAD '{}';\nCALL maniac_attach('shop.maniac');\n", tools.duckdb_extension().display());
    std::fs::write(directory.join("attach.sql"), sql).unwrap();
    // `script` gives the command a terminal of its own; without a mode DuckDB would ask it for its colours.
    let output = Command::new("script")
        .args(["-qec", &format!("'{}' -unsigned -dark-mode -f attach.sql", tools.duckdb.display()), "/dev/null"])
        .current_dir(directory)
        .env("HOME", directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
