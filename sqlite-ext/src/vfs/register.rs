//! `sqlite3_vfs`: the methods, and registering them.

use std::ffi::{CStr, c_int};

use parking_lot::Mutex;
use rusqlite::ffi;

use super::behind::{self, DEFAULT_NAME, NAME, platform, set_platform};
use super::file::FileHandle;
use super::{names, open};

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
        set_platform(platform);
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

/// A VFS with our methods, in front of another.
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
    vfs.xOpen = Some(open::open);
    vfs.xDelete = Some(names::delete);
    vfs.xAccess = Some(names::access);
    vfs.xFullPathname = Some(names::full_pathname);
    vfs.xDlOpen = Some(behind::dl_open);
    vfs.xDlError = Some(behind::dl_error);
    vfs.xDlSym = Some(behind::dl_sym);
    vfs.xDlClose = Some(behind::dl_close);
    vfs.xRandomness = Some(behind::randomness);
    vfs.xSleep = Some(behind::sleep);
    vfs.xCurrentTime = Some(behind::current_time);
    vfs.xGetLastError = Some(behind::get_last_error);
    vfs.xCurrentTimeInt64 =
        other.xCurrentTimeInt64.filter(|_| other.iVersion >= 2).map(|_| behind::current_time_int64 as _);
    Box::into_raw(Box::new(vfs))
}

unsafe fn add(vfs: *mut ffi::sqlite3_vfs, as_default: bool) -> rusqlite::Result<()> {
    // SAFETY: `make` made it, and it is never freed.
    match unsafe { ffi::sqlite3_vfs_register(vfs, as_default.into()) } {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}
