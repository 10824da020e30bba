//! The file `KEY` of an encrypted store: who may open the log, and with which data key.

use std::path::{Path, PathBuf};

use maniac_disk::{Disk, Open};
use maniac_seal::{DataKey, ENVELOPE, GivenKey, MasterKey, fresh_nonce, open_envelope, wrapping_key, write_envelope};

use crate::error::LogError;
use crate::log::Log;
use crate::segment::{self, StoreId};

const UNFINISHED: &str = ".new";

fn path_of(store: &Path) -> PathBuf {
    store.join("KEY")
}

/// The file's bytes; nothing for a store that is not encrypted.
fn read(disk: &dyn Disk, store: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let path = path_of(store);
    let file = match disk.open(&path, Open::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(LogError::io(&path, "open"))?,
    };
    let length = file.stat().map_err(LogError::io(&path, "look at"))?.length;
    // A longer one is refused by its length.
    let mut bytes = vec![0; length.min(2 * ENVELOPE as u64) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(LogError::io(&path, "read"))?;
    Ok(Some(bytes))
}

/// The data key of a store, if it is encrypted and `given` is its key. Nothing in it is touched.
pub fn open(disk: &dyn Disk, store: &Path, given: Option<&GivenKey>) -> Result<Option<DataKey>, LogError> {
    match (read(disk, store)?, given) {
        // A log that is encrypted has lost its key's file.
        (None, _) if segment::is_sealed(disk, store)? => {
            let reason = "the log is encrypted, and this file, without which nobody can read it, is missing: put it back \
                          from a copy of the store";
            Err(LogError::corrupt(&path_of(store), 0, reason))
        }
        (None, Some(given)) => Err(LogError::NotEncrypted { path: store.to_owned(), from: given.from.clone() }),
        (None, None) => Ok(None),
        (Some(bytes), given) => {
            let damaged = |reason: String| LogError::corrupt(&path_of(store), 0, reason);
            let wanted = wrapping_key(&bytes).map_err(damaged)?;
            let given = given.ok_or_else(|| LogError::KeyMissing { path: store.to_owned(), wanted })?;
            if given.key.id() != wanted {
                let (path, from) = (store.to_owned(), given.from.clone());
                return Err(LogError::WrongKey { path, from, given: given.key.id(), wanted });
            }
            open_envelope(&bytes, &given.key).map_err(damaged).map(Some)
        }
    }
}

/// Makes a data key for a new store, and its file, on disk.
pub fn create(disk: &dyn Disk, store: &Path, id: StoreId, master: &MasterKey) -> Result<DataKey, LogError> {
    let mut random = [0; 32];
    for half in random.chunks_exact_mut(16) {
        let number = disk.random().map_err(LogError::io(store, "find a random number for"))?;
        half.copy_from_slice(&number.to_le_bytes());
    }
    let data = DataKey::new(id.0, random);
    write(disk, store, &data, master)?;
    Ok(data)
}

/// Puts the file in its place, on disk.
pub fn write(disk: &dyn Disk, store: &Path, data: &DataKey, master: &MasterKey) -> Result<(), LogError> {
    let random = || disk.random().map_err(LogError::io(store, "find a random number for"));
    let (salt, other) = (random()?, random()?);
    let nonce = fresh_nonce(other, disk.monotonic_ns(), &salt.to_le_bytes());
    put(disk, store, &write_envelope(data, master, (salt, nonce)))
}

/// Puts a store's file beside a copy of its log, if it has one.
pub fn copy(disk: &dyn Disk, store: &Path, copy: &Path) -> Result<(), LogError> {
    read(disk, store)?.map_or(Ok(()), |bytes| put(disk, copy, &bytes))
}

fn put(disk: &dyn Disk, store: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let path = path_of(store);
    let created = disk.create_temporary(store, "KEY-", UNFINISHED);
    let (partial, file) = created.map_err(LogError::io(store, "create a file in"))?;
    let written =
        file.write_all_at(bytes, 0).and_then(|()| file.sync_all()).and_then(|()| disk.rename(&partial, &path));
    if written.is_err() {
        // The error says more than one about what is left.
        let _ = disk.remove(&partial);
    }
    written.map_err(LogError::io(&path, "write"))?;
    segment::sync_dir(disk, store)
}

impl Log {
    /// What the files of an encrypted store have their keys from.
    pub fn data_key(&self) -> Option<&DataKey> {
        self.data_key.as_ref()
    }

    /// Whether a key may open this log, which is open.
    pub fn check_key(&self, given: Option<&GivenKey>) -> Result<(), LogError> {
        match (given, &self.data_key) {
            // Who has the process has what it has open.
            (None, _) => Ok(()),
            (Some(given), _) => open(&*self.disk, &self.path, Some(given)).map(drop),
        }
    }

    /// From here on, the store opens with another master key, and no more with the one before. What it holds stays as it
    /// is, and so do those who have it open.
    pub fn rekey(&self, master: &MasterKey) -> Result<(), LogError> {
        self.check_process()?;
        let Some(data) = &self.data_key else { return Err(LogError::NoKeyToChange { path: self.path.clone() }) };
        self.with_append_lock(|| write(&*self.disk, &self.path, data, master))
    }
}
