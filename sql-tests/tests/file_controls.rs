//! File controls that hosts ask a database for, through apsw, which has SQLite's C interface.

use std::process::Command;

use maniac_sql_tests::Tools;
use maniac_sql_tests::tools::workspace_root;

/// `PRAGMA lock_status`, which builds for debugging have, asks the same.
#[test]
fn the_lock_state_is_the_level_that_sqlite_has() {
    let script = "
import apsw, ctypes, os
loader = apsw.Connection(':memory:')
loader.enable_load_extension(True)
loader.load_extension(os.environ['EXTENSION'])
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_READWRITE
connection = apsw.Connection('file:shop.maniac?vfs=maniac', flags=flags)
def level():
    state = ctypes.c_int(-1)
    assert connection.file_control('main', apsw.SQLITE_FCNTL_LOCKSTATE, ctypes.addressof(state))
    return state.value
execute = connection.execute
levels = [level()]
execute('CREATE TABLE t(a)')
execute('BEGIN')
levels.append(level())
list(execute('SELECT * FROM t'))
levels.append(level())
execute('INSERT INTO t VALUES (1)')
levels.append(level())
execute('COMMIT; BEGIN EXCLUSIVE')
levels.append(level())
execute('ROLLBACK')
levels.append(level())
print(levels)
";
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(workspace_root().join(".venv/bin/python"))
        .args(["-c", script])
        .current_dir(directory.path())
        .env("EXTENSION", Tools::find().sqlite_extension())
        .output()
        .expect("python starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[0, 0, 1, 2, 4, 0]", "{stderr}");
}
