//! A copy of a whole store, branches and history, while others write to it.
//!
//! ```text
//!   log up to the head, entry by entry ──> .shop.maniac-XXXXXX.partial ──fsync, rename──> the target
//! ```
//!
//! What readers can see is never taken back: entries behind the head are left out. Where the log's beginning is gone, the
//! checkpoints that stand for it are copied first, and no other is made meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use maniac_base::Version;
use maniac_chunk::{Packs, pack_path};
use maniac_disk::{File, Open};
use maniac_log::{HEADER, LockFile, LogEnd, Segment, segment_path};
use rustc_hash::FxHashSet;

use crate::epoch::pack_directory;
use crate::error::StoreError;
use crate::lock::CHECKPOINT;
use crate::manifest::{self, Manifest};
use crate::store::Store;

/// Ends the name of a copy that is being made.
const PARTIAL: &str = ".partial";
/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

impl Store {
    /// Copies the store as its readers see it now to `target`, which is not there or an empty directory, and gives the
    /// newest version in the copy. It is on disk when this returns; an error leaves nothing at the target.
    ///
    /// Every byte is checked on its way. `go_on` is asked after each piece, with the bytes that are copied and all there
    /// are, whether to go on.
    pub fn backup(&self, target: &Path, go_on: &mut dyn FnMut(u64, u64) -> bool) -> Result<Version, StoreError> {
        let disk = self.log.disk();
        let (parent, name) = self.place_of_backup(target)?;
        // What is being copied must not go meanwhile.
        let lock = self.is_writable().then(|| LockFile::open(&**disk, self.path())).transpose()?;
        lock.as_ref().map_or(Ok(()), |lock| lock.lock(CHECKPOINT))?;
        let head = self.whole_head()?;
        let number = disk.random().map_err(StoreError::io(&parent, "find a random number for a name in"))?;
        let partial = parent.join(format!(".{name}-{number:032x}{PARTIAL}"));
        let failed = |error| StoreError::io(&partial, "create the directory")(error);
        disk.create_directory(&partial).map_err(failed)?;
        let copied = disk
            .create_directory(&partial.join("log"))
            .map_err(failed)
            .and_then(|()| self.copy_checkpoints(head, &partial, go_on))
            .and_then(|copied| self.copy_log(head, &partial, copied, go_on))
            .and_then(|end| {
                self.log.seal_copy(&partial, end)?;
                // An empty directory gives way; whatever has come there meanwhile doesn't.
                disk.rename(&partial, target).map_err(StoreError::io(target, "put the backup in place"))?;
                Ok(end.version)
            });
        if let Some(lock) = lock {
            lock.unlock(CHECKPOINT);
        }
        if copied.is_err() {
            // The error that led here says more than one about what is left.
            let _ = disk.remove_directory(&partial);
        }
        disk.sync_directory(&parent).map_err(StoreError::io(&parent, "fsync"))?;
        copied
    }

    /// The directory that a backup goes to, and its name there.
    fn place_of_backup(&self, target: &Path) -> Result<(PathBuf, String), StoreError> {
        let disk = self.log.disk();
        let refused = |reason: &str| StoreError::BadTarget { path: target.to_owned(), reason: reason.to_owned() };
        let Some(name) = target.file_name() else { return Err(refused("it is not the name of a directory")) };
        match disk.stat(target) {
            Ok(stat) if !stat.is_directory => return Err(refused("there is something else already")),
            Ok(_) if !disk.list(target).map_err(StoreError::io(target, "list"))?.is_empty() => {
                return Err(refused("the directory is not empty"));
            }
            Ok(_) => (),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
            Err(error) => return Err(StoreError::io(target, "look at")(error)),
        }
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = disk.resolve(parent).map_err(StoreError::io(parent, "resolve"))?;
        if disk.resolve(target).is_ok_and(|place| place != parent.join(name)) {
            // A link.
            return Err(refused("there is something else already"));
        }
        if parent.starts_with(self.path()) {
            return Err(refused("it lies in the store itself"));
        }
        Ok((parent, name.to_string_lossy().into_owned()))
    }

    /// The head, or what is in front of it, if entries that count only together with it come behind.
    fn whole_head(&self) -> Result<Version, StoreError> {
        let mut head = self.refresh()?;
        let epoch = self.now();
        let index = epoch.index.read();
        while let Some(meta) = index.entry(head)
            && epoch.stretch.segment(meta.segment).entry(meta.offset)?.header.more
        {
            head = Version(head.0 - 1);
        }
        Ok(head)
    }

