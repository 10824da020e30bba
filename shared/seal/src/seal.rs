//! The key of one file, and the pieces that it seals.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use ring::digest;
use zeroize::Zeroizing;

use crate::key::{DataKey, KEY, expand};

/// Bytes of a nonce.
pub const NONCE: usize = 12;
/// Bytes that a sealed piece has more than what is in it.
pub const TAG: usize = 16;

pub type Nonce = [u8; NONCE];

/// What a key is for. Keys of different purposes have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    Segment = 1,
    Pack = 2,
    Manifest = 3,
    /// Gives chunks their names.
    ChunkNames = 4,
}

/// A piece is not what was sealed, or was sealed with another key, or for another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is sealed here has been altered, or belongs elsewhere")
    }
}

/// The key of one file. No two pieces of a file may have the same nonce.
pub struct Seal(LessSafeKey);

impl DataKey {
    /// The key of the file of this salt. `salt` is random; a file that is made anew has another.
    pub fn seal(&self, purpose: Purpose, salt: &[u8]) -> Seal {
        let mut key = Zeroizing::new([0; KEY]);
        expand(&self.key, salt, &[b"maniac file", &[purpose as u8], &self.store.to_be_bytes()], &mut *key);
        Seal(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("a key of 32 bytes")))
    }

    /// A keyed name of something, by its content.
    pub fn name(&self, purpose: Purpose, content: &[u8]) -> u64 {
        let mut name = [0; 8];
        expand(&self.key, content, &[b"maniac name", &[purpose as u8], &self.store.to_be_bytes()], &mut name);
        u64::from_le_bytes(name)
    }
}

impl Seal {
    pub(crate) fn new(key: LessSafeKey) -> Seal {
        Seal(key)
    }

    /// Seals `bytes` in place, and gives the tag. `context` must be the same when it is opened.
    pub fn seal(&self, nonce: Nonce, context: &[u8], bytes: &mut [u8]) -> [u8; TAG] {
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(context), bytes).expect("less than 64 GiB");
        tag.as_ref().try_into().expect("sixteen bytes")
    }

    /// Opens `sealed`, which ends with its tag, in place, and gives what was in it.
    pub fn open<'b>(&self, nonce: Nonce, context: &[u8], sealed: &'b mut [u8]) -> Result<&'b mut [u8], Broken> {
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(context), sealed).map_err(|_| Broken)
    }

    /// Opens `sealed`, which stays as it is.
    pub fn opened(&self, nonce: Nonce, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut bytes = sealed.to_vec();
        let length = self.open(nonce, context, &mut bytes)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// A nonce from randomness and whatever else tells one use from another. A virtual machine that was rolled back, and its
/// random numbers with it, has another time or another content.
pub fn fresh_nonce(random: u128, time_ns: u64, content: &[u8]) -> Nonce {
    let mut hash = digest::Context::new(&digest::SHA256);
    for piece in [&random.to_le_bytes()[..], &time_ns.to_le_bytes(), content] {
        hash.update(piece);
    }
    hash.finish().as_ref()[..NONCE].try_into().expect("a hash of 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data_key(store: u128) -> DataKey {
        DataKey::new(store, [3; KEY])
    }

    proptest! {
        /// What was sealed comes back, and whatever is changed is noticed: a byte, a bit of the nonce, the context, the
        /// salt, the purpose, the store.
        #[test]
        fn only_the_same_piece_in_the_same_place_opens(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            nonce: Nonce,
            context in prop::collection::vec(any::<u8>(), 0..20),
            at: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let seal = data_key(1).seal(Purpose::Segment, b"salt");
            let mut sealed = bytes.clone();
            let tag = seal.seal(nonce, &context, &mut sealed);
            sealed.extend_from_slice(&tag);
            prop_assert_eq!(seal.opened(nonce, &context, &sealed).unwrap(), bytes);

            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= 1 << bit;
            prop_assert_eq!(seal.opened(nonce, &context, &changed), Err(Broken));
            prop_assert_eq!(seal.opened(nonce, &context, &sealed[..sealed.len() - 1]), Err(Broken));
            let mut other = nonce;
            other[at.index(NONCE)] ^= 1 << bit;
            prop_assert_eq!(seal.opened(other, &context, &sealed), Err(Broken));
            prop_assert_eq!(seal.opened(nonce, &[&context[..], &[0]].concat(), &sealed), Err(Broken));
            for other in [
                data_key(1).seal(Purpose::Segment, b"sal"),
                data_key(1).seal(Purpose::Pack, b"salt"),
                data_key(2).seal(Purpose::Segment, b"salt"),
            ] {
                prop_assert_eq!(other.opened(nonce, &context, &sealed), Err(Broken));
            }
        }
    }

    #[test]
    fn a_nonce_is_new_with_whatever_is() {
        let nonce = fresh_nonce(1, 2, b"content");
        assert_ne!(nonce, fresh_nonce(2, 2, b"content"));
        assert_ne!(nonce, fresh_nonce(1, 3, b"content"));
        assert_ne!(nonce, fresh_nonce(1, 2, b"contents"));
    }

    #[test]
    fn names_need_the_key() {
        let name = |byte, content: &[u8]| DataKey::new(1, [byte; KEY]).name(Purpose::ChunkNames, content);
        assert_eq!(name(1, b"pages"), name(1, b"pages"));
        assert_ne!(name(1, b"pages"), name(2, b"pages"));
        assert_ne!(name(1, b"pages"), name(1, b"other"));
    }
}
