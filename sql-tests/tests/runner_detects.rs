//! A test runner that passes everything is worse than none: each kind of failure must be told, with its reason.

use maniac_sql_tests::script::{Config, run_text};
use maniac_sql_tests::session::PATIENCE;
use maniac_sql_tests::{Kind, Session, Tools};

#[track_caller]
fn fails_with(script: &str, reason: &str) {
    match run_text(script, &Tools::find(), &Config::DEFAULT) {
        Ok(()) => panic!("passed, though it should fail with {reason:?}:\n{script}"),
        Err(error) => assert!(error.contains(reason), "expected {reason:?} in the error, got:\n{error}"),
    }
}

#[test]
fn a_wrong_result() {
    fails_with("connection plain-sqlite:a\nquery I\nSELECT 1\n----\n2\n", "query result mismatch");
    fails_with("connection plain-duckdb:a\nquery I\nSELECT 1\n----\n2\n", "query result mismatch");
    fails_with("connection plain-sqlite:a\nquery I\nSELECT 1 WHERE 0\n----\n1\n", "query result mismatch");
    fails_with("connection plain-sqlite:a\nquery I\nSELECT 1\n----\n\n", "query result mismatch");
}

#[test]
fn a_wrong_type() {
    fails_with("connection plain-sqlite:a\nquery T\nSELECT 1\n----\n1\n", "column");
    fails_with("connection plain-sqlite:a\nquery I\nSELECT 1 UNION ALL SELECT 'a'\n----\n1\na\n", "column");
    fails_with("connection plain-sqlite:a\nquery II\nSELECT 1\n----\n1\n", "column");
}

#[test]
fn an_unexpected_error() {
    fails_with("connection plain-sqlite:a\nstatement ok\nSELECT * FROM nowhere\n", "no such table");
    fails_with("connection plain-duckdb:a\nstatement ok\nSELECT * FROM nowhere\n", "does not exist");
    fails_with("connection plain-sqlite:a\nquery I\nSELECT * FROM nowhere\n----\n1\n", "no such table");
    fails_with("connection plain-sqlite:a\nstatement ok\n.no-such-command\n", "no-such-command");
}

#[test]
fn an_error_that_did_not_come_or_says_something_else() {
    fails_with("connection plain-sqlite:a\nstatement error anything\nSELECT 1\n", "expected to fail");
    fails_with("connection plain-sqlite:a\nstatement error locked\nSELECT * FROM nowhere\n", "no such table");
}

/// Losing the process is never what `statement error` asks for.
#[test]
fn a_process_that_ends() {
    fails_with("connection plain-sqlite:a\nstatement error\n.exit 3\n", "exit status: 3");
    fails_with("connection plain-duckdb:a\nstatement error\n.exit\n", "ended");
    fails_with("connection plain-sqlite:a\nstatement ok\nSELECT 1\n\nsystem ok\nfalse\n", "system");
}

#[test]
fn a_step_or_a_name_that_does_not_exist() {
    fails_with("connection plain-sqlite:a\nstatement error\n\\explode\n", "no such step");
    fails_with("connection oracle:a\nstatement error\nSELECT 1\n", "a connection is named");
    fails_with("connection plain-sqlite:a\nstatement error\n\\compare plain-sqlite:b t t\n", "on a duckdb connection");
    fails_with("connection plain-sqlite:a\nstatement error\n\\receive\n", "nothing was sent");
    fails_with("connection plain-sqlite:a\nstatement ok\nSELECT ${nothing}\n", "no variable");
}

#[test]
fn a_process_that_hangs_is_killed_and_named() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let endless =
        "SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)";
    let mut session = Session::new(Kind::PlainSqlite, &tools, directory.path());
    session.set_patience(std::time::Duration::from_millis(300));
    let error = session.run(endless).unwrap_err().to_string();
    assert!(error.contains("gave no answer within"), "{error}");
    assert_eq!(session.process_id(), None, "the hung process is gone");

    session.set_patience(PATIENCE);
    assert_eq!(session.run("SELECT 1").unwrap().len(), 1, "the session starts anew");
}
