//! A rollback journal that lives and dies with its handle: SQLite replays it when a transaction is rolled back. After a
//! crash nobody needs it, because an unfinished transaction has left nothing in the log.
//!
//! Its start lies in memory. What goes beyond, of transactions that change much of a large database, goes to a file
//! without a name in the store's directory.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use maniac_connection::Journalled;

thread_local! {
    /// The first block of the journal before: each transaction has a journal of its own, and most need one block.
    static SPARE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

pub struct Journal {
    directory: PathBuf,
    /// Says whether the journal is in use: begins with other than zeroes.
    in_use: Journalled,
    /// Each is as long as it was written to; all but the last are full.
    blocks: Vec<Vec<u8>>,
    /// What lies behind `MEMORY`, at the same offsets.
    file: Option<File>,
    length: usize,
}

impl Journal {
    /// Blocks are kept apart so that growing never copies.
    const BLOCK: usize = 64 << 10;
    /// Bytes that are kept in memory, a multiple of a block.
    const MEMORY: usize = 16 << 20;

    /// An empty journal that may make a file in a directory.
    pub fn new(directory: PathBuf, in_use: Journalled) -> Journal {
        Journal { directory, in_use, blocks: Vec::new(), file: None, length: 0 }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// Copies from `offset` as many bytes as there are, and says how many.
    pub fn read(&self, out: &mut [u8], offset: usize) -> io::Result<usize> {
        let count = out.len().min(self.length.saturating_sub(offset));
        let (near, far) = out[..count].split_at_mut(count.min(Self::MEMORY.saturating_sub(offset)));
        let mut done = 0;
        while done < near.len() {
            let (block, at) = ((offset + done) / Self::BLOCK, (offset + done) % Self::BLOCK);
            let n = (near.len() - done).min(Self::BLOCK - at);
            near[done..done + n].copy_from_slice(&self.blocks[block][at..at + n]);
            done += n;
        }
        if let (false, Some(file)) = (far.is_empty(), &self.file) {
            file.read_exact_at(far, (offset + done) as u64)?;
        }
        Ok(count)
    }

    pub fn write(&mut self, bytes: &[u8], offset: usize) -> io::Result<()> {
        let (near, far) = bytes.split_at(bytes.len().min(Self::MEMORY.saturating_sub(offset)));
        let mut done = 0;
        while done < near.len() {
            let (block, at) = ((offset + done) / Self::BLOCK, (offset + done) % Self::BLOCK);
            let n = (near.len() - done).min(Self::BLOCK - at);
            let (bytes, block) = (&near[done..done + n], self.reach(block, at));
            let overwritten = n.min(block.len() - at);
            block[at..at + overwritten].copy_from_slice(&bytes[..overwritten]);
            block.extend_from_slice(&bytes[overwritten..]);
            done += n;
        }
        if !far.is_empty() {
            if self.file.is_none() {
                self.file = Some(tempfile::tempfile_in(&self.directory)?);
            }
            let file = self.file.as_ref().expect("made above");
            file.write_all_at(far, (offset + done) as u64)?;
        }
        self.length = self.length.max(offset + bytes.len());
        if offset == 0 && !bytes.is_empty() {
            self.in_use.store(bytes[0] != 0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A block that has at least so many bytes, with full ones in front of it.
    fn reach(&mut self, block: usize, length: usize) -> &mut Vec<u8> {
        while self.blocks.len() <= block {
            match self.blocks.last_mut() {
                Some(last) => {
                    last.resize(Self::BLOCK, 0);
                    self.blocks.push(Vec::with_capacity(Self::BLOCK));
                }
                None => self.blocks.push(SPARE.take().unwrap_or_else(|| Vec::with_capacity(Self::BLOCK))),
            }
        }
        let block = &mut self.blocks[block];
        if block.len() < length {
            block.resize(length, 0);
        }
        block
    }

    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        if length == 0 {
            self.in_use.store(false, Ordering::Relaxed);
        }
        if self.length > Self::MEMORY {
            return;
        }
        self.file = None;
        self.blocks.truncate(self.length.div_ceil(Self::BLOCK));
        if let Some(last) = self.blocks.last_mut() {
            last.truncate(self.length - (self.length - 1) / Self::BLOCK * Self::BLOCK);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.in_use.store(false, Ordering::Relaxed);
        if let Some(mut block) = self.blocks.drain(..).next() {
            block.clear();
            // A thread that is ending has no use for it.
            let _ = SPARE.try_with(|spare| spare.set(Some(block)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_written_across_blocks() {
        let mut journal = Journal::new(PathBuf::from("/nowhere"), Journalled::default());
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        journal.write(&bytes, 12).unwrap();
        journal.write(b"head", 0).unwrap();
        let mut out = vec![0; 200_100];
        assert_eq!(journal.read(&mut out, 0).unwrap(), 200_012);
        assert_eq!(&out[..4], b"head");
        assert_eq!(&out[12..200_012], &bytes);
        journal.truncate(5);
        assert_eq!(journal.read(&mut out, 4).unwrap(), 1);
        assert_eq!(journal.read(&mut out, 9).unwrap(), 0);
    }

    #[test]
    fn goes_on_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(directory.path().into(), Journalled::default());
        let piece: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let pieces = Journal::MEMORY / piece.len() + 20;
        (0..pieces).for_each(|n| journal.write(&piece, n * piece.len()).unwrap());
        let mut out = vec![0; piece.len()];
        for n in 0..pieces {
            assert_eq!(journal.read(&mut out, n * piece.len()).unwrap(), piece.len());
            assert!(out == piece, "piece {n}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
        journal.truncate(10);
        assert_eq!(journal.read(&mut out, 0).unwrap(), 10);
        let nowhere = Journal::new(directory.path().join("missing"), Journalled::default());
        assert!({ nowhere }.write(&piece, Journal::MEMORY).is_err());
    }
}
