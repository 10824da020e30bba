//! Where the programs and the built extensions are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs and files that a test run needs. Each has an environment variable that overrides its place.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `MANIAC_SQLITE3`; else `sqlite3` from the search path.
    pub sqlite3: PathBuf,
    /// `MANIAC_DUCKDB`; else what `make setup` linked.
    pub duckdb: PathBuf,
    /// `MANIAC_DUCKLAKE`; else what `make setup` linked.
    pub ducklake: PathBuf,
    /// `MANIAC_DIST`: the folder with `maniac.so` and `maniac.duckdb_extension`; else `dist/` of this checkout.
    pub dist: PathBuf,
}

impl Tools {
    pub fn find() -> Self {
        let root = workspace_root();
        let place = |variable: &str, default: PathBuf| std::env::var_os(variable).map(PathBuf::from).unwrap_or(default);
        Self {
            sqlite3: place("MANIAC_SQLITE3", PathBuf::from("sqlite3")),
            duckdb: place("MANIAC_DUCKDB", root.join(".venv/tools/duckdb")),
            ducklake: place("MANIAC_DUCKLAKE", root.join(".venv/tools/ducklake.duckdb_extension")),
            dist: place("MANIAC_DIST", root.join("dist")),
        }
    }

    /// What `.load` takes: without the suffix, as a user writes it.
    pub fn sqlite_extension(&self) -> PathBuf {
        self.dist.join("maniac")
    }

    /// An extension of DuckDB's own that `make setup` linked.
    pub fn duckdb_tool(&self, name: &str) -> PathBuf {
        workspace_root().join(format!(".venv/tools/{name}.duckdb_extension"))
    }

    pub fn duckdb_extension(&self) -> PathBuf {
        self.dist.join("maniac.duckdb_extension")
    }
}

/// The checkout that this crate was built in.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sql-tests/ lies in the workspace").to_path_buf()
}

/// A Python whose sqlite3 module can load extensions, which some are built without. `MANIAC_PYTHON` names another.
pub fn python() -> PathBuf {
    if let Some(given) = std::env::var_os("MANIAC_PYTHON") {
        return given.into();
    }
    let able = |python: &&str| {
        let test = "import sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)";
        Command::new(python).args(["-c", test]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(able);
    found.expect("a Python whose sqlite3 module can load extensions; MANIAC_PYTHON names one").into()
}
