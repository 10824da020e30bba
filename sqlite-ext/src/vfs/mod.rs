//! The VFS `maniac`: from SQLite's C calls to a `Database` or a `Journal`.
//!
//! Files without a name (sorters, statement journals, the scratch database of VACUUM) and super-journals belong to the
//! platform's VFS, the default one when the extension was loaded. No panic crosses the boundary: a caught one is an
//! error, so that a commit it happened in does not count.
//!
//! A second VFS, `maniac-default`, has the same methods for hosts that can name no VFS. It opens the names of stores
//! (see `uri`) here, and leaves every other name to the VFS that was the default before it:
//!
//! ```text
//!   name            maniac     maniac-default
//!   shop.maniac     a store    a store            its journal here
//!   plain.db        a store    the VFS before     its methods, journal, WAL and shared memory with it
//! ```

#![allow(unsafe_code)]

mod database;
mod journal;
mod uri;
mod waiting;

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, LazyLock};

use maniac_connection::Process;
use parking_lot::Mutex;
use rusqlite::ffi;

pub use database::Database;
use journal::Journal;
use uri::{PlainName, Request};
pub use waiting::{find_is_interrupted, is_interrupted};

use crate::errors::{VfsError, VfsResult, report, warn};
use crate::last_error::Newest;

pub const NAME: &CStr = c"maniac";
const DEFAULT_NAME: &CStr = c"maniac-default";

/// What all databases of this process share.
static PROCESS: LazyLock<Arc<Process>> = LazyLock::new(|| Process::new(warn));

/// The platform's VFS.
static PLATFORM: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());

fn platform() -> *mut ffi::sqlite3_vfs {
    PLATFORM.load(Ordering::Acquire)
}

/// The VFS that one of ours stands in front of.
///
/// # Safety
/// `vfs` is one that `make` has made.
unsafe fn behind(vfs: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: by the caller's word; a registered VFS stays as it is.
    unsafe { (*vfs).pAppData.cast() }
}

/// Whether a VFS of ours leaves names that are not of stores to the one behind it.
///
/// # Safety
/// As for [`behind`].
unsafe fn passes_files_on(vfs: *mut ffi::sqlite3_vfs) -> bool {
    // SAFETY: by the caller's word.
    unsafe { (*vfs).zName == DEFAULT_NAME.as_ptr() }
}

/// The name of the platform's VFS.
pub fn platform_name() -> CString {
    // SAFETY: a registered VFS has a name, and lives on.
    unsafe { CStr::from_ptr((*platform()).zName) }.to_owned()
}

enum OpenFile {
    Database(Box<Database>),
    Journal(Journal),
}

struct Opened {
    file: OpenFile,
    /// What has failed last in the database, or in that of the journal.
    newest: Newest,
}

/// What SQLite's `sqlite3_file` is for the files of this VFS.
#[repr(C)]
struct FileHandle {
    base: ffi::sqlite3_file,
    opened: *mut Opened,
    /// Where SQLite keeps the connection that uses the file; null for a journal.
    connection: *mut *mut ffi::sqlite3,
}

/// Registers the VFS, once per process.
pub fn register() -> rusqlite::Result<()> {
    // SAFETY: the platform's VFS and the registered one live as long as the process; the extension is never unloaded.
    unsafe {
        if !ffi::sqlite3_vfs_find(NAME.as_ptr()).is_null() {
            return Ok(());
        }
        let platform = ffi::sqlite3_vfs_find(std::ptr::null());
        if platform.is_null() {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ERROR), None));
        }
        PLATFORM.store(platform, Ordering::Release);
        add(make(NAME, platform), false)
    }
}

/// Makes `maniac-default` the VFS of all connections to come that name no other, and gives its name.
pub fn become_default() -> rusqlite::Result<&'static str> {
    // One thread at a time looks, and registers.
    static ONCE: Mutex<()> = Mutex::new(());
    let _alone = ONCE.lock();
    // SAFETY: as in `register`.
    unsafe {
        let mut ours = ffi::sqlite3_vfs_find(DEFAULT_NAME.as_ptr());
        if ours.is_null() {
            let current = ffi::sqlite3_vfs_find(std::ptr::null());
            // A host that has made `maniac` itself its default gets what is behind that.
            let is_maniac = current.is_null() || CStr::from_ptr((*current).zName) == NAME;
            ours = make(DEFAULT_NAME, if is_maniac { platform() } else { current });
        }
        add(ours, true)?;
    }
    Ok(DEFAULT_NAME.to_str().expect("a name in ASCII"))
}

