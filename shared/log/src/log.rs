//! An open log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use maniac_base::Version;
use maniac_disk::{Disk, File, Open};
use maniac_seal::{DataKey, GivenKey};
use parking_lot::Mutex;

use crate::error::LogError;
use crate::head::{Head, LogEnd, Losses};
use crate::key;
use crate::lock::{LockFile, LockName};
use crate::recover::sync_names;
use crate::segment::{self, Segment, StoreId};
use crate::sync::Syncer;

pub struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    /// The store's directory.
    pub(crate) path: PathBuf,
    pub(crate) id: StoreId,
    /// If the store is encrypted.
    pub(crate) data_key: Option<DataKey>,
    /// Whether this process may write to the directory at all.
    pub(crate) writable: bool,
    /// Tells the process that opened the log from its children: locks and threads do not survive a fork.
    forks: u64,
    /// When it began, or what was left of it when it was opened; milliseconds since 1970-01-01 UTC.
    created_ms: i64,
    /// The directory of its segments. Another one in its place has another identity as long as this one is open.
    directory: Box<dyn File>,
    /// The segments that somebody in this process has open.
    pub(crate) open: Mutex<Vec<Weak<Segment>>>,
    pub(crate) head: Head,
    /// What is taken to append; nothing where the log cannot be written.
    pub(crate) appender: Mutex<Option<LockFile>>,
    pub(crate) syncer: Arc<Syncer>,
}

impl Log {
    /// Opens the log of the store at `path`, which has one. An encrypted one takes its key, and no other one takes any:
    /// else nothing is touched.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, key: Option<&GivenKey>) -> Result<Log, LogError> {
        let data_key = key::open(&*disk, &path, key)?;
        let keys = data_key.as_ref();
        let first = segment::list(&*disk, &path)?.first().copied();
        let first =
            first.ok_or_else(|| LogError::NotAStore { path: path.clone(), reason: "its log is empty".into() })?;
        // A file system or directory that this process may not write to can still be read.
        let lock = match LockFile::open(&*disk, &path) {
            Ok(lock) => Some(lock),
            Err(LogError::Io { source, .. }) if is_read_only(&source) => None,
            Err(error) => return Err(error),
        };
        if let Some(lock) = &lock {
            lock.share(LockName::Open)?;
        }
        let first = Segment::open(&*disk, &path, first, lock.is_some(), keys)?;
        if let Some(keys) = keys
            && keys.store() != first.store.0
        {
            return Err(LogError::corrupt(&path.join("KEY"), 8, "the file belongs to another store"));
        }
        let head = crate::recover::open_head(&disk, &path, first.store, lock.as_ref(), keys)?;
        let dir = segment::log_dir(&path);
        let directory = disk.open(&dir, Open::Read).map_err(LogError::io(&dir, "open"))?;
        let (id, created_ms) = (first.store, first.created_ms);
        Ok(Log {
            forks: disk.forks(),
            path,
            id,
            data_key,
            writable: lock.is_some(),
            created_ms,
            directory,
            open: Mutex::default(),
            head,
            appender: Mutex::new(lock),
            syncer: Arc::new(Syncer::default()),
            disk,
        })
    }

    /// Whether there is a log in the directory at `path`.
    pub fn is_at(disk: &dyn Disk, path: &Path) -> bool {
        segment::list(disk, path).is_ok_and(|segments| !segments.is_empty())
    }

    /// Puts an empty log into a directory that has none. Of several processes that try, one does.
    pub fn create(disk: &Arc<dyn Disk>, path: &Path, key: Option<&GivenKey>) -> Result<(), LogError> {
        if key.is_none() {
            // Somebody wanted an encrypted store here, and did not come that far.
            key::open(&**disk, path, None)?;
        }
        let lock = LockFile::open(&**disk, path)?;
        lock.lock(LockName::Append)?;
        let dir = segment::log_dir(path);
        match disk.create_directory(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(LogError::io(&dir, "create the directory")(error));
            }
            _ => (),
        }
        if segment::list(&**disk, path)?.is_empty() {
            let id = StoreId(disk.random().map_err(LogError::io(path, "find a random number for"))?);
            let keys = key.map(|key| key::create(&**disk, path, id, &key.key)).transpose()?;
            Segment::create(disk, path, id, Version(1), disk.now_ms(), keys.as_ref())?;
            sync_names(&**disk, path)?;
        }
        Ok(())
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The store's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn id(&self) -> StoreId {
        self.id
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn losses(&self) -> Losses {
        self.head.losses()
    }

    /// The newest version that readers may see, in any process. One atomic load.
    pub fn visible(&self) -> Version {
        if !self.writable {
            // A head that can't be read now can be read the next time, and until then there is the one from the log.
            let _ = self.head.look_for_writer(&self.path, self.id);
        }
        self.head.visible()
    }

    /// The version behind which the log begins: 0, unless its beginning is gone.
    pub fn start(&self) -> Result<Version, LogError> {
        let first = self.list()?.first().copied();
        let none = || LogError::NotAStore { path: self.path.clone(), reason: "its log is empty".into() };
        Ok(Version(first.ok_or_else(none)?.0 - 1))
    }

    /// When the log, or what was left of it when it was opened, began; milliseconds since 1970-01-01 UTC.
    pub fn created_ms(&self) -> i64 {
        self.created_ms
    }

    /// The first versions of the segments that there are, in order.
    pub fn list(&self) -> Result<Vec<Version>, LogError> {
        segment::list(&*self.disk, &self.path)
    }

    /// How many segments there are, and the bytes of their files.
    pub fn size(&self) -> Result<(usize, u64), LogError> {
        let segments = self.list()?;
        let length = |first: &Version| match self.disk.stat(&segment::segment_path(&self.path, *first)) {
            Ok(stat) => Ok(stat.length),
            // Somebody has removed it meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(LogError::io(&self.path, "look at a segment of")(error)),
        };
        let bytes = segments.iter().map(length).sum::<Result<u64, _>>()?;
        Ok((segments.len(), bytes))
    }

    /// Whether the log that is open is still the one at its path: it may have been deleted, moved or replaced, and then its
    /// files live on for those who have them open, and nobody else.
    pub fn is_in_place(&self) -> bool {
        let (open, there) = (self.directory.stat(), self.disk.stat(&segment::log_dir(&self.path)));
        there.is_ok_and(|there| open.is_ok_and(|open| open.identity == there.identity))
    }

    /// Refuses to go on in a child of the process that opened the log.
    pub fn check_process(&self) -> Result<(), LogError> {
        if self.disk.forks() == self.forks { Ok(()) } else { Err(LogError::Forked { path: self.path.clone() }) }
    }

    /// Puts a `HEAD` beside a copy of the log that ends at `end`, on disk.
    pub fn seal_copy(&self, copy: &Path, end: LogEnd) -> Result<(), LogError> {
        key::copy(&*self.disk, &self.path, copy)?;
        Head::create(&self.disk, copy, self.id, end)?.sync(copy)?;
        segment::sync_dir(&*self.disk, &segment::log_dir(copy))?;
        segment::sync_dir(&*self.disk, copy)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.writable && self.check_process().is_ok() {
            // NORMAL commits are allowed to be lost with the machine; nobody is left who could be told.
            let _ = self.durable_to(self.head.written(), self.head.losses());
        }
    }
}

fn is_read_only(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}
