//! Items of a sealed pack. See docs/format.md.
//!
//! ```text
//! chunk or page, sealed | tag (16)          length (8) | node, sealed | tag (16)
//! ```
//!
//! A pack is written once, with a key of its own, so that an item's offset in it is nonce enough.

use maniac_seal::{Broken, NONCE, Nonce, Seal, TAG};

/// Bytes in front of a sealed node: its own length, since nobody else tells it.
pub const PREFIX: usize = 8;

fn nonce(offset: u64) -> Nonce {
    let mut nonce = [0; NONCE];
    nonce[..8].copy_from_slice(&offset.to_le_bytes());
    nonce
}

/// The item that goes to this offset.
pub fn seal(seal: &Seal, offset: u64, item: &[u8], is_node: bool) -> Vec<u8> {
    let prefix = if is_node { PREFIX } else { 0 };
    let mut out = Vec::with_capacity(prefix + item.len() + TAG);
    out.extend_from_slice(&(item.len() as u64).to_le_bytes()[..prefix]);
    out.extend_from_slice(item);
    let (length, bytes) = out.split_at_mut(prefix);
    let tag = seal.seal(nonce(offset), length, bytes);
    out.extend_from_slice(&tag);
    out
}

/// An item of these bytes: with its prefix, if it is a node.
pub fn open(seal: &Seal, offset: u64, sealed: &[u8], is_node: bool) -> Result<Vec<u8>, Broken> {
    let (length, bytes) = sealed.split_at(if is_node { PREFIX } else { 0 });
    seal.opened(nonce(offset), length, bytes)
}
