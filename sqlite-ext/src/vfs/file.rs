//! `sqlite3_io_methods`: SQLite's calls on an open file, which is a database or its journal.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::ffi;

use super::database::Database;
use super::journal::Journal;
use super::waiting;
use crate::errors::{VfsError, VfsResult, report};
use crate::last_error::Newest;

pub enum OpenFile {
    Database(Box<Database>),
    Journal(Journal),
}

/// What SQLite's `sqlite3_file` is for the files of this VFS.
#[repr(C)]
pub struct FileHandle {
    base: ffi::sqlite3_file,
    pub file: *mut OpenFile,
    /// Where SQLite keeps the connection that uses the file, or the database of the journal; null before it tells.
    pub connection: *mut *mut ffi::sqlite3,
}

/// The open database behind a file handle of SQLite's, if this VFS opened it.
///
/// # Safety
/// `file` is null or a `sqlite3_file` that stays open, and that nobody else uses, while the result is used.
pub unsafe fn database_of<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a mut Database> {
    // SAFETY: by the caller's word; the methods tell whose file it is.
    unsafe {
        if file.is_null() || (*file).pMethods != &raw const METHODS {
            return None;
        }
        match &mut *(*file.cast::<FileHandle>()).file {
            OpenFile::Database(database) => Some(database),
            OpenFile::Journal(_) => None,
        }
    }
}

/// Runs one call, and turns what went wrong into a code, with the words left in `newest`.
pub fn contain(newest: impl FnOnce() -> Newest, call: impl FnOnce() -> VfsResult<c_int>) -> c_int {
    let panicked = |_| Err(VfsError::new(ffi::SQLITE_INTERNAL, "a panic was contained; this is a bug in Maniac"));
    let outcome = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(panicked);
    outcome.unwrap_or_else(|error| report(error, &newest()))
}

/// Runs one call on an open file.
///
/// # Safety
/// `file` is a handle that `open` has filled, as all handles with `METHODS` are.
unsafe fn on_file(file: *mut ffi::sqlite3_file, call: impl FnOnce(&mut OpenFile) -> VfsResult<c_int>) -> c_int {
    // SAFETY: by the caller's word; SQLite uses a file from one thread at a time.
    let (file, connection) = unsafe {
        let handle = file.cast::<FileHandle>();
        (&mut *(*handle).file, (*handle).connection)
    };
    // SAFETY: the place of the connection is valid as long as the file is open.
    contain(|| unsafe { Newest::of(connection) }, || call(file))
}

/// A journal's file failed.
fn set_aside(error: std::io::Error) -> VfsError {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let code = if full { ffi::SQLITE_FULL } else { ffi::SQLITE_IOERR };
    VfsError::new(code, format!("the old pages of a large transaction cannot be set aside: {error}"))
}

