//! Byte-range locks on the store's `LOCK` file, held between processes.
//!
//! They are Linux open-file-description locks: each handle locks for itself, so that two connections of one process
//! exclude each other too, and a lock ends with its handle, however the process ends. Children of a fork don't share it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use maniac_base::BranchId;

use crate::error::StoreError;
use crate::fork::OwnFile;
use crate::sys;

/// What a byte of the `LOCK` file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockName {
    /// Appending to the log.
    Append,
    /// Having the store open for writing. Shared.
    Open,
    /// Being in fsync for all processes.
    Sync,
    /// Writing a transaction on a branch.
    Writer(BranchId),
    /// Having appended to a branch and let go of it, and not yet made that visible. Shared.
    Pending(BranchId),
}

impl LockName {
    fn byte(self) -> i64 {
        match self {
            LockName::Append => 1,
            LockName::Sync => 2,
            LockName::Open => 3,
            LockName::Writer(branch) => 4096 + i64::from(branch.0),
            LockName::Pending(branch) => (1 << 40) + i64::from(branch.0),
        }
    }
}

/// An open handle of the `LOCK` file.
pub struct LockFile {
    file: OwnFile,
    path: PathBuf,
}

impl LockFile {
    pub fn open(dir: &Path) -> Result<LockFile, StoreError> {
        let path = dir.join("LOCK");
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = OwnFile::open(open).map_err(StoreError::io(&path, "open the lock file"))?;
        Ok(LockFile { file, path })
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self, name: LockName) -> Result<bool, StoreError> {
        sys::lock_byte(self.file.fd(), name.byte(), sys::LockOp::Try).map_err(StoreError::io(&self.path, "take a lock"))
    }

    /// Takes a lock that several may have at a time.
    pub fn share(&self, name: LockName) -> Result<(), StoreError> {
        sys::lock_byte(self.file.fd(), name.byte(), sys::LockOp::Share)
            .map(drop)
            .map_err(StoreError::io(&self.path, "share a lock"))
    }

    /// Whether another handle holds the lock, in this process or in any other.
    pub fn is_held_elsewhere(&self, name: LockName) -> Result<bool, StoreError> {
        sys::is_byte_locked(self.file.fd(), name.byte()).map_err(StoreError::io(&self.path, "look at a lock"))
    }

    /// Waits for the lock.
    pub fn lock(&self, name: LockName) -> Result<(), StoreError> {
        sys::lock_byte(self.file.fd(), name.byte(), sys::LockOp::Wait)
            .map(drop)
            .map_err(StoreError::io(&self.path, "wait for a lock"))
    }

    pub fn unlock(&self, name: LockName) {
        // Unlocking a byte of an open file cannot fail in a way that a caller could do anything about; closing the
        // handle frees it all the same.
        let _ = sys::lock_byte(self.file.fd(), name.byte(), sys::LockOp::Unlock);
    }
}
