//! The layout of `HEAD`, by which processes on one store tell each other how far the log goes.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// The words of a mapped `HEAD`. Every field is changed by several processes and therefore atomic.
#[repr(C)]
#[derive(Default)]
pub struct HeadWords {
    pub magic: AtomicU64,
    pub format: AtomicU64,
    pub store: [AtomicU64; 2],
    pub boot: [AtomicU64; 2],
    pub inode: AtomicU64,
    /// Newest version that readers may see.
    pub visible: AtomicU64,
    /// Newest version whose bytes are written, and where the next entry goes.
    pub written: AtomicU64,
    pub segment: AtomicU64,
    pub position: AtomicU64,
    /// Newest version that is known to be on disk.
    pub durable: AtomicU64,
    /// 1 while somebody who holds the append lock changes the log.
    pub appending: AtomicU32,
    /// Changes whenever a waiter should look again.
    pub bell: AtomicU32,
    pub waiters: AtomicU32,
    /// 1 after a failed fsync, until what it may have lost is written again.
    pub unsynced: AtomicU32,
    /// How often written entries were cut off since this file was made, and behind which version, the last times.
    pub losses: AtomicU64,
    pub cuts: [AtomicU64; CUTS],
    /// Newest version that was written with `Durability::Full`.
    pub full: AtomicU64,
    /// Newest version that the fsync under way, or the last one, is for.
    pub syncing: AtomicU64,
    /// Change when an fsync has ended that the waiter's version is part of, and one that it isn't; futexes that change
    /// places with each fsync.
    pub synced: [AtomicU32; 2],
    /// How many fsyncs have begun.
    pub syncs: AtomicU32,
    pub sync_waiters: AtomicU32,
    /// The queue of writers: places taken, and the number of the last ticket.
    pub queued: AtomicU32,
    pub unused: AtomicU32,
    pub tickets: AtomicU64,
    pub slots: Slots,
}

/// The last cuts that are remembered.
pub const CUTS: usize = 8;
/// Writers that can wait in order, over all branches; more of them wait as SQLite does.
pub const SLOTS: usize = 120;

/// The queue's places.
#[repr(transparent)]
pub struct Slots(pub [Slot; SLOTS]);

impl Default for Slots {
    fn default() -> Slots {
        Slots(std::array::from_fn(|_| Slot::default()))
    }
}

/// A place in the queue of writers.
#[repr(C)]
#[derive(Default)]
pub struct Slot {
    /// Whose it is; 0 for nobody's.
    pub ticket: AtomicU64,
    /// When it was last touched, by the monotonic clock, in nanoseconds.
    pub since: AtomicU64,
    pub branch: AtomicU32,
    /// A futex.
    pub state: AtomicU32,
}

pub const HEAD_BYTES: usize = size_of::<HeadWords>();

impl crate::Words for HeadWords {
    fn get(&self) -> &HeadWords {
        self
    }
}
