//! A copy of a whole store, branches and history, while others write to it.
//!
//! ```text
//!   log up to the head, entry by entry ──> .shop.maniac-XXXXXX.partial ──fsync, rename──> the target
//! ```
//!
//! What readers can see is never taken back, so that no lock is needed: entries behind the head are left out.

use std::path::{Path, PathBuf};

use maniac_base::Version;
use maniac_disk::Open;
use maniac_log::{HEADER, LogEnd, segment_path};

use crate::error::StoreError;
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
        let head = self.whole_head()?;
        let number = disk.random().map_err(StoreError::io(&parent, "find a random number for a name in"))?;
        let partial = parent.join(format!(".{name}-{number:032x}{PARTIAL}"));
        let failed = |error| StoreError::io(&partial, "create the directory")(error);
        disk.create_directory(&partial).map_err(failed)?;
        let copied = disk
            .create_directory(&partial.join("log"))
            .map_err(failed)
            .and_then(|()| self.copy_log(head, &partial, go_on))
            .and_then(|end| {
                self.log.seal_copy(&partial, end)?;
                // An empty directory gives way; whatever has come there meanwhile doesn't.
                disk.rename(&partial, target).map_err(StoreError::io(target, "put the backup in place"))?;
                Ok(end.version)
            });
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
        let index = self.index.read();
        while let Some(meta) = index.entry(head)
            && self.log.segment(meta.segment).entry(meta.offset)?.header.more
        {
            head = Version(head.0 - 1);
        }
        Ok(head)
    }

    fn copy_log(
        &self,
        head: Version,
        target: &Path,
        go_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<LogEnd, StoreError> {
        let place_of = |version: Version| {
            let index = self.index.read();
            index.entry(version).map(|meta| (meta.segment, meta.offset))
        };
        // Behind the start of the last entry nothing is counted: the file has room there.
        let (last, mut total) = place_of(head).unwrap_or((0, HEADER));
        for n in 0..last {
            total += self.log.segment(n).file_length()?;
        }
        let (mut version, mut copied) = (self.index.read().start(), 0);
        let mut position = HEADER;
        for n in 0..=last {
            let from = self.log.segment(n);
            let path = segment_path(target, from.first);
            let failed = |error| StoreError::io(&path, "write")(error);
            let file = self.log.disk().open(&path, Open::CreateNew).map_err(StoreError::io(&path, "create"))?;
            let (mut buffer, mut written) = (from.header()?.to_vec(), 0);
            position = HEADER;
            while version < head
                && let Some((segment, offset)) = place_of(version.next())
                && segment == n
            {
                let entry = from.entry(offset)?;
                entry.check_all().map_err(|defect| defect.at(from.path(), offset))?;
                // An entry may be larger than memory.
                for piece in entry.bytes().chunks(PIECE) {
                    buffer.extend_from_slice(piece);
                    if buffer.len() >= PIECE {
                        file.write_all_at(&buffer, written).map_err(failed)?;
                        written += buffer.len() as u64;
                        buffer.clear();
                    }
                }
                version = version.next();
                position = offset + entry.header.length;
                if !go_on((copied + position).min(total), total) {
                    return Err(StoreError::Interrupted { what: "the backup" });
                }
            }
            file.write_all_at(&buffer, written).map_err(failed)?;
            file.sync_all().map_err(StoreError::io(&path, "fsync"))?;
            copied += position;
            // However long the log is, one of its segments is in memory.
            from.release();
        }
        assert_eq!(version, head, "the copy ends where it should");
        Ok(LogEnd { version, segment: self.log.segment(last).first, position })
    }
}
