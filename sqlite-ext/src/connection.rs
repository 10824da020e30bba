//! From a connection to the store that it has open.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use rusqlite::{Connection, ffi};

use crate::errors::{VfsError, VfsResult};
use crate::vfs::{Database, database_of};

/// Does something with the store's database that this connection works on: `main`, or, when that is something else,
/// the first attached one that lies in a store.
///
/// # Safety
/// `db` is an open connection, and the call comes from inside one of its functions or virtual tables.
pub unsafe fn with_database<T>(
    db: *mut ffi::sqlite3,
    call: impl FnOnce(&mut Database) -> VfsResult<T>,
) -> VfsResult<T> {
    // SAFETY: by the caller's word; a connection's files are used by the thread that is inside the connection, and no
    // other reference to the database is held while SQL functions run.
    unsafe {
        if let Some(database) = database_named(db, c"main") {
            return call(database);
        }
        let failed = |error: rusqlite::Error| VfsError::new(ffi::SQLITE_ERROR, error.to_string());
        for name in schema_names(&Connection::from_handle(db).map_err(failed)?).map_err(failed)? {
            if let Some(database) = CString::new(name).ok().and_then(|name| database_named(db, &name)) {
                return call(database);
            }
        }
    }
    let message = "this connection has no store open; open one with file:NAME.maniac?vfs=maniac";
    Err(VfsError::new(ffi::SQLITE_ERROR, message))
}

unsafe fn database_named<'a>(db: *mut ffi::sqlite3, schema: &CStr) -> Option<&'a mut Database> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: by the caller's word.
    unsafe {
        let out = (&raw mut file).cast();
        let code = ffi::sqlite3_file_control(db, schema.as_ptr(), ffi::SQLITE_FCNTL_FILE_POINTER, out);
        if code == ffi::SQLITE_OK { database_of(file) } else { None }
    }
}

fn schema_names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection.prepare("SELECT name FROM pragma_database_list")?.query_map((), |row| row.get(0))?.collect()
}
