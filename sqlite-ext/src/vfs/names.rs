//! What SQLite does with the names of files: deleting, looking, making them full paths.

use std::ffi::{CStr, CString, c_char, c_int};

use rusqlite::ffi;

use super::behind::{behind, passes_files_on};
use super::database::PROCESS;
use super::file::contain;
use super::uri::{self, PlainName};
use crate::last_error::Newest;

/// Whether a name is that of a journal of a store, which lives and dies with its file handle.
///
/// # Safety
/// The arguments are SQLite's.
unsafe fn is_journal(vfs: *mut ffi::sqlite3_vfs, name: *const c_char) -> bool {
    // SAFETY: by the caller's word.
    let (name, all) = unsafe { (CStr::from_ptr(name).to_bytes(), !passes_files_on(vfs)) };
    let database = name.strip_suffix(b"-journal").or_else(|| name.strip_suffix(b"-wal"));
    database.is_some_and(|database| all || uri::names_a_store(database))
}

pub unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite's C string, handed on.
    unsafe {
        let commit = || {
            PROCESS.commit_group(CStr::from_ptr(name).to_bytes())?;
            Ok(ffi::SQLITE_OK)
        };
        let committed = contain(Newest::of_thread, commit);
        if committed != ffi::SQLITE_OK {
            return committed;
        }
        match (*behind(vfs)).xDelete {
            Some(delete) if !is_journal(vfs, name) => delete(behind(vfs), name, sync_dir),
            _ => ffi::SQLITE_OK,
        }
    }
}

pub unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's C string and place for the answer, handed on.
    unsafe {
        match (*behind(vfs)).xAccess {
            Some(access) if !is_journal(vfs, name) => access(behind(vfs), name, flags, out),
            _ => {
                *out = 0;
                ffi::SQLITE_OK
            }
        }
    }
}

pub unsafe extern "C" fn full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's C string and `size` bytes for the answer.
    unsafe {
        let Some(full) = (*behind(vfs)).xFullPathname else { return ffi::SQLITE_CANTOPEN };
        let plain = passes_files_on(vfs).then(|| PlainName::parse(CStr::from_ptr(name).to_bytes())).flatten();
        let Some(plain) = plain else { return full(behind(vfs), name, size, out) };
        // Links lead to the store without its parameters, which come behind it again.
        let Ok(path) = CString::new(&*plain.path) else { return ffi::SQLITE_CANTOPEN };
        let code = full(behind(vfs), path.as_ptr(), size, out);
        let length = CStr::from_ptr(out).to_bytes().len();
        if code & 0xff != ffi::SQLITE_OK || length + plain.query.len() >= size as usize {
            return if code & 0xff == ffi::SQLITE_OK { ffi::SQLITE_CANTOPEN } else { code };
        }
        std::ptr::copy_nonoverlapping(plain.query.as_ptr(), out.cast::<u8>().add(length), plain.query.len());
        *out.add(length + plain.query.len()) = 0;
        code
    }
}
