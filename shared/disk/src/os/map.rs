//! Mapped files.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use crate::{HEAD_BYTES, HeadWords, Map, Words};

/// A read-only shared mapping that may reach beyond the file's end, so that it need not move while the file grows.
pub(super) struct FileMap(MmapRaw);

impl FileMap {
    pub fn new(file: &File, length: usize) -> io::Result<FileMap> {
        MmapOptions::new().len(length).map_raw_read_only(file).map(FileMap)
    }
}

impl Map for FileMap {
    fn length(&self) -> usize {
        self.0.len()
    }

    fn slice(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.0.len()), "a range beyond the mapping");
        // SAFETY: inside the mapping by the check above. That the range lies within the file and keeps its bytes is the
        // caller's word (see `Map::slice`): the log gives out entries in front of its end, which are only ever written
        // again with the same bytes, and reads what may still change through `File::read_exact_at`. One case is left: the
        // log puts zeroes over entries that a failing disk has lost, and a writer of another process that had built on
        // them may be reading. Bytes of any value are valid, all are checked against a checksum, and whatever was made of
        // them is dropped when the count of losses is looked at. Another program that cuts the file off takes this
        // process with it, as with any mapped database.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(offset), length) }
    }

    fn release(&self) {
        // SAFETY: the mapping is shared, so that its pages have the file's bytes again at their next use. Where the advice is
        // refused, nothing changes.
        let _ = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

/// A mapped `HEAD`.
pub(super) struct WordMap(MmapRaw);

impl WordMap {
    pub fn new(file: &File, writable: bool) -> io::Result<WordMap> {
        let mut options = MmapOptions::new();
        options.len(HEAD_BYTES);
        let map = if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
        Ok(WordMap(map))
    }
}

impl Words for WordMap {
    fn get(&self) -> &HeadWords {
        // SAFETY: the mapping is page-aligned, has HEAD_BYTES bytes, lives as long as `self`, and every access to it is
        // atomic. A read-only mapping is only loaded from: `Head` refuses to store through it.
        unsafe { &*self.0.as_ptr().cast::<HeadWords>() }
    }
}
