//! `xOpen`: which file is ours, and what its name asks for.

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rusqlite::ffi;

use super::behind::{behind, passes_files_on};
use super::database::{Database, PROCESS};
use super::file::{FileHandle, METHODS, OpenFile, contain, database_of};
use super::journal::Journal;
use super::uri::{self, PlainName, Request};
use crate::errors::{VfsError, report};
use crate::last_error::Newest;

const NAMED: c_int = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_MAIN_JOURNAL;

/// Whether a named file belongs to the VFS behind `maniac-default`: a database whose name is not a store's, and its
/// journal or WAL file.
///
/// # Safety
/// The arguments are SQLite's, of `xOpen`.
unsafe fn is_others(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int) -> bool {
    // SAFETY: by the caller's word; SQLite finds the database of a journal or WAL file by the name that it opens.
    unsafe {
        if !passes_files_on(vfs) {
            false
        } else if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            !uri::names_a_store(CStr::from_ptr(name).to_bytes())
        } else {
            database_of(ffi::sqlite3_database_file_object(name)).is_none()
        }
    }
}

pub unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's: `file` has szOsFile bytes, `name` is null or a name with its URI parameters.
    unsafe {
        (*file).pMethods = std::ptr::null();
        // A super-journal is made for a commit; to roll back, SQLite only reads what a crash has left.
        let made = ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_CREATE;
        if flags & made == made && !name.is_null() {
            PROCESS.open_group(CStr::from_ptr(name).to_bytes());
        }
        let named = !name.is_null() && flags & (NAMED | ffi::SQLITE_OPEN_WAL) != 0;
        if !named || is_others(vfs, name, flags) {
            return match (*behind(vfs)).xOpen {
                Some(open) => open(behind(vfs), name, file, flags, out_flags),
                None => ffi::SQLITE_CANTOPEN,
            };
        }
        if flags & ffi::SQLITE_OPEN_WAL != 0 {
            // In exclusive locking mode SQLite needs no shared memory for a WAL file. Commits would be in there, and nowhere
            // else.
            let reason = "a store has no separate WAL file; run PRAGMA locking_mode = normal and try again";
            return report(VfsError::new(ffi::SQLITE_CANTOPEN, reason), &Newest::of_thread());
        }
        let code = contain(Newest::of_thread, || {
            let mut connection = std::ptr::null_mut();
            let opened = if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
                let whole = CStr::from_ptr(name).to_bytes();
                // Where SQLite takes no URIs, the parameters are a part of the name.
                let plain = passes_files_on(vfs).then(|| PlainName::parse(whole)).flatten();
                let path = plain.as_ref().map_or(whole, |plain| &plain.path);
                let path = PathBuf::from(OsStr::from_bytes(path));
                let parameter = |key: &str| {
                    if let Some(value) = plain.as_ref().and_then(|plain| plain.parameter(key)) {
                        return Some(value);
                    }
                    let key = CString::new(key).expect("a key without a zero");
                    let value = ffi::sqlite3_uri_parameter(name, key.as_ptr());
                    (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
                };
                let keys: Vec<String> = match &plain {
                    Some(plain) => plain.parameters().map(|(key, _)| key).collect(),
                    None => (0..)
                        .map(|n| ffi::sqlite3_uri_key(name, n))
                        .take_while(|key| !key.is_null())
                        .map(|key| CStr::from_ptr(key).to_string_lossy().into_owned())
                        .collect(),
                };
                let database = Request::new(path, flags, &keys, parameter).and_then(|request| Database::open(&request));
                let database = database.map_err(VfsError::on_opening);
                OpenFile::Database(Box::new(database.inspect_err(|error| eprintln!("maniac: {}", error.message))?))
            } else {
                let file = ffi::sqlite3_database_file_object(name);
                let database = database_of(file)
                    .ok_or_else(|| VfsError::new(ffi::SQLITE_CANTOPEN, "a journal without its database"))?;
                connection = (*file.cast::<FileHandle>()).connection;
                OpenFile::Journal(Journal::new(database.store().path().to_owned(), database.journalled()))
            };
            if !out_flags.is_null() {
                let read_only = matches!(&opened, OpenFile::Database(database) if database.is_read_only());
                let mode = if read_only { ffi::SQLITE_OPEN_READONLY } else { ffi::SQLITE_OPEN_READWRITE };
                *out_flags = flags & !(ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_READWRITE) | mode;
            }
            (*file.cast::<FileHandle>()).file = Box::into_raw(Box::new(opened));
            (*file.cast::<FileHandle>()).connection = connection;
            Ok(ffi::SQLITE_OK)
        });
        if code == ffi::SQLITE_OK {
            (*file).pMethods = &raw const METHODS;
        }
        code
    }
}
