//! Holds our threads still while the process ends.
//!
//! `exit` runs the destructors of the statics of DuckDB, and of its extensions, while other threads still run. A thread
//! that is inside DuckDB at that moment uses what is gone: seen as a call through a destroyed allocator of DuckLake. So
//! everything that a background thread does in DuckDB holds `busy()`, and a hook that runs before those destructors waits
//! for the work under way and refuses the next.
//!
//! A handler of `atexit` comes too late: extensions that are loaded after ours, and statics made at their first use, have
//! registered later and are destroyed earlier. What `exit` runs before all handlers are the thread-local destructors of
//! its thread, nearly always the main one. Hence a thread-local value on the main thread, and the handler for the rest.

#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};

static GATE: RwLock<()> = RwLock::new(());
static ENDING: AtomicBool = AtomicBool::new(false);

/// How long an exit waits for a transaction under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Proof that the process does not end as long as this lives.
pub struct Busy(#[allow(dead_code, reason = "held for its drop")] RwLockReadGuard<'static, ()>);

/// To be held by a background thread while it is inside DuckDB, and not while it waits for anything else. `None` when the
/// process is ending: the thread must not enter DuckDB any more, not even to close a connection.
pub fn busy() -> Option<Busy> {
    let gate = GATE.read_recursive();
    (!ENDING.load(Ordering::Acquire)).then_some(Busy(gate))
}

/// Waits for the work under way and refuses all further work.
pub fn end() {
    ENDING.store(true, Ordering::Release);
    drop(GATE.try_write_for(PATIENCE));
}

struct Hook;

impl Drop for Hook {
    fn drop(&mut self) {
        if on_main_thread() {
            end();
        }
    }
}

thread_local! {
    static HOOK: Hook = const { Hook };
}

/// To be called on the threads of the user's: on the main one it makes sure that the process's end is noticed in time.
pub fn watch() {
    // A thread that is being torn down has no thread-local values any more, and no need of this one.
    let _ = HOOK.try_with(|_| ());
    static ONCE: Once = Once::new();
    // SAFETY: `at_exit` is an `extern "C"` function without arguments that does not unwind; the extension is never
    // unloaded, so that it is there when the process ends.
    ONCE.call_once(|| unsafe {
        libc::atexit(at_exit);
    });
}

extern "C" fn at_exit() {
    end();
}

fn on_main_thread() -> bool {
    // SAFETY: both calls only read the ids of the process and the thread. On Linux the main thread has its process's id.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}
