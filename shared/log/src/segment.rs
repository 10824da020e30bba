//! One file of the log: a header and then entries, side by side.
//!
//! Whatever lies behind the last entry is zero: a file may be longer than its entries, because overwriting zeroes that
//! are on disk already makes an fsync cheaper than growing the file does.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};

use maniac_base::{Version, checksum};
use maniac_disk::{Disk, File, Map, Open};
use maniac_seal::{DataKey, Purpose, Seal, fresh_nonce};
use parking_lot::Mutex;

use crate::entry::{self, Checked, Defect, EntryRef, FrameRef, check_frame};
use crate::error::LogError;
use crate::head::Losses;
use crate::seal::{EntrySeal, SealedPlace};

/// Bytes of a segment's header; the first entry starts here.
pub const HEADER: u64 = 64;
/// A segment takes entries until it has reached this size. A larger entry has a segment to itself.
pub const TARGET_BYTES: u64 = 64 << 20;
/// The log format of this build.
pub const FORMAT: u32 = 2;
/// Features of the format that this build knows; from format 2 on.
const FEATURES: u64 = SEALED;
/// Feature: entries are sealed.
const SEALED: u64 = 1;
/// The bytes `WALS`.
const MAGIC: [u8; 4] = 0x5741_4C53_u32.to_be_bytes();
/// Address space set aside for a segment that still grows; memory is used only where the file has bytes.
const GROWING_MAP: u64 = 1 << 30;

/// Bytes that the system copies at once.
const PAGE: u64 = 4096;

/// Ends the name of a segment under construction.
const UNNAMED: &str = ".new";

/// Offsets in the header.
mod at {
    pub const MAGIC: usize = 0;
    pub const FORMAT: usize = 4;
    pub const STORE: usize = 8;
    pub const FIRST: usize = 24;
    pub const CREATED_MS: usize = 32;
    /// What a reader must know, beyond the format, to read the segment.
    pub const FEATURES: usize = 40;
    /// The salt of a sealed segment's key.
    pub const SALT: usize = 48;
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

pub fn segment_path(store: &Path, first: Version) -> PathBuf {
    log_dir(store).join(format!("{:016x}.wals", first.0))
}

/// First versions of the segments that exist, in order.
pub fn list(disk: &dyn Disk, store: &Path) -> Result<Vec<Version>, LogError> {
    let dir = log_dir(store);
    let names = disk.list(&dir).map_err(LogError::io(&dir, "list"))?;
    let first = |name: &std::ffi::OsString| {
        let stem = name.to_str()?.strip_suffix(".wals").filter(|stem| stem.len() == 16)?;
        u64::from_str_radix(stem, 16).ok().map(Version)
    };
    let mut found: Vec<Version> = names.iter().filter_map(first).collect();
    found.sort();
    Ok(found)
}

/// Whether there is a segment that starts with this version.
pub fn exists(disk: &dyn Disk, store: &Path, first: Version) -> bool {
    disk.stat(&segment_path(store, first)).is_ok()
}

pub fn remove(disk: &dyn Disk, store: &Path, first: Version) -> Result<(), LogError> {
    let path = segment_path(store, first);
    disk.remove(&path).map_err(LogError::io(&path, "remove"))
}

/// Bytes that are looked through at a time.
const PIECE: u64 = 64 << 10;

pub struct Segment {
    pub first: Version,
    pub store: StoreId,
    format: AtomicU32,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    path: PathBuf,
    file: Box<dyn File>,
    map: Box<dyn Map>,
    /// What its entries are sealed with, if the store is encrypted.
    seal: Option<Seal>,
    /// Mapped when an entry turns out to reach beyond `map`. Such an entry is the last of its segment.
    whole: OnceLock<Box<dyn Map>>,
    /// The file was at least this long when it was last looked at.
    length: AtomicU64,
    /// Its length when another one had come behind it, and what had been lost by then.
    full: Mutex<Option<(Losses, u64)>>,
}

impl Segment {
    /// Makes a new segment, on disk under its final name before this returns.
    pub fn create(
        disk: &Arc<dyn Disk>,
        store: &Path,
        id: StoreId,
        first: Version,
        created_ms: i64,
        keys: Option<&DataKey>,
    ) -> Result<Segment, LogError> {
        NewSegment::begin(disk, store, keys)?.finish(id, first, created_ms)
    }

