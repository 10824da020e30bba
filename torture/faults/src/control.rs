//! Which call is to fail. The test and all its processes share one small file, mapped.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | calls seen so far |
//! | 8 | 8 | the call that fails, counted from 1; 0 for none |
//! | 16 | 8 | its error number |
//! | 24 | 8 | flags: 1 all later calls fail too, 2 a write is cut short instead |
//! | 32 | 8 | what is counted: 1 writes, 2 syncs, 4 truncations, 8 renames |
//! | 40 | 8 | calls that failed |

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

#[repr(C)]
struct Words {
    seen: AtomicU64,
    fail_at: AtomicU64,
    errno: AtomicU64,
    flags: AtomicU64,
    counted: AtomicU64,
    failed: AtomicU64,
}

const PERSISTENT: u64 = 1;
const SHORT: u64 = 2;

#[derive(Clone, Copy)]
pub enum Call {
    Write = 1,
    Sync = 2,
    Truncate = 4,
    Rename = 8,
}

pub struct Fault {
    pub errno: c_int,
    pub short: bool,
}

/// The directory that is watched.
pub fn store() -> Option<&'static Path> {
    static STORE: OnceLock<Option<PathBuf>> = OnceLock::new();
    STORE.get_or_init(|| std::env::var_os("FAULTS_STORE").map(PathBuf::from)).as_deref()
}

fn words() -> Option<&'static Words> {
    static WORDS: OnceLock<Option<usize>> = OnceLock::new();
    let address = WORDS.get_or_init(|| {
        let path = std::env::var_os("FAULTS_CONTROL")?;
        let file = File::options().read(true).write(true).open(path).ok()?;
        // SAFETY: a new mapping, which is never removed.
        let map = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), size_of::<Words>(), access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        (map != libc::MAP_FAILED).then_some(map as usize)
    });
    // SAFETY: the mapping is page-aligned, has a page, lives for ever, and is only used atomically.
    address.map(|address| unsafe { &*(address as *const Words) })
}

/// Counts a call, and says whether it is to fail.
pub fn next(call: Call) -> Option<Fault> {
    let words = words()?;
    if words.counted.load(SeqCst) & call as u64 == 0 {
        return None;
    }
    let number = words.seen.fetch_add(1, SeqCst) + 1;
    let (fail_at, flags) = (words.fail_at.load(SeqCst), words.flags.load(SeqCst));
    let fails = fail_at != 0 && (number == fail_at || (number > fail_at && flags & PERSISTENT != 0));
    fails.then(|| {
        words.failed.fetch_add(1, SeqCst);
        // Only the first one is cut short: a disk that is full takes nothing more.
        Fault { errno: words.errno.load(SeqCst) as c_int, short: flags & SHORT != 0 && number == fail_at }
    })
}
