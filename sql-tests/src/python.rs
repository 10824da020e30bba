//! DuckDB inside Python, in the versions that `make setup` puts under `.venv/hosts/`: for what needs several connections in
//! one process, and for hosts' own ways to close and end.

use std::process::{Command, Output};

use tempfile::TempDir;

use crate::tools::workspace_root;
use crate::{Kind, Session, Tools};

/// Every version that the tests run in, as `tools/setup.sh` pins them. The packages of DuckLake end at the first.
pub const VERSIONS: [&str; 3] = [WITH_DUCKLAKE, "1.5.6", "2.0.1"];
pub const WITH_DUCKLAKE: &str = "1.5.5";

const STORE: &str = "file:shop.maniac?vfs=maniac";

/// Loads the extension into a connection to `database`, and has SQLite change the store.
const CONNECT: &str = "
import duckdb, os, subprocess, sys
def connect(database):
    con = duckdb.connect(database, config={'allow_unsigned_extensions': 'true'})
    con.execute('SET enable_progress_bar = false')
    con.execute(f\"LOAD '{os.environ['DIST']}/maniac.duckdb_extension'\")
    return con
def write(sql):
    script = f\".load {os.environ['DIST']}/maniac\\n.open 'file:shop.maniac?vfs=maniac'\\n{sql};\"
    subprocess.run([os.environ['SQLITE']], input=script, text=True, check=True)
";

/// A mirror in a lake, which rests until it is told to do something, another connection, and commits to its store.
pub const LAKE: &str = "
con = connect('olap.db')
con.execute(f\"LOAD '{os.environ['DUCKLAKE']}'\")
con.execute(\"ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')\")
con.execute(\"CALL maniac_attach('shop.maniac', lake := 'lake', maintain_every_s := 0)\")
other = con.cursor()
other.execute('SET enable_progress_bar = false')
def commit(sql):
    write(sql)
    con.execute(\"CALL maniac_wait('shop')\")
def rows(connection):
    return connection.execute('SELECT count(*), sum(id)::BIGINT FROM lake.shop.t').fetchone()
";

/// A watchdog, as `timeout` gives it: an ending process that hangs fails the test.
const PATIENCE: &str = "60";

/// A directory with a store that has a table of 1,000 rows, and its writer.
pub struct Host {
    tools: Tools,
    pub writer: Session,
    pub directory: TempDir,
}

impl Host {
    #[allow(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Host {
        let tools = Tools::find();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
        writer.open(STORE).expect("the store opens");
        writer
            .run(
                "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); \
                 INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                   SELECT i, 'row ' || i FROM n",
            )
            .expect("the store is filled");
        Host { tools, writer, directory }
    }

    /// Sends the writer a stream that outlasts what is started meanwhile.
    pub fn streaming() -> Host {
        let mut host = Host::new();
        let commits: String =
            (0..3000).map(|n| format!("UPDATE t SET v = 'v{n}' WHERE id = {};", n % 1000 + 1)).collect();
        host.writer.send(&format!("PRAGMA synchronous = OFF; {commits}")).expect("the writer takes its commits");
        host
    }

    /// Runs a script in that version of DuckDB.
    pub fn python(&self, version: &str, script: &str) -> Output {
        let root = workspace_root();
        Command::new("timeout")
            .args(["--signal=KILL", PATIENCE])
            .arg(root.join(".venv/bin/python"))
            .args(["-c", &format!("{CONNECT}{script}")])
            .current_dir(self.directory.path())
            .env("PYTHONPATH", root.join(".venv/hosts").join(version))
            .env("DIST", &self.tools.dist)
            .env("DUCKLAKE", &self.tools.ducklake)
            .env("SQLITE", &self.tools.sqlite3)
            .output()
            .expect("python starts")
    }
}

#[track_caller]
/// Asserts that a script ended well and printed that.
pub fn prints(output: &Output, expected: &str) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
    assert_eq!((stdout.trim(), stderr.trim()), (expected, ""));
}
