//! A cell: one row of a table, or one entry of an index.

use maniac_base::PageNo;

#[derive(Clone, Copy, Debug)]
pub struct Cell<'p> {
    pub page: PageNo,
    /// Where the cell starts in its page, for messages.
    pub offset: usize,
    /// 0 in index b-trees.
    pub rowid: i64,
    /// Bytes of the whole payload.
    pub len: usize,
    /// The payload's first bytes, all of them unless `overflow` is set.
    pub local: &'p [u8],
    /// Where in the page they start.
    pub local_at: usize,
    /// The first page of the overflow chain.
    pub overflow: Option<PageNo>,
}
