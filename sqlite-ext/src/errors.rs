//! From what went wrong to SQLite's codes, and to where a person can read it.

#![allow(unsafe_code)]

use std::ffi::{CString, c_int};

use maniac_base::Kind;
use maniac_connection::ConnectionError;
use maniac_history::HistoryError;
use maniac_store::StoreError;
use rusqlite::ffi;

use crate::last_error::Newest;

/// A failure inside the VFS: the code for SQLite, and the words that SQLite's codes have no room for.
#[derive(Debug)]
pub struct VfsError {
    pub code: c_int,
    pub message: String,
}

pub type VfsResult<T> = Result<T, VfsError>;

impl VfsError {
    pub fn new(code: c_int, message: impl Into<String>) -> VfsError {
        VfsError { code, message: message.into() }
    }

    fn of(kind: Kind, error: &dyn std::fmt::Display) -> VfsError {
        VfsError::new(kind.codes().sqlite.1, error.to_string())
    }

    /// A database could not be opened: SQLite's code for that, unless another one says more.
    pub fn on_opening(self) -> VfsError {
        let code = if self.code == ffi::SQLITE_ERROR { ffi::SQLITE_CANTOPEN } else { self.code };
        VfsError { code, ..self }
    }

    /// Another connection stands in the way, for now.
    pub fn is_busy(&self) -> bool {
        self.code & 0xff == ffi::SQLITE_BUSY
    }

    /// As users read it.
    pub fn shown(&self) -> String {
        format!("maniac: {}", self.message)
    }

    /// An error of SQL that was run here, or of another part that knows no codes.
    pub fn sql(error: impl std::error::Error) -> VfsError {
        VfsError::new(ffi::SQLITE_ERROR, error.to_string())
    }
}

impl From<StoreError> for VfsError {
    fn from(error: StoreError) -> VfsError {
        let mut shown = VfsError::of(error.kind(), &error);
        if let StoreError::PlainFile { path } = &error {
            shown.message += &format!("; to use it beside a store, ATTACH 'file:{}?vfs=unix'", path.display());
        }
        shown
    }
}

impl From<ConnectionError> for VfsError {
    fn from(error: ConnectionError) -> VfsError {
        match error {
            ConnectionError::Store(error) => error.into(),
            error => VfsError::of(error.kind(), &error),
        }
    }
}

impl From<HistoryError> for VfsError {
    fn from(error: HistoryError) -> VfsError {
        VfsError::of(error.kind(), &error)
    }
}

/// Keeps the words of a failure, hands them to the host's log, and gives the code. A writer that has to wait is no
/// failure worth telling.
pub fn report(error: VfsError, newest: &Newest) -> c_int {
    if !error.is_busy() {
        let code = error.code;
        log(code, &newest.keep(error));
        return code;
    }
    error.code
}

/// Tells the host's log what is no failure.
pub fn warn(message: &str) {
    log(ffi::SQLITE_WARNING, &format!("maniac: {message}"));
}

fn log(code: c_int, message: &str) {
    if let Ok(text) = CString::new(message.replace('\0', " ")) {
        // SAFETY: both are C strings, and the format takes one.
        unsafe { ffi::sqlite3_log(code, c"%s".as_ptr(), text.as_ptr()) };
    }
}

/// An SQL function's failure.
pub fn sql(error: impl Into<VfsError>) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(error.into().shown().into())
}

#[cfg(test)]
mod tests {
    use maniac_base::CODES;
    use rusqlite::ffi;

    #[test]
    fn the_codes_are_sqlites() {
        for codes in CODES {
            let (name, number) = codes.sqlite;
            let known = match name {
                "SQLITE_BUSY" => ffi::SQLITE_BUSY,
                "SQLITE_BUSY_SNAPSHOT" => ffi::SQLITE_BUSY_SNAPSHOT,
                "SQLITE_INTERRUPT" => ffi::SQLITE_INTERRUPT,
                "SQLITE_ERROR" => ffi::SQLITE_ERROR,
                "SQLITE_MISUSE" => ffi::SQLITE_MISUSE,
                "SQLITE_CANTOPEN" => ffi::SQLITE_CANTOPEN,
                "SQLITE_READONLY" => ffi::SQLITE_READONLY,
                "SQLITE_IOERR_DATA" => ffi::SQLITE_IOERR_DATA,
                "SQLITE_IOERR" => ffi::SQLITE_IOERR,
                "SQLITE_FULL" => ffi::SQLITE_FULL,
                "SQLITE_INTERNAL" => ffi::SQLITE_INTERNAL,
                other => panic!("{other}"),
            };
            assert_eq!(number, known, "{name}");
        }
    }
}
