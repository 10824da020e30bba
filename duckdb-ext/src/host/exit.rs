//! Holds our threads still while the process ends.
//!
//! `exit` runs the destructors of DuckDB's statics while other threads still run. A thread that is inside DuckDB at that
//! moment would use what is gone. So every piece of work that a background thread does in DuckDB holds `busy()`, and a
//! handler that runs first at exit waits for the work under way and never lets the next one start.

#![allow(unsafe_code)]

use std::sync::Once;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};

static GATE: RwLock<()> = RwLock::new(());

/// How long an exit waits for a transaction under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Proof that the process does not end as long as this lives.
pub struct Busy(#[allow(dead_code, reason = "held for its drop")] RwLockReadGuard<'static, ()>);

/// To be held by a background thread while it is inside DuckDB, and not while it waits for anything else.
pub fn busy() -> Busy {
    Busy(GATE.read_recursive())
}

/// Registers the exit handler, once per process. Handlers run in reverse order of registration, so that one registered
/// when the extension is loaded runs before the destructors of the host's libraries.
pub fn install() {
    static ONCE: Once = Once::new();
    // SAFETY: `at_exit` is an `extern "C"` function without arguments that does not unwind; the extension is never
    // unloaded, so it is there when the process ends.
    ONCE.call_once(|| unsafe {
        libc::atexit(at_exit);
    });
}

extern "C" fn at_exit() {
    if let Some(gate) = GATE.try_write_for(PATIENCE) {
        std::mem::forget(gate);
    }
}
