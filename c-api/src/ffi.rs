//! What C sees. Every function contains panics and leaves the words of a failure behind for its thread.

#![allow(unsafe_code)]
#![allow(non_camel_case_types)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use maniac_base::{Kind, Version};
use maniac_history::unreadable_reason;
use maniac_store::Entry;

use crate::consumer::{Consumer as Inner, ConsumerError};

/// What a call came to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum maniac_status {
    MANIAC_OK = 0,
    /// There is nothing more: no change in this transaction, no transaction yet.
    MANIAC_DONE = 1,
    /// The time was up first.
    MANIAC_TIMEOUT = 2,
    /// An argument that can't be; the call has to be changed.
    MANIAC_MISUSE = 3,
    /// No such store, branch or version.
    MANIAC_NOT_FOUND = 4,
    /// The operating system refused; trying again may help.
    MANIAC_IO = 5,
    /// The store is damaged; trying again does not help.
    MANIAC_CORRUPT = 6,
    /// A defect of this library.
    MANIAC_INTERNAL = 7,
    /// Another version of Maniac wrote the store or has it open; use that one.
    MANIAC_NEWER_FORMAT = 8,
    /// Another client was in the way; try again.
    MANIAC_RETRY = 9,
}

/// What happened to a row.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum maniac_op {
    /// Nobody can tell what happened to the rows of this table, as when its row of sqlite_schema is nonsense after a `PRAGMA
    /// writable_schema`. `new_values` has the reason, the key is NULL. As soon as the table can be read again, a
    /// transaction has its changes since it could be.
    MANIAC_UNREADABLE = 0,
    MANIAC_DELETE = 9,
    MANIAC_INSERT = 18,
    MANIAC_UPDATE = 23,
}

/// One committed transaction.
#[repr(C)]
pub struct maniac_transaction {
    pub version: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// All changed rows in the format of SQLite's session extension; what sqlite3changeset_apply takes.
    pub changeset: *const u8,
    pub changeset_len: usize,
    /// The changed rows of sqlite_schema in the same format; length 0 if the schema stayed as it was.
    pub schema: *const u8,
    pub schema_len: usize,
    /// Why nobody can tell all that it changed, else NULL: a reason for each change of MANIAC_UNREADABLE, which names the
    /// table. If there is none, no table can be read: both changesets are empty then, and lead on from the last readable
    /// transaction as soon as one is readable again.
    pub unreadable: *const c_char,
}

/// One changed row. Keys and values are JSON objects by column name.
#[repr(C)]
pub struct maniac_change {
    pub op: maniac_op,
    pub table: *const c_char,
    /// The primary key's columns, or `_rowid_`; NULL for MANIAC_UNREADABLE.
    pub key: *const c_char,
    /// The row of a DELETE, what the changed columns of an UPDATE held; NULL for an INSERT.
    pub old_values: *const c_char,
    /// The row of an INSERT, what the changed columns of an UPDATE hold; NULL for a DELETE.
    pub new_values: *const c_char,
    /// The virtual table that keeps its index in `table`, as FTS5 and R-Tree do; NULL for a table of its own.
    pub shadow_of: *const c_char,
}

/// A place in a branch's stream of transactions.
pub struct Consumer {
    inner: Inner,
    entry: Option<Entry>,
    /// How many of the entry's unreadable tables were told.
    told: usize,
    transaction: maniac_transaction,
    unreadable: Option<CString>,
    texts: [Option<CString>; 5],
    change: maniac_change,
}

