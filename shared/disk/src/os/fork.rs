//! Children of a fork: they are told apart from the process that opened a store, and don't share its locks.
//!
//! A byte-range lock belongs to an open file, and a child has its parent's open files: one that outlived a killed parent
//! would keep what that had locked. So each descriptor of a lock file is replaced in the child by one of nothing, which its
//! owner may go on to close.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// Forks of this process and of those it comes from, as seen by the child.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Forks of this process that have begun, and those that are over.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
/// Descriptors to replace in a child; `NONE` in places that are free.
static FILES: boxcar::Vec<AtomicI32> = boxcar::Vec::new();
/// What they are replaced by, once it is there.
static NOTHING: AtomicI32 = AtomicI32::new(NONE);
const NONE: RawFd = -1;

extern "C" fn before() {
    BEGUN.fetch_add(1, SeqCst);
}

extern "C" fn in_parent() {
    OVER.fetch_add(1, SeqCst);
}

/// Runs in a child that may do little: other threads are gone, with whatever locks they had. Atomics and `dup3` are allowed.
extern "C" fn in_child() {
    FORKS.fetch_add(1, SeqCst);
    OVER.store(BEGUN.load(SeqCst), SeqCst);
    let nothing = NOTHING.load(SeqCst);
    for (_, file) in FILES.iter() {
        let fd = file.load(SeqCst);
        if fd != NONE {
            // SAFETY: both are open descriptors of this process: one is never closed, the other not before it is taken off
            // the list.
            while unsafe { libc::dup3(nothing, fd, libc::O_CLOEXEC) } == -1
                && matches!(io::Error::last_os_error().raw_os_error(), Some(libc::EINTR | libc::EBUSY))
            {}
        }
    }
}

/// Makes sure that forks are seen.
fn watch() -> io::Result<()> {
    static WATCHED: Mutex<bool> = Mutex::new(false);
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*watched {
        // SAFETY: makes a descriptor, or an error.
        let nothing = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if nothing == -1 {
            return Err(io::Error::last_os_error());
        }
        NOTHING.store(nothing, SeqCst);
        // SAFETY: the handlers stay where they are, as the extension is never unloaded, and do only what they may.
        match unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) } {
            0 => *watched = true,
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    Ok(())
}

/// How often this process, or the ones that it was forked from, forked since the first lock file was opened: a child's
/// number differs from its parent's. Cheaper than asking for the process id.
pub(super) fn forks() -> u64 {
    FORKS.load(SeqCst)
}

/// A file whose locks are not shared with children.
pub(super) struct OwnFile {
    file: File,
    place: usize,
}

impl OwnFile {
    pub fn open(open: impl Fn() -> io::Result<File>) -> io::Result<OwnFile> {
        watch()?;
        loop {
            let forks = BEGUN.load(SeqCst);
            let file = open()?;
            let own = OwnFile { place: list(file.as_raw_fd()), file };
            // A child of a fork that another thread began in between may have the file without knowing of it.
            if BEGUN.load(SeqCst) == forks && OVER.load(SeqCst) == forks {
                return Ok(own);
            }
            drop(own);
            std::thread::yield_now();
        }
    }

    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn list(fd: RawFd) -> usize {
    let free = FILES.iter().find(|(_, file)| file.compare_exchange(NONE, fd, SeqCst, SeqCst).is_ok());
    free.map_or_else(|| FILES.push(AtomicI32::new(fd)), |(place, _)| place)
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Off the list while it is open: the next file may get the same descriptor. A child of a fork right now gets no locks
        // with it.
        super::lock::unlock_all(self.fd());
        FILES[self.place].store(NONE, SeqCst);
    }
}
