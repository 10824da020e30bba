//! A copy of a whole store, branches and history, while others write to it.
//!
//! ```text
//!   log up to the head, entry by entry ──> .shop.maniac-XXXXXX.partial ──fsync, rename──> the target
//! ```
//!
//! What readers can see is never taken back, so that no lock is needed: entries behind the head are left out.

use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use maniac_base::Version;

use crate::error::StoreError;
use crate::head::{Head, LogEnd};
use crate::segment;
use crate::store::Store;

/// Ends the name of a copy that is being made.
const PARTIAL: &str = ".partial";

impl Store {
    /// Copies the store as its readers see it now to `target`, which is not there or an empty directory, and gives the
    /// newest version in the copy. It is on disk when this returns; an error leaves nothing at the target.
    ///
    /// Every byte is checked on its way. `go_on` is asked after each piece, with the bytes that are copied and all there
    /// are, whether to go on.
    pub fn backup(&self, target: &Path, go_on: &mut dyn FnMut(u64, u64) -> bool) -> Result<Version, StoreError> {
        let (parent, name) = self.place_of_backup(target)?;
        let head = self.whole_head()?;
        let partial = tempfile::Builder::new()
            .prefix(&format!(".{name}-"))
            .suffix(PARTIAL)
            // As for any other directory: the process's umask takes from it.
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(&parent)
            .map_err(StoreError::io(&parent, "create a directory in"))?;
        let log = segment::log_dir(partial.path());
        fs::create_dir(&log).map_err(StoreError::io(&log, "create the directory"))?;
        let end = self.copy_log(head, partial.path(), go_on)?;
        Head::create(partial.path(), self.id(), end)?.sync(partial.path())?;
        segment::sync_dir(&log)?;
        segment::sync_dir(partial.path())?;
        // An empty directory gives way; whatever has come there meanwhile doesn't.
        fs::rename(partial.path(), target).map_err(StoreError::io(target, "put the backup in place"))?;
        // There is nothing left under the old name to be removed.
        let _ = partial.keep();
        segment::sync_dir(&parent)?;
        Ok(end.version)
    }

    /// The directory that a backup goes to, and its name there.
    fn place_of_backup(&self, target: &Path) -> Result<(PathBuf, String), StoreError> {
        let refused = |reason: &str| StoreError::BadTarget { path: target.to_owned(), reason: reason.to_owned() };
        let Some(name) = target.file_name() else { return Err(refused("it is not the name of a directory")) };
        match fs::symlink_metadata(target) {
            Ok(meta) if !meta.is_dir() => return Err(refused("there is something else already")),
            Ok(_) => {
                let mut items = fs::read_dir(target).map_err(StoreError::io(target, "list"))?;
                if items.next().is_some() {
                    return Err(refused("the directory is not empty"));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
            Err(error) => return Err(StoreError::io(target, "look at")(error)),
        }
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = fs::canonicalize(parent).map_err(StoreError::io(parent, "resolve"))?;
        if parent.starts_with(&self.path) {
            return Err(refused("it lies in the store itself"));
        }
        Ok((parent, name.to_string_lossy().into_owned()))
    }

    /// The head, or what is in front of it, if entries that count only together with it come behind.
    fn whole_head(&self) -> Result<Version, StoreError> {
        let mut head = self.refresh()?;
        let index = self.index.read();
        while let Some(meta) = index.entry(head)
            && self.segments[meta.segment as usize].entry(meta.offset)?.header.more
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
            index.entry(version).map(|meta| (meta.segment as usize, meta.offset))
        };
        // Behind the start of the last entry nothing is counted: the file has room there.
        let (last, mut total) = place_of(head).unwrap_or((0, segment::HEADER));
        for n in 0..last {
            total += self.segments[n].file_length()?;
        }
        let (mut version, mut copied) = (self.index.read().start(), 0);
        let mut position = segment::HEADER;
        for n in 0..=last {
            let from = &self.segments[n];
            let path = segment::path_of(target, from.first);
            let failed = |error| StoreError::io(&path, "write")(error);
            let file = File::create_new(&path).map_err(StoreError::io(&path, "create"))?;
            let mut to = BufWriter::with_capacity(1 << 20, file);
            to.write_all(from.header()?).map_err(failed)?;
            position = segment::HEADER;
            while version < head
                && let Some((segment, offset)) = place_of(version.next())
                && segment == n
            {
                let entry = from.entry(offset)?;
                entry.check_all().map_err(|defect| defect.at(from.path(), offset))?;
                to.write_all(entry.bytes()).map_err(failed)?;
                version = version.next();
                position = offset + entry.header.length;
                if !go_on((copied + position).min(total), total) {
                    return Err(StoreError::Interrupted { what: "the backup" });
                }
            }
            let file = to.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().map_err(StoreError::io(&path, "fsync"))?;
            copied += position;
            // However long the log is, one of its segments is in memory.
            from.release();
        }
        assert_eq!(version, head, "the copy ends where it should");
        Ok(LogEnd { version, segment: self.segments[last].first, position })
    }
}
