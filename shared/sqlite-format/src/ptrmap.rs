//! Pointer maps: in an auto-vacuum database, pages that say of every other page what it is and who refers to it.
//!
//! Page 2 is the first of them. Each holds one 5-byte entry (kind, parent page) for each of the pages that follow it, and
//! the next pointer map comes right after those. The lock page counts as nothing: where a pointer map would fall on it,
//! it comes one page later.

use maniac_base::PageNo;

use crate::{Database, FormatError};

const ENTRY_LEN: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PtrmapKind {
    Root,
    Free,
    /// First page of an overflow chain; the parent is the b-tree page with the cell.
    OverflowHead,
    /// Later page of an overflow chain; the parent is the page before.
    OverflowNext,
    Tree,
}

impl Database<'_> {
    fn ptrmap_of(&self, no: PageNo) -> PageNo {
        let span = (self.header().usable / ENTRY_LEN) as u32 + 1;
        let map = (no.0 - 2) / span * span + 2;
        if PageNo(map) == self.lock_page() { PageNo(map + 1) } else { PageNo(map) }
    }

    pub fn is_ptrmap(&self, no: PageNo) -> bool {
        self.header().auto_vacuum && no.0 >= 2 && self.ptrmap_of(no) == no
    }

    /// What the pointer map says of a page, and the page that refers to it.
    pub fn ptrmap_entry(&self, no: PageNo) -> Result<(PtrmapKind, PageNo), FormatError> {
        debug_assert!(self.header().auto_vacuum && !self.is_ptrmap(no));
        if no.0 < 3 || no == self.lock_page() {
            return Err(FormatError::malformed(no, 0, "the page has no pointer map entry"));
        }
        let map = self.ptrmap_of(no);
        let page = self.page(map, no, 0)?;
        let entry = (no.0 - map.0).checked_sub(1).map(|i| i as usize * ENTRY_LEN);
        let Some(offset) = entry.filter(|offset| offset + ENTRY_LEN <= self.header().usable) else {
            return Err(FormatError::malformed(map, 0, "the page has no pointer map entry"));
        };
        let kind = match page[offset] {
            1 => PtrmapKind::Root,
            2 => PtrmapKind::Free,
            3 => PtrmapKind::OverflowHead,
            4 => PtrmapKind::OverflowNext,
            5 => PtrmapKind::Tree,
            _ => return Err(FormatError::malformed(map, offset, "unknown kind in a pointer map")),
        };
        let parent = &page[offset + 1..offset + ENTRY_LEN];
        Ok((kind, PageNo(u32::from_be_bytes([parent[0], parent[1], parent[2], parent[3]]))))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use maniac_base::{PageError, PageSource};

    use super::*;

    /// An auto-vacuum database of a given size in which every page but the first reads as zeroes.
    struct Large {
        page_size: usize,
        pages: u32,
    }

    impl PageSource for Large {
        fn page_size(&self) -> usize {
            self.page_size
        }

        fn page_count(&self) -> u32 {
            self.pages
        }

        fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
            let mut page = vec![0; self.page_size];
            if no.0 == 1 {
                page[..16].copy_from_slice(b"SQLite format 3\0");
                page[16..18]
                    .copy_from_slice(&((self.page_size % 65536) as u16 | (self.page_size >> 16) as u16).to_be_bytes());
                page[55] = 1;
            }
            Ok(Cow::Owned(page))
        }
    }

    #[test]
    fn maps_come_at_their_places() {
        let source = Large { page_size: 1024, pages: 1000 };
        let db = Database::open(&source).unwrap().unwrap();
        // 1024 / 5 = 204 entries, and the map itself.
        let maps: Vec<u32> = (1..=1000).filter(|&no| db.is_ptrmap(PageNo(no))).collect();
        assert_eq!(maps, [2, 207, 412, 617, 822]);
    }

    /// Where a map would fall on the lock page, it comes one page later and its entries start after itself.
    #[test]
    fn the_lock_page_is_stepped_over() {
        for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
            let source = Large { page_size, pages: 3_000_000 };
            let db = Database::open(&source).unwrap().unwrap();
            let lock = db.lock_page();
            assert_eq!(u64::from(lock.0 - 1) * page_size as u64, 0x4000_0000);
            assert!(!db.is_ptrmap(lock), "{page_size}");
            let span = (page_size / 5) as u32 + 1;
            let falls_on_lock = (lock.0 - 2).is_multiple_of(span);
            assert_eq!(db.is_ptrmap(PageNo(lock.0 + 1)), falls_on_lock || (lock.0 - 1).is_multiple_of(span));
        }
    }
}