/// A VFS with the methods below, in front of another.
///
/// # Safety
/// `behind` is a registered VFS that lives as long as the process.
unsafe fn make(name: &'static CStr, behind: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: all zeroes is a VFS without methods; the other one is valid by the caller's word.
    let mut vfs: ffi::sqlite3_vfs = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let other = unsafe { &*behind };
    vfs.iVersion = 2;
    vfs.szOsFile = other.szOsFile.max(size_of::<FileHandle>() as c_int);
    vfs.mxPathname = other.mxPathname;
    vfs.zName = name.as_ptr();
    vfs.pAppData = behind.cast();
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    vfs.xAccess = Some(access);
    vfs.xFullPathname = Some(full_pathname);
    vfs.xDlOpen = Some(dl_open);
    vfs.xDlError = Some(dl_error);
    vfs.xDlSym = Some(dl_sym);
    vfs.xDlClose = Some(dl_close);
    vfs.xRandomness = Some(randomness);
    vfs.xSleep = Some(sleep);
    vfs.xCurrentTime = Some(current_time);
    vfs.xGetLastError = Some(get_last_error);
    vfs.xCurrentTimeInt64 = other.xCurrentTimeInt64.filter(|_| other.iVersion >= 2).map(|_| current_time_int64 as _);
    Box::into_raw(Box::new(vfs))
}

unsafe fn add(vfs: *mut ffi::sqlite3_vfs, as_default: bool) -> rusqlite::Result<()> {
    // SAFETY: `make` made it, and it is never freed.
    match unsafe { ffi::sqlite3_vfs_register(vfs, as_default.into()) } {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

/// The open database behind a file handle of SQLite's, if this VFS opened it.
///
/// # Safety
/// `file` is null or a `sqlite3_file` that stays open, and that nobody else uses, while the result is used.
pub unsafe fn database_of<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a mut Database> {
    // SAFETY: by the caller's word; the methods tell whose file it is.
    unsafe {
        if file.is_null() || (*file).pMethods != &raw const METHODS {
            return None;
        }
        match &mut (*(*file.cast::<FileHandle>()).opened).file {
            OpenFile::Database(database) => Some(database),
            OpenFile::Journal(_) => None,
        }
    }
}

/// What has failed last in a database that this VFS has opened.
///
/// # Safety
/// As for [`database_of`].
pub unsafe fn newest_of(file: *mut ffi::sqlite3_file) -> Option<Newest> {
    // SAFETY: by the caller's word; the methods tell whose file it is.
    unsafe {
        let ours = !file.is_null() && (*file).pMethods == &raw const METHODS;
        ours.then(|| (*(*file.cast::<FileHandle>()).opened).newest.clone())
    }
}

/// Runs one call, and turns what went wrong into a code, with the words left in `newest`.
fn contain(newest: &Newest, call: impl FnOnce() -> VfsResult<c_int>) -> c_int {
    let panicked = |_| Err(VfsError::new(ffi::SQLITE_INTERNAL, "a panic was contained; this is a bug in Maniac"));
    let outcome = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(panicked);
    outcome.unwrap_or_else(|error| report(error, newest))
}

/// Runs one call on an open file.
///
/// # Safety
/// `file` is a handle that `open` has filled, as all handles with `METHODS` are.
unsafe fn on_file(file: *mut ffi::sqlite3_file, call: impl FnOnce(&mut OpenFile) -> VfsResult<c_int>) -> c_int {
    // SAFETY: by the caller's word; SQLite uses a file from one thread at a time.
    let Opened { file, newest } = unsafe { &mut *(*file.cast::<FileHandle>()).opened };
    contain(newest, || call(file))
}

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

unsafe extern "C" fn open(
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
        let code = contain(&Newest::of_thread(), || {
            let mut newest = Newest::default();
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
                let alone = || VfsError::new(ffi::SQLITE_CANTOPEN, "a journal without its database");
                newest = newest_of(file).ok_or_else(alone)?;
                let database = database_of(file).ok_or_else(alone)?;
                OpenFile::Journal(Journal::new(database.store().path().to_owned(), database.journalled()))
            };
            if !out_flags.is_null() {
                let read_only = matches!(&opened, OpenFile::Database(database) if database.is_read_only());
                let mode = if read_only { ffi::SQLITE_OPEN_READONLY } else { ffi::SQLITE_OPEN_READWRITE };
                *out_flags = flags & !(ffi::SQLITE_OPEN_READONLY | ffi::SQLITE_OPEN_READWRITE) | mode;
            }
            (*file.cast::<FileHandle>()).opened = Box::into_raw(Box::new(Opened { file: opened, newest }));
            (*file.cast::<FileHandle>()).connection = std::ptr::null_mut();
            Ok(ffi::SQLITE_OK)
        });
        if code == ffi::SQLITE_OK {
            (*file).pMethods = &raw const METHODS;
        }
        code
    }
}