impl Consumer {
    /// The next table of the transaction at hand that can't be read, and why.
    fn next_unreadable(&mut self) -> Option<(String, String)> {
        let mut named = self.entry.as_ref()?.unreadable.iter().filter(|unreadable| unreadable.table.is_some());
        let unreadable = named.nth(self.told)?;
        self.told += 1;
        Some((unreadable.table.clone()?, unreadable_reason(unreadable)))
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

fn c_text(text: impl Into<Vec<u8>>) -> CString {
    let mut bytes: Vec<u8> = text.into();
    // C's texts end at the first NUL. JSON has none, and elsewhere a blank takes its place.
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    CString::new(bytes).unwrap_or_default()
}

fn failed(status: maniac_status, message: &str) -> maniac_status {
    MESSAGE.with(|kept| *kept.borrow_mut() = c_text(message));
    status
}

/// By their numbers.
const STATUSES: [maniac_status; 10] = {
    use maniac_status::*;
    [
        MANIAC_OK,
        MANIAC_DONE,
        MANIAC_TIMEOUT,
        MANIAC_MISUSE,
        MANIAC_NOT_FOUND,
        MANIAC_IO,
        MANIAC_CORRUPT,
        MANIAC_INTERNAL,
        MANIAC_NEWER_FORMAT,
        MANIAC_RETRY,
    ]
};

fn status_of(kind: Kind) -> maniac_status {
    STATUSES[kind.codes().c.1 as usize]
}

/// The one way in: contains panics, and turns errors into a status and words.
fn enter(call: impl FnOnce() -> Result<maniac_status, ConsumerError>) -> maniac_status {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => failed(status_of(error.kind()), &error.to_string()),
        Err(_) => failed(maniac_status::MANIAC_INTERNAL, "a defect of the library, which was contained"),
    }
}

fn misuse<T>(message: &str) -> Result<T, ConsumerError> {
    Err(ConsumerError::Misuse(message.into()))
}

/// # Safety
/// The pointer is null or a text that ends in NUL and lives as long as the result.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: by the caller's word.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// # Safety
/// The pointer is null or an open consumer that no other thread uses.
unsafe fn consumer<'a>(consumer: *mut Consumer) -> Result<&'a mut Consumer, ConsumerError> {
    // SAFETY: by the caller's word.
    unsafe { consumer.as_mut() }.map_or_else(|| misuse("the consumer is NULL"), Ok)
}

/// Opens a branch of the store at `path` and starts behind version `from`, or behind what `cursor_file` says is
/// acknowledged, whichever is newer. `branch` may be NULL for "main". `cursor_file` may be NULL: then nothing can be
/// acknowledged; a file that is not there yet is made by the first acknowledgement. One cursor file serves one consumer.
///
/// # Safety
/// Texts end in NUL; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_open(
    path: *const c_char,
    branch: *const c_char,
    cursor_file: *const c_char,
    from: u64,
    out: *mut *mut Consumer,
) -> maniac_status {
    enter(|| {
        // SAFETY: by the caller's word.
        let (path, branch, cursor) = unsafe { (text(path), text(branch), text(cursor_file)) };
        let (Some(path), false) = (path, out.is_null()) else { return misuse("the path or the result is NULL") };
        let as_path = |text: &'_ CStr| Path::new(OsStr::from_bytes(text.to_bytes())).to_owned();
        let Ok(branch) = branch.unwrap_or(c"main").to_str() else { return misuse("the branch's name is not UTF-8") };
        let cursor = cursor.map(as_path);
        let inner = Inner::open(&as_path(path), branch, cursor.as_deref(), Version(from))?;
        let opened = Box::new(Consumer {
            inner,
            entry: None,
            told: 0,
            transaction: maniac_transaction {
                version: 0,
                time_ms: 0,
                changeset: ptr::null(),
                changeset_len: 0,
                schema: ptr::null(),
                schema_len: 0,
                unreadable: ptr::null(),
            },
            unreadable: None,
            texts: [const { None }; 5],
            change: maniac_change {
                op: maniac_op::MANIAC_INSERT,
                table: ptr::null(),
                key: ptr::null(),
                old_values: ptr::null(),
                new_values: ptr::null(),
                shadow_of: ptr::null(),
            },
        });
        // SAFETY: not null, and valid by the caller's word.
        unsafe { *out = Box::into_raw(opened) };
        Ok(maniac_status::MANIAC_OK)
    })
}

/// Ends a consumer. NULL is allowed.
///
/// # Safety
/// The consumer came from maniac_open and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_close(consumer: *mut Consumer) {
    enter(|| {
        if !consumer.is_null() {
            // SAFETY: by the caller's word.
            drop(unsafe { Box::from_raw(consumer) });
        }
        Ok(maniac_status::MANIAC_OK)
    });
}

/// The next transaction in commit order; MANIAC_DONE if there is none yet.
///
/// # Safety
/// The consumer is open and used by this thread alone; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_next_transaction(
    consumer: *mut Consumer,
    out: *mut *const maniac_transaction,
) -> maniac_status {
    enter(|| {
        // SAFETY: by the caller's word.
        let consumer = unsafe { self::consumer(consumer)? };
        if out.is_null() {
            return misuse("the result is NULL");
        }
        let Some(entry) = consumer.inner.next_transaction()? else { return Ok(maniac_status::MANIAC_DONE) };
        let entry = consumer.entry.insert(entry);
        consumer.told = 0;
        let reasons: Vec<&str> = entry.unreadable.iter().map(|unreadable| unreadable.reason.as_str()).collect();
        consumer.unreadable = (!reasons.is_empty()).then(|| c_text(reasons.join("; ")));
        consumer.transaction = maniac_transaction {
            version: entry.version.0,
            time_ms: entry.time_ms,
            changeset: entry.changeset.as_ptr(),
            changeset_len: entry.changeset.len(),
            schema: entry.schema.as_ptr(),
            schema_len: entry.schema.len(),
            unreadable: consumer.unreadable.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
        };
        // SAFETY: not null, and valid by the caller's word.
        unsafe { *out = &raw const consumer.transaction };
        Ok(maniac_status::MANIAC_OK)
    })
}

