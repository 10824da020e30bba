//! Preloaded into a process: each fsync takes a millisecond more, as on disks that have no cache of their own.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::time::Duration;

const MORE: Duration = Duration::from_millis(1);

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    std::thread::sleep(MORE);
    // SAFETY: a descriptor that isn't one gives an error.
    unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int }
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    std::thread::sleep(MORE);
    // SAFETY: a descriptor that isn't one gives an error.
    unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int }
}