/// A journal's file failed.
fn set_aside(error: std::io::Error) -> VfsError {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    let code = if full { ffi::SQLITE_FULL } else { ffi::SQLITE_IOERR };
    VfsError::new(code, format!("the old pages of a large transaction cannot be set aside: {error}"))
}

static METHODS: ffi::sqlite3_io_methods = {
    // SAFETY: all zeroes is a table of no methods.
    let mut methods: ffi::sqlite3_io_methods = unsafe { std::mem::zeroed() };
    methods.iVersion = 1;
    methods.xClose = Some(close);
    methods.xRead = Some(read);
    methods.xWrite = Some(write);
    methods.xTruncate = Some(truncate);
    methods.xSync = Some(sync);
    methods.xFileSize = Some(file_size);
    methods.xLock = Some(lock);
    methods.xUnlock = Some(unlock);
    methods.xCheckReservedLock = Some(check_reserved_lock);
    methods.xFileControl = Some(file_control);
    methods.xSectorSize = Some(sector_size);
    methods.xDeviceCharacteristics = Some(device_characteristics);
    methods
};

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    contain(&Newest::of_thread(), || {
        // SAFETY: `open` leaked the box into the handle, and SQLite closes a file once.
        drop(unsafe { Box::from_raw((*file.cast::<FileHandle>()).opened) });
        Ok(ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's handle, and `amount` bytes to fill.
    let (out, offset) = unsafe { (std::slice::from_raw_parts_mut(out.cast::<u8>(), amount as usize), offset as u64) };
    // SAFETY: as above.
    unsafe {
        on_file(file, |file| {
            let whole = match file {
                OpenFile::Database(database) => database.read(out, offset)?,
                OpenFile::Journal(journal) => {
                    let n = journal.read(out, offset as usize).map_err(set_aside)?;
                    out[n..].fill(0);
                    n == out.len()
                }
            };
            Ok(if whole { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ })
        })
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's handle, and `amount` bytes to take.
    let (bytes, offset) = unsafe { (std::slice::from_raw_parts(bytes.cast::<u8>(), amount as usize), offset as u64) };
    // SAFETY: as above.
    unsafe {
        on_file(file, |file| {
            match file {
                OpenFile::Database(database) => database.write(bytes, offset)?,
                OpenFile::Journal(journal) => journal.write(bytes, offset as usize).map_err(set_aside)?,
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite's handle.
    unsafe {
        on_file(file, |file| {
            match file {
                OpenFile::Database(database) => database.truncate(size as u64)?,
                OpenFile::Journal(journal) => journal.truncate(size as usize),
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

/// Nothing to do: FCNTL_SYNC came first, and made the transaction as durable as `PRAGMA synchronous` wants it.
unsafe extern "C" fn sync(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: SQLite's handle and a place for the answer.
    unsafe {
        on_file(file, |file| {
            *size = match file {
                OpenFile::Database(database) => database.size()? as i64,
                OpenFile::Journal(journal) => journal.len() as i64,
            };
            Ok(ffi::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite's handle; the place of the connection is valid as long as the file is open.
    unsafe {
        let connection = (*file.cast::<FileHandle>()).connection;
        let connection = if connection.is_null() { std::ptr::null_mut() } else { *connection };
        on_file(file, |file| {
            if let OpenFile::Database(database) = file {
                let locked = database.lock(level, (!connection.is_null()).then(|| connection.addr()));
                if locked.as_ref().is_err_and(VfsError::is_busy) && waiting::is_interrupted(connection) {
                    // SQLite's busy handler would go on waiting.
                    return Ok(ffi::SQLITE_INTERRUPT);
                }
                locked?;
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite's handle.
    unsafe {
        let connection = (*file.cast::<FileHandle>()).connection;
        on_file(file, |file| {
            if let OpenFile::Database(database) = file
                && let Some(turn) = database.unlock(level)
            {
                let connection = if connection.is_null() { std::ptr::null_mut() } else { *connection };
                waiting::note(turn, connection);
            }
            Ok(ffi::SQLITE_OK)
        })
    }
}

/// SQLite asks this to find hot journals, and there are none.
unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite's place for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: SQLite's handle; each operation's argument has the type that SQLite documents for it.
    unsafe {
        if op == ffi::SQLITE_FCNTL_PDB {
            (*file.cast::<FileHandle>()).connection = argument.cast();
            return ffi::SQLITE_OK;
        }
        let connection = (*file.cast::<FileHandle>()).connection;
        let newest = (*(*file.cast::<FileHandle>()).opened).newest.clone();
        on_file(file, |file| match (file, op) {
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_SYNC) => {
                let super_journal = argument.cast::<c_char>().cast_const();
                let super_journal = (!super_journal.is_null()).then(|| CStr::from_ptr(super_journal).to_bytes());
                database.commit(super_journal)?;
                Ok(ffi::SQLITE_OK)
            }
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_COMMIT_PHASETWO) => {
                database.commit_is_over()?;
                Ok(ffi::SQLITE_OK)
            }
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_PRAGMA) => {
                let autocommit = connection.is_null() || ffi::sqlite3_get_autocommit(*connection) != 0;
                let texts = argument.cast::<*mut c_char>();
                let text = |n: usize| {
                    let text = *texts.add(n);
                    (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
                };
                let (name, value) = (text(1).unwrap_or_default(), text(2));
                let (code, answer) = match database.pragma(&name, value.as_deref(), autocommit) {
                    Ok(None) => return Ok(ffi::SQLITE_NOTFOUND),
                    Ok(Some(answer)) => (ffi::SQLITE_OK, answer),
                    Err(error) => (error.code, newest.keep(error)),
                };
                *texts = host_string(&answer);
                Ok(code)
            }
            (OpenFile::Database(database), ffi::SQLITE_FCNTL_LOCKSTATE) => {
                *argument.cast::<c_int>() = database.level();
                Ok(ffi::SQLITE_OK)
            }
            (_, ffi::SQLITE_FCNTL_VFSNAME) => {
                *argument.cast::<*mut c_char>() = host_string("maniac");
                Ok(ffi::SQLITE_OK)
            }
            _ => Ok(ffi::SQLITE_NOTFOUND),
        })
    }
}

/// A C string in memory of SQLite's, which will free it; null when there is none left.
fn host_string(text: &str) -> *mut c_char {
    // SAFETY: the block has room for the bytes and the zero behind them.
    unsafe {
        let out = ffi::sqlite3_malloc64(text.len() as u64 + 1).cast::<u8>();
        if !out.is_null() {
            std::ptr::copy_nonoverlapping(text.as_ptr(), out, text.len());
            *out.add(text.len()) = 0;
        }
        out.cast()
    }
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    512
}

unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_SAFE_APPEND | ffi::SQLITE_IOCAP_SEQUENTIAL | ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

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

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite's C string, handed on.
    unsafe {
        let commit = || {
            PROCESS.commit_group(CStr::from_ptr(name).to_bytes())?;
            Ok(ffi::SQLITE_OK)
        };
        let committed = contain(&Newest::of_thread(), commit);
        if committed != ffi::SQLITE_OK {
            return committed;
        }
        match (*behind(vfs)).xDelete {
            Some(delete) if !is_journal(vfs, name) => delete(behind(vfs), name, sync_dir),
            _ => ffi::SQLITE_OK,
        }
    }
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
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

unsafe extern "C" fn full_pathname(
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

/// How SQLite's busy handler waits.
unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
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
        unsafe extern "C" fn $name(vfs: *mut ffi::sqlite3_vfs, $($arg: $type),*) -> $result {
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
