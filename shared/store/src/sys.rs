//! The unsafe corner of the store: byte-range locks, mapped memory, and the words shared between processes.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

pub enum LockOp {
    Try,
    /// Beside others who share it, if nobody has it alone.
    Share,
    Wait,
    Unlock,
}

/// One byte of an open-file-description lock. `Ok(false)`: somebody else has it.
pub fn lock_byte(fd: RawFd, byte: i64, op: LockOp) -> io::Result<bool> {
    let (kind, command) = match op {
        LockOp::Share => (libc::F_RDLCK, libc::F_OFD_SETLK),
        LockOp::Try => (libc::F_WRLCK, libc::F_OFD_SETLK),
        LockOp::Wait => (libc::F_WRLCK, libc::F_OFD_SETLKW),
        LockOp::Unlock => (libc::F_UNLCK, libc::F_OFD_SETLK),
    };
    let lock = libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: byte, l_len: 1, l_pid: 0 };
    loop {
        // SAFETY: `lock` is a whole `flock` that outlives the call; a bad descriptor is an error, not a fault.
        if unsafe { libc::fcntl(fd, command, &lock) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::EAGAIN | libc::EACCES) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// The monotonic clock, which is the same in all processes.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the answer. This clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Lets go of every byte.
pub fn unlock_all(fd: RawFd) {
    let all = libc::flock { l_type: libc::F_UNLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    // SAFETY: as above. It cannot fail in a way that a caller could do anything about.
    unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &all) };
}

/// Whether anybody holds the byte, this handle apart. Takes nothing, so that no one is refused because of the question.
pub fn is_byte_locked(fd: RawFd, byte: i64) -> io::Result<bool> {
    let mut lock =
        libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: byte, l_len: 1, l_pid: 0 };
    // SAFETY: `lock` is a whole `flock` that outlives the call, which writes to nothing else.
    match unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(i32::from(lock.l_type) != libc::F_UNLCK),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A read-only shared mapping that may reach beyond the file's end, so that it need not move while the file grows.
pub struct FileMap(MmapRaw);

impl FileMap {
    pub fn new(file: &File, length: usize) -> io::Result<FileMap> {
        MmapOptions::new().len(length).map_raw_read_only(file).map(FileMap)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes the mapping's pages out of the process's resident memory; what is read of them later comes back from the
    /// system's cache, or the file.
    pub fn release(&self) {
        // SAFETY: the mapping is shared, so that its pages have the file's bytes again at their next use. Where the advice is
        // refused, nothing changes.
        let _ = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) };
    }

    /// # Panics
    /// If the range does not lie within the mapping.
    ///
    /// # Safety
    /// The range must lie within the file and hold bytes that are not written again while the slice lives.
    pub unsafe fn slice(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.0.len()), "a range beyond the mapping");
        // SAFETY: inside the mapping by the check above; stable by the caller's word.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(offset), length) }
    }
}

/// The words of a mapped `HEAD`. Every field is changed by several processes and therefore atomic.
#[repr(C)]
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
    pub slots: [Slot; SLOTS],
}

/// The last cuts that are remembered.
pub const CUTS: usize = 8;
/// Writers that can wait in order, over all branches; more of them wait as SQLite does.
pub const SLOTS: usize = 120;

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

/// `HeadWords` in a file that processes share, or, where the store cannot be written, in memory of this one.
pub enum HeadMap {
    Shared(MmapRaw),
    Private(Box<HeadWords>),
}

impl HeadMap {
    pub fn shared(file: &File, writable: bool) -> io::Result<HeadMap> {
        let mut options = MmapOptions::new();
        options.len(HEAD_BYTES);
        let map = if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
        Ok(HeadMap::Shared(map))
    }

    pub fn words(&self) -> &HeadWords {
        match self {
            // SAFETY: the mapping is page-aligned, has HEAD_BYTES bytes, lives as long as `self`, and every access to
            // it is atomic. A read-only mapping is only loaded from: `Head` refuses to store through it.
            HeadMap::Shared(map) => unsafe { &*map.as_ptr().cast::<HeadWords>() },
            HeadMap::Private(words) => words,
        }
    }
}
