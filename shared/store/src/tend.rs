//! Checkpoints that come by themselves, in whichever process writes: in the background, and when a store is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crate::store::Store;

/// From one checkpoint to the next it takes so long at least.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Tending {
    /// A thread of this process is at it.
    running: AtomicBool,
    /// When the last one ended, by the monotonic clock in nanoseconds.
    ended: AtomicU64,
    /// After one that failed, the next is not tried before this version.
    not_before: AtomicU64,
}

impl Store {
    /// Has a checkpoint made in the background, if one is due.
    pub(crate) fn tend(self: &Arc<Self>) {
        if !self.is_checkpoint_due() || self.tending.running.swap(true, AcqRel) {
            return;
        }
        let (store, disk) = (Arc::downgrade(self), self.log.disk().clone());
        let passed = disk.monotonic_ns().saturating_sub(self.tending.ended.load(Acquire));
        let pause = match self.tending.ended.load(Acquire) {
            0 => Duration::ZERO,
            _ => PAUSE.saturating_sub(Duration::from_nanos(passed)),
        };
        let run = Box::new(move || {
            if !pause.is_zero() {
                disk.sleep(pause);
            }
            if let Some(store) = store.upgrade() {
                store.tend_now();
                store.tending.ended.store(disk.monotonic_ns(), Release);
                store.tending.running.store(false, Release);
            }
        });
        if self.log.disk().spawn("maniac-checkpoint", run).is_err() {
            // The process may have as many threads as it is allowed; the next commit tries again.
            self.tending.running.store(false, Release);
        }
    }

    /// Makes a checkpoint before a store is closed by the last who has it open in this process, if one is due: processes
    /// that only live for a few commits never come to it otherwise.
    pub fn tend_before_closing(self: &Arc<Self>) {
        if Arc::strong_count(self) == 1 && self.check_process().is_ok() && self.is_checkpoint_due() {
            self.tend_now();
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        let now = self.now.read();
        let index = now.index.read();
        let (entries, bytes) = index.length();
        let due = entries >= self.limits.entries || bytes >= self.limits.bytes;
        due && self.is_writable() && index.last().0 >= self.tending.not_before.load(Relaxed)
    }

    fn tend_now(self: &Arc<Self>) {
        // The log has everything that a checkpoint would have. Whoever asks for one is told what keeps it from being made.
        if self.checkpoint().is_err() {
            self.tending.not_before.store(self.head().0 + self.limits.entries / 4, Relaxed);
        }
    }
}
