//! Copies and backups of a store that others write to meanwhile: each opens, whole, and has what was committed before it was
//! begun.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use maniac_sql_tests::value::Value;
use maniac_sql_tests::{Kind, Session, Tools};

/// Copies `shop.maniac` to a directory: by a script of the shell, or with `maniac_backup` where there is none.
const WAYS: [(&str, &str); 4] = [
    ("backup", ""),
    ("cp", "cp -r shop.maniac $0"),
    ("tar", "mkdir $0 && tar -C shop.maniac -cf - . | tar -C $0 -xf -"),
    ("HEAD last", "mkdir $0 && cp -r shop.maniac/log $0/ && cp shop.maniac/LOCK shop.maniac/HEAD $0/"),
];

fn session(tools: &Tools, directory: &Path, store: &str) -> Session {
    let mut session = Session::new(Kind::Sqlite, tools, directory);
    session.open(&format!("file:{store}?vfs=maniac")).unwrap();
    session
}

fn text(session: &mut Session, sql: &str) -> String {
    match &session.run(sql).unwrap()[0][0] {
        Value::Text(text) => text.clone(),
        other => panic!("{sql}: {other:?}"),
    }
}

fn number(session: &mut Session, sql: &str) -> i64 {
    match &session.run(sql).unwrap()[0][0] {
        Value::Integer(number) => number.parse().unwrap(),
        other => panic!("{sql}: {other:?}"),
    }
}

fn shell(directory: &Path, script: &str, argument: &str) {
    let output = Command::new("sh").args(["-ec", script, argument]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_copy_made_while_others_write_has_what_was_there_when_it_was_begun() {
    let (tools, directory) = (Tools::find(), tempfile::tempdir().unwrap());
    let mut writer = session(&tools, directory.path(), "shop.maniac");
    writer.run("CREATE TABLE t(n INTEGER PRIMARY KEY, x)").unwrap();
    let mut reader = session(&tools, directory.path(), "shop.maniac");
    for round in 0..5 {
        for (way, script) in WAYS {
            let commits: String = (0..150)
                .map(|n| format!("INSERT INTO t(x) VALUES (randomblob({}));", if n % 7 == 0 { 60_000 } else { 500 }))
                .collect();
            writer.send(&commits).unwrap();
            let before = number(&mut reader, "SELECT count(*) FROM t");
            let copy = format!("{way} {round}.maniac").replace(' ', "-");
            match script {
                "" => drop(reader.run(&format!("SELECT maniac_backup('{copy}')")).unwrap()),
                script => shell(directory.path(), script, &copy),
            }
            writer.receive().unwrap();
            let mut opened = session(&tools, directory.path(), &copy);
            let (count, last) = (
                number(&mut opened, "SELECT count(*) FROM t"),
                number(&mut opened, "SELECT coalesce(max(n), 0) FROM t"),
            );
            assert!(count >= before, "{way}: {count} rows, and {before} were committed before");
            assert_eq!(count, last, "{way}: none is missing in front of the last");
            assert_eq!(text(&mut opened, "PRAGMA integrity_check"), "ok", "{way}");
            opened.run("INSERT INTO t(x) VALUES ('goes on')").unwrap();
        }
    }
}

#[test]
fn a_backup_whose_process_is_killed_is_not_there() {
    let (tools, directory) = (Tools::find(), tempfile::tempdir().unwrap());
    let mut writer = session(&tools, directory.path(), "shop.maniac");
    writer.run("CREATE TABLE t(n INTEGER PRIMARY KEY, x)").unwrap();
    for _ in 0..8 {
        writer
            .run("INSERT INTO t(x) SELECT randomblob(1000) FROM json_each('[' || rtrim(replace(hex(zeroblob(20000)), '00', '0,'), ',') || ']')")
            .unwrap();
    }
    let target = directory.path().join("b.maniac");
    for patience in [0, 3, 10, 30, 60, 100] {
        let mut reader = session(&tools, directory.path(), "shop.maniac");
        reader.send("SELECT maniac_backup('b.maniac')").unwrap();
        std::thread::sleep(Duration::from_millis(patience));
        reader.kill().unwrap();
        if target.exists() {
            let mut copy = session(&tools, directory.path(), "b.maniac");
            assert_eq!(number(&mut copy, "SELECT count(*) FROM t"), 160_000);
            assert_eq!(text(&mut copy, "PRAGMA integrity_check"), "ok");
            copy.exit().unwrap();
            std::fs::remove_dir_all(&target).unwrap();
        }
    }
    let mut reader = session(&tools, directory.path(), "shop.maniac");
    assert_eq!(number(&mut reader, "SELECT maniac_backup('b.maniac') = maniac_head()"), 1);
}