/// The next changed row of the transaction at hand; MANIAC_DONE after the last.
///
/// # Safety
/// As for maniac_next_transaction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_next_change(consumer: *mut Consumer, out: *mut *const maniac_change) -> maniac_status {
    enter(|| {
        // SAFETY: by the caller's word.
        let consumer = unsafe { self::consumer(consumer)? };
        if out.is_null() {
            return misuse("the result is NULL");
        }
        let (op, texts) = match consumer.next_unreadable() {
            Some((table, reason)) => (maniac_op::MANIAC_UNREADABLE, [Some(table), None, None, Some(reason), None]),
            None => {
                let Some(row) = consumer.inner.next_row()? else { return Ok(maniac_status::MANIAC_DONE) };
                let op = match row.op.name() {
                    "DELETE" => maniac_op::MANIAC_DELETE,
                    "INSERT" => maniac_op::MANIAC_INSERT,
                    _ => maniac_op::MANIAC_UPDATE,
                };
                (op, [Some(row.table), Some(row.key), row.old, row.new, row.shadow_of])
            }
        };
        consumer.texts = texts.map(|text| text.map(c_text));
        let at = |n: usize| consumer.texts[n].as_ref().map_or(ptr::null(), |text| text.as_ptr());
        consumer.change =
            maniac_change { op, table: at(0), key: at(1), old_values: at(2), new_values: at(3), shadow_of: at(4) };
        // SAFETY: not null, and valid by the caller's word.
        unsafe { *out = &raw const consumer.change };
        Ok(maniac_status::MANIAC_OK)
    })
}

/// Sleeps until there is a transaction that was not delivered yet, at most `timeout_ms` milliseconds; a negative number
/// waits without end. MANIAC_OK if there is one, MANIAC_TIMEOUT if not.
///
/// # Safety
/// The consumer is open and used by this thread alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_wait(consumer: *mut Consumer, timeout_ms: i64) -> maniac_status {
    enter(|| {
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        // SAFETY: by the caller's word.
        let more = unsafe { self::consumer(consumer)? }.inner.wait(timeout)?;
        Ok(if more { maniac_status::MANIAC_OK } else { maniac_status::MANIAC_TIMEOUT })
    })
}

/// Notes that everything up to `version` is done with: when it returns, that is on disk in the cursor file, and a
/// consumer that is opened with this file later starts behind it. Only what was delivered can be acknowledged; going back
/// does nothing.
///
/// # Safety
/// The consumer is open and used by this thread alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_acknowledge(consumer: *mut Consumer, version: u64) -> maniac_status {
    enter(|| {
        // SAFETY: by the caller's word.
        unsafe { self::consumer(consumer)? }.inner.acknowledge(Version(version))?;
        Ok(maniac_status::MANIAC_OK)
    })
}

/// The newest version of the branch.
///
/// # Safety
/// The consumer is open and used by this thread alone; `out` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_head(consumer: *mut Consumer, out: *mut u64) -> maniac_status {
    enter(|| {
        // SAFETY: by the caller's word.
        let head = unsafe { self::consumer(consumer)? }.inner.head()?;
        if out.is_null() {
            return misuse("the result is NULL");
        }
        // SAFETY: not null, and valid by the caller's word.
        unsafe { *out = head.0 };
        Ok(maniac_status::MANIAC_OK)
    })
}

/// What went wrong in the last failed call of this thread; empty if none has failed. Valid until the next call that
/// fails on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn maniac_error_message() -> *const c_char {
    MESSAGE.with(|kept| kept.borrow().as_ptr())
}

#[cfg(test)]
mod tests {
    use maniac_base::CODES;

    use super::{STATUSES, status_of};

    #[test]
    fn statuses_are_those_of_the_table() {
        for (n, status) in STATUSES.iter().enumerate() {
            assert_eq!(*status as usize, n);
        }
        for codes in CODES {
            assert_eq!(format!("{:?}", status_of(codes.kind)), codes.c.0);
        }
    }
}
