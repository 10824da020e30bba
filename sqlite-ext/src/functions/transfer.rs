//! `maniac_import(path)` and `maniac_export(path)`: between plain SQLite files and stores, with SQLite's own backup.
//! `maniac_backup(path)`: a copy of the whole store.

use std::ffi::CStr;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, ffi};

use crate::errors::{VfsError, VfsResult};
use crate::vfs::{self, Database};

/// Pages that are copied between two looks at the clock.
const STEP: i32 = 4096;
/// Work that takes longer says how far it is,
const PATIENCE: Duration = Duration::from_secs(2);
/// and says it again when so much time has passed.
const BETWEEN: Duration = Duration::from_millis(200);

/// Replaces the branch's database by the one in a plain file, as one version, which is returned.
pub fn import(database: &mut Database, path: &str) -> VfsResult<i64> {
    let from = open_file(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    from.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0))
        .map_err(|error| failed(path, "cannot be read as a SQLite database", &error))?;
    let mut to = open_with(&database.branch_uri()?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let have = i64::from(database.store().page_size());
    let asked: i64 =
        from.query_row("PRAGMA page_size", (), |row| row.get(0)).map_err(|e| failed(path, "page size", &e))?;
    if have != 0 && have != asked {
        let message = format!(
            "{path} has pages of {asked} bytes, this store has pages of {have}: import into a new store, or run PRAGMA \
             page_size={have}; VACUUM on a copy of the file first"
        );
        return Err(VfsError::new(ffi::SQLITE_ERROR, message));
    }
    copy(&from, &mut to, "imported").map_err(|error| failed(path, "cannot be imported", &error))?;
    drop(to);
    Ok(database.store().branch_head(database.branch())?.0 as i64)
}

/// Writes this connection's snapshot to a new plain file, and gives its size in bytes.
pub fn export(database: &mut Database, path: &str) -> VfsResult<i64> {
    if Path::new(path).exists() {
        let message = format!("{path} exists already; choose another name, or remove it first");
        return Err(VfsError::new(ffi::SQLITE_ERROR, message));
    }
    if database.has_write_transaction() {
        let message = "maniac_export cannot run inside a transaction that has written; commit or roll back first";
        return Err(VfsError::new(ffi::SQLITE_ERROR, message));
    }
    // A connection of its own, since the caller's is in the middle of a statement.
    let from = open_with(&database.snapshot_uri()?, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let exported = open_file(path, create)
        .and_then(|mut to| copy(&from, &mut to, "exported").map_err(|error| failed(path, "cannot be written", &error)));
    // Half a file is worse than none.
    exported.inspect_err(|_| drop(std::fs::remove_file(path)))?;
    let size = std::fs::metadata(path).map_err(|error| VfsError::new(ffi::SQLITE_IOERR, format!("{path}: {error}")))?;
    Ok(size.len() as i64)
}

/// Copies the whole store, and gives the newest version in the copy.
pub fn backup(database: &mut Database, path: &str, is_interrupted: &dyn Fn() -> bool) -> VfsResult<i64> {
    if database.has_write_transaction() {
        let message = "maniac_backup cannot run inside a transaction that has written; commit or roll back first";
        return Err(VfsError::new(ffi::SQLITE_ERROR, message));
    }
    let mut progress = Progress::new("backed up");
    let version = database.store().backup(Path::new(path), &mut |copied, all| {
        progress.tell(copied, all);
        !is_interrupted()
    })?;
    Ok(version.0 as i64)
}

/// Says on a terminal how far work is that takes a moment.
struct Progress {
    done: &'static str,
    start: Instant,
    told: Option<Instant>,
}

impl Progress {
    fn new(done: &'static str) -> Progress {
        Progress { done, start: Instant::now(), told: None }
    }

    fn tell(&mut self, so_far: u64, all: u64) {
        let now = Instant::now();
        let due = self.told.map_or(now - self.start > PATIENCE, |told| now - told > BETWEEN);
        if due && all > 0 && std::io::stderr().is_terminal() {
            eprint!("\rmaniac: {}% {}", (so_far * 100 / all).min(100), self.done);
            // A terminal that is gone has nobody to tell.
            let _ = std::io::stderr().flush();
            self.told = Some(now);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            eprintln!();
        }
    }
}

fn open_file(path: &str, flags: OpenFlags) -> VfsResult<Connection> {
    Connection::open_with_flags_and_vfs(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX, vfs::platform_name().as_c_str())
        .map_err(|error| failed(path, "cannot be opened", &error))
}

/// A connection to what a URI of the store names.
fn open_with(uri: &str, mode: OpenFlags) -> VfsResult<Connection> {
    let flags = mode | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let name: &CStr = vfs::NAME;
    Connection::open_with_flags_and_vfs(uri, flags, name).map_err(|error| failed(uri, "cannot be opened", &error))
}

fn copy(from: &Connection, to: &mut Connection, done: &'static str) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    let mut told = Progress::new(done);
    loop {
        match backup.step(STEP)? {
            StepResult::Done => break,
            StepResult::More => {}
            // Somebody else writes to it; they will be done.
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
        let progress = backup.progress();
        let pages = |count: i32| count.max(0) as u64;
        told.tell(pages(progress.pagecount - progress.remaining), pages(progress.pagecount));
    }
    Ok(())
}

fn failed(what: &str, how: &str, error: &rusqlite::Error) -> VfsError {
    VfsError::new(ffi::SQLITE_ERROR, format!("{what} {how}: {error}"))
}
