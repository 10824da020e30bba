//! One page of a b-tree.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | kind: 2 interior index, 5 interior table, 10 leaf index, 13 leaf table |
//! | 3 | 2 | cells |
//! | 8 | 4 | right-most child, interior pages only |
//! | 8 or 12 | 2 a cell | offsets of the cells, in key order |
//!
//! On page 1 the offsets of this table count from byte 100; the offsets of cells always count from byte 0.

use std::borrow::Cow;

use maniac_base::{PageNo, read_varint};

use crate::header::HEADER_LEN;
use crate::{Cell, FormatError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    InteriorIndex,
    InteriorTable,
    LeafIndex,
    LeafTable,
}

impl PageKind {
    pub fn is_leaf(self) -> bool {
        matches!(self, PageKind::LeafIndex | PageKind::LeafTable)
    }

    pub fn is_table(self) -> bool {
        matches!(self, PageKind::InteriorTable | PageKind::LeafTable)
    }
}

/// The bytes of a b-tree page whose header and cell offsets have been checked.
#[derive(Clone, Debug)]
pub struct TreePage<'s> {
    no: PageNo,
    bytes: Cow<'s, [u8]>,
    kind: PageKind,
    cells: usize,
    /// Where the array of cell offsets starts.
    pointers: usize,
    usable: usize,
}

impl<'s> TreePage<'s> {
    pub fn parse(no: PageNo, bytes: Cow<'s, [u8]>, usable: usize) -> Result<TreePage<'s>, FormatError> {
        let start = if no.0 == 1 { HEADER_LEN } else { 0 };
        let kind = match bytes[start] {
            2 => PageKind::InteriorIndex,
            5 => PageKind::InteriorTable,
            10 => PageKind::LeafIndex,
            13 => PageKind::LeafTable,
            _ => return Err(FormatError::malformed(no, start, "not a b-tree page")),
        };
        let cells = usize::from(u16::from_be_bytes([bytes[start + 3], bytes[start + 4]]));
        let pointers = start + if kind.is_leaf() { 8 } else { 12 };
        if pointers + 2 * cells > usable {
            return Err(FormatError::malformed(no, start + 3, "more cells than the page has room for"));
        }
        Ok(TreePage { no, bytes, kind, cells, pointers, usable })
    }

    pub fn no(&self) -> PageNo {
        self.no
    }

    pub fn kind(&self) -> PageKind {
        self.kind
    }

    pub fn cell_count(&self) -> usize {
        self.cells
    }

    /// Child pages: one more than cells on an interior page, none on a leaf.
    pub fn child_count(&self) -> usize {
        if self.kind.is_leaf() { 0 } else { self.cells + 1 }
    }

    /// The `i`-th child from the left.
    pub fn child(&self, i: usize) -> Result<PageNo, FormatError> {
        let offset = if i == self.cells { self.pointers - 4 } else { self.cell_offset(i)? };
        let bytes = &self.bytes[offset..offset + 4];
        Ok(PageNo(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
    }

    /// The rowid of the `i`-th cell of an interior page of a table: the largest below its child.
    pub fn interior_rowid(&self, i: usize) -> Result<i64, FormatError> {
        let offset = self.cell_offset(i)?;
        let (rowid, _) = read_varint(&self.bytes[offset + 4..self.usable])
            .ok_or_else(|| FormatError::malformed(self.no, offset, "a cell is cut short"))?;
        Ok(rowid as i64)
    }

    /// All children from the left.
    pub fn children(&self) -> impl Iterator<Item = Result<PageNo, FormatError>> + '_ {
        (0..self.child_count()).map(|i| self.child(i))
    }

    /// Where the cells say they start: two big-endian bytes each, not checked.
    pub fn cell_offsets(&self) -> &[[u8; 2]] {
        self.bytes[self.pointers..self.pointers + 2 * self.cells].as_chunks().0
    }

    /// Where in the page the `i`-th cell starts.
    pub fn cell_offset(&self, i: usize) -> Result<usize, FormatError> {
        let at = self.pointers + 2 * i;
        let offset = usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]));
        // Four bytes hold the child of an interior cell, and are the smallest cell that SQLite writes.
        if offset < self.pointers + 2 * self.cells || offset + 4 > self.usable {
            return Err(FormatError::malformed(self.no, at, "a cell lies outside its page"));
        }
        Ok(offset)
    }

    /// The `i`-th cell of a page that holds payloads: any but the interior pages of a table.
    #[inline(always)]
    pub fn cell(&self, i: usize) -> Result<Cell<'_>, FormatError> {
        debug_assert!(i < self.cells && self.kind != PageKind::InteriorTable);
        let offset = self.cell_offset(i)?;
        let malformed = |what| FormatError::malformed(self.no, offset, what);
        let mut at = if self.kind == PageKind::InteriorIndex { offset + 4 } else { offset };
        let page = &self.bytes[..self.usable];
        let (len, n) = read_varint(&page[at..]).ok_or_else(|| malformed("a cell is cut short"))?;
        at += n;
        let mut rowid = 0;
        if self.kind == PageKind::LeafTable {
            let (value, n) = read_varint(&page[at..]).ok_or_else(|| malformed("a cell is cut short"))?;
            rowid = value as i64;
            at += n;
        }
        if len > i32::MAX as u64 {
            return Err(malformed("a payload is larger than SQLite allows"));
        }
        let len = len as usize;
        let local = local_len(len, self.usable, self.kind.is_table());
        let tail = if local < len { 4 } else { 0 };
        if at + local + tail > self.usable {
            return Err(malformed("a cell reaches beyond its page"));
        }
        let overflow = match tail {
            0 => None,
            _ => {
                let bytes = &page[at + local..at + local + 4];
                Some(PageNo(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            }
        };
        Ok(Cell { page: self.no, offset, rowid, len, local: &page[at..at + local], local_at: at, overflow })
    }

    /// The page as it is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// How much of a payload of `len` bytes lies in its cell; the rest is in the overflow chain (section 1.6).
fn local_len(len: usize, usable: usize, table: bool) -> usize {
    let max = if table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    if len <= max {
        return len;
    }
    let min = (usable - 12) * 32 / 255 - 23;
    let spread = min + (len - min) % (usable - 4);
    if spread <= max { spread } else { min }
}