pub static METHODS: ffi::sqlite3_io_methods = {
    // SAFETY: all zeroes is a table of no methods.
    let mut methods: ffi::sqlite3_io_methods = unsafe { std::mem::zeroed() };
    methods.iVersion = 1;
    methods.xClose = Some(close);
    methods.xRead = Some(read);
    methods.xWrite = Some(write);
    methods.xTruncate = Some(truncate);
    methods.xSync = Some(sync);
    methods.xFileSize = Some(file_size);
    methods.xLock = Some(lock);
    methods.xUnlock = Some(unlock);
    methods.xCheckReservedLock = Some(check_reserved_lock);
    methods.xFileControl = Some(file_control);
    methods.xSectorSize = Some(sector_size);
    methods.xDeviceCharacteristics = Some(device_characteristics);
    methods
};

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    contain(Newest::of_thread, || {
        // SAFETY: `open` leaked the box into the handle, and SQLite closes a file once.
        let file = unsafe { Box::from_raw((*file.cast::<FileHandle>()).file) };
        if let OpenFile::Database(database) = *file {
            database.close();
        }
        Ok(ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's handle, and `amount` bytes to fill.
    let (out, offset) = unsafe { (std::slice::from_raw_parts_mut(out.cast::<u8>(), amount as usize), offset as u64) };
    // SAFETY: as above.
    unsafe {
        on_file(file, |file| {
            let whole = match file {
                OpenFile::Database(database) => database.read(out, offset)?,
                OpenFile::Journal(journal) => {
                    let n = journal.read(out, offset as usize).map_err(set_aside)?;
                    out[n..].fill(0);
                    n == out.len()
                }
            };
            Ok(if whole { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ })
        })
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's handle, and `amount` bytes to take.
    let (bytes, offset) = unsafe { (std::slice::from_raw_parts(bytes.cast::<u8>(), amount as usize), offset as u64) };
    // SAFETY: as above.
    unsafe {
        on_file(file, |file| {
            match file {
                OpenFile::Database(database) => database.write(bytes, offset)?,
                OpenFile::Journal(journal) => journal.write(bytes, offset as usize).map_err(set_aside)?,
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite's handle.
    unsafe {
        on_file(file, |file| {
            match file {
                OpenFile::Database(database) => database.truncate(size as u64)?,
                OpenFile::Journal(journal) => journal.truncate(size as usize),
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

/// Nothing to do: FCNTL_SYNC came first, and made the transaction as durable as `PRAGMA synchronous` wants it.
unsafe extern "C" fn sync(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: SQLite's handle and a place for the answer.
    unsafe {
        on_file(file, |file| {
            *size = match file {
                OpenFile::Database(database) => database.size()? as i64,
                OpenFile::Journal(journal) => journal.len() as i64,
            };
            Ok(ffi::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite's handle; the place of the connection is valid as long as the file is open.
    unsafe {
        let connection = (*file.cast::<FileHandle>()).connection;
        let connection = if connection.is_null() { std::ptr::null_mut() } else { *connection };
        on_file(file, |file| {
            if let OpenFile::Database(database) = file {
                let locked = database.lock(level, (!connection.is_null()).then(|| connection.addr()));
                if locked.as_ref().is_err_and(VfsError::is_busy) && waiting::is_interrupted(connection) {
                    // SQLite's busy handler would go on waiting.
                    return Ok(ffi::SQLITE_INTERRUPT);
                }
                locked?;
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite's handle.
    unsafe {
        let connection = (*file.cast::<FileHandle>()).connection;
        on_file(file, |file| {
            if let OpenFile::Database(database) = file
                && let Some(turn) = database.unlock(level)
            {
                let connection = if connection.is_null() { std::ptr::null_mut() } else { *connection };
                waiting::note(turn, connection);
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

/// SQLite asks this to find hot journals, and there are none.
unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite's place for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: SQLite's handle; each operation's argument has the type that SQLite documents for it.
    unsafe {
        if op == ffi::SQLITE_FCNTL_PDB {
            (*file.cast::<FileHandle>()).connection = argument.cast();
            return ffi::SQLITE_OK;
        }
        let connection = (*file.cast::<FileHandle>()).connection;
        on_file(file, |file| match (file, op) {
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_SYNC) => {
                let super_journal = argument.cast::<c_char>().cast_const();
                let super_journal = (!super_journal.is_null()).then(|| CStr::from_ptr(super_journal).to_bytes());
                database.commit(super_journal)?;
                Ok(ffi::SQLITE_OK)
            }
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_COMMIT_PHASETWO) => {
                database.commit_is_over()?;
                Ok(ffi::SQLITE_OK)
            }
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_PRAGMA) => {
                let autocommit = connection.is_null() || ffi::sqlite3_get_autocommit(*connection) != 0;
                let texts = argument.cast::<*mut c_char>();
                let text = |n: usize| {
                    let text = *texts.add(n);
                    (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
                };
                let (name, value) = (text(1).unwrap_or_default(), text(2));
                let (code, answer) = match database.pragma(&name, value.as_deref(), autocommit) {
                    Ok(None) => return Ok(ffi::SQLITE_NOTFOUND),
                    Ok(Some(answer)) => (ffi::SQLITE_OK, answer),
                    Err(error) => (error.code, Newest::of(connection).keep(error)),
                };
                *texts = host_string(&answer);
                Ok(code)
            }
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_LOCKSTATE) => {
                *argument.cast::<c_int>() = database.level();
                Ok(ffi::SQLITE_OK)
            }
            (_, ffi::SQLITE_FCNTL_VFSNAME) => {
                *argument.cast::<*mut c_char>() = host_string("maniac");
                Ok(ffi::SQLITE_OK)
            }
            _ => Ok(ffi::SQLITE_NOTFOUND),
        })
    }
}

/// A C string in memory of SQLite's, which will free it; null when there is none left.
fn host_string(text: &str) -> *mut c_char {
    // SAFETY: the block has room for the bytes and the zero behind them.
    unsafe {
        let out = ffi::sqlite3_malloc64(text.len() as u64 + 1).cast::<u8>();
        if !out.is_null() {
            std::ptr::copy_nonoverlapping(text.as_ptr(), out, text.len());
            *out.add(text.len()) = 0;
        }
        out.cast()
    }
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    512
}

unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_SAFE_APPEND | ffi::SQLITE_IOCAP_SEQUENTIAL | ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