    /// Whether the file that is open is the one that is there under its name.
    pub fn is_in_place(&self, disk: &dyn Disk) -> bool {
        // What is open keeps its inode, so that no other file has it.
        let (open, there) = (self.file.stat(), disk.stat(&self.path));
        there.is_ok_and(|there| open.is_ok_and(|open| open.identity == there.identity))
    }

    /// `keys` are there if the store is encrypted.
    pub fn open(
        disk: &dyn Disk,
        store: &Path,
        first: Version,
        writable: bool,
        keys: Option<&DataKey>,
    ) -> Result<Segment, LogError> {
        let path = segment_path(store, first);
        let how = if writable { Open::Write } else { Open::Read };
        let file = disk.open(&path, how).map_err(LogError::io(&path, "open"))?;
        let length = file.stat().map_err(LogError::io(&path, "look at"))?.length;
        if length < HEADER {
            return Err(LogError::corrupt(&path, length, "the file ends inside its header"));
        }
        let mut header = [0; HEADER as usize];
        file.read_exact_at(&mut header, 0).map_err(LogError::io(&path, "read"))?;
        if header[at::MAGIC..][..4] != MAGIC {
            return Err(LogError::NotAStore {
                path: store.to_owned(),
                reason: format!("{} does not start with WALS", path.display()),
            });
        }
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let format = u32::from_le_bytes(header[at::FORMAT..][..4].try_into().expect("four bytes"));
        // The format comes before the checksum: a newer one may keep its checksum elsewhere.
        if format > FORMAT {
            return Err(LogError::NewerFormat { path: store.to_owned(), found: format, supported: FORMAT });
        }
        if checksum(&header[..at::CHECKSUM]) != u64_at(at::CHECKSUM) {
            return Err(LogError::corrupt(&path, 0, "the header does not match its checksum"));
        }
        if format > 1 && u64_at(at::FEATURES) & !FEATURES != 0 {
            let features = u64_at(at::FEATURES) & !FEATURES;
            return Err(LogError::NewerFeatures { path: store.to_owned(), features });
        }
        if u64_at(at::FIRST) != first.0 {
            let reason = format!("the file's name says version {first}, its header {}", u64_at(at::FIRST));
            return Err(LogError::corrupt(&path, at::FIRST as u64, reason));
        }
        let sealed = format > 1 && u64_at(at::FEATURES) & SEALED != 0;
        if sealed != keys.is_some() {
            let (is, store_is) = if sealed { ("encrypted", "not") } else { ("not encrypted", "encrypted") };
            let reason = format!("the segment is {is}, and its store is {store_is}: it does not belong here");
            return Err(LogError::corrupt(&path, at::FEATURES as u64, reason));
        }
        let seal = keys.map(|keys| keys.seal(Purpose::Segment, &header[at::SALT..][..8]));
        let id = StoreId(u128::from_be_bytes(header[at::STORE..][..16].try_into().expect("sixteen bytes")));
        let map = file.map(length.max(GROWING_MAP) as usize).map_err(LogError::io(&path, "map"))?;
        let created_ms = u64_at(at::CREATED_MS) as i64;
        Ok(Segment {
            first,
            store: id,
            format: format.into(),
            created_ms,
            path,
            file,
            map,
            seal,
            whole: OnceLock::new(),
            length: length.into(),
            full: Mutex::default(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn format(&self) -> u32 {
        self.format.load(Acquire)
    }

    /// The file's length, looked up now.
    pub fn file_length(&self) -> Result<u64, LogError> {
        let length = self.file.stat().map_err(LogError::io(&self.path, "look at"))?.length;
        self.length.store(length, Release);
        Ok(length)
    }

    /// The length of a segment that has another one behind it, and so does not grow, unless what follows is lost.
    pub fn full_length(&self, losses: Losses) -> Result<u64, LogError> {
        let mut full = self.full.lock();
        match *full {
            Some((then, length)) if then == losses => Ok(length),
            _ => {
                let length = self.file_length()?;
                *full = Some((losses, length));
                Ok(length)
            }
        }
    }

    /// `length` bytes from `offset`, which must lie in front of the end of the log.
    fn bytes(&self, offset: u64, length: u64) -> Result<&[u8], LogError> {
        let end = offset + length;
        if end > self.length.load(Acquire) && end > self.file_length()? {
            return Err(LogError::corrupt(&self.path, offset, "the file ends too early"));
        }
        let map = if end <= self.map.length() as u64 {
            &self.map
        } else {
            match self.whole.get() {
                Some(map) => map,
                None => {
                    let length = self.length.load(Acquire) as usize;
                    let map = self.file.map(length).map_err(LogError::io(&self.path, "map"))?;
                    self.whole.get_or_init(|| map)
                }
            }
        };
        if end > map.length() as u64 {
            return Err(LogError::corrupt(&self.path, offset, "an entry lies behind the last one of its segment"));
        }
        Ok(map.slice(offset as usize, length as usize))
    }

    /// The header's bytes.
    pub fn header(&self) -> Result<&[u8], LogError> {
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
    pub fn entry(&self, offset: u64) -> Result<EntryRef<'_>, LogError> {
        let corrupt = |defect: Defect| defect.at(&self.path, offset);
        let length = entry::length(self.bytes(offset, entry::HEADER as u64)?).map_err(corrupt)?;
        if offset + length > self.length.load(Acquire) && offset + length > self.file_length()? {
            return Err(corrupt(Defect::Damaged("the log ends inside an entry")));
        }
        EntryRef::open(self.bytes(offset, length)?, self.place_at(offset)).map_err(corrupt)
    }

    /// Where an entry of an encrypted store stands.
    pub(crate) fn place_at(&self, offset: u64) -> Option<SealedPlace<'_>> {
        let (first, created_ms) = (self.first, self.created_ms);
        self.seal.as_ref().map(|seal| SealedPlace { seal, first, created_ms, offset })
    }

    /// Looks at every byte of what may be an entry at `offset`, behind the end of the log or not.
    pub fn check(&self, offset: u64) -> Result<Checked, LogError> {
        let available = self.file_length()?.saturating_sub(offset);
        entry::check(available, &mut |at, buffer| self.read(offset + at, buffer))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), LogError> {
        self.file.read_exact_at(buffer, offset).map_err(LogError::io(&self.path, "read"))
    }

    /// The first piece of the file, from `from` to `to` or its end, for which `find` has an answer. Pieces overlap by
    /// eight bytes.
    fn search<T>(
        &self,
        from: u64,
        to: u64,
        mut find: impl FnMut(u64, &[u8]) -> Result<Option<T>, LogError>,
    ) -> Result<Option<T>, LogError> {
        let end = self.file_length()?.min(to);
        let mut buffer = vec![0; PIECE as usize + 8];
        for at in (from..end).step_by(PIECE as usize) {
            let piece = &mut buffer[..(end - at).min(PIECE + 8) as usize];
            self.read(at, piece)?;
            if let Some(found) = find(at, piece)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A whole entry, from `offset` on and wherever it starts, that says that more than `version` was on disk before it:
    /// its offset and version.
    pub fn later_entry(&self, offset: u64, version: Version) -> Result<Option<(u64, Version)>, LogError> {
        let magic = entry::MAGIC.to_le_bytes();
        self.search(offset.next_multiple_of(8), u64::MAX, |at, piece| {
            for n in (0..piece.len().saturating_sub(3)).step_by(8).filter(|n| piece[*n..*n + 4] == magic) {
                if let Checked::Whole(header) = self.check(at + n as u64)?
                    && header.durable_before() > version
                {
                    return Ok(Some((at + n as u64, header.version)));
                }
            }
            Ok(None)
        })
    }

    /// Whether there is nothing but zeroes from `offset` on.
    pub fn is_zero_from(&self, offset: u64) -> Result<bool, LogError> {
        self.is_zero(offset, u64::MAX)
    }

    fn is_zero(&self, from: u64, to: u64) -> Result<bool, LogError> {
        let other = self.search(from, to, |_, piece| Ok(piece.iter().any(|byte| *byte != 0).then_some(())))?;
        Ok(other.is_none())
    }

    /// Whether what an entry at `offset` lacks is zero or behind the end of the file: it was read before it was written.
    /// An entry that was changed has other bytes there.
    pub fn is_missing_from(&self, offset: u64) -> Result<bool, LogError> {
        let page = (offset + 1).next_multiple_of(PAGE);
        if self.is_zero(offset, page)? {
            return Ok(true);
        }
        if self.file_length()? < offset + entry::HEADER as u64 {
            return Ok(false);
        }
        match self.check(offset)? {
            Checked::Cut | Checked::Unwritten => Ok(true),
            // Its header goes on in the next page.
            Checked::Changed => Ok(page < offset + entry::HEADER as u64 && self.is_zero(page, page + PAGE)?),
            Checked::Whole(_) | Checked::Newer(_) => Ok(false),
        }
    }

    /// The stored bytes of a page of the entry at an offset, checked and opened.
    pub fn stored(&self, entry: u64, frame: &FrameRef) -> Result<Cow<'_, [u8]>, LogError> {
        let offset = entry + frame.offset;
        let failed = |defect: Defect| defect.at(&self.path, offset);
        let bytes = self.bytes(offset, entry::frame_bytes(frame.stored))?;
        let stored = check_frame(bytes, frame.stored).map_err(failed)?;
        let Some(seal) = &self.seal else { return Ok(Cow::Borrowed(stored)) };
        let nonce = self.bytes(entry + entry::NONCE_AT.0, entry::NONCE_AT.1)?.try_into().expect("as many bytes");
        entry::open_frame(&EntrySeal { seal, nonce }, frame, stored).map(Cow::Owned).map_err(failed)
    }

    /// Whether the file is known to be so long.
    pub fn reaches(&self, length: u64) -> bool {
        length <= self.length.load(Acquire)
    }

    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), LogError> {
        self.file.write_all_at(bytes, offset).map_err(LogError::io(&self.path, "write"))
    }

    /// Makes the segment one of this build's format.
    pub fn write_header(&self, id: StoreId, first: Version, created_ms: i64) -> Result<(), LogError> {
        self.write(&header(id, first, created_ms, None), 0)?;
        self.format.store(FORMAT, Release);
        Ok(())
    }

    /// Writes the entry at `offset` to where it is, if it still is what it was, and gives its length.
    pub fn write_again(&self, offset: u64) -> Result<u64, LogError> {
        let entry = self.entry(offset)?;
        entry.check_all().map_err(|defect| defect.at(&self.path, offset))?;
        self.write(self.bytes(offset, entry.header.length)?, offset)?;
        Ok(entry.header.length)
    }

    /// Cuts off everything from `offset` on.
    pub fn truncate(&self, offset: u64) -> Result<(), LogError> {
        self.file.set_length(offset).map_err(LogError::io(&self.path, "truncate"))?;
        self.length.store(offset, Release);
        Ok(())
    }

    pub fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(LogError::io(&self.path, "fsync"))
    }
}

/// Whether the first segment of a log, if there is one, is that of an encrypted store.
pub fn is_sealed(disk: &dyn Disk, store: &Path) -> Result<bool, LogError> {
    let Some(first) = list(disk, store).ok().and_then(|segments| segments.first().copied()) else { return Ok(false) };
    let path = segment_path(store, first);
    let file = disk.open(&path, Open::Read).map_err(LogError::io(&path, "open"))?;
    let mut header = [0; HEADER as usize];
    // What is wrong with it is told when it is opened.
    let read = file.read_exact_at(&mut header, 0).is_ok();
    let format = u32::from_le_bytes(header[at::FORMAT..][..4].try_into().expect("four bytes"));
    let whole =
        read && header[..4] == MAGIC && checksum(&header[..at::CHECKSUM]).to_le_bytes() == header[at::CHECKSUM..];
    Ok(whole && format == FORMAT && u64::from(header[at::FEATURES]) & SEALED != 0)
}

/// The header of a segment of this build's format. `salt` is there if it is sealed.
fn header(id: StoreId, first: Version, created_ms: i64, salt: Option<[u8; 8]>) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[at::MAGIC..][..4].copy_from_slice(&MAGIC);
    header[at::FORMAT..][..4].copy_from_slice(&FORMAT.to_le_bytes());
    header[at::STORE..][..16].copy_from_slice(&id.0.to_be_bytes());
    header[at::FIRST..][..8].copy_from_slice(&first.0.to_le_bytes());
    header[at::CREATED_MS..][..8].copy_from_slice(&created_ms.to_le_bytes());
    if let Some(salt) = salt {
        header[at::FEATURES..][..8].copy_from_slice(&SEALED.to_le_bytes());
        header[at::SALT..][..8].copy_from_slice(&salt);
    }
    let sum = checksum(&header[..at::CHECKSUM]);
    header[at::CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// A segment that has no name yet, and can be filled while others append to the log.
pub struct NewSegment {
    disk: Arc<dyn Disk>,
    store: PathBuf,
    path: PathBuf,
    file: Box<dyn File>,
    /// Of an encrypted store: its keys, this segment's salt and seal.
    sealed: Option<(DataKey, [u8; 8], Seal)>,
    /// It has its name.
    finished: bool,
}

impl NewSegment {
    pub fn begin(disk: &Arc<dyn Disk>, store: &Path, keys: Option<&DataKey>) -> Result<NewSegment, LogError> {
        let dir = log_dir(store);
        let sealed = keys.map(|keys| {
            let random = disk.random().map_err(LogError::io(&dir, "find a random number for a file in"))?;
            let nonce = fresh_nonce(random, disk.monotonic_ns(), &[]);
            let salt = *nonce.first_chunk::<8>().expect("twelve bytes");
            Ok((keys.clone(), salt, keys.seal(Purpose::Segment, &salt)))
        });
        let sealed = sealed.transpose()?;
        let created = disk.create_temporary(&dir, "segment-", UNNAMED);
        let (path, file) = created.map_err(LogError::io(&dir, "create a file in"))?;
        Ok(NewSegment { disk: disk.clone(), store: store.to_owned(), path, file, sealed, finished: false })
    }

    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), LogError> {
        self.file.write_all_at(bytes, offset).map_err(LogError::io(&self.path, "write"))
    }

    pub fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(LogError::io(&self.path, "fsync"))
    }

    pub(crate) fn seal(&self) -> Option<&Seal> {
        self.sealed.as_ref().map(|(.., seal)| seal)
    }

    /// Where an entry of an encrypted store will stand, when the segment is finished so.
    pub(crate) fn place_at(&self, first: Version, created_ms: i64, offset: u64) -> Option<SealedPlace<'_>> {
        self.seal().map(|seal| SealedPlace { seal, first, created_ms, offset })
    }

