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
        let schema = schema_of(db)?;
        let database = CString::new(schema).ok().and_then(|name| database_named(db, &name));
        call(database.ok_or_else(no_store)?)
    }
}

/// The name under which the connection has the store's database that it works on.
///
/// # Safety
/// As for [`with_database`].
pub unsafe fn schema_of(db: *mut ffi::sqlite3) -> VfsResult<String> {
    // SAFETY: by the caller's word.
    unsafe {
        if database_named(db, c"main").is_some() {
            return Ok("main".into());
        }
        let names = schema_names(&Connection::from_handle(db).map_err(VfsError::sql)?).map_err(VfsError::sql)?;
        let is_store =
            |name: &String| CString::new(name.as_str()).is_ok_and(|name| database_named(db, &name).is_some());
        names.into_iter().find(is_store).ok_or_else(no_store)
    }
}

fn no_store() -> VfsError {
    let message = "this connection has no store open; open one with file:NAME.maniac?vfs=maniac";
    VfsError::new(ffi::SQLITE_ERROR, message)
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
    connection.prepare("SELECT name FROM main.pragma_database_list")?.query_map((), |row| row.get(0))?.collect()
}
