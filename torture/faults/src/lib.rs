//! A shim for `LD_PRELOAD`: it stands between a process and the calls that change files under one directory.
//!
//! ```text
//!   host ── SQLite ── maniac.so ──write, fsync, ftruncate, rename──> shim ──system calls──> kernel
//!                                                                      │
//!            control file: fail the n-th call  <───────────────────────┤
//!            notes: every change with old and new bytes, every fsync <─┘
//! ```
//!
//! `FAULTS_STORE` is the directory, `FAULTS_CONTROL` a file that the test shares with all processes (see `control`),
//! `FAULTS_NOTES` the file for notes (see `notes`), if the test wants them. Without them, all calls pass through.
//!
//! All of this is C's side of things: each function has the signature that libc gives it.

mod control;
mod notes;

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use control::Call;
use notes::Note;

/// The file behind a descriptor, if it lies under the directory that is watched.
fn watched(fd: c_int) -> Option<PathBuf> {
    let store = control::store()?;
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    path.starts_with(store).then_some(path)
}

unsafe fn path_of<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: the caller of a libc function hands over a C string.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: the address is this thread's own.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Writes `count` bytes at `offset`, or where the file stands.
unsafe fn write_at(fd: c_int, bytes: *const c_void, count: usize, offset: Option<i64>) -> isize {
    let write = |count: usize| -> isize {
        // SAFETY: the arguments are the caller's, with at most as many bytes.
        unsafe {
            match offset {
                Some(offset) => libc::syscall(libc::SYS_pwrite64, fd, bytes, count, offset) as isize,
                None => libc::syscall(libc::SYS_write, fd, bytes, count) as isize,
            }
        }
    };
    let Some(path) = watched(fd) else { return write(count) };
    let mut count = count;
    match control::next(Call::Write) {
        // A full disk takes what fits; the rest of the bytes meets the error at the next call.
        Some(fault) if fault.short && count > 1 => count /= 2,
        Some(fault) => return fail(fault.errno) as isize,
        None => (),
    }
    let _guard = notes::lock();
    // SAFETY: a descriptor that cannot seek gives an error, and has no place in a store.
    let at = offset.unwrap_or_else(|| unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) });
    let before = notes::bytes_of(fd, at as u64, count);
    let length = notes::length_of(fd);
    let done = write(count);
    if done > 0 {
        // SAFETY: the caller's buffer has `count` bytes.
        let now = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), done as usize) };
        notes::add(&Note::Write { path: &path, offset: at as u64, length, before: &before, now });
    }
    done
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    // SAFETY: by the caller's word.
    unsafe { write_at(fd, bytes, count, None) }
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: usize, offset: i64) -> isize {
    // SAFETY: by the caller's word.
    unsafe { write_at(fd, bytes, count, Some(offset)) }
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, count: usize, offset: i64) -> isize {
    // SAFETY: by the caller's word.
    unsafe { write_at(fd, bytes, count, Some(offset)) }
}

fn sync(fd: c_int, call: libc::c_long) -> c_int {
    // SAFETY: any descriptor may be asked for.
    let sync = || unsafe { libc::syscall(call, fd) as c_int };
    let Some(path) = watched(fd) else { return sync() };
    if let Some(fault) = control::next(Call::Sync) {
        return fail(fault.errno);
    }
    let _guard = notes::lock();
    let done = sync();
    if done == 0 {
        notes::add(&Note::Sync { path: &path });
    }
    done
}

#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

fn truncate(fd: c_int, to: i64) -> c_int {
    // SAFETY: any descriptor may be asked for.
    let truncate = || unsafe { libc::syscall(libc::SYS_ftruncate, fd, to) as c_int };
    let Some(path) = watched(fd) else { return truncate() };
    if let Some(fault) = control::next(Call::Truncate) {
        return fail(fault.errno);
    }
    let _guard = notes::lock();
    let length = notes::length_of(fd);
    let before = notes::bytes_of(fd, to as u64, length.saturating_sub(to as u64) as usize);
    let done = truncate();
    if done == 0 {
        notes::add(&Note::Truncate { path: &path, length, to: to as u64, before: &before });
    }
    done
}

#[unsafe(no_mangle)]
pub extern "C" fn ftruncate(fd: c_int, to: i64) -> c_int {
    truncate(fd, to)
}

#[unsafe(no_mangle)]
pub extern "C" fn ftruncate64(fd: c_int, to: i64) -> c_int {
    truncate(fd, to)
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller's arguments.
    let rename = || unsafe { libc::syscall(libc::SYS_rename, from, to) as c_int };
    // SAFETY: by the caller's word.
    let (old, new) = unsafe { (path_of(from), path_of(to)) };
    if !control::store().is_some_and(|store| new.starts_with(store)) {
        return rename();
    }
    if let Some(fault) = control::next(Call::Rename) {
        return fail(fault.errno);
    }
    let _guard = notes::lock();
    let done = rename();
    if done == 0 {
        notes::add(&Note::Rename { from: old, to: new });
    }
    done
}
