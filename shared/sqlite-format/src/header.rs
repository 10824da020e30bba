//! The database header: the first 100 bytes of page 1.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 16 | `SQLite format 3\0` |
//! | 16 | 2 | page size, 1 meaning 65536 |
//! | 20 | 1 | bytes reserved at the end of each page |
//! | 32 | 4 | first freelist trunk page |
//! | 36 | 4 | freelist pages |
//! | 52 | 4 | largest root page; not 0 means auto-vacuum |
//! | 56 | 4 | text encoding: 1 UTF-8, 2 UTF-16le, 3 UTF-16be |

use maniac_base::PageNo;

use crate::FormatError;

pub(crate) const HEADER_LEN: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

const OFFSET_PAGE_SIZE: usize = 16;
const OFFSET_RESERVED: usize = 20;
const OFFSET_FREELIST_TRUNK: usize = 32;
const OFFSET_FREELIST_COUNT: usize = 36;
const OFFSET_LARGEST_ROOT: usize = 52;
const OFFSET_ENCODING: usize = 56;

/// SQLite needs this much of a page for its own use.
const MIN_USABLE: usize = 480;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// What the header says about the shape of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub page_size: usize,
    /// `page_size` less the reserved bytes.
    pub usable: usize,
    pub encoding: Encoding,
    pub auto_vacuum: bool,
    /// Page number of the first freelist trunk, 0 without one.
    pub freelist_trunk: u32,
    pub freelist_count: u32,
}

impl Header {
    /// Reads the header from the bytes of page 1.
    pub fn read(page: &[u8]) -> Result<Header, FormatError> {
        let malformed = |offset, what| FormatError::malformed(PageNo(1), offset, what);
        if page.len() < HEADER_LEN {
            return Err(malformed(0, "shorter than a database header"));
        }
        if &page[..16] != MAGIC {
            return Err(malformed(0, "not a SQLite database"));
        }
        let page_size = match u16::from_be_bytes([page[OFFSET_PAGE_SIZE], page[OFFSET_PAGE_SIZE + 1]]) {
            1 => 65536,
            size => usize::from(size),
        };
        if !(512..=65536).contains(&page_size) || !page_size.is_power_of_two() {
            return Err(malformed(OFFSET_PAGE_SIZE, "page size is not a power of two from 512 to 65536"));
        }
        let usable = page_size - usize::from(page[OFFSET_RESERVED]);
        if usable < MIN_USABLE {
            return Err(malformed(OFFSET_RESERVED, "too many reserved bytes"));
        }
        let word =
            |offset: usize| u32::from_be_bytes([page[offset], page[offset + 1], page[offset + 2], page[offset + 3]]);
        let encoding = match word(OFFSET_ENCODING) {
            // 0 is what a database without any table holds.
            0 | 1 => Encoding::Utf8,
            2 => Encoding::Utf16Le,
            3 => Encoding::Utf16Be,
            _ => return Err(malformed(OFFSET_ENCODING, "unknown text encoding")),
        };
        Ok(Header {
            page_size,
            usable,
            encoding,
            auto_vacuum: word(OFFSET_LARGEST_ROOT) != 0,
            freelist_trunk: word(OFFSET_FREELIST_TRUNK),
            freelist_count: word(OFFSET_FREELIST_COUNT),
        })
    }
}
