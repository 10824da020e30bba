//! The file `KEY`: a store's data key, wrapped with the master key. See docs/format.md.
//!
//! ```text
//! magic (4) | format (4) | store (16) | id of the master key (8) | salt (16) | nonce (12) | zero (4)
//! data key, sealed (32) | tag (16) | checksum (8)
//! ```

use maniac_base::checksum;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use zeroize::Zeroizing;

use crate::key::{DataKey, KEY, KeyId, MasterKey, expand};
use crate::seal::{NONCE, Nonce, Seal, TAG};

const MAGIC: [u8; 4] = *b"MKEY";
const FORMAT: u32 = 1;
const SALT: usize = 16;

mod at {
    pub const FORMAT: usize = 4;
    pub const STORE: usize = 8;
    pub const KEY_ID: usize = 24;
    pub const SALT: usize = 32;
    pub const NONCE: usize = 48;
    /// The four bytes in front are zero.
    pub const WRAPPED: usize = 64;
    pub const CHECKSUM: usize = 112;
}

/// Bytes of the file.
pub const ENVELOPE: usize = 120;

/// The file's bytes. `random` are new ones each time.
pub fn write_envelope(data: &DataKey, master: &MasterKey, random: (u128, Nonce)) -> [u8; ENVELOPE] {
    let mut out = [0; ENVELOPE];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(at::FORMAT, &FORMAT.to_le_bytes());
    put(at::STORE, &data.store.to_be_bytes());
    put(at::KEY_ID, &master.id().0.to_be_bytes());
    put(at::SALT, &random.0.to_be_bytes());
    put(at::NONCE, &random.1);
    let mut wrapped = Zeroizing::new(*data.key);
    let tag = seal(master, &random.0.to_be_bytes()).seal(random.1, &out[..at::WRAPPED], &mut *wrapped);
    out[at::WRAPPED..][..KEY].copy_from_slice(&*wrapped);
    out[at::WRAPPED + KEY..][..TAG].copy_from_slice(&tag);
    let sum = checksum(&out[..at::CHECKSUM]);
    out[at::CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Which master key the file's bytes ask for; an error says what is wrong with them.
pub fn wrapping_key(bytes: &[u8]) -> Result<KeyId, String> {
    if bytes.len() < at::STORE || bytes[..4] != MAGIC {
        return Err("it does not start with MKEY".into());
    }
    let format = u32::from_le_bytes(bytes[at::FORMAT..][..4].try_into().expect("four bytes"));
    // The format comes before the checksum: a newer one may keep its checksum elsewhere.
    if format > FORMAT {
        return Err(format!("it needs a newer Maniac: it was written in format {format}"));
    }
    if bytes.len() != ENVELOPE {
        return Err(format!("it has {} bytes and not {ENVELOPE}", bytes.len()));
    }
    if checksum(&bytes[..at::CHECKSUM]).to_le_bytes() != bytes[at::CHECKSUM..] {
        return Err("it does not match its checksum".into());
    }
    Ok(KeyId(u64::from_be_bytes(bytes[at::KEY_ID..][..8].try_into().expect("eight bytes"))))
}

/// The data key. The bytes have passed `wrapping_key`, which named this master key.
pub fn open_envelope(bytes: &[u8], master: &MasterKey) -> Result<DataKey, String> {
    let array = |at: usize| <[u8; SALT]>::try_from(&bytes[at..at + SALT]).expect("sixteen bytes");
    let nonce: Nonce = bytes[at::NONCE..][..NONCE].try_into().expect("twelve bytes");
    let mut wrapped = Zeroizing::new([0; KEY + TAG]);
    wrapped.copy_from_slice(&bytes[at::WRAPPED..][..KEY + TAG]);
    let opened = seal(master, &array(at::SALT)).open(nonce, &bytes[..at::WRAPPED], &mut *wrapped);
    let key = opened.map_err(|_| "it has been altered")?;
    let key: &[u8; KEY] = (&*key).try_into().expect("32 bytes");
    Ok(DataKey { key: Zeroizing::new(*key), store: u128::from_be_bytes(array(at::STORE)) })
}

fn seal(master: &MasterKey, salt: &[u8; SALT]) -> Seal {
    let mut key = Zeroizing::new([0; KEY]);
    expand(&master.0, salt, &[b"maniac wrapping key"], &mut *key);
    Seal::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("a key of 32 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(byte: u8) -> MasterKey {
        MasterKey::parse(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_key_comes_back_from_its_envelope() {
        let data = DataKey::new(9, [5; KEY]);
        let bytes = write_envelope(&data, &master(1), (7, [1; NONCE]));
        assert_eq!(wrapping_key(&bytes), Ok(master(1).id()));
        let opened = open_envelope(&bytes, &master(1)).unwrap();
        assert_eq!((opened.store, *opened.key), (9, [5; KEY]));
        assert!(open_envelope(&bytes, &master(2)).is_err());
        assert!(!bytes.windows(4).any(|piece| piece == [5; 4]), "the data key is not in the clear");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = write_envelope(&DataKey::new(9, [5; KEY]), &master(1), (7, [1; NONCE]));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 0x10;
            assert!(wrapping_key(&changed).is_err(), "byte {at}");
            assert!(wrapping_key(&bytes[..at]).is_err(), "cut at {at}");
            if at < at::CHECKSUM && !(..at::STORE).contains(&at) {
                // Also by somebody who knows how checksums are made.
                let sum = checksum(&changed[..at::CHECKSUM]).to_le_bytes();
                changed[at::CHECKSUM..].copy_from_slice(&sum);
                assert!(open_envelope(&changed, &master(1)).is_err(), "byte {at} with a checksum");
            }
        }
    }
}
