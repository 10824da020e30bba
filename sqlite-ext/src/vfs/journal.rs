//! A rollback journal that lives in memory: SQLite replays it when a transaction is rolled back. After a crash nobody
//! needs it, because an unfinished transaction has left nothing in the log.

#[derive(Default)]
pub struct Journal {
    /// Each is as long as it was written to; all but the last are full.
    blocks: Vec<Vec<u8>>,
    length: usize,
}

impl Journal {
    /// Blocks are kept apart so that growing never copies.
    const BLOCK: usize = 64 << 10;

    pub fn len(&self) -> usize {
        self.length
    }

    /// Copies from `offset` as many bytes as there are, and says how many.
    pub fn read(&self, out: &mut [u8], offset: usize) -> usize {
        let count = out.len().min(self.length.saturating_sub(offset));
        let mut done = 0;
        while done < count {
            let (block, at) = ((offset + done) / Self::BLOCK, (offset + done) % Self::BLOCK);
            let n = (count - done).min(Self::BLOCK - at);
            out[done..done + n].copy_from_slice(&self.blocks[block][at..at + n]);
            done += n;
        }
        count
    }

    pub fn write(&mut self, bytes: &[u8], offset: usize) {
        let mut done = 0;
        while done < bytes.len() {
            let (block, at) = ((offset + done) / Self::BLOCK, (offset + done) % Self::BLOCK);
            let n = (bytes.len() - done).min(Self::BLOCK - at);
            self.reach(block, at);
            let (piece, block) = (&bytes[done..done + n], &mut self.blocks[block]);
            let known = (block.len() - at).min(n);
            block[at..at + known].copy_from_slice(&piece[..known]);
            block.extend_from_slice(&piece[known..]);
            done += n;
        }
        self.length = self.length.max(offset + bytes.len());
    }

    /// Makes sure that a block has so many bytes, and that the ones in front of it are full.
    fn reach(&mut self, block: usize, length: usize) {
        while self.blocks.len() <= block {
            if let Some(last) = self.blocks.last_mut() {
                last.resize(Self::BLOCK, 0);
            }
            self.blocks.push(Vec::with_capacity(Self::BLOCK));
        }
        let block = &mut self.blocks[block];
        if block.len() < length {
            block.resize(length, 0);
        }
    }

    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.blocks.truncate(self.length.div_ceil(Self::BLOCK));
        if let Some(last) = self.blocks.last_mut() {
            last.truncate(self.length - (self.length - 1) / Self::BLOCK * Self::BLOCK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_written_across_blocks() {
        let mut journal = Journal::default();
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        journal.write(&bytes, 12);
        journal.write(b"head", 0);
        let mut out = vec![0; 200_100];
        assert_eq!(journal.read(&mut out, 0), 200_012);
        assert_eq!(&out[..4], b"head");
        assert_eq!(&out[12..200_012], &bytes);
        journal.truncate(5);
        assert_eq!(journal.read(&mut out, 4), 1);
        assert_eq!(journal.read(&mut out, 9), 0);
    }
}
