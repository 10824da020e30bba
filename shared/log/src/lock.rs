//! The store's `LOCK` file.

use std::path::{Path, PathBuf};

use maniac_disk::{Disk, Locks};

use crate::error::LogError;

/// What a byte of the `LOCK` file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockName {
    /// Appending to the log.
    Append,
    /// Being in fsync for all processes.
    Sync,
    /// Having the store open for writing. Shared.
    Open,
    /// What the store uses it for; 4 or more.
    Other(u64),
}

impl LockName {
    fn byte(self) -> u64 {
        match self {
            LockName::Append => 1,
            LockName::Sync => 2,
            LockName::Open => 3,
            LockName::Other(byte) => byte,
        }
    }
}

/// An open handle of the `LOCK` file.
pub struct LockFile {
    locks: Box<dyn Locks>,
    path: PathBuf,
}

impl LockFile {
    pub fn open(disk: &dyn Disk, store: &Path) -> Result<LockFile, LogError> {
        let path = store.join("LOCK");
        let locks = disk.locks(&path).map_err(LogError::io(&path, "open the lock file"))?;
        Ok(LockFile { locks, path })
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self, name: LockName) -> Result<bool, LogError> {
        self.locks.try_lock(name.byte()).map_err(LogError::io(&self.path, "take a lock"))
    }

    /// Takes a lock that several may have at a time.
    pub fn share(&self, name: LockName) -> Result<(), LogError> {
        self.locks.share(name.byte()).map_err(LogError::io(&self.path, "share a lock"))
    }

    /// Whether another handle holds the lock, in this process or in any other.
    pub fn is_held_elsewhere(&self, name: LockName) -> Result<bool, LogError> {
        self.locks.is_held_elsewhere(name.byte()).map_err(LogError::io(&self.path, "look at a lock"))
    }

    /// Waits for the lock.
    pub fn lock(&self, name: LockName) -> Result<(), LogError> {
        self.locks.lock(name.byte()).map_err(LogError::io(&self.path, "wait for a lock"))
    }

    pub fn unlock(&self, name: LockName) {
        self.locks.unlock(name.byte());
    }
}
