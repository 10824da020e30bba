//! The two things that are compared: a store through the VFS, and a plain file, in one SQLite library.

use std::path::{Path, PathBuf};

use maniac_sql_tests::Tools;
use rusqlite::Connection;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Stock,
    Maniac,
}

impl Engine {
    pub const BOTH: [Self; 2] = [Self::Stock, Self::Maniac];

    /// What opens the database of that name in `directory`.
    pub fn uri(self, directory: &Path, name: &str) -> String {
        match self {
            Self::Stock => format!("file:{}", directory.join(format!("{name}.db")).display()),
            Self::Maniac => format!("file:{}?vfs=maniac", directory.join(format!("{name}.maniac")).display()),
        }
    }

    /// A connection to the database of that name in `directory`, made if it isn't there.
    pub fn open(self, directory: &Path, name: &str) -> rusqlite::Result<Connection> {
        if self == Self::Maniac {
            load_extension()?;
        }
        Connection::open(self.uri(directory, name))
    }
}

/// Loads the extension into this process. It stays, and loading it again does nothing.
pub fn load_extension() -> rusqlite::Result<()> {
    let connection = Connection::open_in_memory()?;
    // SAFETY: the extension is ours, built from this checkout; loading is switched off again right after.
    #[allow(unsafe_code)]
    unsafe {
        connection.load_extension_enable()?;
        connection.load_extension(Tools::find().sqlite_extension(), None::<&str>)?;
        connection.load_extension_disable()
    }
}

/// A directory on the disk that the build uses: the usual one for temporary files may be in memory.
pub fn scratch() -> tempfile::TempDir {
    let place = place();
    std::fs::create_dir_all(&place).expect("the target directory can be made");
    tempfile::Builder::new().prefix("data-").tempdir_in(place).expect("a scratch directory")
}

fn place() -> PathBuf {
    maniac_sql_tests::tools::workspace_root().join("torture/target")
}
