//! The newest failure, for `maniac_last_error()`.
//!
//! A failure is kept by what it belongs to; a connection is told the newest of all three:
//!
//! ```text
//!   the connection     its functions and tables
//!   its open files     what SQLite does with them: reading, writing, committing, pragmas
//!   the thread         opening a database, and deleting a super-journal: SQLite doesn't say for which connection
//! ```

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::errors::VfsError;

/// A place for the newest failure. Clones share it.
#[derive(Clone, Default)]
pub struct Newest(Arc<Mutex<Option<Failure>>>);

#[derive(Clone)]
pub struct Failure {
    at: Instant,
    pub message: String,
}

thread_local! {
    /// What belongs to no connection that is known.
    static OF_THREAD: Newest = Newest::default();
}

impl Newest {
    /// The place of this thread; a place that nobody reads while the thread ends.
    pub fn of_thread() -> Newest {
        OF_THREAD.try_with(Newest::clone).unwrap_or_default()
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

    pub fn get(&self) -> Option<Failure> {
        self.0.lock().clone()
    }
}

/// The newest of several.
pub fn newest_of(failures: impl IntoIterator<Item = Failure>) -> Option<String> {
    failures.into_iter().max_by_key(|failure| failure.at).map(|failure| failure.message)
}
