//! A page source together with what its header says: where every structure of the file is looked up.

use std::borrow::Cow;

use maniac_base::{PageNo, PageSource};

use crate::{FormatError, Header, TreePage};

/// The byte where SQLite keeps its file locks; the page that holds it is never used.
const LOCK_BYTE: u64 = 0x4000_0000;

#[derive(Clone, Copy)]
pub struct Database<'s> {
    source: &'s dyn PageSource,
    header: Header,
}

impl<'s> Database<'s> {
    /// Reads the header; nothing for an empty database, which has none.
    pub fn open(source: &'s dyn PageSource) -> Result<Option<Database<'s>>, FormatError> {
        if source.page_count() == 0 {
            return Ok(None);
        }
        let header = Header::read(&source.page(PageNo(1))?)?;
        if header.page_size != source.page_size() {
            return Err(FormatError::malformed(PageNo(1), 16, "the page size is not that of the pages"));
        }
        Ok(Some(Database { source, header }))
    }

    /// A database whose header has been read before.
    pub fn known(source: &'s dyn PageSource, header: Header) -> Database<'s> {
        Database { source, header }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn source(&self) -> &'s dyn PageSource {
        self.source
    }

    pub fn page_count(&self) -> u32 {
        self.source.page_count()
    }

    /// The bytes of a page that `from` (at `offset`) refers to.
    pub fn page(&self, no: PageNo, from: PageNo, offset: usize) -> Result<Cow<'s, [u8]>, FormatError> {
        if no.0 == 0 || no.0 > self.page_count() {
            return Err(FormatError::malformed(from, offset, "refers to a page outside the database"));
        }
        let page = self.source.page(no)?;
        if page.len() != self.header.page_size {
            return Err(FormatError::malformed(no, 0, "the page has another size than the database"));
        }
        Ok(page)
    }

    /// A page that `from` (at `offset`) says is part of a b-tree.
    pub fn tree_page(&self, no: PageNo, from: PageNo, offset: usize) -> Result<TreePage<'s>, FormatError> {
        TreePage::parse(no, self.page(no, from, offset)?, self.header.usable)
    }

    /// The page that holds the lock byte, which SQLite never reads or writes. Beyond the end of most databases.
    pub fn lock_page(&self) -> PageNo {
        PageNo((LOCK_BYTE / self.header.page_size as u64) as u32 + 1)
    }
}
