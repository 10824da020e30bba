//! An open store: one per directory and process, shared by all its connections.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use lru::LruCache;
use maniac_base::{BranchId, Version};
use maniac_disk::os::Os;
use maniac_disk::{Disk, Open};
use maniac_log::{Log, LogError, Losses, StoreId};
use maniac_seal::{GivenKey, KeyChoice, MasterKey};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxBuildHasher;

use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::tend::Tending;

#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Make the store if there is nothing at the path.
    pub create: bool,
    pub limits: Limits,
}

/// When checkpoints are made, and what they do with the log. Tests have smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A checkpoint is due when the log has so many entries behind the last one, or so many bytes: an opener reads them
    /// all.
    pub entries: u64,
    pub bytes: u64,
    /// A segment that has so many bytes ends at a checkpoint, so that it can go when nothing needs it.
    pub segment: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { entries: 4096, bytes: 64 << 20, segment: 1 << 20 }
    }
}

pub struct Store {
    pub(crate) log: Arc<Log>,
    /// Where the newest versions are.
    pub(crate) now: RwLock<Arc<Epoch>>,
    /// Earlier epochs that were read last, by the version that they begin behind.
    pub(crate) past: Mutex<LruCache<Version, Arc<Epoch>, FxBuildHasher>>,
    /// The version at which a newer checkpoint was last looked for.
    looked: AtomicU64,
    pub(crate) limits: Limits,
    pub(crate) tending: Tending,
}

/// Earlier epochs that stay in memory.
const PAST: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

/// The open stores of this process by directory (device and inode), so that connections share one index.
type OpenStores = HashMap<(u64, u64), Weak<Store>>;
static OPEN: LazyLock<Mutex<OpenStores>> = LazyLock::new(Mutex::default);