    /// Gives it a header and its name; it is on disk before this returns.
    pub fn finish(mut self, id: StoreId, first: Version, created_ms: i64) -> Result<Segment, LogError> {
        let salt = self.sealed.as_ref().map(|(_, salt, _)| *salt);
        self.write(&header(id, first, created_ms, salt), 0)?;
        let path = segment_path(&self.store, first);
        self.file.sync_all().map_err(LogError::io(&self.path, "fsync"))?;
        self.disk.rename(&self.path, &path).map_err(LogError::io(&path, "put in place"))?;
        self.finished = true;
        sync_dir(&*self.disk, &log_dir(&self.store))?;
        Segment::open(&*self.disk, &self.store, first, true, self.sealed.as_ref().map(|(keys, ..)| keys))
    }
}

impl Drop for NewSegment {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed when the store is next opened alone.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Removes what writers that died left unfinished. Nobody else may have the store open.
pub fn remove_unnamed(disk: &dyn Disk, store: &Path) -> Result<(), LogError> {
    let dir = log_dir(store);
    for name in disk.list(&dir).map_err(LogError::io(&dir, "list"))? {
        if name.to_str().is_some_and(|name| name.ends_with(UNNAMED)) {
            let path = dir.join(name);
            disk.remove(&path).map_err(LogError::io(&path, "remove"))?;
        }
    }
    Ok(())
}

pub fn sync_dir(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    disk.sync_directory(path).map_err(LogError::io(path, "fsync"))
}
