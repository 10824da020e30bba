//! Checkpoints that come by themselves, in whichever process writes: in the background, and when a store is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crate::store::Store;

/// From one checkpoint to the next it takes so many times as long as the last one took, so that they take a fifth of one
/// processor at most.
const PAUSE: u32 = 4;
/// And so long at least.
const SHORTEST: Duration = Duration::from_millis(50);
/// How long a connection that closes waits for a checkpoint under way.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Tending {
    /// A thread of this process is at it.
    running: AtomicBool,
    /// When the next one may begin, by the monotonic clock in nanoseconds.
    next: AtomicU64,
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
        let pause = Duration::from_nanos(self.tending.next.load(Acquire).saturating_sub(disk.monotonic_ns()));
        let run = Box::new(move || {
            if !pause.is_zero() {
                disk.sleep(pause);
            }
            if let Some(store) = store.upgrade() {
                let began = disk.monotonic_ns();
                store.tend_now();
                let ended = disk.monotonic_ns();
                let took = Duration::from_nanos(ended - began);
                let pause = (took * PAUSE).max(SHORTEST);
                store.tending.next.store(ended + pause.as_nanos() as u64, Release);
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
        // The one in the background has it open, too, unless it pauses.
        let others = || Arc::strong_count(self) - 1;
        let background = usize::from(self.tending.running.load(Acquire));
        if others() > background || self.check_process().is_err() || !self.is_checkpoint_due() {
            return;
        }
        let disk = self.log.disk();
        let patience = disk.monotonic_ns() + PATIENCE.as_nanos() as u64;
        while others() > 0 && disk.monotonic_ns() < patience {
            disk.sleep(Duration::from_millis(1));
        }
        if others() == 0 && self.is_checkpoint_due() {
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