impl Store {
    /// Opens the store at `path`, with the key of the process or the environment if there is one. An error leaves nothing
    /// behind.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Arc<Store>, StoreError> {
        Store::open_with(path, options, &KeyChoice::Ambient)
    }

    /// Opens the store at `path`, or makes it, with a key or without one. Where the process has the store open, no key is
    /// needed, but a wrong one is refused.
    pub fn open_with(path: &Path, options: OpenOptions, key: &KeyChoice) -> Result<Arc<Store>, StoreError> {
        let bad_key = |reason| StoreError::BadKey { path: path.to_owned(), reason };
        let key = key.find().map_err(bad_key)?;
        let disk: Arc<dyn Disk> = Arc::new(Os);
        let mut open = OPEN.lock();
        let identity = Store::directory(&disk, path, options)?;
        open.retain(|_, store| store.strong_count() > 0);
        let usable = |store: &Arc<Store>| store.check_process().is_ok() && store.is_in_place();
        if let Some(store) = open.get(&identity).and_then(Weak::upgrade).filter(usable) {
            store.log.check_key(key.as_ref())?;
            return Ok(store);
        }
        let store = Store::open_on_with(disk, path, options, key.as_ref())?;
        open.insert(identity, Arc::downgrade(&store));
        Ok(store)
    }

    /// Opens the store at `path` on a disk, without a key, whether or not it is open already.
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path, options: OpenOptions) -> Result<Arc<Store>, StoreError> {
        Store::open_on_with(disk, path, options, None)
    }

    pub fn open_on_with(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: OpenOptions,
        key: Option<&GivenKey>,
    ) -> Result<Arc<Store>, StoreError> {
        Store::directory(&disk, path, options)?;
        let path = disk.resolve(path).map_err(StoreError::io(path, "resolve"))?;
        if !Log::is_at(&*disk, &path) {
            Store::create(&disk, &path, options, key)?;
        }
        let log = Arc::new(Log::open(disk, path, key)?);
        let store = Arc::new(Store {
            now: RwLock::new(Arc::new(Epoch::newest(&log)?)),
            past: Mutex::new(LruCache::with_hasher(PAST, FxBuildHasher)),
            log,
            looked: AtomicU64::new(0),
            limits: options.limits,
            tending: Tending::default(),
        });
        store.refresh()?;
        Ok(store)
    }

    /// Which directory lies at `path`, which is made if there is nothing.
    fn directory(disk: &Arc<dyn Disk>, path: &Path, options: OpenOptions) -> Result<(u64, u64), StoreError> {
        let stat = match disk.stat(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && options.create => {
                disk.create_directory(path).map_err(StoreError::io(path, "create the directory"))?;
                disk.stat(path)
            }
            stat => stat,
        };
        match stat {
            Ok(stat) if stat.is_directory => Ok(stat.identity),
            Ok(_) if is_plain(&**disk, path) => Err(StoreError::PlainFile { path: path.to_owned() }),
            Ok(_) => Err(not_a_store(path, "it is a file, and a store is a directory")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NotFound { path: path.to_owned() })
            }
            Err(error) => Err(StoreError::io(path, "look at")(error)),
        }
    }

    /// Whether a store lies at `path`.
    pub fn is_at(path: &Path) -> bool {
        Log::is_at(&Os, path)
    }

    /// Puts an empty log into an empty directory. Of several processes that try, one does.
    fn create(
        disk: &Arc<dyn Disk>,
        path: &Path,
        options: OpenOptions,
        key: Option<&GivenKey>,
    ) -> Result<(), StoreError> {
        let known = ["LOCK", "HEAD", "HEAD.new", "log", "KEY"];
        for name in disk.list(path).map_err(StoreError::io(path, "list"))? {
            let is_key = name.to_str().is_some_and(|name| name.starts_with("KEY-") && name.ends_with(".new"));
            if !is_key && !known.iter().any(|known| name == *known) {
                return Err(not_a_store(path, format!("it has no log, but holds {}", name.to_string_lossy())));
            }
        }
        if !options.create {
            return Err(not_a_store(path, "the directory is empty"));
        }
        Ok(Log::create(disk, path, key)?)
    }

    pub fn path(&self) -> &Path {
        self.log.path()
    }

    /// Whether the store that is open is still the one at its path: it may have been deleted, moved or replaced, and then its
    /// files live on for those who have them open, and nobody else.
    pub fn is_in_place(&self) -> bool {
        self.log.is_in_place()
    }

    pub fn id(&self) -> StoreId {
        self.log.id()
    }

    pub fn is_writable(&self) -> bool {
        self.log.is_writable()
    }

    /// The newest version that readers may see, in any process. One atomic load.
    pub fn head(&self) -> Version {
        self.log.visible()
    }

    /// The newest visible version of a branch.
    pub fn branch_head(&self, branch: BranchId) -> Result<Version, StoreError> {
        self.refresh()?;
        let epoch = self.now();
        let index = epoch.index.read();
        let state = self.known_branch(&index, branch)?;
        Ok(state.head())
    }

    /// How often written entries have been lost so far, because the disk failed.
    pub fn losses(&self) -> Losses {
        self.log.losses()
    }

    /// Whether a version that was written when `losses` were counted is gone.
    pub fn is_lost(&self, version: Version, losses: Losses) -> bool {
        self.log.head().is_lost(version, losses)
    }

    /// Bytes in a page; 0 before the first transaction.
    pub fn page_size(&self) -> u32 {
        self.now.read().index.read().page_size()
    }

    pub fn is_encrypted(&self) -> bool {
        self.log.data_key().is_some()
    }

    /// From here on, the store opens with another master key, and no more with the one before.
    pub fn rekey(&self, master: &MasterKey) -> Result<(), StoreError> {
        Ok(self.log.rekey(master)?)
    }

    /// Refuses to go on in a child of the process that opened the store.
    pub fn check_process(&self) -> Result<(), StoreError> {
        Ok(self.log.check_process()?)
    }

    /// Takes in what other processes appended, up to the head, which is returned.
    pub fn refresh(&self) -> Result<Version, StoreError> {
        let target = self.head();
        let now = self.now.read();
        if now.index.read().last() >= target {
            return Ok(target);
        }
        let epoch = now.clone();
        drop(now);
        match epoch.read_to(target) {
            // It was long ago that this process looked.
            Err(error @ StoreError::Log(LogError::Purged { .. })) => {
                self.begin_behind_newest()?;
                if self.now().index.read().last() < target {
                    return Err(error);
                }
            }
            read => read?,
        }
        self.look_for_checkpoint(&epoch)?;
        Ok(target)
    }

    /// An index that has become long is left for that behind a newer checkpoint, which another process may have made.
    fn look_for_checkpoint(&self, epoch: &Epoch) -> Result<(), StoreError> {
        let (start, (entries, _)) = {
            let index = epoch.index.read();
            (index.start(), index.length())
        };
        let look = self.limits.entries;
        let next = start.0 + entries / look * look;
        if entries >= look && self.looked.fetch_max(next, Relaxed) < next {
            self.begin_behind_newest()?;
        }
        Ok(())
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
        let start = self.log.disk().monotonic_ns();
        while !done() {
            let passed = Duration::from_nanos(self.log.disk().monotonic_ns() - start);
            let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(passed));
            if left.is_zero() {
                return Ok(false);
            }
            self.log.head().wait(left, &done);
        }
        Ok(true)
    }

    /// Wakes every waiter, in every process, to look at its condition again.
    pub fn interrupt(&self) {
        self.log.head().ring();
    }
}

fn not_a_store(path: &Path, reason: impl Into<String>) -> StoreError {
    LogError::NotAStore { path: path.to_owned(), reason: reason.into() }.into()
}

fn is_plain(disk: &dyn Disk, path: &Path) -> bool {
    let mut magic = [0; 16];
    let read = disk.open(path, Open::Read).and_then(|file| file.read_exact_at(&mut magic, 0));
    read.is_ok() && &magic == b"SQLite format 3\0"
}
