//! Byte-range locks: Linux open-file-description locks, which belong to a handle and not to a process.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use super::fork::OwnFile;
use crate::Locks;

enum Op {
    Try,
    Share,
    Wait,
    Unlock,
}

/// An open handle of a lock file.
pub(super) struct LockFile(OwnFile);

impl LockFile {
    pub fn open(path: &Path) -> io::Result<LockFile> {
        OwnFile::open(|| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
            .map(LockFile)
    }
}

impl Locks for LockFile {
    fn try_lock(&self, byte: u64) -> io::Result<bool> {
        lock_byte(self.0.fd(), byte, Op::Try)
    }

    fn lock(&self, byte: u64) -> io::Result<()> {
        lock_byte(self.0.fd(), byte, Op::Wait).map(drop)
    }

    fn share(&self, byte: u64) -> io::Result<()> {
        lock_byte(self.0.fd(), byte, Op::Share).map(drop)
    }

    fn unlock(&self, byte: u64) {
        // Unlocking a byte of an open file cannot fail in a way that a caller could do anything about; closing the
        // handle frees it all the same.
        let _ = lock_byte(self.0.fd(), byte, Op::Unlock);
    }

    fn is_held_elsewhere(&self, byte: u64) -> io::Result<bool> {
        is_byte_locked(self.0.fd(), byte)
    }
}

/// `Ok(false)`: somebody else has it.
fn lock_byte(fd: RawFd, byte: u64, op: Op) -> io::Result<bool> {
    let (kind, command) = match op {
        Op::Share => (libc::F_RDLCK, libc::F_OFD_SETLK),
        Op::Try => (libc::F_WRLCK, libc::F_OFD_SETLK),
        Op::Wait => (libc::F_WRLCK, libc::F_OFD_SETLKW),
        Op::Unlock => (libc::F_UNLCK, libc::F_OFD_SETLK),
    };
    let lock = range(kind, byte as i64, 1);
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

/// Lets go of every byte.
pub(super) fn unlock_all(fd: RawFd) {
    let all = range(libc::F_UNLCK, 0, 0);
    // SAFETY: as above. It cannot fail in a way that a caller could do anything about.
    unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &all) };
}

/// Whether anybody holds the byte, this handle apart. Takes nothing, so that no one is refused because of the question.
fn is_byte_locked(fd: RawFd, byte: u64) -> io::Result<bool> {
    let mut lock = range(libc::F_WRLCK, byte as i64, 1);
    // SAFETY: `lock` is a whole `flock` that outlives the call, which writes to nothing else.
    match unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(i32::from(lock.l_type) != libc::F_UNLCK),
        _ => Err(io::Error::last_os_error()),
    }
}

fn range(kind: i32, start: i64, length: i64) -> libc::flock {
    libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: start, l_len: length, l_pid: 0 }
}
