//! From what went wrong to SQLite's codes, and to where a person can read it.

#![allow(unsafe_code)]

use std::ffi::{CString, c_int};

use maniac_base::{PageError, PageErrorKind};
use maniac_history::HistoryError;
use maniac_store::{LogError, StoreError};
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
        let code = match &error {
            StoreError::Log(error) => code_of(error),
            StoreError::Busy { .. } => ffi::SQLITE_BUSY,
            StoreError::Stale { .. } => ffi::SQLITE_BUSY_SNAPSHOT,
            StoreError::Interrupted { .. } => ffi::SQLITE_INTERRUPT,
            StoreError::NotFound { .. }
            | StoreError::NoSuchBranch { .. }
            | StoreError::BranchDropped { .. }
            | StoreError::Future { .. }
            | StoreError::BeforeHistory { .. }
            | StoreError::BadMoment { .. } => ffi::SQLITE_CANTOPEN,
            StoreError::BranchExists { .. }
            | StoreError::BadBranchName { .. }
            | StoreError::CannotDrop { .. }
            | StoreError::BadTarget { .. }
            | StoreError::PageSize { .. } => ffi::SQLITE_ERROR,
        };
        VfsError { code, message: error.to_string() }
    }
}

fn code_of(error: &LogError) -> c_int {
    match error {
        LogError::ReadOnly { .. } => ffi::SQLITE_READONLY,
        LogError::Corrupt { .. } => ffi::SQLITE_IOERR_DATA,
        LogError::Forked { .. } => ffi::SQLITE_MISUSE,
        LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        // A folder that isn't there, or may not be entered: SQLite's own VFS can't open such a file either.
        LogError::Io { source, .. } if is_about_the_path(source) => ffi::SQLITE_CANTOPEN,
        LogError::Io { .. } | LogError::Lost { .. } => ffi::SQLITE_IOERR,
        LogError::NotAStore { .. }
        | LogError::NewerFormat { .. }
        | LogError::NewerFeatures { .. }
        | LogError::NewerEntry { .. }
        | LogError::OtherBuild { .. } => ffi::SQLITE_CANTOPEN,
    }
}

fn is_about_the_path(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotADirectory | NotFound | PermissionDenied)
}

impl From<HistoryError> for VfsError {
    fn from(error: HistoryError) -> VfsError {
        match error {
            HistoryError::Store(error) => error.into(),
            other => VfsError::new(ffi::SQLITE_ERROR, other.to_string()),
        }
    }
}

impl From<PageError> for VfsError {
    fn from(error: PageError) -> VfsError {
        let code = match error.kind {
            PageErrorKind::Io => ffi::SQLITE_IOERR_READ,
            PageErrorKind::Corrupt | PageErrorKind::OutOfRange => ffi::SQLITE_IOERR_DATA,
        };
        VfsError { code, message: error.to_string() }
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
