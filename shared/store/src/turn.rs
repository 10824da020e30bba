//! Whose turn it is to write on a branch: who waits first is served first, woken at once, in whatever process.
//!
//! ```text
//!   SQLite        takes the lock ── busy ── sleeps ─────────────── tries again ── writes ── lets go
//!   here                                     enters the queue      leaves it                wakes the next
//! ```
//!
//! The queue is a table in the mapped `HEAD`. It only tells who comes next: what keeps two writers apart is the lock of
//! the `LOCK` file. Whatever happens to a process that is in the queue, nothing can be lost by it, and the others go on
//! once its entry is stale.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use maniac_base::BranchId;
use maniac_disk::Slot;
use maniac_log::LockFile;
use parking_lot::Mutex;

use crate::lock::writer;
use crate::store::Store;

/// States of a slot. The word is a futex.
const FREE: u32 = 0;
/// Being filled.
const CLAIMED: u32 = 1;
/// In a futex wait.
const ASLEEP: u32 = 2;
/// Its turn has come, and it is about to take the lock.
const AWAKE: u32 = 3;
/// Woken because it is its turn.
const GRANTED: u32 = 4;
/// SQLite's busy handler has it look again, or give up; nobody waits for it meanwhile.
const OUT: u32 = 5;

/// Looks again and again by other means than `xSleep`, and has done so for long: nobody can wake it, so the lock is kept
/// free for it until it comes.
const POLLING: u32 = 6;

/// A sleeper looks around at least so often.
const LOOK: Duration = Duration::from_millis(5);
/// A sleeper that has not looked around for so long is dead or stopped.
const STALE_ASLEEP: u64 = 100_000_000;
/// Whoever is awake for so long without taking the lock has given up.
const STALE_AWAKE: u64 = 5_000_000;
/// Whoever polls less often than this has given up. SQLite's busy handler sleeps up to 100 ms.
const STALE_POLLING: u64 = 130_000_000;
/// How long to poll before the lock is kept free.
const POLLED_ENOUGH: u64 = 1_000_000_000;
/// A slot that nobody has touched for so long may be taken by another.
const ABANDONED: u64 = 10_000_000_000;

/// One connection's place in the queue of a branch, shared with the thread that sleeps for it.
pub struct Turn {
    store: Arc<Store>,
    branch: BranchId,
    /// Only to see whether the lock is free.
    locks: Arc<LockFile>,
    place: Mutex<Option<Place>>,
    /// When the last wait ended, by the monotonic clock in nanoseconds.
    woken: Mutex<Option<u64>>,
    /// The first and the last of the refusals that came one soon after the other.
    refusals: Mutex<Option<(u64, u64)>>,
}

#[derive(Clone, Copy)]
struct Place {
    slot: usize,
    ticket: u64,
}

impl Turn {
    pub(crate) fn new(store: Arc<Store>, branch: BranchId, locks: Arc<LockFile>) -> Turn {
        Turn { store, branch, locks, place: Mutex::default(), woken: Mutex::default(), refusals: Mutex::default() }
    }

    /// Sleeps until it is this connection's turn, at most for `timeout`, or until `stop` holds, which is asked now and
    /// then. Gives the time that it has slept.
    pub fn wait(&self, timeout: Duration, stop: &dyn Fn() -> bool) -> Duration {
        let (head, disk) = (self.store.log.head(), self.store.log.disk());
        let start = disk.monotonic_ns();
        let end = start.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let place = self.enter();
        let looks_free = || self.locks.is_held_elsewhere(writer(self.branch)).is_ok_and(|held| !held);
        let mut state = OUT;
        loop {
            let left = Duration::from_nanos(end.saturating_sub(disk.monotonic_ns()));
            if left.is_zero() || stop() {
                break;
            }
            let Some(Place { slot: n, ticket }) = place else {
                // All slots are taken: sleep as SQLite would.
                disk.sleep(left.min(LOOK));
                if stop() || looks_free() {
                    break;
                }
                continue;
            };
            let slot = head.slot(n);
            slot.since.store(self.now(), SeqCst);
            if slot.ticket.load(SeqCst) != ticket {
                break;
            }
            if slot.state.load(SeqCst) == GRANTED {
                state = AWAKE;
                break;
            }
            slot.state.store(ASLEEP, SeqCst);
            // Whoever let go of the lock before this slot was asleep has woken nobody.
            if !is_anyone_ahead(&self.store, self.branch, ticket) && looks_free() {
                state = AWAKE;
                break;
            }
            head.sleep_in(slot, ASLEEP, left.min(LOOK));
        }
        if let Some(Place { slot, ticket }) = place {
            let slot = head.slot(slot);
            if slot.ticket.load(SeqCst) == ticket {
                slot.since.store(self.now(), SeqCst);
                // The turn may have come while the time ended.
                let granted = slot.state.swap(state, SeqCst) == GRANTED;
                if granted && state == OUT {
                    slot.state.store(AWAKE, SeqCst);
                }
            }
        }
        // It sleeps here, and can be woken.
        *self.refusals.lock() = None;
        let woken = disk.monotonic_ns();
        *self.woken.lock() = Some(woken);
        Duration::from_nanos(woken - start)
    }

