//! From SQLite's busy handler to the queue of those who want to write.
//!
//! ```text
//!   xLock(RESERVED)   SQLITE_BUSY            xSleep            waits for its turn, as long as SQLite would sleep
//!   xUnlock(NONE)     the turn is noted      xLock(SHARED)     takes the write lock, and reads what it will write on
//! ```
//!
//! SQLite lets go of everything before it asks its busy handler, and starts from a new snapshot afterwards. So the one
//! that is served can have the lock before it looks at the database, and is never stale. How long to wait in all is the
//! busy handler's business: with a timeout of 0 it doesn't sleep. Hosts whose handlers sleep by other means poll.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use maniac_store::Turn;
use rusqlite::ffi;

/// What was noted longer ago has nothing to do with a sleep that begins now.
const NOTED: Duration = Duration::from_millis(2);

struct Waiting {
    turn: Arc<Turn>,
    connection: *mut ffi::sqlite3,
    noted: Instant,
}

thread_local! {
    static WAITING: RefCell<Option<Waiting>> = const { RefCell::new(None) };
}

/// The connection was refused the write lock, and has let go of everything.
pub fn note(turn: Arc<Turn>, connection: *mut ffi::sqlite3) {
    // A thread that is ending doesn't sleep any more.
    let _ = WAITING.try_with(|waiting| {
        *waiting.borrow_mut() = Some(Waiting { turn, connection, noted: Instant::now() });
    });
}

/// Sleeps until the connection that was just refused may write, at most for `microseconds`. False if there is none.
///
/// # Safety
/// Called from `xSleep`: the connection that was noted is waiting in this thread.
pub unsafe fn sleep(microseconds: c_int) -> bool {
    let waiting = WAITING.try_with(|waiting| waiting.borrow_mut().take()).ok().flatten();
    let Some(waiting) = waiting.filter(|waiting| waiting.noted.elapsed() < NOTED) else { return false };
    let timeout = Duration::from_micros(microseconds.max(0) as u64);
    // SAFETY: by the caller's word.
    waiting.turn.wait(timeout, &|| unsafe { is_interrupted(waiting.connection) });
    true
}

/// `sqlite3_is_interrupted`, which SQLite has since 3.41.0; null before.
static IS_INTERRUPTED: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(std::ptr::null_mut());
const SINCE: c_int = 3_041_000;
/// Its place in SQLite's table of functions (`sqlite3ext.h`), which only ever grows. The bindings end before it.
const PLACE: usize = 266;

/// Finds the function in the host's table.
///
/// # Safety
/// `api` is the function table of a host of this version.
pub unsafe fn find_is_interrupted(api: *const ffi::sqlite3_api_routines, version: c_int) {
    if version >= SINCE {
        // SAFETY: by the caller's word the table has that many entries, each a pointer.
        let function = unsafe { *api.cast::<*mut std::ffi::c_void>().add(PLACE) };
        IS_INTERRUPTED.store(function, Ordering::Release);
    }
}

/// Whether somebody has asked the connection to stop. Never, where the host can't tell.
///
/// # Safety
/// `connection` is null or open.
pub unsafe fn is_interrupted(connection: *mut ffi::sqlite3) -> bool {
    let function = IS_INTERRUPTED.load(Ordering::Acquire);
    if function.is_null() || connection.is_null() {
        return false;
    }
    type IsInterrupted = unsafe extern "C" fn(*mut ffi::sqlite3) -> c_int;
    // SAFETY: the function has this type, and the connection is open by the caller's word.
    unsafe { std::mem::transmute::<*mut std::ffi::c_void, IsInterrupted>(function)(connection) != 0 }
}
