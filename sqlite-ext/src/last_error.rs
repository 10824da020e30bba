//! The newest failure, for `maniac_last_error()`.
//!
//! A failure is kept by what it belongs to; a connection is told the newer of the two:
//!
//! ```text
//!   the connection     its functions and tables, and what SQLite does with its files: reading, writing, committing, pragmas
//!   the thread         opening a database, and deleting a super-journal: SQLite doesn't say for which connection
//! ```

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rusqlite::ffi;

use crate::errors::VfsError;

/// A place for the newest failure. Clones share it.
#[derive(Clone, Default)]
pub struct Newest(Arc<Mutex<Option<Failure>>>);

#[derive(Clone)]
struct Failure {
    at: Instant,
    message: String,
}

/// Places of open connections, by their handles: SQLite tells a VFS nothing else of a connection.
static CONNECTIONS: Mutex<BTreeMap<usize, Newest>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// What belongs to no connection that is known.
    static OF_THREAD: Newest = Newest::default();
}

impl Newest {
    /// The place of this thread; a place that nobody reads while the thread ends.
    pub fn of_thread() -> Newest {
        OF_THREAD.try_with(Newest::clone).unwrap_or_default()
    }

    /// The place of a connection; that of the thread if it is not known.
    ///
    /// # Safety
    /// `connection` is null, or where a connection's handle stands.
    pub unsafe fn of(connection: *mut *mut ffi::sqlite3) -> Newest {
        // SAFETY: by the caller's word.
        let handle = if connection.is_null() { 0 } else { unsafe { (*connection).addr() } };
        let known = CONNECTIONS.lock().get(&handle).cloned();
        known.unwrap_or_else(Newest::of_thread)
    }

    /// Keeps the words of a failure, and gives them.
    pub fn keep(&self, error: VfsError) -> String {
        let message = error.shown();
        self.note(message.clone());
        message
    }

    pub fn note(&self, message: String) {
        *self.0.lock() = Some(Failure { at: Instant::now(), message });
    }

    fn get(&self) -> Option<Failure> {
        self.0.lock().clone()
    }
}

/// A connection whose failures are kept, as long as this lives.
pub struct Known {
    handle: usize,
    pub newest: Newest,
}

impl Known {
    pub fn new(connection: *mut ffi::sqlite3) -> Known {
        let known = Known { handle: connection.addr(), newest: Newest::default() };
        CONNECTIONS.lock().insert(known.handle, known.newest.clone());
        known
    }

    /// The words of the newest failure of the connection or of this thread.
    pub fn message(&self) -> Option<String> {
        let failures = self.newest.get().into_iter().chain(Newest::of_thread().get());
        failures.max_by_key(|failure| failure.at).map(|failure| failure.message)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut connections = CONNECTIONS.lock();
        // The extension may have been loaded into the connection once more, which made another place.
        if connections.get(&self.handle).is_some_and(|newest| Arc::ptr_eq(&newest.0, &self.newest.0)) {
            connections.remove(&self.handle);
        }
    }
}
