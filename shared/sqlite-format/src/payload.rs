//! Payloads that don't fit their cell: each overflow page starts with the number of the next one, 0 on the last, and
//! the payload fills the rest.

use std::borrow::Cow;

use maniac_base::PageNo;

use crate::{Cell, Database, FormatError};

/// The whole payload of a cell, borrowed where it lies in the cell.
pub fn full_payload<'p>(db: &Database<'_>, cell: &Cell<'p>) -> Result<Cow<'p, [u8]>, FormatError> {
    if cell.overflow.is_none() {
        return Ok(Cow::Borrowed(cell.local));
    }
    let mut payload = Vec::new();
    append_payload(db, cell, &mut payload)?;
    Ok(Cow::Owned(payload))
}

/// Appends the whole payload of a cell to `out`.
pub(crate) fn append_payload(db: &Database<'_>, cell: &Cell<'_>, out: &mut Vec<u8>) -> Result<(), FormatError> {
    out.extend_from_slice(cell.local);
    let mut missing = cell.len - cell.local.len();
    for_each_page(db, cell, |_, bytes| {
        let part = missing.min(bytes.len());
        out.extend_from_slice(&bytes[..part]);
        missing -= part;
        Ok(())
    })
}

/// The pages of a cell's overflow chain, in order.
pub fn chain(db: &Database<'_>, cell: &Cell<'_>) -> Result<Vec<PageNo>, FormatError> {
    let mut pages = Vec::new();
    for_each_page(db, cell, |no, _| {
        pages.push(no);
        Ok(())
    })?;
    Ok(pages)
}

/// Calls `visit` with each page of the chain and the part of it that holds payload. The payload's length says how many
/// pages there must be, and a chain longer than the database is refused before it is followed: no cycle goes on.
fn for_each_page(
    db: &Database<'_>,
    cell: &Cell<'_>,
    mut visit: impl FnMut(PageNo, &[u8]) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let Some(mut next) = cell.overflow else { return Ok(()) };
    let usable = db.header().usable;
    let pages = (cell.len - cell.local.len()).div_ceil(usable - 4);
    if pages > db.page_count() as usize {
        return Err(FormatError::malformed(cell.page, cell.offset, "a payload is larger than the database"));
    }
    let mut from = (cell.page, cell.offset);
    for _ in 0..pages {
        let page = db.page(next, from.0, from.1)?;
        visit(next, &page[4..usable])?;
        from = (next, 0);
        next = PageNo(u32::from_be_bytes([page[0], page[1], page[2], page[3]]));
    }
    Ok(())
}
