//! One page in an entry: the form in which it is stored, and its bytes.

use maniac_base::{Checksum, PageNo, checksum};
use maniac_seal::TAG;

use super::{CHECKSUM, Defect, pad8, read_u64};

/// Bytes of an item of the frame list.
pub(super) const ITEM: usize = 8;

/// What the stored bytes of a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Form {
    /// The page.
    Image = 0,
    /// The difference to the same branch's page before; see `delta`.
    Difference = 1,
    /// An image, sealed.
    SealedImage = 2,
    /// A difference, sealed.
    SealedDifference = 3,
}

/// How a page is stored, and in how many bytes: the form in the high byte, as in the frame list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stored(u32);

const BYTES: u32 = 0x00FF_FFFF;

impl Stored {
    pub fn new(form: Form, bytes: usize) -> Stored {
        assert!(bytes <= BYTES as usize, "{bytes} bytes of one page");
        Stored((form as u32) << 24 | bytes as u32)
    }

    pub fn bytes(self) -> u32 {
        self.0 & BYTES
    }

    /// The page follows from these bytes alone.
    pub fn is_image(self) -> bool {
        self.0 >> 24 == Form::Image as u32 || self.0 >> 24 == Form::SealedImage as u32
    }

    pub fn is_sealed(self) -> bool {
        self.0 >> 24 == Form::SealedImage as u32 || self.0 >> 24 == Form::SealedDifference as u32
    }

    /// How a page that is stored so is stored in an encrypted store.
    pub(crate) fn sealed(self) -> Stored {
        let form = if self.is_image() { Form::SealedImage } else { Form::SealedDifference };
        Stored::new(form, self.bytes() as usize + TAG)
    }

    /// Whether such a page can be; an error says why not.
    pub(super) fn check(self, page_size: u32) -> Result<(), Defect> {
        let form = (self.0 >> 24) as u8;
        let fits = match form {
            _ if form == Form::Image as u8 => self.bytes() == page_size,
            _ if form == Form::Difference as u8 => (1..=page_size).contains(&self.bytes()),
            _ if form == Form::SealedImage as u8 => self.bytes() == page_size + TAG as u32,
            _ if form == Form::SealedDifference as u8 => {
                (1..=page_size).contains(&self.bytes().wrapping_sub(TAG as u32))
            }
            _ => return Err(Defect::Newer("a page of form", form)),
        };
        if fits { Ok(()) } else { Err(Defect::Damaged("a page is stored in more or fewer bytes than it has")) }
    }

    /// An item of the frame list. In format 1 the length alone said what it was.
    pub(super) fn from_item(item: &[u8], forms: bool, page_size: u32) -> Stored {
        let item = u32::from_le_bytes(item[4..8].try_into().expect("four bytes"));
        match forms || item == page_size || item > BYTES {
            true => Stored(item),
            false => Stored::new(Form::Difference, item as usize),
        }
    }

    pub(super) fn item(self) -> u32 {
        self.0
    }
}

/// One page in an entry.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef {
    pub page: PageNo,
    pub stored: Stored,
    /// Where the stored bytes start in the entry; a multiple of 8.
    pub offset: u64,
}

impl FrameRef {
    /// Bytes that a frame takes in the entry.
    pub(super) fn bytes(&self) -> u64 {
        frame_bytes(self.stored)
    }
}

/// Bytes that a frame takes in an entry, with padding and checksum.
pub fn frame_bytes(stored: Stored) -> u64 {
    pad8(u64::from(stored.bytes())) + CHECKSUM as u64
}

/// Checks a frame against the checksum at its end, and gives the stored bytes.
pub fn check_frame(frame: &[u8], stored: Stored) -> Result<&[u8], Defect> {
    let (bytes, sum) = frame.split_at(frame.len() - CHECKSUM);
    if checksum(bytes) != read_u64(sum) {
        return Err(Defect::Damaged("a page does not match its checksum"));
    }
    Ok(&bytes[..stored.bytes() as usize])
}

/// The checksum of a frame, as it is stored.
pub(super) fn frame_sum(stored: &[u8], padding: &[u8]) -> [u8; CHECKSUM] {
    Checksum::default().with(stored).with(padding).value().to_le_bytes()
}
