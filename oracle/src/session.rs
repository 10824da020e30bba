//! The session extension: the functions of it that the tests call, and what makes them safe to call.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use rusqlite::Connection;
use rusqlite::ffi::{self, sqlite3};

/// Record tables without a primary key, by their rowid.
const OBJCONFIG_ROWID: c_int = 2;
/// In a conflict handler: leave the row as it is and go on; let the change win; undo everything.
const CHANGESET_OMIT: c_int = 0;
const CHANGESET_REPLACE: c_int = 1;
const CHANGESET_ABORT: c_int = 2;

type Filter = unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int;
type Conflict = unsafe extern "C" fn(*mut c_void, c_int, *mut c_void) -> c_int;

// sqlite3session.h. Handles are opaque.
unsafe extern "C" {
    fn sqlite3session_create(db: *mut sqlite3, name: *const c_char, session: *mut *mut c_void) -> c_int;
    fn sqlite3session_delete(session: *mut c_void);
    fn sqlite3session_object_config(session: *mut c_void, op: c_int, arg: *mut c_void) -> c_int;
    fn sqlite3session_attach(session: *mut c_void, table: *const c_char) -> c_int;
    fn sqlite3session_table_filter(session: *mut c_void, filter: Option<Filter>, context: *mut c_void);
    fn sqlite3session_changeset(session: *mut c_void, len: *mut c_int, out: *mut *mut c_void) -> c_int;
    fn sqlite3changeset_invert(len: c_int, input: *const c_void, out_len: *mut c_int, out: *mut *mut c_void) -> c_int;
    fn sqlite3changegroup_new(group: *mut *mut c_void) -> c_int;
    fn sqlite3changegroup_add(group: *mut c_void, len: c_int, input: *mut c_void) -> c_int;
    fn sqlite3changegroup_output(group: *mut c_void, len: *mut c_int, out: *mut *mut c_void) -> c_int;
    fn sqlite3changegroup_delete(group: *mut c_void);
    fn sqlite3changeset_apply(
        db: *mut sqlite3,
        len: c_int,
        input: *mut c_void,
        filter: Option<Filter>,
        conflict: Option<Conflict>,
        context: *mut c_void,
    ) -> c_int;
}

/// Records the changes of a connection.
pub struct Session {
    handle: *mut c_void,
}

impl Session {
    /// Starts recording all tables but SQLite's own.
    pub fn start(db: &Connection) -> Session {
        let mut handle = ptr::null_mut();
        // SAFETY: the connection is open, and the session is deleted before it: the tests drop it after each transaction.
        unsafe {
            check(sqlite3session_create(db.handle(), c"main".as_ptr(), &mut handle));
            let mut on: c_int = 1;
            check(sqlite3session_object_config(handle, OBJCONFIG_ROWID, (&raw mut on).cast()));
            check(sqlite3session_attach(handle, ptr::null()));
            sqlite3session_table_filter(handle, Some(not_internal), ptr::null_mut());
        }
        Session { handle }
    }

    pub fn changeset(&self) -> Vec<u8> {
        // SAFETY: the handle is live, and SQLite hands out a buffer of the length it says.
        unsafe { collect(|len, out| sqlite3session_changeset(self.handle, len, out)) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: created in `start`, deleted once.
        unsafe { sqlite3session_delete(self.handle) }
    }
}

unsafe extern "C" fn not_internal(_: *mut c_void, table: *const c_char) -> c_int {
    // SAFETY: SQLite passes a name that ends in NUL.
    let name = unsafe { CStr::from_ptr(table) };
    c_int::from(!name.to_bytes().to_ascii_lowercase().starts_with(b"sqlite_"))
}

fn check(code: c_int) {
    assert_eq!(code, ffi::SQLITE_OK, "the session extension returned {code}");
}

/// Runs a function of SQLite that allocates its result.
unsafe fn collect(call: impl FnOnce(*mut c_int, *mut *mut c_void) -> c_int) -> Vec<u8> {
    let (mut len, mut out) = (0, ptr::null_mut());
    check(call(&mut len, &mut out));
    let bytes = if out.is_null() {
        Vec::new()
    } else {
        // SAFETY: SQLite wrote `len` bytes to `out`.
        unsafe { std::slice::from_raw_parts(out.cast::<u8>(), len as usize) }.to_vec()
    };
    // SAFETY: `out` came from SQLite's allocator.
    unsafe { ffi::sqlite3_free(out) };
    bytes
}

pub fn invert(changeset: &[u8]) -> Vec<u8> {
    // SAFETY: the input outlives the call.
    unsafe {
        collect(|len, out| sqlite3changeset_invert(changeset.len() as c_int, changeset.as_ptr().cast(), len, out))
    }
}

pub fn concat(changesets: &[Vec<u8>]) -> Vec<u8> {
    let mut group = ptr::null_mut();
    // SAFETY: the inputs outlive the calls; the group is deleted once.
    unsafe {
        check(sqlite3changegroup_new(&mut group));
        for changeset in changesets {
            let input = changeset.as_ptr().cast_mut().cast();
            check(sqlite3changegroup_add(group, changeset.len() as c_int, input));
        }
        let joined = collect(|len, out| sqlite3changegroup_output(group, len, out));
        sqlite3changegroup_delete(group);
        joined
    }
}

/// What a conflict handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The row stays as it is.
    Omit,
    /// The change wins where SQLite lets it: where the row holds other values, or is there already.
    Replace,
    Abort,
}

/// Kinds of conflicts.
pub const DATA: c_int = 1;
pub const NOT_FOUND: c_int = 2;
pub const EXISTS: c_int = 3;
pub const CONSTRAINT: c_int = 4;

struct Handler {
    policy: Policy,
    kinds: Vec<c_int>,
}

unsafe extern "C" fn handle_conflict(context: *mut c_void, kind: c_int, _: *mut c_void) -> c_int {
    // SAFETY: `apply_with` passes a handler that outlives the call.
    let handler = unsafe { &mut *context.cast::<Handler>() };
    handler.kinds.push(kind);
    match handler.policy {
        Policy::Replace if matches!(kind, DATA | EXISTS) => CHANGESET_REPLACE,
        Policy::Omit | Policy::Replace => CHANGESET_OMIT,
        Policy::Abort => CHANGESET_ABORT,
    }
}

/// Applies a changeset with stock SQLite and returns the kinds of the conflicts.
pub fn apply(db: &Connection, changeset: &[u8]) -> Vec<c_int> {
    let (code, kinds) = apply_with(db, changeset, Policy::Omit);
    check(code);
    kinds
}

/// The same with a policy; gives SQLite's code, too.
pub fn apply_with(db: &Connection, changeset: &[u8], policy: Policy) -> (c_int, Vec<c_int>) {
    let mut handler = Handler { policy, kinds: Vec::new() };
    // SAFETY: the connection is open, and the input and the handler outlive the call.
    let code = unsafe {
        sqlite3changeset_apply(
            db.handle(),
            changeset.len() as c_int,
            changeset.as_ptr().cast_mut().cast(),
            None,
            Some(handle_conflict),
            (&raw mut handler).cast(),
        )
    };
    (code, handler.kinds)
}

/// Reserves bytes at the end of every page of a database that has none yet.
pub fn reserve_bytes(db: &Connection, bytes: u8) {
    let mut bytes = c_int::from(bytes);
    // SAFETY: the connection is open, and this file control takes an int.
    unsafe {
        ffi::sqlite3_file_control(
            db.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            (&raw mut bytes).cast(),
        );
    }
}