    /// Whether a wait has ended just now, and the connection has not been here since.
    pub fn was_woken(&self) -> bool {
        self.woken.lock().take().is_some_and(|woken| self.now() - woken < STALE_AWAKE)
    }

    /// The lock was not to be had. Whoever asks often enough without ever sleeping here gets a place, too.
    pub(crate) fn refused(&self) {
        let now = self.now();
        let mut refusals = self.refusals.lock();
        let first = refusals.filter(|(_, last)| now - *last < STALE_POLLING).map_or(now, |(first, _)| first);
        *refusals = Some((first, now));
        if now - first > POLLED_ENOUGH && self.store.log.head().queued() > 0 {
            let Some(Place { slot, ticket }) = self.enter() else { return };
            let slot = self.store.log.head().slot(slot);
            if slot.ticket.load(SeqCst) == ticket && slot.state.load(SeqCst) != GRANTED {
                slot.since.store(self.now(), SeqCst);
                slot.state.store(POLLING, SeqCst);
            }
        }
    }

    /// Whether somebody else should have the lock first.
    pub(crate) fn is_behind(&self) -> bool {
        let ticket = self.place.lock().map_or(u64::MAX, |place| place.ticket);
        self.store.log.head().queued() > 0 && is_anyone_ahead(&self.store, self.branch, ticket)
    }

    fn enter(&self) -> Option<Place> {
        let mut place = self.place.lock();
        let head = self.store.log.head();
        if let Some(Place { slot, ticket }) = *place
            && head.slot(slot).ticket.load(SeqCst) == ticket
        {
            return *place;
        }
        let now = self.now();
        let free = head.slots().iter().position(|slot| {
            let state = slot.state.load(SeqCst);
            let idle = now.saturating_sub(slot.since.load(SeqCst));
            let takable = state == FREE || state != CLAIMED && idle > ABANDONED;
            let taken = takable && slot.state.compare_exchange(state, CLAIMED, SeqCst, SeqCst).is_ok();
            if taken && state == FREE {
                head.count_queued(1);
            }
            taken
        });
        *place = free.map(|n| {
            let (slot, ticket) = (head.slot(n), head.next_ticket());
            slot.branch.store(self.branch.0, SeqCst);
            slot.since.store(now, SeqCst);
            slot.ticket.store(ticket, SeqCst);
            slot.state.store(ASLEEP, SeqCst);
            Place { slot: n, ticket }
        });
        *place
    }

    fn now(&self) -> u64 {
        self.store.log.disk().monotonic_ns()
    }

    /// Leaves the queue: the lock is taken, or nobody wants it any more.
    pub fn leave(&self) {
        *self.refusals.lock() = None;
        let Some(Place { slot, ticket }) = self.place.lock().take() else { return };
        let head = self.store.log.head();
        let slot = head.slot(slot);
        if slot.ticket.compare_exchange(ticket, 0, SeqCst, SeqCst).is_ok() {
            slot.state.store(FREE, SeqCst);
            head.count_queued(-1);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.store.check_process().is_ok() {
            self.leave();
        }
    }
}

/// Whether the slot stands for somebody who will take the lock when it is free.
fn counts(slot: &Slot, branch: BranchId, now: u64) -> bool {
    let idle = now.saturating_sub(slot.since.load(SeqCst));
    let fresh = match slot.state.load(SeqCst) {
        ASLEEP => idle < STALE_ASLEEP,
        AWAKE | GRANTED => idle < STALE_AWAKE,
        POLLING => idle < STALE_POLLING,
        _ => false,
    };
    fresh && slot.branch.load(SeqCst) == branch.0 && slot.ticket.load(SeqCst) != 0
}

fn is_anyone_ahead(store: &Store, branch: BranchId, ticket: u64) -> bool {
    let now = store.log.disk().monotonic_ns();
    store.log.head().slots().iter().any(|slot| slot.ticket.load(SeqCst) < ticket && counts(slot, branch, now))
}

/// Whether anyone waits for this branch.
pub(crate) fn is_awaited(store: &Store, branch: BranchId) -> bool {
    store.log.head().queued() > 0 && is_anyone_ahead(store, branch, u64::MAX)
}

/// The lock of a branch is free: wakes who comes next.
pub(crate) fn hand_on(store: &Store, branch: BranchId) {
    let head = store.log.head();
    if head.queued() == 0 {
        return;
    }
    let now = store.log.disk().monotonic_ns();
    let waiting = head.slots().iter().filter(|slot| counts(slot, branch, now));
    let Some(next) = waiting.min_by_key(|slot| slot.ticket.load(SeqCst)) else { return };
    // One that is awake tries by itself.
    if next.state.compare_exchange(ASLEEP, GRANTED, SeqCst, SeqCst).is_ok() {
        next.since.store(now, SeqCst);
        head.wake(next);
    }
}
