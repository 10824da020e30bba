//! The C library from the outside: its example, compiled with the header and the library from `dist/`, follows a store
//! that the real sqlite3 writes to.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use maniac_sql_tests::{Tools, workspace_root};

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn sqlite(tools: &Tools, directory: &Path, sql: &str) {
    let load = format!(".load {}", tools.sqlite_extension().display());
    let mut shell = Command::new(&tools.sqlite3);
    output(shell.current_dir(directory).args([":memory:", &load, ".open file:shop.maniac?vfs=maniac", sql]));
}

fn follow(directory: &Path, arguments: &[&str]) -> Command {
    let mut follow = Command::new(directory.join("follow"));
    follow.current_dir(directory).env("LD_LIBRARY_PATH", Tools::find().dist).args(arguments);
    follow
}

#[test]
fn the_example_follows_a_store() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", "follow"]).current_dir(directory);
    compiler.arg(workspace_root().join("c-api/examples/follow.c"));
    compiler.arg("-I").arg(&tools.dist).arg("-L").arg(&tools.dist).arg("-lmaniac_client");
    output(&mut compiler);

    sqlite(
        &tools,
        directory,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a'), (2, 2.5); UPDATE t SET v = NULL WHERE id = 1;",
    );
    let arguments = ["shop.maniac", "main", "cursor", "0"];
    let told = output(&mut follow(directory, &arguments));
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with(' ')).collect();
    assert_eq!(
        rows,
        [
            "  insert t {\"id\":1} nothing -> {\"id\":1,\"v\":\"a\"}",
            "  insert t {\"id\":2} nothing -> {\"id\":2,\"v\":2.5}",
            "  update t {\"id\":1} {\"v\":\"a\"} -> {\"v\":null}",
        ]
    );
    assert_eq!(told.lines().filter(|line| line.starts_with("version ")).count(), 3, "{told}");

    // What is acknowledged is not told again.
    assert_eq!(output(&mut follow(directory, &arguments)), "");
    sqlite(&tools, directory, "DELETE FROM t WHERE id = 2;");
    let told = output(&mut follow(directory, &arguments));
    assert!(told.ends_with("  delete t {\"id\":2} {\"id\":2,\"v\":2.5} -> nothing\n"), "{told}");

    // Of a schema of nonsense it says so, and goes on with the difference.
    sqlite(
        &tools,
        directory,
        "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, ')', ', ('); INSERT INTO t VALUES (3, 'c');",
    );
    let told = output(&mut follow(directory, &arguments));
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with(' ')).collect();
    let unreadable =
        ["  unreadable: table t: a name is missing", "  unreadable t {\"reason\":\"table t: a name is missing\"}"];
    assert_eq!(lines, [unreadable, unreadable].concat());
    sqlite(&tools, directory, "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, ', (', ')');");
    let told = output(&mut follow(directory, &arguments));
    assert!(told.ends_with("  insert t {\"id\":3} nothing -> {\"id\":3,\"v\":\"c\"}\n"), "{told}");
}

#[test]
fn the_example_is_woken_by_a_commit_and_says_what_is_wrong() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut compiler = Command::new("cc");
    compiler.args(["-o", "follow"]).current_dir(directory);
    compiler.arg(workspace_root().join("c-api/examples/follow.c"));
    compiler.arg("-I").arg(&tools.dist).arg("-L").arg(&tools.dist).arg("-lmaniac_client");
    output(&mut compiler);
    sqlite(&tools, directory, "CREATE TABLE t(id INTEGER PRIMARY KEY);");

    let mut waiting = follow(directory, &["shop.maniac", "main", "cursor", "2000"]);
    let mut waiting = waiting.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(waiting.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.starts_with("version "), "{line}");
    sqlite(&tools, directory, "INSERT INTO t VALUES (5);");
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("  insert t {\"id\":5} nothing -> {\"id\":5}\n"), "{rest}");
    assert!(waiting.wait().unwrap().success());

    for (arguments, reason) in [
        (["nowhere.maniac", "main", "cursor", "0"], "no such store"),
        (["shop.maniac", "nobranch", "cursor", "0"], "no branch \"nobranch\""),
        (["shop.maniac", "main", "follow", "0"], "the cursor cannot be kept"),
    ] {
        let refused = follow(directory, &arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && stderr.contains(reason), "{stderr}");
    }
}
