//! A database as one row of bytes.

use maniac_base::{PageError, PageNo, PageSource};

pub(crate) fn length(pages: &dyn PageSource) -> u64 {
    pages.page_size() as u64 * u64::from(pages.page_count())
}

/// Fills `out` from `offset`, and says whether the database reaches that far; what lies beyond
/// reads as zeroes.
pub(crate) fn read(pages: &dyn PageSource, out: &mut [u8], offset: u64) -> Result<bool, PageError> {
    let (size, count) = (pages.page_size(), pages.page_count());
    let mut done = 0;
    while done < out.len() {
        let at = offset + done as u64;
        let page = if size == 0 { u64::MAX } else { at / size as u64 + 1 };
        if page > u64::from(count) {
            out[done..].fill(0);
            return Ok(false);
        }
        let start = (at % size as u64) as usize;
        let n = (out.len() - done).min(size - start);
        pages.read(PageNo(page as u32), start, &mut out[done..done + n])?;
        done += n;
    }
    Ok(true)
}
