//! Pausing right behind a resume, before the mirror's thread has woken from the pause before, ends like any pause.

use maniac_sql_tests::{Kind, Session, Tools, Value};

const ROUNDS: usize = 3000;

#[test]
fn a_pause_behind_a_resume_ends() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    writer.run("CREATE TABLE t(a); INSERT INTO t VALUES (1)").unwrap();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.run("CALL maniac_attach('shop.maniac')").unwrap();
    let rows = duckdb.run(&"CALL maniac_pause('shop'); CALL maniac_resume('shop'); ".repeat(ROUNDS)).unwrap();
    let paused = rows.iter().filter(|row| row[1] == Value::Text("Paused".into())).count();
    assert_eq!(paused, ROUNDS);
    writer.run("INSERT INTO t VALUES (2)").unwrap();
    duckdb.run("CALL maniac_wait('shop')").unwrap();
    assert_eq!(duckdb.run("SELECT count(*) FROM shop.t").unwrap(), [[Value::Integer("2".into())]]);
    duckdb.exit().unwrap();
    writer.exit().unwrap();
}
