//! A database file as it was at one moment.

use std::borrow::Cow;
use std::path::Path;

use maniac_base::{PageError, PageNo, PageSource};

#[derive(Clone)]
pub struct FilePages {
    bytes: Vec<u8>,
    page_size: usize,
}

impl FilePages {
    pub fn read(path: &Path) -> FilePages {
        let bytes = std::fs::read(path).unwrap_or_default();
        let page_size = match bytes.get(16..18) {
            Some([0, 1]) => 65536,
            Some(size) => usize::from(u16::from_be_bytes([size[0], size[1]])),
            None => 4096,
        };
        FilePages { bytes, page_size }
    }

    /// The pages whose bytes differ: the least that a writer could report.
    pub fn dirty_since(&self, old: &FilePages) -> Vec<PageNo> {
        if self.page_size != old.page_size {
            return (1..=self.page_count()).map(PageNo).collect();
        }
        fn page(pages: &FilePages, no: u32) -> Option<&[u8]> {
            let start = (no as usize - 1) * pages.page_size;
            pages.bytes.get(start..start + pages.page_size)
        }
        (1..=self.page_count()).filter(|&no| page(self, no) != page(old, no)).map(PageNo).collect()
    }
}

impl PageSource for FilePages {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn page_count(&self) -> u32 {
        (self.bytes.len() / self.page_size) as u32
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        let start = (no.0 as usize).wrapping_sub(1).wrapping_mul(self.page_size);
        let page = self.bytes.get(start..start.wrapping_add(self.page_size));
        page.map(Cow::Borrowed).ok_or_else(|| PageError::out_of_range(no, self.page_count()))
    }
}
