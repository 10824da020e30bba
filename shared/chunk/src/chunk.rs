//! A chunk: which bytes are the pages that it is made of. See docs/format.md.

use maniac_base::checksum;

use crate::CHUNK;
use crate::codec::Form;
use crate::place::Place;

const MAGIC: [u8; 4] = *b"CHNK";
const HEADER: usize = 16;
const SLOT: usize = 24;
/// Bytes that a chunk takes, without its pages.
pub const BYTES: usize = HEADER + SLOT * CHUNK as usize + 8;

/// One page of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where its bytes are: in the chunk's own pack or in an older one.
    pub place: Place,
    /// Of the page itself, however it is stored.
    pub checksum: u64,
    /// Stored bytes.
    pub bytes: u32,
    pub form: Form,
}

/// The pages of a chunk. One that was never written, or lies behind the database's end, is nothing.
pub type Slots = [Option<Slot>; CHUNK as usize];

/// What chunks of the same pages are called. Chunks of other pages may be called the same.
pub fn name(sums: impl Iterator<Item = Option<u64>>) -> u64 {
    let mut bytes = Vec::with_capacity(8 * CHUNK as usize);
    sums.for_each(|sum| bytes.extend_from_slice(&sum.unwrap_or(0).to_le_bytes()));
    checksum(&bytes)
}

pub fn encode(slots: &Slots) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(CHUNK as u16).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&name(slots.iter().map(|slot| slot.map(|slot| slot.checksum))).to_le_bytes());
    for slot in slots {
        match slot {
            None => out.extend_from_slice(&[0; SLOT]),
            Some(slot) => {
                out.extend_from_slice(&slot.place.to_bytes());
                out.extend_from_slice(&slot.checksum.to_le_bytes());
                out.extend_from_slice(&(slot.bytes | (slot.form as u32) << 24).to_le_bytes());
                out.extend_from_slice(&[0; 4]);
            }
        }
    }
    let sum = checksum(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// A chunk as it is stored. Until `check` has passed, its slots are hearsay.
#[derive(Clone, Copy)]
pub struct Chunk<'a>(&'a [u8]);

impl<'a> Chunk<'a> {
    /// `bytes` are `BYTES`.
    pub fn new(bytes: &'a [u8]) -> Chunk<'a> {
        Chunk(bytes)
    }

    pub fn check(&self, page_size: usize) -> Result<(), &'static str> {
        let (bytes, sum) = self.0.split_at(BYTES - 8);
        if bytes[..4] != MAGIC || bytes[4..8] != [CHUNK as u8, 0, 0, 0] {
            return Err("there is no chunk here");
        }
        if checksum(bytes).to_le_bytes() != sum {
            return Err("a chunk does not match its checksum");
        }
        for n in 0..CHUNK {
            self.slot(n, page_size)?;
        }
        Ok(())
    }

    pub fn name(&self) -> u64 {
        u64::from_le_bytes(self.0[8..16].try_into().expect("eight bytes"))
    }

    /// The page at this place in the chunk.
    pub fn slot(&self, n: u32, page_size: usize) -> Result<Option<Slot>, &'static str> {
        let bytes = &self.0[HEADER + SLOT * n as usize..][..SLOT];
        let place = Place::from_bytes(bytes);
        if place.is_nowhere() {
            return Ok(None);
        }
        let stored = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes"));
        let form = Form::from_byte((stored >> 24) as u8).ok_or("a page has a form that this build does not know")?;
        let slot = Slot {
            place,
            checksum: u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")),
            bytes: stored & 0x00ff_ffff,
            form,
        };
        if place.pack() == 0 || !form.fits(slot.bytes as usize, page_size) {
            return Err("a page is stored in more or fewer bytes than it has");
        }
        Ok(Some(slot))
    }

    pub fn slots(&self, page_size: usize) -> Result<Slots, &'static str> {
        let mut slots = [None; CHUNK as usize];
        for (n, slot) in slots.iter_mut().enumerate() {
            *slot = self.slot(n as u32, page_size)?;
        }
        Ok(slots)
    }
}
