//! What a store needs of the operating system, and nothing else of it: files, locks, words that processes share, time,
//! randomness, threads.
//!
//! ```text
//!   log, store ──> Disk, File, Locks ──┬── os    the real ones: all `unsafe` code below the hosts is there
//!                                      └── sim   a machine in memory, for tests
//! ```

pub mod os;
#[cfg(feature = "sim")]
pub mod sim;
mod words;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub use words::{CUTS, HEAD_BYTES, HeadWords, SLOTS, Slot, Slots};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    Read,
    Write,
    /// For writing, and make it if it isn't there.
    Create,
    /// For writing, and it must not be there.
    CreateNew,
    /// For writing, and empty it if it is there.
    Replace,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub length: u64,
    pub is_directory: bool,
    /// Device and inode: which file it is, whatever it is called.
    pub identity: (u64, u64),
}

/// A file system and a machine.
pub trait Disk: Send + Sync {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>>;
    /// A new file in a directory, with a name that nothing else has.
    fn create_temporary(&self, directory: &Path, prefix: &str, suffix: &str) -> io::Result<(PathBuf, Box<dyn File>)>;
    /// A file in a directory that has no name and ends with its handle.
    fn create_unnamed(&self, directory: &Path) -> io::Result<Box<dyn File>>;
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// The path without links.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// A directory that is not there yet.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Takes the place of what is at `to`, if that is a file or an empty directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all that is in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Returns when the names in a directory are on disk.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// A handle of the lock file at `path`, which is made if it isn't there.
    fn locks(&self, path: &Path) -> io::Result<Box<dyn Locks>>;

    /// Milliseconds since 1970-01-01 UTC. May jump.
    fn now_ms(&self) -> i64;
    /// Nanoseconds since some moment, the same in all processes. Never jumps back.
    fn monotonic_ns(&self) -> u64;
    fn sleep(&self, duration: Duration);
    /// Sleeps while the word has the value, at most for `timeout`; may return early.
    fn wait(&self, word: &AtomicU32, value: u32, timeout: Duration);
    /// Wakes up to `count` of those, in whatever process, who wait for the word.
    fn wake(&self, word: &AtomicU32, count: u32);
    fn random(&self) -> io::Result<u128>;
    /// Which run of the machine this is: what was not on disk is gone in the next one.
    fn boot(&self) -> [u64; 2];
    /// How often this process, or the ones that it was forked from, forked since the first handle of a lock file was
    /// opened: a child's number differs from its parent's.
    fn forks(&self) -> u64;
    fn spawn(&self, name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<()>;
}

pub trait File: Send + Sync {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when the file's bytes are on disk.
    fn sync_data(&self) -> io::Result<()>;
    /// Returns when all of the file is on disk.
    fn sync_all(&self) -> io::Result<()>;
    fn set_length(&self, length: u64) -> io::Result<()>;
    fn stat(&self) -> io::Result<Stat>;
    /// The file's bytes in memory, and room for what it grows by, up to `length`.
    fn map(&self, length: usize) -> io::Result<Box<dyn Map>>;
    /// The file's words in memory, shared with all who map them.
    fn words(&self, writable: bool) -> io::Result<Box<dyn Words>>;
}

/// A file's bytes, mapped for reading.
pub trait Map: Send + Sync {
    fn length(&self) -> usize;

    /// Bytes of the file.
    ///
    /// The range must lie within the mapping and the file, and its bytes must not change while the slice lives. (Writing the
    /// same bytes again changes nothing.) Where they may, the caller relies on none of them before it has looked whether
    /// they have.
    ///
    /// # Panics
    /// If the range does not lie within the mapping.
    fn slice(&self, offset: usize, length: usize) -> &[u8];

    /// Takes what has been read out of the process's resident memory.
    fn release(&self);
}

/// The words of a mapped `HEAD`.
pub trait Words: Send + Sync {
    fn get(&self) -> &HeadWords;
}

/// Locks on single bytes of a file. Each handle locks for itself, so that two of one process exclude each other, and a lock
/// ends with its handle, however the process ends. Children of a fork don't share it.
pub trait Locks: Send + Sync {
    /// Takes the lock if nobody has it.
    fn try_lock(&self, byte: u64) -> io::Result<bool>;
    /// Waits for the lock.
    fn lock(&self, byte: u64) -> io::Result<()>;
    /// Takes a lock that several may have at a time, unless somebody has it alone.
    fn share(&self, byte: u64) -> io::Result<()>;
    fn unlock(&self, byte: u64);
    /// Whether another handle has the lock, in this process or in any other.
    fn is_held_elsewhere(&self, byte: u64) -> io::Result<bool>;
}
