//! Two processes with the same mirror in one lake, whose catalog is a SQLite file that both have open. While one lives,
//! the other is refused. Taken for a process of another machine it is overtaken again and again, in the middle of a
//! stream of commits: it is told so, and whatever was under way is applied once, by one of the two.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const TAKEOVERS: usize = 4;
const ATTACH: &str = "CALL maniac_attach('shop.maniac', lake := 'lake', mode := 'streaming')";

fn host(tools: &Tools, directory: &Path, name: &str) -> Session {
    let mut session = Session::new(Kind::Duckdb, tools, directory);
    session.open(name).unwrap();
    let scanner = tools.duckdb.with_file_name("sqlite_scanner.duckdb_extension");
    session
        .run(&format!(
            "LOAD '{}'; LOAD '{}'; ATTACH 'ducklake:sqlite:lake.sqlite' AS lake \
             (DATA_PATH 'files', META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 5000)",
            scanner.display(),
            tools.ducklake.display()
        ))
        .unwrap();
    session
}

/// Runs a statement that the other process's commits may get in the way of.
fn insist(session: &mut Session, sql: &str) {
    for _ in 0..50 {
        match session.run(sql) {
            Ok(_) => return,
            Err(error) if error.to_string().contains("onflict") || error.to_string().contains("locked") => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    panic!("{sql}: conflicts without end");
}

#[test]
fn of_two_processes_one_applies_and_the_other_is_told() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    writer.run("CREATE TABLE moves(v INTEGER); CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 0)").unwrap();
    let mut hosts = [host(&tools, directory.path(), "a.db"), host(&tools, directory.path(), "b.db")];
    hosts[0].run(ATTACH).unwrap();
    let refused = hosts[1].run(ATTACH).unwrap_err().to_string();
    assert!(refused.contains("on this machine applies changes to"), "{refused}");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                writer
                    .run("BEGIN; INSERT INTO moves SELECT count(*) FROM moves; UPDATE t SET n = n + 1; COMMIT;")
                    .unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        for round in 0..TAKEOVERS {
            let (holder, taker) = (round % 2, (round + 1) % 2);
            std::thread::sleep(Duration::from_millis(500));
            // A token of another machine: nobody can tell whether its process lives.
            insist(&mut hosts[taker], "UPDATE lake.shop._maniac_state SET owner = '1/1/1/elsewhere'");
            insist(&mut hosts[taker], ATTACH);
            let told = loop {
                // Errors that are tried again are conflicts with the taker.
                let asked = "SELECT last_error FROM maniac_status() WHERE state = 'Error' AND retry_at IS NULL";
                match hosts[holder].run(asked).unwrap().pop() {
                    Some(error) => break format!("{error:?}"),
                    None => std::thread::sleep(Duration::from_millis(20)),
                }
            };
            assert!(told.contains("no longer applied by this process"), "{told}");
            hosts[holder].run("CALL maniac_detach('shop')").unwrap();
        }
        stop.store(true, Ordering::Release);
        stream.join().unwrap();
    });

    let last = &mut hosts[TAKEOVERS % 2];
    last.run("CALL maniac_wait('shop')").unwrap();
    assert_eq!(compare::all(&mut writer, last, "lake.shop").unwrap(), 2);
    let repaired = last.run("SELECT repaired_tables FROM maniac_status()").unwrap();
    assert_eq!(repaired, [[Value::Integer("0".into())]], "repaired tables");
    for host in &mut hosts {
        host.exit().unwrap();
    }
}
