//! An open store: one per directory and process, shared by all its connections.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use lru::LruCache;
use maniac_base::{BranchId, Version};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxBuildHasher;

use crate::append::Appender;
use crate::error::StoreError;
use crate::fork;
use crate::head::{Head, Losses};
use crate::index::{Index, Location};
use crate::lock::{LockFile, LockName};
use crate::recover::{Place, take_next};
use crate::segment::{self, Segment, StoreId};
use crate::sync::Syncer;

#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Make the store if there is nothing at the path.
    pub create: bool,
}

pub struct Store {
    pub(crate) path: PathBuf,
    id: StoreId,
    /// Whether this process may write to the directory at all.
    pub(crate) writable: bool,
    /// Tells the process that opened the store from its children: locks and threads do not survive a fork.
    forks: u64,
    pub(crate) segments: boxcar::Vec<Segment>,
    pub(crate) index: RwLock<Index>,
    /// Where the index will read on.
    pub(crate) cursor: Mutex<Cursor>,
    pub(crate) head: Head,
    pub(crate) appender: Mutex<Appender>,
    pub(crate) syncer: Arc<Syncer>,
    /// Pages put together from differences, by where the newest of these lies.
    pub(crate) assembled: Mutex<LruCache<Location, Arc<[u8]>, FxBuildHasher>>,
}

/// Pages that `assembled` holds.
const ASSEMBLED: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub segment: u32,
    pub offset: u64,
}

/// The open stores of this process by directory (device and inode), so that connections share one index.
type OpenStores = HashMap<(u64, u64), Weak<Store>>;
static OPEN: LazyLock<Mutex<OpenStores>> = LazyLock::new(Mutex::default);

