//! What a store can say about its own size and health.

use maniac_base::Version;

use crate::error::StoreError;
use crate::retention::Retention;
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
    /// The newest checkpoint; 0 without one. Bytes and number of the packs that it refers to.
    pub checkpoint: Version,
    pub pack_bytes: u64,
    pub packs: u64,
    pub retention: Retention,
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
        let packs: Vec<u32> = epoch.packs.iter().flat_map(|packs| packs.numbers()).collect();
        let length = |number: &u32| Ok(epoch.packs.as_ref().map_or(Ok(0), |packs| packs.length(*number))?);
        let pack_bytes = packs.iter().map(length).sum::<Result<u64, StoreError>>()?;
        Ok(Status {
            head,
            durable: self.log.head().durable(),
            log_bytes,
            segments: segments as u64,
            checkpoint: index.checkpoint_ms().map_or(Version(0), |_| index.start()),
            pack_bytes,
            packs: packs.len() as u64,
            retention: index.retention(),
            index_bytes: index.memory() as u64,
            page_images: index.page_images() as u64,
        })
    }
}
