//! Where something lies.

/// Where an item lies: the number of a pack, and an offset in it that is a multiple of 8; or nowhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

const OFFSET_BITS: u32 = 40;

impl Place {
    pub const NOWHERE: Place = Place(0);
    /// The highest number that a pack can have.
    pub const MAX_PACK: u32 = (1 << (64 - OFFSET_BITS)) - 1;

    /// # Panics
    /// If the number is 0 or too high, or the offset too high or not a multiple of 8.
    pub fn new(pack: u32, offset: u64) -> Place {
        assert!((1..=Place::MAX_PACK).contains(&pack), "pack {pack}");
        assert!(offset.is_multiple_of(8) && offset / 8 < 1 << OFFSET_BITS, "offset {offset} in a pack");
        Place((u64::from(pack) << OFFSET_BITS) | (offset / 8))
    }

    pub fn is_nowhere(self) -> bool {
        self == Place::NOWHERE
    }

    pub fn pack(self) -> u32 {
        (self.0 >> OFFSET_BITS) as u32
    }

    pub fn offset(self) -> u64 {
        (self.0 & ((1 << OFFSET_BITS) - 1)) * 8
    }

    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// # Panics
    /// If there are fewer than eight bytes.
    pub fn from_bytes(bytes: &[u8]) -> Place {
        Place(u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")))
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_nowhere() { f.write_str("nowhere") } else { write!(f, "{}:{}", self.pack(), self.offset()) }
    }
}