impl Store {
    /// Opens the store at `path`. An error leaves nothing behind.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Arc<Store>, StoreError> {
        let mut open = OPEN.lock();
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && options.create => {
                fs::create_dir(path).map_err(StoreError::io(path, "create the directory"))?;
                fs::metadata(path).map_err(StoreError::io(path, "look at"))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound { path: path.to_owned() });
            }
            Err(error) => return Err(StoreError::io(path, "look at")(error)),
        };
        if !meta.is_dir() {
            return Err(not_a_store(path, describe_file(path)));
        }
        let key = (meta.dev(), meta.ino());
        open.retain(|_, store| store.strong_count() > 0);
        if let Some(store) =
            open.get(&key).and_then(Weak::upgrade).filter(|store| store.check_process().is_ok() && store.is_in_place())
        {
            return Ok(store);
        }
        let path = fs::canonicalize(path).map_err(StoreError::io(path, "resolve"))?;
        let store = Store::open_directory(path, options)?;
        open.insert(key, Arc::downgrade(&store));
        Ok(store)
    }

    /// Whether a store lies at `path`.
    pub fn is_at(path: &Path) -> bool {
        segment::log_dir(path).is_dir() && segment::list(path).is_ok_and(|segments| !segments.is_empty())
    }

    fn open_directory(path: PathBuf, options: OpenOptions) -> Result<Arc<Store>, StoreError> {
        let log = segment::log_dir(&path);
        let exists = log.is_dir() && !segment::list(&path)?.is_empty();
        if !exists {
            Store::create(&path, options)?;
        }
        let segments = segment::list(&path)?;
        let first = segments.first().copied().ok_or_else(|| not_a_store(&path, "its log is empty"))?;
        let id = Segment::open(&path, first, false)?.store;
        // A file system or directory that this process may not write to can still be read.
        let lock = match LockFile::open(&path) {
            Ok(lock) => Some(lock),
            Err(StoreError::Io { source, .. }) if is_read_only(&source) => None,
            Err(error) => return Err(error),
        };
        let writable = lock.is_some();
        if let Some(lock) = &lock {
            lock.share(LockName::Open)?;
        }
        let (head, cursor, index, segments) = crate::recover::open_log(&path, id, lock.as_ref())?;
        let store = Arc::new(Store {
            path,
            id,
            writable,
            forks: fork::forks(),
            segments,
            index: RwLock::new(index),
            cursor: Mutex::new(cursor),
            head,
            appender: Mutex::new(Appender::new(lock)),
            syncer: Arc::new(Syncer::default()),
            assembled: Mutex::new(LruCache::with_hasher(ASSEMBLED, FxBuildHasher)),
        });
        store.refresh()?;
        Ok(store)
    }

    /// Puts an empty log into an empty directory. Of several processes that try, one does.
    fn create(path: &Path, options: OpenOptions) -> Result<(), StoreError> {
        let known = ["LOCK", "HEAD", "HEAD.new", "log"];
        for item in fs::read_dir(path).map_err(StoreError::io(path, "list"))? {
            let name = item.map_err(StoreError::io(path, "list"))?.file_name();
            if !known.iter().any(|known| name == *known) {
                return Err(not_a_store(path, format!("it has no log, but holds {}", name.to_string_lossy())));
            }
        }
        if !options.create {
            return Err(not_a_store(path, "the directory is empty"));
        }
        let lock = LockFile::open(path)?;
        lock.lock(LockName::Append)?;
        let log = segment::log_dir(path);
        fs::create_dir_all(&log).map_err(StoreError::io(&log, "create the directory"))?;
        if segment::list(path)?.is_empty() {
            Segment::create(path, StoreId(random_u128()?), Version(1), now_ms())?;
            segment::sync_dir(path)?;
            if let Some(parent) = path.parent() {
                segment::sync_dir(parent)?;
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the store that is open is still the one at its path: it may have been deleted, moved or replaced, and then its
    /// files live on for those who have them open, and nobody else.
    pub fn is_in_place(&self) -> bool {
        self.segments.get(0).is_none_or(Segment::is_in_place)
    }

    pub fn id(&self) -> StoreId {
        self.id
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The newest version that readers may see, in any process. One atomic load.
    pub fn head(&self) -> Version {
        if !self.writable {
            // A head that can't be read now can be read the next time, and until then there is the one from the log.
            let _ = self.head.look_for_writer(&self.path, self.id);
        }
        self.head.visible()
    }

    /// The newest visible version of a branch.
    pub fn branch_head(&self, branch: BranchId) -> Result<Version, StoreError> {
        self.refresh()?;
        let index = self.index.read();
        let state = self.known_branch(&index, branch)?;
        Ok(state.head())
    }

    /// How often written entries have been lost so far, because the disk failed.
    pub fn losses(&self) -> Losses {
        self.head.losses()
    }

    /// Whether a version that was written when `losses` were counted is gone.
    pub fn is_lost(&self, version: Version, losses: Losses) -> bool {
        self.head.is_lost(version, losses)
    }

    /// Bytes in a page; 0 before the first transaction.
    pub fn page_size(&self) -> u32 {
        self.index.read().page_size()
    }

    /// Refuses to go on in a child of the process that opened the store.
    pub fn check_process(&self) -> Result<(), StoreError> {
        if fork::forks() == self.forks { Ok(()) } else { Err(StoreError::Forked { path: self.path.clone() }) }
    }

    /// Takes in what other processes appended, up to the head, which is returned.
    pub fn refresh(&self) -> Result<Version, StoreError> {
        let target = self.head();
        if self.index.read().last() >= target {
            return Ok(target);
        }
        let mut cursor = self.cursor.lock();
        let mut index = self.index.write();
        while index.last() < target {
            take_next(&self.place(), &mut index, &mut cursor)?;
        }
        Ok(target)
    }

    /// For reading entries that are written. To be asked after the head that they are in front of.
    pub(crate) fn place(&self) -> Place<'_> {
        let active = self.head.end().segment;
        Place { path: &self.path, segments: &self.segments, active, writable: self.writable }
    }

    /// Waits until the head is beyond `after`, at most for `timeout`, and returns the head. Sleeps until a writer, of
    /// whatever process, or `interrupt` wakes it.
    pub fn wait(&self, after: Version, timeout: Option<Duration>) -> Result<Version, StoreError> {
        self.wait_until(timeout, || self.head() > after)?;
        Ok(self.head())
    }

    /// Waits until `done` holds, which is asked again each time the store changes or `interrupt` is called.
    pub fn wait_until(&self, timeout: Option<Duration>, done: impl Fn() -> bool) -> Result<bool, StoreError> {
        self.check_process()?;
        let start = Instant::now();
        while !done() {
            let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(start.elapsed()));
            if left.is_zero() {
                return Ok(false);
            }
            self.head.wait(left, &done);
        }
        Ok(true)
    }

    /// Wakes every waiter, in every process, to look at its condition again.
    pub fn interrupt(&self) {
        self.head.ring();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.writable && self.check_process().is_ok() {
            // NORMAL commits are allowed to be lost with the machine; nobody is left who could be told.
            let losses = self.head.losses();
            let _ = self.sync_to(self.head.written(), losses);
        }
    }
}

pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as i64
}

fn random_u128() -> Result<u128, StoreError> {
    let mut bytes = [0; 16];
    let path = Path::new("/dev/urandom");
    fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(StoreError::io(path, "read"))?;
    Ok(u128::from_le_bytes(bytes))
}

fn is_read_only(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

fn not_a_store(path: &Path, reason: impl Into<String>) -> StoreError {
    StoreError::NotAStore { path: path.to_owned(), reason: reason.into() }
}

fn describe_file(path: &Path) -> String {
    let mut magic = [0; 16];
    let read = fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    match read {
        Ok(()) if &magic == b"SQLite format 3\0" => {
            "it is an ordinary SQLite file; to use it beside a store, ATTACH 'file:<this file>?vfs=unix'; to turn it into \
             one, open a new store and SELECT maniac_import('<this file>')"
                .into()
        }
        _ => "it is a file, and a store is a directory".into(),
    }
}
