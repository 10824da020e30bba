//! One file of the log: a header and then entries, side by side.
//!
//! Whatever lies behind the last entry is zero: a file may be longer than its entries, because overwriting zeroes that
//! are on disk already makes an fsync cheaper than growing the file does.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use maniac_base::{Version, checksum};
use tempfile::NamedTempFile;

use crate::entry::{self, Defect, EntryRef, Stored, check_frame};
use crate::error::StoreError;
use crate::sys::FileMap;

/// Bytes of a segment's header; the first entry starts here.
pub const HEADER: u64 = 64;
/// A segment takes entries until it has reached this size. A larger entry has a segment to itself.
pub const TARGET_BYTES: u64 = 64 << 20;
/// The log format of this build.
pub const FORMAT: u32 = 2;
/// Features of the format that this build knows; from format 2 on.
const FEATURES: u64 = 0;
/// The bytes `WALS`.
const MAGIC: [u8; 4] = 0x5741_4C53_u32.to_be_bytes();
/// Address space set aside for a segment that still grows; memory is used only where the file has bytes.
const GROWING_MAP: u64 = 1 << 30;

/// Bytes that the system copies at once.
const PAGE: u64 = 4096;

/// Ends the name of a segment under construction.
const UNNAMED: &str = ".new";

/// Offsets in the header; 48..56 is zero.
mod at {
    pub const MAGIC: usize = 0;
    pub const FORMAT: usize = 4;
    pub const STORE: usize = 8;
    pub const FIRST: usize = 24;
    pub const CREATED_MS: usize = 32;
    /// What a reader must know, beyond the format, to read the segment.
    pub const FEATURES: usize = 40;
    pub const CHECKSUM: usize = 56;
}

/// The random identity of a store, the same in each of its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub u128);

impl StoreId {
    pub fn halves(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }
}

/// Directory of the segments inside a store.
pub fn log_dir(store: &Path) -> PathBuf {
    store.join("log")
}

pub fn path_of(store: &Path, first: Version) -> PathBuf {
    log_dir(store).join(format!("{:016x}.wals", first.0))
}

