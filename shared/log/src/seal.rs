//! What is sealed of an entry, and with which nonces. See docs/design/044-encryption.md.
//!
//! ```text
//! header, in the clear | nonce (12) | zero (4) | tag of all that is in the clear, and of the place (16)
//! frames: page or difference, sealed (n) | tag (16)          parts: likewise, unless they are empty
//! ```
//!
//! Each entry has a nonce of its own, and each piece that nonce with the piece's offset in the entry. The checksums are those
//! of plain entries, over the sealed bytes: recovery tells a torn tail from damage without a key.

use maniac_base::{PageNo, Version};
use maniac_seal::{Broken, NONCE, Nonce, Seal, TAG};

/// Bytes that a sealed entry's header has more: nonce, zeroes, tag.
pub const HEADER_MORE: usize = NONCE + 4 + TAG;

/// A segment's seal, and a place in the segment where an entry stands.
#[derive(Clone, Copy)]
pub struct SealedPlace<'a> {
    pub seal: &'a Seal,
    /// What the segment's header says in the clear.
    pub first: Version,
    pub created_ms: i64,
    pub offset: u64,
}

impl<'a> SealedPlace<'a> {
    /// The tag of an entry's head: its header up to the tag, and its frame list.
    pub fn head_tag(&self, nonce: Nonce, header: &[u8], frames: &[u8]) -> [u8; TAG] {
        self.seal.seal(piece_nonce(nonce, 0), &self.context(header, frames), &mut [])
    }

    pub fn check_head(&self, nonce: Nonce, header: &[u8], frames: &[u8], tag: &[u8]) -> Result<(), Broken> {
        let mut tag: [u8; TAG] = tag.try_into().expect("sixteen bytes");
        self.seal.open(piece_nonce(nonce, 0), &self.context(header, frames), &mut tag).map(drop)
    }

    fn context(&self, header: &[u8], frames: &[u8]) -> Vec<u8> {
        let place = [self.first.0.to_le_bytes(), self.created_ms.to_le_bytes(), self.offset.to_le_bytes()];
        [place.as_flattened(), header, frames].concat()
    }
}

/// What seals the pieces of one entry.
#[derive(Clone, Copy)]
pub struct EntrySeal<'a> {
    pub seal: &'a Seal,
    pub nonce: Nonce,
}

/// What a piece is.
#[derive(Clone, Copy)]
pub enum Piece {
    Page(PageNo),
    /// By its number.
    Part(usize),
}

impl Piece {
    fn context(self) -> [u8; 5] {
        let (kind, number) = match self {
            Piece::Page(no) => (1, no.0),
            Piece::Part(part) => (2, part as u32),
        };
        let mut context = [kind; 5];
        context[1..].copy_from_slice(&number.to_le_bytes());
        context
    }
}

impl EntrySeal<'_> {
    /// The sealed piece that goes to an offset in the entry.
    pub fn seal(&self, piece: Piece, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(bytes.len() + TAG);
        sealed.extend_from_slice(bytes);
        let tag = self.seal.seal(piece_nonce(self.nonce, offset), &piece.context(), &mut sealed);
        sealed.extend_from_slice(&tag);
        sealed
    }

    pub fn open(&self, piece: Piece, offset: u64, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        self.seal.opened(piece_nonce(self.nonce, offset), &piece.context(), sealed)
    }
}

/// The nonce of the piece at an offset in its entry. Pieces of one entry have different ones; that two entries have the same
/// is as unlikely as for random ones.
fn piece_nonce(mut nonce: Nonce, offset: u64) -> Nonce {
    nonce[NONCE - 8..].iter_mut().zip(offset.to_le_bytes()).for_each(|(byte, offset)| *byte ^= offset);
    nonce
}
