//! What the first page of a database says about all of them, where a commit depends on it.
//!
//! | offset | bytes | big-endian |
//! |---|---|---|
//! | 24 | 4 | change counter |
//! | 28 | 4 | pages in the database |
//! | 92 | 4 | change counter when the number of pages was written, which counts while both are equal |

use std::ops::Range;

use maniac_base::{PageNo, PageSource};
use maniac_store::Transaction;

use crate::error::ConnectionError;

/// Where page 1 counts changes; SQLite reads 16 bytes from here when it takes a SHARED lock.
pub const CHANGE_COUNTER: usize = 24;
const PAGE_COUNT: usize = 28;
const VALID_FOR: usize = 92;

fn u32_at(page: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(page[at..at + 4].try_into().expect("four bytes"))
}

/// Ends the database where its header says. SQLite cuts off the rest of a file only after the
/// commit, which is too late for a version that is never changed.
pub fn fit_to_header(transaction: &mut Transaction) -> Result<(), ConnectionError> {
    if transaction.page_count() == 0 {
        return Ok(());
    }
    let (valid, pages) = {
        let page = transaction.page(PageNo(1))?;
        (u32_at(&page, CHANGE_COUNTER) == u32_at(&page, VALID_FOR), u32_at(&page, PAGE_COUNT))
    };
    if valid && (1..transaction.page_count()).contains(&pages) {
        transaction.truncate(pages);
    }
    Ok(())
}

/// Moves the change counter on from the base's. In exclusive locking mode SQLite does so only once,
/// because no other connection could look at the file; at a store one can.
pub fn count_change(transaction: &mut Transaction) -> Result<(), ConnectionError> {
    let counter = u32_at(&transaction.base().page(PageNo(1))?, CHANGE_COUNTER).wrapping_add(1).to_be_bytes();
    let mut page = transaction.page(PageNo(1))?.into_owned();
    page[CHANGE_COUNTER..][..4].copy_from_slice(&counter);
    page[VALID_FOR..][..4].copy_from_slice(&counter);
    Ok(transaction.write(PageNo(1), &page)?)
}

/// Where page 1 says which journal the database wants: 1 a rollback journal, 2 a WAL file.
const FORMAT_VERSIONS: Range<usize> = 18..20;

/// A copied database may say that it wants a WAL file. Its log is the store: the page without that
/// wish, if it has it.
pub fn without_wal(page: &[u8]) -> Option<Vec<u8>> {
    (page.get(FORMAT_VERSIONS) == Some(&[2, 2])).then(|| {
        let mut page = page.to_vec();
        page[FORMAT_VERSIONS].fill(1);
        page
    })
}
