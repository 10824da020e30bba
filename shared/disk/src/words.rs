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

/// Words that a file starts with, up to the first one of four bytes and the rest of its pair.
#[cfg(feature = "sim")]
const FIRST: usize = 14;

#[cfg(feature = "sim")]
impl HeadWords {
    /// What a reader of the file finds first.
    pub(crate) fn first_words(&self) -> [u64; FIRST] {
        use std::sync::atomic::Ordering::SeqCst;
        let long = |word: &AtomicU64| word.load(SeqCst);
        let pair = |a: &AtomicU32, b: &AtomicU32| u64::from(a.load(SeqCst)) | u64::from(b.load(SeqCst)) << 32;
        [
            long(&self.magic),
            long(&self.format),
            long(&self.store[0]),
            long(&self.store[1]),
            long(&self.boot[0]),
            long(&self.boot[1]),
            long(&self.inode),
            long(&self.visible),
            long(&self.written),
            long(&self.segment),
            long(&self.position),
            long(&self.durable),
            pair(&self.appending, &self.bell),
            pair(&self.waiters, &self.unsynced),
        ]
    }

    /// The words of a file that was not mapped yet.
    pub(crate) fn from_bytes(bytes: &[u8]) -> HeadWords {
        let word = |n: usize| AtomicU64::new(u64::from_le_bytes(bytes[8 * n..8 * n + 8].try_into().expect("eight")));
        let half = |n: usize| AtomicU32::new(u32::from_le_bytes(bytes[4 * n..4 * n + 4].try_into().expect("four")));
        HeadWords {
            magic: word(0),
            format: word(1),
            store: [word(2), word(3)],
            boot: [word(4), word(5)],
            inode: word(6),
            visible: word(7),
            written: word(8),
            segment: word(9),
            position: word(10),
            durable: word(11),
            appending: half(24),
            bell: half(25),
            waiters: half(26),
            unsynced: half(27),
            ..HeadWords::default()
        }
    }
}

impl crate::Words for HeadWords {
    fn get(&self) -> &HeadWords {
        self
    }
}
