//! What a store can say about its own size and health.

use maniac_base::Version;

use crate::error::StoreError;
use crate::store::Store;

#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Newest visible version.
    pub head: Version,
    /// Newest version that is known to be on disk.
    pub durable: Version,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    pub segments: u64,
    /// Memory of this process's index, in bytes.
    pub index_bytes: u64,
    /// Page images that the log holds.
    pub page_images: u64,
}

impl Store {
    pub fn status(&self) -> Result<Status, StoreError> {
        let head = self.refresh()?;
        let (segments, log_bytes) = self.log.size()?;
        let epoch = self.now();
        let index = epoch.index.read();
        Ok(Status {
            head,
            durable: self.log.head().durable(),
            log_bytes,
            segments: segments as u64,
            index_bytes: index.memory() as u64,
            page_images: index.page_images() as u64,
        })
    }
}