    /// Copies what the log has no more: the oldest checkpoint, and the newest, which has what has a tag. Gives the version
    /// that the log's copy starts behind, if it has no beginning, and the bytes that were copied.
    fn copy_checkpoints(
        &self,
        head: Version,
        target: &Path,
        go_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<(Option<Version>, u64), StoreError> {
        let disk = self.log.disk();
        if self.log.start()? == Version(0) {
            return Ok((None, 0));
        }
        let mut checkpoints = manifest::list(&**disk, self.path())?;
        checkpoints.retain(|version| *version <= head);
        let mut wanted: Vec<Version> = checkpoints.first().into_iter().chain(checkpoints.last()).copied().collect();
        wanted.dedup();
        let read = |version| Manifest::read(&**disk, self.path(), self.id(), version, self.log.data_key());
        let manifests = wanted.into_iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
        let Some(oldest) = manifests.first() else { return Ok((None, 0)) };
        let numbers: BTreeSet<u32> = manifests.iter().flat_map(|manifest| manifest.packs.iter().copied()).collect();
        let packs =
            Packs::new(disk.clone(), pack_directory(&self.log), self.id().0, oldest.page_size, numbers.iter().copied())
                .with_keys(self.log.data_key().cloned());
        let mut seen = FxHashSet::default();
        for manifest in &manifests {
            manifest.roots().try_for_each(|root| packs.check(root, &mut seen))?;
        }
        packs.release();
        let (chunks, mut copied) = (target.join("chunks"), 0);
        for dir in [&chunks, &manifest::directory(target)] {
            disk.create_directory(dir).map_err(StoreError::io(dir, "create the directory"))?;
        }
        let lengths = numbers.iter().map(|number| packs.length(*number)).collect::<Result<Vec<u64>, _>>()?;
        let total = lengths.into_iter().sum::<u64>() + self.bytes_up_to(head)?;
        for number in numbers {
            let (from, to) = (pack_path(packs.directory(), number), pack_path(&chunks, number));
            let source = disk.open(&from, Open::Read).map_err(StoreError::io(&from, "open"))?;
            let file = disk.open(&to, Open::CreateNew).map_err(StoreError::io(&to, "create"))?;
            let length = packs.length(number)?;
            for at in (0..length).step_by(PIECE) {
                let mut piece = vec![0; (length - at).min(PIECE as u64) as usize];
                source.read_exact_at(&mut piece, at).map_err(StoreError::io(&from, "read"))?;
                file.write_all_at(&piece, at).map_err(StoreError::io(&to, "write"))?;
                copied += piece.len() as u64;
                if !go_on(copied, total) {
                    return Err(StoreError::Interrupted { what: "the backup" });
                }
            }
            file.sync_all().map_err(StoreError::io(&to, "fsync"))?;
        }
        disk.sync_directory(&chunks).map_err(StoreError::io(&chunks, "fsync"))?;
        manifests.iter().try_for_each(|manifest| manifest.write(&**disk, target, self.id(), self.log.data_key()))?;
        Ok((Some(Version(oldest.segment.0 - 1)), copied))
    }

    fn copy_log(
        &self,
        head: Version,
        target: &Path,
        (start, before): (Option<Version>, u64),
        go_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<LogEnd, StoreError> {
        let (stretch, mut cursor) = match start {
            Some(start) => self.log.stretch_at(start.next(), HEADER)?,
            None => self.log.stretch()?,
        };
        let mut version = Version(stretch.segment(cursor.segment).first.0 - 1);
        let (mut copied, total) = (before, before + self.bytes_up_to(head)?);
        let mut copy = self.begin_copy(target, stretch.segment(cursor.segment))?;
        while version < head {
            let entry = stretch.read(version, &mut cursor)?;
            let segment = stretch.segment(cursor.segment);
            if !std::ptr::eq(segment, copy.from) {
                copied += copy.finish()?;
                copy = self.begin_copy(target, segment)?;
            }
            let path = segment.path();
            entry.check_all().map_err(|defect| defect.at(path, cursor.offset))?;
            copy.write(entry.bytes())?;
            version = version.next();
            cursor.offset += entry.header.length;
            if !go_on((copied + cursor.offset).min(total), total) {
                return Err(StoreError::Interrupted { what: "the backup" });
            }
        }
        copy.finish()?;
        Ok(LogEnd { version, segment: stretch.segment(cursor.segment).first, position: cursor.offset })
    }

    fn begin_copy<'a>(&self, target: &Path, from: &'a Segment) -> Result<SegmentCopy<'a>, StoreError> {
        let path = segment_path(target, from.first);
        let file = self.log.disk().open(&path, Open::CreateNew).map_err(StoreError::io(&path, "create"))?;
        Ok(SegmentCopy { from, path, file, buffer: from.header()?.to_vec(), written: 0 })
    }

    /// About how many bytes the log has up to a version.
    fn bytes_up_to(&self, head: Version) -> Result<u64, StoreError> {
        let (end, mut total) = (self.log.head().end(), 0);
        for first in self.log.list()?.into_iter().filter(|first| *first <= head) {
            total += match first == end.segment {
                true => end.position,
                false => {
                    let path = segment_path(self.path(), first);
                    self.log.disk().stat(&path).map_err(StoreError::io(&path, "look at"))?.length
                }
            };
        }
        Ok(total)
    }
}

/// The copy of a segment.
struct SegmentCopy<'a> {
    from: &'a Segment,
    path: PathBuf,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    written: u64,
}

impl SegmentCopy<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        // An entry may be larger than memory.
        for piece in bytes.chunks(PIECE) {
            self.buffer.extend_from_slice(piece);
            if self.buffer.len() >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&self.buffer, self.written);
        written.map_err(StoreError::io(&self.path, "write"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Gives the bytes of the copy, which is on disk.
    fn finish(mut self) -> Result<u64, StoreError> {
        self.flush()?;
        self.file.sync_all().map_err(StoreError::io(&self.path, "fsync"))?;
        // However long the log is, one of its segments is in memory.
        self.from.release();
        Ok(self.written)
    }
}
