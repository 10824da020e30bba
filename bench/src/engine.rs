//! The two things that are compared: a store through the VFS, and a plain file in WAL mode, in one SQLite library.

use std::path::Path;

use maniac_sql_tests::Tools;
use rusqlite::Connection;

use crate::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Stock,
    Maniac,
}

impl Engine {
    pub const BOTH: [Self; 2] = [Self::Stock, Self::Maniac];

    /// A connection to the database of that name in `directory`, made if it isn't there.
    pub fn open(self, directory: &Path, name: &str) -> Outcome<Connection> {
        let connection = match self {
            Self::Stock => {
                let connection = Connection::open(directory.join(format!("{name}.db")))?;
                connection.pragma_update(None, "journal_mode", "wal")?;
                connection
            }
            Self::Maniac => {
                load_extension(&Tools::find())?;
                let store = directory.join(format!("{name}.maniac"));
                Connection::open(format!("file:{}?vfs=maniac", store.display()))?
            }
        };
        Ok(connection)
    }
}

/// Loads the extension into this process. It stays, and loading it again does nothing.
fn load_extension(tools: &Tools) -> Outcome<()> {
    let connection = Connection::open_in_memory()?;
    // SAFETY: the extension is ours, built from this checkout; loading is switched off again right after.
    #[allow(unsafe_code)]
    unsafe {
        connection.load_extension_enable()?;
        connection.load_extension(tools.sqlite_extension(), None::<&str>)?;
        connection.load_extension_disable()?;
    }
    Ok(())
}

/// A directory on the disk that the build uses: the usual one for temporary files may be in memory.
pub fn scratch() -> Outcome<tempfile::TempDir> {
    let place = maniac_sql_tests::tools::workspace_root().join("bench/target");
    std::fs::create_dir_all(&place)?;
    Ok(tempfile::Builder::new().prefix("data-").tempdir_in(place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rusqlite asks for extended result codes, so a host like this one sees what others don't.
    #[test]
    fn both_engines_open_again_and_again() {
        let directory = scratch().unwrap();
        for engine in Engine::BOTH {
            engine
                .open(directory.path(), "t")
                .unwrap()
                .execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (7)")
                .unwrap();
            let again = engine.open(directory.path(), "t").unwrap();
            assert_eq!(again.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7, "{engine:?}");
        }
        assert!(directory.path().join("t.db").is_file() && directory.path().join("t.maniac").is_dir());
    }
}