/// First versions of the segments that exist, in order.
pub fn list(store: &Path) -> Result<Vec<Version>, StoreError> {
    let dir = log_dir(store);
    let mut found = Vec::new();
    for item in fs::read_dir(&dir).map_err(StoreError::io(&dir, "list"))? {
        let name = item.map_err(StoreError::io(&dir, "list"))?.file_name();
        let first = name.to_str().and_then(|n| n.strip_suffix(".wals")).filter(|stem| stem.len() == 16);
        if let Some(first) = first.and_then(|stem| u64::from_str_radix(stem, 16).ok()) {
            found.push(Version(first));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether there is a segment that starts with this version.
pub fn exists(store: &Path, first: Version) -> bool {
    path_of(store, first).exists()
}

pub fn remove(store: &Path, first: Version) -> Result<(), StoreError> {
    let path = path_of(store, first);
    fs::remove_file(&path).map_err(StoreError::io(&path, "remove"))
}

pub struct Segment {
    pub first: Version,
    pub store: StoreId,
    format: AtomicU32,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    path: PathBuf,
    file: File,
    map: FileMap,
    /// Mapped when an entry turns out to reach beyond `map`. Such an entry is the last of its segment.
    whole: OnceLock<FileMap>,
    /// The file was at least this long when it was last looked at.
    length: AtomicU64,
}

impl Segment {
    /// Makes a new segment, on disk under its final name before this returns.
    pub fn create(store: &Path, id: StoreId, first: Version, created_ms: i64) -> Result<Segment, StoreError> {
        NewSegment::begin(store)?.finish(id, first, created_ms)
    }

    /// Whether the file that is open is the one that is there under its name.
    pub fn is_in_place(&self) -> bool {
        let place = |meta: Metadata| (meta.dev(), meta.ino());
        // What is open keeps its inode, so that no other file has it.
        let (open, there) = (self.file.metadata().map(place), fs::metadata(&self.path).map(place));
        there.is_ok_and(|there| open.is_ok_and(|open| open == there))
    }

    pub fn open(store: &Path, first: Version, writable: bool) -> Result<Segment, StoreError> {
        let path = path_of(store, first);
        let file = OpenOptions::new().read(true).write(writable).open(&path).map_err(StoreError::io(&path, "open"))?;
        let length = file.metadata().map_err(StoreError::io(&path, "look at"))?.len();
        if length < HEADER {
            return Err(StoreError::corrupt(&path, length, "the file ends inside its header"));
        }
        let mut header = [0; HEADER as usize];
        file.read_exact_at(&mut header, 0).map_err(StoreError::io(&path, "read"))?;
        if header[at::MAGIC..][..4] != MAGIC {
            return Err(StoreError::NotAStore {
                path: store.to_owned(),
                reason: format!("{} does not start with WALS", path.display()),
            });
        }
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let format = u32::from_le_bytes(header[at::FORMAT..][..4].try_into().expect("four bytes"));
        // The format comes before the checksum: a newer one may keep its checksum elsewhere.
        if format > FORMAT {
            return Err(StoreError::NewerFormat { path: store.to_owned(), found: format, supported: FORMAT });
        }
        if checksum(&header[..at::CHECKSUM]) != u64_at(at::CHECKSUM) {
            return Err(StoreError::corrupt(&path, 0, "the header does not match its checksum"));
        }
        if format > 1 && u64_at(at::FEATURES) & !FEATURES != 0 {
            let features = u64_at(at::FEATURES) & !FEATURES;
            return Err(StoreError::NewerFeatures { path: store.to_owned(), features });
        }
        if u64_at(at::FIRST) != first.0 {
            let reason = format!("the file's name says version {first}, its header {}", u64_at(at::FIRST));
            return Err(StoreError::corrupt(&path, at::FIRST as u64, reason));
        }
        let id = StoreId(u128::from_be_bytes(header[at::STORE..][..16].try_into().expect("sixteen bytes")));
        let map = FileMap::new(&file, length.max(GROWING_MAP) as usize).map_err(StoreError::io(&path, "map"))?;
        let created_ms = u64_at(at::CREATED_MS) as i64;
        Ok(Segment {
            first,
            store: id,
            format: format.into(),
            created_ms,
            path,
            file,
            map,
            whole: OnceLock::new(),
            length: length.into(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn format(&self) -> u32 {
        self.format.load(Acquire)
    }

    /// The file's length, looked up now.
    pub fn file_length(&self) -> Result<u64, StoreError> {
        let length = self.file.metadata().map_err(StoreError::io(&self.path, "look at"))?.len();
        self.length.store(length, Release);
        Ok(length)
    }

    /// `length` bytes from `offset`, which must lie in front of the end of the log.
    fn bytes(&self, offset: u64, length: u64) -> Result<&[u8], StoreError> {
        let end = offset + length;
        if end > self.length.load(Acquire) && end > self.file_length()? {
            return Err(StoreError::corrupt(&self.path, offset, "the file ends too early"));
        }
        let map = if end <= self.map.len() as u64 {
            &self.map
        } else {
            match self.whole.get() {
                Some(map) => map,
                None => {
                    let length = self.length.load(Acquire) as usize;
                    let map = FileMap::new(&self.file, length).map_err(StoreError::io(&self.path, "map"))?;
                    self.whole.get_or_init(|| map)
                }
            }
        };
        if end > map.len() as u64 {
            return Err(StoreError::corrupt(&self.path, offset, "an entry lies behind the last one of its segment"));
        }
        #[allow(unsafe_code)]
        // SAFETY: the range lies within the file by the check of its length, and entries in front of the end of the log
        // are never written again.
        Ok(unsafe { map.slice(offset as usize, length as usize) })
    }

    /// The header's bytes.
    pub fn header(&self) -> Result<&[u8], StoreError> {
        self.bytes(0, HEADER)
    }

    /// Takes what has been read of the file out of the process's resident memory.
    pub fn release(&self) {
        self.map.release();
        if let Some(whole) = self.whole.get() {
            whole.release();
        }
    }

    /// The entry at `offset`, with its head checked.
    pub fn entry(&self, offset: u64) -> Result<EntryRef<'_>, StoreError> {
        let corrupt = |defect: Defect| defect.at(&self.path, offset);
        let length = entry::length(self.bytes(offset, entry::HEADER as u64)?).map_err(corrupt)?;
        if offset + length > self.length.load(Acquire) && offset + length > self.file_length()? {
            return Err(corrupt(Defect::Damaged("the log ends inside an entry")));
        }
        EntryRef::open(self.bytes(offset, length)?).map_err(corrupt)
    }

    /// The offset of a whole entry, from `offset` on and wherever it starts, that says that more than `version` was on
    /// disk before it.
    pub fn later_entry(&self, offset: u64, version: Version) -> Result<Option<u64>, StoreError> {
        let end = self.file_length()?;
        let mut at = offset.next_multiple_of(8);
        while at + 8 <= end {
            if self.bytes(at, 4)? == entry::MAGIC.to_le_bytes() {
                let later = |entry: &EntryRef<'_>| entry.header.durable_before() > version && entry.check_all().is_ok();
                let found = self.entry(at).ok().filter(later);
                if found.is_some() {
                    return Ok(Some(at));
                }
            }
            at += 8;
        }
        Ok(None)
    }

    /// Whether there is nothing but zeroes from `offset` on.
    pub fn is_zero_from(&self, offset: u64) -> Result<bool, StoreError> {
        let end = self.file_length()?;
        Ok(offset >= end || self.bytes(offset, end - offset)?.iter().all(|byte| *byte == 0))
    }

    /// Whether what an entry at `offset` lacks is zero or behind the end of the file: it was read before it was written.
    /// An entry that was changed has other bytes there.
    pub fn is_missing_from(&self, offset: u64) -> Result<bool, StoreError> {
        let end = self.file_length()?;
        let is_zero = |from: u64, to: u64| -> Result<bool, StoreError> {
            let to = to.min(end);
            Ok(from >= to || self.bytes(from, to - from)?.iter().all(|byte| *byte == 0))
        };
        let page = (offset + 1).next_multiple_of(PAGE);
        if is_zero(offset, page)? {
            return Ok(true);
        }
        if end < offset + entry::HEADER as u64 {
            return Ok(false);
        }
        match entry::length(self.bytes(offset, entry::HEADER as u64)?) {
            Ok(length) if end < offset + length => Ok(true),
            Ok(length) => Ok(entry::is_unfinished(self.bytes(offset, length)?)),
            // Its header goes on in the next page.
            Err(_) => Ok(page < offset + entry::HEADER as u64 && is_zero(page, page + PAGE)?),
        }
    }

    /// The stored bytes of a page, checked.
    pub fn stored(&self, offset: u64, stored: Stored) -> Result<&[u8], StoreError> {
        let frame = self.bytes(offset, entry::frame_bytes(stored))?;
        check_frame(frame, stored).map_err(|defect| defect.at(&self.path, offset))
    }

    /// Whether the file is known to be so long.
    pub fn reaches(&self, length: u64) -> bool {
        length <= self.length.load(Acquire)
    }

    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.file.write_all_at(bytes, offset).map_err(StoreError::io(&self.path, "write"))
    }

    /// Makes the segment one of this build's format.
    pub fn write_header(&self, id: StoreId, first: Version, created_ms: i64) -> Result<(), StoreError> {
        self.write(&header(id, first, created_ms), 0)?;
        self.format.store(FORMAT, Release);
        Ok(())
    }

    /// Writes the entry at `offset` to where it is, if it still is what it was, and gives its length.
    pub fn write_again(&self, offset: u64) -> Result<u64, StoreError> {
        let entry = self.entry(offset)?;
        entry.check_all().map_err(|defect| defect.at(&self.path, offset))?;
        self.write(self.bytes(offset, entry.header.length)?, offset)?;
        Ok(entry.header.length)
    }

    /// Cuts off everything from `offset` on.
    pub fn truncate(&self, offset: u64) -> Result<(), StoreError> {
        self.file.set_len(offset).map_err(StoreError::io(&self.path, "truncate"))?;
        self.length.store(offset, Release);
        Ok(())
    }

    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io(&self.path, "fsync"))
    }
}

/// The header of a segment of this build's format.
fn header(id: StoreId, first: Version, created_ms: i64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[at::MAGIC..][..4].copy_from_slice(&MAGIC);
    header[at::FORMAT..][..4].copy_from_slice(&FORMAT.to_le_bytes());
    header[at::STORE..][..16].copy_from_slice(&id.0.to_be_bytes());
    header[at::FIRST..][..8].copy_from_slice(&first.0.to_le_bytes());
    header[at::CREATED_MS..][..8].copy_from_slice(&created_ms.to_le_bytes());
    let sum = checksum(&header[..at::CHECKSUM]);
    header[at::CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// A segment that has no name yet, and can be filled while others append to the log.
pub struct NewSegment {
    store: PathBuf,
    file: NamedTempFile,
}

impl NewSegment {
    pub fn begin(store: &Path) -> Result<NewSegment, StoreError> {
        let dir = log_dir(store);
        let file = tempfile::Builder::new()
            .prefix("segment-")
            .suffix(UNNAMED)
            // As for any other file: the process's umask takes from it.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(&dir)
            .map_err(StoreError::io(&dir, "create a file in"))?;
        Ok(NewSegment { store: store.to_owned(), file })
    }

    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.file.as_file().write_all_at(bytes, offset).map_err(StoreError::io(self.file.path(), "write"))
    }

    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.as_file().sync_data().map_err(StoreError::io(self.file.path(), "fsync"))
    }

    /// Gives it a header and its name; it is on disk before this returns.
    pub fn finish(self, id: StoreId, first: Version, created_ms: i64) -> Result<Segment, StoreError> {
        self.write(&header(id, first, created_ms), 0)?;
        let NewSegment { store, file } = self;
        let path = path_of(&store, first);
        file.as_file().sync_all().map_err(StoreError::io(file.path(), "fsync"))?;
        let temporary = file.into_temp_path();
        fs::rename(&temporary, &path).map_err(StoreError::io(&path, "put in place"))?;
        // There is nothing left under the old name to be removed.
        let _ = temporary.keep();
        sync_dir(&log_dir(&store))?;
        Segment::open(&store, first, true)
    }
}

/// Removes what writers that died left unfinished. Nobody else may have the store open.
pub fn remove_unnamed(store: &Path) -> Result<(), StoreError> {
    let dir = log_dir(store);
    for item in fs::read_dir(&dir).map_err(StoreError::io(&dir, "list"))? {
        let path = item.map_err(StoreError::io(&dir, "list"))?.path();
        if path.to_str().is_some_and(|path| path.ends_with(UNNAMED)) {
            fs::remove_file(&path).map_err(StoreError::io(&path, "remove"))?;
        }
    }
    Ok(())
}

pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(StoreError::io(dir, "fsync"))
}
