//! The two keys of a store: the master key, which its owner keeps, and the data key, which the store keeps wrapped.

use std::fmt;

use ring::hkdf;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;

/// What tells master keys apart, and tells nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key is 32 bytes, or 64 hexadecimal digits")
    }
}

impl std::error::Error for KeyError {}

/// The key that a store's owner keeps. Erased from memory with its last copy.
#[derive(Clone)]
pub struct MasterKey(pub(crate) Zeroizing<[u8; KEY]>);

impl MasterKey {
    /// A key from 32 bytes, or from 64 hexadecimal digits, with white space behind them as editors leave it.
    pub fn parse(bytes: &[u8]) -> Result<MasterKey, KeyError> {
        if let Ok(raw) = <[u8; KEY]>::try_from(bytes) {
            return Ok(MasterKey(Zeroizing::new(raw)));
        }
        let digits = bytes.trim_ascii();
        if digits.len() != 2 * KEY {
            return Err(KeyError);
        }
        let mut key = Zeroizing::new([0; KEY]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(KeyError);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(MasterKey(key))
    }

    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        expand(&self.0, &[], &[b"maniac key id"], &mut id);
        KeyId(u64::from_be_bytes(id))
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &MasterKey) -> bool {
        // In constant time.
        let differing = self.0.iter().zip(other.0.iter()).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

impl Eq for MasterKey {}

/// The random key that a store's files have their keys from.
#[derive(Clone)]
pub struct DataKey {
    pub(crate) key: Zeroizing<[u8; KEY]>,
    pub(crate) store: u128,
}

impl DataKey {
    /// `random` are that many bytes that nobody can guess.
    pub fn new(store: u128, random: [u8; KEY]) -> DataKey {
        DataKey { key: Zeroizing::new(random), store }
    }

    /// The store that it belongs to.
    pub fn store(&self) -> u128 {
        self.store
    }
}

/// HKDF-SHA256 (RFC 5869).
pub(crate) fn expand(key: &[u8; KEY], salt: &[u8], info: &[&[u8]], out: &mut [u8]) {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    let expanded = secret.expand(info, Length(out.len())).and_then(|okm| okm.fill(out));
    expanded.expect("at most 255 times 32 bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_raw_or_hexadecimal() {
        let raw: [u8; 32] = std::array::from_fn(|n| n as u8 * 7);
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = MasterKey::parse(&raw).unwrap();
        assert!(MasterKey::parse(hex.as_bytes()).unwrap() == key);
        assert!(MasterKey::parse(format!("{}\n", hex.to_uppercase()).as_bytes()).unwrap() == key);
        for bad in [&b""[..], b"secret", &[1; 31], &[1; 33], &[b'g'; 64], &[b'a'; 63], &[b'a'; 66]] {
            assert!(MasterKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// Test case 1 of RFC 5869, appendix A, has a key of 22 bytes; this is its construction with a key of 32, worked out
    /// with Python's `hmac`.
    #[test]
    fn keys_are_derived_as_the_rfc_says() {
        let mut out = [0; 42];
        expand(&[0x0b; 32], &[0, 1, 2, 3], &[&[0xf0, 0xf1][..], &[0xf2][..]], &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "cd5c1e81e289422437cbf13ba1d39df10816e0fd890087c5ee671b47b180bc4aa7fffc18e5b317aaa851");
    }

    #[test]
    fn keys_have_ids() {
        let id = |byte| MasterKey::parse(&[byte; 32]).unwrap().id();
        assert_ne!(id(1), id(2));
        assert_eq!(id(1).to_string().len(), 16);
    }
}
