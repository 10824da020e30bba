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
