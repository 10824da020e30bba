//! `sqlite3_maniac_init`: called when the extension is loaded, and again for each connection opened afterwards.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};

use rusqlite::{Connection, ffi};

use crate::last_error::Known;
use crate::{functions, tables, vfs};

type EntryPoint = unsafe extern "C" fn(*mut ffi::sqlite3, *mut *mut c_char, *mut ffi::sqlite3_api_routines) -> c_int;

/// The SQLite library that loaded the extension. Its function table is kept in statics, so there can be only one.
static HOST: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// # Safety
/// Called by SQLite with a connection and its function table.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_maniac_init(
    db: *mut ffi::sqlite3,
    error: *mut *mut c_char,
    api: *mut ffi::sqlite3_api_routines,
) -> c_int {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: every SQLite's function table begins with the same functions, this one among them.
        if let Some(message) = unsafe { (*api).libversion_number }.and_then(|version| too_old(unsafe { version() })) {
            // SAFETY: `error` is null or takes a string of this host's allocator.
            unsafe { set_error(error, api, &message) };
            return ffi::SQLITE_ERROR;
        }
        // SAFETY: SQLite hands over its own function table, which lives as long as the library.
        let host = unsafe { (*api).malloc }.map_or(std::ptr::null_mut(), |function| function as *mut c_void);
        // SAFETY: as above.
        if let Some(version) = unsafe { (*api).libversion_number } {
            // SAFETY: the table is that of the version.
            unsafe { vfs::find_is_interrupted(api, version()) };
        }
        let earlier = HOST.compare_exchange(std::ptr::null_mut(), host, Ordering::AcqRel, Ordering::Acquire);
        if earlier.is_err_and(|earlier| earlier != host) {
            // SAFETY: `error` is null or takes a string of this host's allocator.
            unsafe { set_error(error, api, c"maniac is in use by another copy of SQLite in this process") };
            return ffi::SQLITE_ERROR;
        }
        // SAFETY: the arguments are SQLite's own.
        unsafe { Connection::extension_init2(db, error, api, set_up) }
    }));
    outcome.unwrap_or(ffi::SQLITE_INTERNAL)
}

/// What to tell a host whose function table ends before functions that are called here.
fn too_old(version: c_int) -> Option<CString> {
    let dotted = |number: c_int| format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000);
    let needed = ffi::SQLITE_VERSION_NUMBER;
    (version < needed).then(|| {
        let message = format!("maniac needs SQLite {} or newer, and this is {}", dotted(needed), dotted(version));
        CString::new(message).expect("text without a zero")
    })
}

/// What later connections run. An auto-extension that returns anything but SQLITE_OK has failed: SQLite calls no further
/// ones, and a host that asked for extended result codes sees its `sqlite3_open` fail.
///
/// # Safety
/// Called by SQLite with a connection and its function table.
unsafe extern "C" fn auto_init(
    db: *mut ffi::sqlite3,
    error: *mut *mut c_char,
    api: *mut ffi::sqlite3_api_routines,
) -> c_int {
    // SAFETY: by the caller's word.
    match unsafe { sqlite3_maniac_init(db, error, api) } {
        ffi::SQLITE_OK_LOAD_PERMANENTLY => ffi::SQLITE_OK,
        code => code,
    }
}

unsafe fn set_error(error: *mut *mut c_char, api: *mut ffi::sqlite3_api_routines, text: &std::ffi::CStr) {
    // SAFETY: by the caller's word.
    unsafe {
        if let (false, Some(format)) = (error.is_null(), (*api).mprintf) {
            *error = format(c"%s".as_ptr(), text.as_ptr());
        }
    }
}

/// Makes one connection ready; the first time also the process. `true` keeps the library loaded for good, as the VFS
/// must outlive the connection that loaded it.
fn set_up(connection: Connection) -> rusqlite::Result<bool> {
    vfs::register()?;
    // SAFETY: the handle is looked at as a number.
    let known = Known::new(unsafe { connection.handle() });
    tables::register(&connection, &known.newest)?;
    functions::register(&connection, known)?;
    // SAFETY: SQLite declares auto-extensions without arguments and calls them with those of an entry point, as its
    // documentation says; the list takes each function once.
    let code = unsafe {
        let entry_point = auto_init as EntryPoint;
        ffi::sqlite3_auto_extension(Some(std::mem::transmute::<EntryPoint, unsafe extern "C" fn()>(entry_point)))
    };
    if code == ffi::SQLITE_OK { Ok(true) } else { Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)) }
}

#[cfg(test)]
mod tests {
    use super::too_old;

    #[test]
    fn an_old_host_is_told_what_is_needed() {
        let message = too_old(3_033_000).expect("3.33.0 is too old");
        assert_eq!(message.to_str(), Ok("maniac needs SQLite 3.34.1 or newer, and this is 3.33.0"));
        assert_eq!(too_old(3_034_001), None);
        assert_eq!(too_old(3_054_001), None);
    }
}
