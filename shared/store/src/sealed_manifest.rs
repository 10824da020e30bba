//! A manifest of an encrypted store: the plain one, sealed, with what tells its packs from others of their numbers. See
//! docs/format.md.
//!
//! ```text
//! magic (4) | format (4) | store (16) | version (8) | salt (16) | manifest, salts of its packs, sealed (n) | tag (16)
//! | checksum (8)
//! sealed: length of the manifest (8) | manifest | salt of each pack (16)
//! ```

use std::path::{Path, PathBuf};

use maniac_base::{Version, checksum};
use maniac_chunk::{Salt, pack_path, salt_of};
use maniac_disk::Disk;
use maniac_log::StoreId;
use maniac_seal::{DataKey, NONCE, Purpose, TAG, fresh_nonce};

use crate::error::StoreError;

const MAGIC: [u8; 4] = *b"MCSE";
const FORMAT: u32 = 1;
const HEADER: usize = 48;
const SALT: usize = 16;

mod at {
    pub const FORMAT: usize = 4;
    pub const STORE: usize = 8;
    pub const VERSION: usize = 24;
    pub const SALT: usize = 32;
}

/// The file of a manifest. `salt` is a new one each time, so that a file has a key of its own, and one nonce will do.
pub fn seal(plain: &[u8], packs: &[Salt], version: Version, keys: &DataKey, salt: [u8; SALT]) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out[..4].copy_from_slice(&MAGIC);
    out[at::FORMAT..][..4].copy_from_slice(&FORMAT.to_le_bytes());
    out[at::STORE..][..16].copy_from_slice(&keys.store().to_be_bytes());
    out[at::VERSION..][..8].copy_from_slice(&version.0.to_le_bytes());
    out[at::SALT..].copy_from_slice(&salt);
    out.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    out.extend_from_slice(plain);
    packs.iter().for_each(|salt| out.extend_from_slice(salt));
    let (header, body) = out.split_at_mut(HEADER);
    let tag = keys.seal(Purpose::Manifest, &salt).seal([0; NONCE], header, body);
    out.extend_from_slice(&tag);
    let sum = checksum(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The plain manifest, and the salts of its packs.
pub fn open(bytes: &[u8], id: StoreId, version: Version, keys: &DataKey) -> Result<(Vec<u8>, Vec<Salt>), String> {
    if bytes.len() < HEADER + TAG + 8 || bytes[..4] != MAGIC {
        return Err("there is no manifest of an encrypted store here".into());
    }
    let format = u32::from_le_bytes(bytes[at::FORMAT..][..4].try_into().expect("four bytes"));
    if format > FORMAT {
        return Err(format!("it needs a newer Maniac: it was written in format {format}"));
    }
    let (bytes, sum) = bytes.split_at(bytes.len() - 8);
    if checksum(bytes).to_le_bytes() != sum {
        return Err("a manifest does not match its checksum".into());
    }
    if bytes[at::STORE..][..16] != id.0.to_be_bytes() || bytes[at::VERSION..][..8] != version.0.to_le_bytes() {
        return Err("the manifest belongs to another store, or has been put in another's place".into());
    }
    let (header, body) = bytes.split_at(HEADER);
    let seal = keys.seal(Purpose::Manifest, &header[at::SALT..]);
    let opened = seal.opened([0; NONCE], header, body).map_err(|broken| broken.to_string())?;
    let parts = opened
        .split_first_chunk::<8>()
        .and_then(|(length, rest)| rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?));
    let (plain, salts) = parts.ok_or("a manifest's parts do not add up")?;
    Ok((plain.to_vec(), salts.as_chunks::<SALT>().0.to_vec()))
}

fn pack_directory(store: &Path) -> PathBuf {
    store.join("chunks")
}

/// The salts of the packs that a manifest names.
pub fn salts(disk: &dyn Disk, store: &Path, packs: &[u32]) -> Result<Vec<Salt>, StoreError> {
    let dir = pack_directory(store);
    let salt = |number: &u32| {
        let missing = || StoreError::corrupt(&pack_path(&dir, *number), 0, "the pack's header can't be read");
        salt_of(disk, &dir, *number).ok_or_else(missing)
    };
    packs.iter().map(salt).collect()
}

/// Refuses packs that are others than those that the manifest was written for, of the same numbers. What is missing is told
/// by whoever opens it.
pub fn check_packs(disk: &dyn Disk, store: &Path, packs: &[u32], salts: &[Salt]) -> Result<(), StoreError> {
    let dir = pack_directory(store);
    for (number, salt) in packs.iter().zip(salts) {
        if salt_of(disk, &dir, *number).is_some_and(|found| found != *salt) {
            let reason = "the pack is another one than its checkpoint's, of the same number: an older one, or altered";
            return Err(StoreError::corrupt(&pack_path(&dir, *number), 32, reason));
        }
    }
    match packs.len() == salts.len() {
        true => Ok(()),
        false => Err(StoreError::corrupt(&dir, 0, "a manifest has more or fewer salts than packs")),
    }
}

/// A salt that no other manifest has.
pub fn new_salt(disk: &dyn Disk, store: &Path) -> Result<[u8; SALT], StoreError> {
    let random = || disk.random().map_err(StoreError::io(store, "find a random number for"));
    let hashed = fresh_nonce(random()?, disk.monotonic_ns(), &disk.now_ms().to_le_bytes());
    let mut salt = random()?.to_le_bytes();
    salt.iter_mut().zip(hashed).for_each(|(byte, hashed)| *byte ^= hashed);
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let keys = DataKey::new(9, [1; 32]);
        let bytes = seal(b"plain manifest", &[[3; 16]], Version(7), &keys, [5; 16]);
        let open = |bytes: &[u8]| open(bytes, StoreId(9), Version(7), &keys);
        assert_eq!(open(&bytes).unwrap(), (b"plain manifest".to_vec(), vec![[3; 16]]));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(open(&changed).is_err(), "byte {at}");
            assert!(open(&bytes[..at]).is_err(), "cut at {at}");
            // Also by somebody who can make checksums.
            let end = changed.len() - 8;
            let sum = checksum(&changed[..end]).to_le_bytes();
            changed[end..].copy_from_slice(&sum);
            assert!(at >= end || open(&changed).is_err(), "byte {at} with a checksum");
        }
        assert!(super::open(&bytes, StoreId(8), Version(7), &keys).is_err());
        assert!(super::open(&bytes, StoreId(9), Version(8), &keys).is_err());
        assert!(super::open(&bytes, StoreId(9), Version(7), &DataKey::new(9, [2; 32])).is_err());
    }
}
