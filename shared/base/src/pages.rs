//! A database seen as numbered pages of one size.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Kind, PageNo};

/// One immutable view of a database: a snapshot, a transaction under way, a plain file.
pub trait PageSource: Send + Sync {
    /// Bytes in a page: a power of two from 512 to 65536.
    fn page_size(&self) -> usize;

    /// Pages in the database; valid numbers are 1 to this one. 0 is an empty database.
    fn page_count(&self) -> u32;

    /// The `page_size` bytes of a page; borrowed where they lie in memory already. A page inside the database that was
    /// never written reads as zeroes.
    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError>;

    /// The bytes of a page that may differ from the snapshot that this one was built on, as far as that is known.
    fn changed_bytes(&self, no: PageNo) -> Range<usize> {
        let _ = no;
        0..self.page_size()
    }

    /// Copies the bytes of a page that start at `from` and lie inside it.
    fn read(&self, no: PageNo, from: usize, out: &mut [u8]) -> Result<(), PageError> {
        out.copy_from_slice(&self.page(no)?[from..from + out.len()]);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageErrorKind {
    /// The operating system said no.
    Io,
    /// The stored bytes are not what was written.
    Corrupt,
    /// The number is 0 or beyond the end of the database.
    OutOfRange,
}

/// Why a page could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("page {page}: {reason}")]
pub struct PageError {
    pub page: PageNo,
    pub kind: PageErrorKind,
    pub reason: String,
}

impl PageError {
    pub fn kind(&self) -> Kind {
        match self.kind {
            PageErrorKind::Io => Kind::Unavailable,
            PageErrorKind::Corrupt | PageErrorKind::OutOfRange => Kind::Corrupt,
        }
    }

    pub fn out_of_range(page: PageNo, page_count: u32) -> Self {
        let reason = format!("the database has pages 1 to {page_count}");
        PageError { page, kind: PageErrorKind::OutOfRange, reason }
    }
}
