//! The names of our VFS's, the VFS that each stands in front of, and what is that one's business.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicPtr, Ordering};

use rusqlite::ffi;

use super::waiting;

pub const NAME: &CStr = c"maniac";
/// A static, so that its address tells our second VFS from the first one.
pub static DEFAULT_NAME: &CStr = c"maniac-default";

/// The platform's VFS.
static PLATFORM: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());

pub fn platform() -> *mut ffi::sqlite3_vfs {
    PLATFORM.load(Ordering::Acquire)
}

pub fn set_platform(vfs: *mut ffi::sqlite3_vfs) {
    PLATFORM.store(vfs, Ordering::Release);
}

/// The VFS that one of ours stands in front of.
///
/// # Safety
/// `vfs` is one of ours, as `register` makes them.
pub unsafe fn behind(vfs: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: by the caller's word; a registered VFS stays as it is.
    unsafe { (*vfs).pAppData.cast() }
}

/// Whether a VFS of ours leaves names that are not of stores to the one behind it.
///
/// # Safety
/// As for [`behind`].
pub unsafe fn passes_files_on(vfs: *mut ffi::sqlite3_vfs) -> bool {
    // SAFETY: by the caller's word.
    unsafe { (*vfs).zName == DEFAULT_NAME.as_ptr() }
}

/// The name of the platform's VFS.
pub fn platform_name() -> CString {
    // SAFETY: a registered VFS has a name, and lives on.
    unsafe { CStr::from_ptr((*platform()).zName) }.to_owned()
}

/// How SQLite's busy handler waits.
pub unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // SAFETY: SQLite calls this in the thread of the connection that waits, if one does.
    let waited = catch_unwind(|| unsafe { waiting::sleep(microseconds) }).unwrap_or(false);
    if waited {
        return microseconds;
    }
    // SAFETY: the VFS that would have been asked otherwise.
    unsafe {
        match (*behind(vfs)).xSleep {
            Some(sleep) => sleep(behind(vfs), microseconds),
            None => 0,
        }
    }
}

/// Methods that are the platform's business.
macro_rules! forward {
    ($($name:ident => $method:ident($($arg:ident: $type:ty),*) -> $result:ty, or $default:expr;)*) => {$(
        pub unsafe extern "C" fn $name(vfs: *mut ffi::sqlite3_vfs, $($arg: $type),*) -> $result {
            // SAFETY: SQLite's arguments, handed on to the VFS that they would have gone to.
            unsafe {
                match (*behind(vfs)).$method {
                    Some(method) => method(behind(vfs), $($arg),*),
                    None => $default,
                }
            }
        }
    )*};
}

type Symbol = Option<unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *mut c_void, *const c_char)>;

forward! {
    dl_open => xDlOpen(name: *const c_char) -> *mut c_void, or std::ptr::null_mut();
    dl_error => xDlError(size: c_int, out: *mut c_char) -> (), or ();
    dl_sym => xDlSym(handle: *mut c_void, name: *const c_char) -> Symbol, or None;
    dl_close => xDlClose(handle: *mut c_void) -> (), or ();
    randomness => xRandomness(size: c_int, out: *mut c_char) -> c_int, or 0;
    current_time => xCurrentTime(out: *mut f64) -> c_int, or ffi::SQLITE_ERROR;
    get_last_error => xGetLastError(size: c_int, out: *mut c_char) -> c_int, or 0;
    current_time_int64 => xCurrentTimeInt64(out: *mut i64) -> c_int, or ffi::SQLITE_ERROR;
}
