//! What was changed and what was synced, in order, so that a test can play a machine that stops: bytes that were not
//! synced are there or not, as it pleases the disk.
//!
//! A note is a line of text, ended by a line break after its bytes. Numbers are decimal.
//!
//! ```text
//!   W <path length> <offset> <file length before> <bytes before> <bytes now> \n path, old bytes, new bytes \n
//!   T <path length> <file length before> <length now> <bytes cut off>        \n path, the bytes cut off    \n
//!   R <path length> <path length>                                            \n old path, new path         \n
//!   S <path length>                                                          \n path                       \n
//! ```
//!
//! The file is locked around each change and its note, so that the notes of several processes are in the order of what
//! they did. A process that is killed between the two leaves a change that counts as synced.

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};

pub enum Note<'a> {
    Write { path: &'a Path, offset: u64, length: u64, before: &'a [u8], now: &'a [u8] },
    Truncate { path: &'a Path, length: u64, to: u64, before: &'a [u8] },
    Rename { from: &'a Path, to: &'a Path },
    Sync { path: &'a Path },
}

fn file() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let open = || File::options().append(true).create(true).open(std::env::var_os("FAULTS_NOTES")?).ok();
    FILE.get_or_init(open).as_ref()
}

/// While it lives nobody else changes a file: other threads wait for the mutex, other processes for the file's lock.
pub struct Guard(#[allow(dead_code)] MutexGuard<'static, ()>, Option<c_int>);

pub fn lock() -> Guard {
    static THREADS: Mutex<()> = Mutex::new(());
    let threads = THREADS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fd = file().map(File::as_raw_fd);
    if let Some(fd) = fd {
        // SAFETY: an open descriptor. An interrupted wait would show as notes in disorder, and nobody sends signals here.
        unsafe { libc::flock(fd, libc::LOCK_EX) };
    }
    Guard(threads, fd)
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(fd) = self.1 {
            // SAFETY: an open descriptor.
            unsafe { libc::flock(fd, libc::LOCK_UN) };
        }
    }
}

pub fn length_of(fd: c_int) -> u64 {
    // SAFETY: all zeroes is a `stat`, and the call fills it.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::fstat(fd, &mut stat) == 0 { stat.st_size as u64 } else { 0 }
    }
}

/// Up to `count` bytes of the file from `offset`; none when nobody takes notes.
pub fn bytes_of(fd: c_int, offset: u64, count: usize) -> Vec<u8> {
    if file().is_none() {
        return Vec::new();
    }
    // A file that is only written to cannot be read through its own descriptor.
    let Ok(readable) = File::open(format!("/proc/self/fd/{fd}")) else { return Vec::new() };
    let mut bytes = vec![0; count];
    let read = std::os::unix::fs::FileExt::read_at(&readable, &mut bytes, offset).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

pub fn add(note: &Note<'_>) {
    let Some(file) = file() else { return };
    let name = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let (head, parts) = match note {
        Note::Write { path, offset, length, before, now } => {
            let path = name(path);
            let head = format!("W {} {offset} {length} {} {}", path.len(), before.len(), now.len());
            (head, [path, before.to_vec(), now.to_vec()])
        }
        Note::Truncate { path, length, to, before } => {
            let path = name(path);
            (format!("T {} {length} {to} {}", path.len(), before.len()), [path, before.to_vec(), Vec::new()])
        }
        Note::Rename { from, to } => {
            let (from, to) = (name(from), name(to));
            (format!("R {} {}", from.len(), to.len()), [from, to, Vec::new()])
        }
        Note::Sync { path } => {
            let path = name(path);
            (format!("S {}", path.len()), [path, Vec::new(), Vec::new()])
        }
    };
    let mut bytes = head.into_bytes();
    bytes.push(b'\n');
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.push(b'\n');
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        // SAFETY: the bytes are there; the system call goes past this shim.
        let wrote = unsafe { libc::syscall(libc::SYS_write, file.as_raw_fd(), rest.as_ptr(), rest.len()) };
        if wrote <= 0 {
            return;
        }
        done += wrote as usize;
    }
}
