//! `HEAD`: the few words by which processes on one store tell each other how far the log goes.
//!
//! It is a hint. Nothing durable depends on it: a new boot, a copied directory or a missing file make the opener rebuild
//! it from the log. While it is valid its promise is `visible <= written` and `durable <= written`, and that a version is
//! durable before it is visible if it, or one in front of it, was written to be; checked where the words move.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use maniac_base::Version;
use rustix::thread::futex;

use crate::error::StoreError;
use crate::segment::StoreId;
use crate::sys::{CUTS, HEAD_BYTES, HeadMap, HeadWords, SLOTS, Slot};

const MAGIC: u64 = u64::from_le_bytes(*b"MANIHEAD");
/// 2 had entries of format 1 behind it.
const FORMAT: u64 = 3;
/// Bytes of a `HEAD` of format 1, whose words come first in format 2.
const FORMAT_1_BYTES: usize = 112;

/// Where the log ends: everything in front of it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    pub version: Version,
    /// First version of the segment that the next entry goes into, unless it is full.
    pub segment: Version,
    /// Offset in that segment.
    pub position: u64,
}

/// What a `HEAD` says that is not valid any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// The newest version that was on disk.
    pub durable: Version,
    /// The file was made elsewhere: the store is a copy, and the log may be older than its `HEAD`.
    pub copied: bool,
}

/// How often written entries had been lost when something was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses(u64);

pub struct Head {
    map: HeadMap,
    /// What a writer has put in place since this process began with a head of its own.
    shared: OnceLock<HeadMap>,
    writable: bool,
}

/// The kernel's name for this boot; bytes that a crash of the machine kept from the disk are gone with it.
fn boot_id() -> [u64; 2] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let half =
        |range: std::ops::Range<usize>| hex.get(range).and_then(|h| u64::from_str_radix(h, 16).ok()).unwrap_or(0);
    [half(0..16), half(16..32)]
}

impl Head {
    /// The valid `HEAD` of this store, if there is one.
    pub fn open(dir: &Path, store: StoreId, writable: bool) -> Result<Option<Head>, StoreError> {
        let path = Head::path(dir);
        let file = match OpenOptions::new().read(true).write(writable).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io(&path, "open")(error)),
        };
        let meta = file.metadata().map_err(StoreError::io(&path, "look at"))?;
        if meta.len() != HEAD_BYTES as u64 {
            return Ok(None);
        }
        let map = HeadMap::shared(&file, writable).map_err(StoreError::io(&path, "map"))?;
        let words = map.words();
        let is = |word: &AtomicU64, value: u64| word.load(Acquire) == value;
        let (id, boot) = (store.halves(), boot_id());
        let valid = is(&words.magic, MAGIC)
            && is(&words.format, FORMAT)
            && (0..2).all(|n| is(&words.store[n], id[n]) && is(&words.boot[n], boot[n]))
            && is(&words.inode, meta.ino());
        Ok(valid.then_some(Head { map, shared: OnceLock::new(), writable }))
    }

    /// Whether a build with another form of `HEAD` has made the one of this boot.
    pub fn is_of_another_build(dir: &Path, store: StoreId) -> bool {
        let Ok(bytes) = fs::read(Head::path(dir)) else { return false };
        let words: Vec<u64> =
            bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight"))).collect();
        let inode = fs::metadata(Head::path(dir)).map_or(0, |meta| meta.ino());
        let (id, boot) = (store.halves(), boot_id());
        words.len() >= 7
            && words[0] == MAGIC
            && words[1] != FORMAT
            && words[2..4] == id
            && words[4..6] == boot
            && words[6] == inode
    }

    /// What a `HEAD` of an earlier boot or another place says of this store; nothing without one.
    pub fn left_behind(dir: &Path, store: StoreId) -> Option<LeftBehind> {
        let path = Head::path(dir);
        let bytes = fs::read(&path).ok().filter(|bytes| bytes.len() >= FORMAT_1_BYTES)?;
        let word = |n: usize| u64::from_le_bytes(bytes[8 * n..8 * n + 8].try_into().expect("eight bytes"));
        let inode = fs::metadata(&path).ok()?.ino();
        (word(0) == MAGIC && [word(2), word(3)] == store.halves())
            .then(|| LeftBehind { durable: Version(word(11)), copied: word(6) != inode })
    }

    /// Replaces `HEAD` by one that ends where the log does. The caller holds the append lock.
    pub fn create(dir: &Path, store: StoreId, end: LogEnd) -> Result<Head, StoreError> {
        let path = Head::path(dir);
        let temporary = dir.join("HEAD.new");
        let write = |file: &mut File| file.write_all(&[0; HEAD_BYTES]);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .and_then(|mut file| write(&mut file).map(|()| file))
            .map_err(StoreError::io(&temporary, "create"))?;
        let inode = file.metadata().map_err(StoreError::io(&temporary, "look at"))?.ino();
        let map = HeadMap::shared(&file, true).map_err(StoreError::io(&temporary, "map"))?;
        fill(map.words(), store, inode, end);
        fs::rename(&temporary, &path).map_err(StoreError::io(&path, "put in place"))?;
        Ok(Head { map, shared: OnceLock::new(), writable: true })
    }

    /// Brings the file to the disk. It needs that only where it goes along with a copy.
    pub fn sync(&self, dir: &Path) -> Result<(), StoreError> {
        let path = Head::path(dir);
        File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::io(&path, "fsync"))
    }

    /// A head of this process alone, for a store that it cannot write to.
    pub fn private(store: StoreId, end: LogEnd) -> Head {
        let zero = || AtomicU64::new(0);
        let words = HeadWords {
            magic: zero(),
            format: zero(),
            store: [zero(), zero()],
            boot: [zero(), zero()],
            inode: zero(),
            visible: zero(),
            written: zero(),
            segment: zero(),
            position: zero(),
            durable: zero(),
            appending: 0.into(),
            bell: 0.into(),
            waiters: 0.into(),
            unsynced: 0.into(),
            losses: zero(),
            cuts: Default::default(),
            full: zero(),
            syncing: zero(),
            synced: Default::default(),
            syncs: 0.into(),
            sync_waiters: 0.into(),
            queued: 0.into(),
            unused: 0.into(),
            tickets: zero(),
            slots: std::array::from_fn(|_| Slot::default()),
        };
        fill(&words, store, 0, end);
        Head { map: HeadMap::Private(Box::new(words)), shared: OnceLock::new(), writable: false }
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("HEAD")
    }

    /// Goes over from a head of this process alone to the shared one, once there is one.
    pub fn look_for_writer(&self, dir: &Path, store: StoreId) -> Result<(), StoreError> {
        if matches!(self.map, HeadMap::Private(_))
            && self.shared.get().is_none()
            && let Some(found) = Head::open(dir, store, false)?
            && found.visible() >= self.visible()
        {
            // Another thread may have found it first.
            let _ = self.shared.set(found.map);
        }
        Ok(())
    }

    fn words(&self) -> &HeadWords {
        match &self.map {
            HeadMap::Shared(_) => self.map.words(),
            HeadMap::Private(_) => self.shared.get().unwrap_or(&self.map).words(),
        }
    }

    fn writable_words(&self) -> &HeadWords {
        assert!(self.writable, "a read-only HEAD is not written to");
        self.words()
    }

    pub fn visible(&self) -> Version {
        Version(self.words().visible.load(Acquire))
    }

    pub fn written(&self) -> Version {
        Version(self.words().written.load(Acquire))
    }

    pub fn durable(&self) -> Version {
        Version(self.words().durable.load(Acquire))
    }

    /// Where the next entry goes. Only the holder of the append lock may ask.
    pub fn end(&self) -> LogEnd {
        let words = self.words();
        LogEnd {
            version: Version(words.written.load(Acquire)),
            segment: Version(words.segment.load(Acquire)),
            position: words.position.load(Acquire),
        }
    }

    /// Whether the last holder of the append lock died while it changed the log.
    pub fn append_was_cut_short(&self) -> bool {
        self.words().appending.load(Acquire) != 0
    }

    pub fn begin_append(&self) {
        self.writable_words().appending.store(1, SeqCst);
    }

    /// The entry's bytes are in the file up to `end`.
    pub fn end_append(&self, end: LogEnd) {
        let words = self.writable_words();
        words.segment.store(end.segment.0, Relaxed);
        words.position.store(end.position, Relaxed);
        words.written.store(end.version.0, Release);
        words.appending.store(0, SeqCst);
    }

    /// Everything up to `version` is on disk.
    pub fn set_durable(&self, version: Version) {
        assert!(version <= self.written(), "durable {version} beyond written {}", self.written());
        self.writable_words().durable.fetch_max(version.0, AcqRel);
    }

    pub fn losses(&self) -> Losses {
        Losses(self.words().losses.load(SeqCst))
    }

    /// Whether a version that was written when `losses` were counted has been cut off since. When so much has been lost
    /// that it can't be told any more, it has.
    pub fn is_lost(&self, version: Version, losses: Losses) -> bool {
        let now = self.losses();
        let cut = |n: u64| self.words().cuts[n as usize % CUTS].load(SeqCst) < version.0;
        now != losses && (now.0 - losses.0 > CUTS as u64 || (losses.0..now.0).any(cut))
    }

    /// Ends the log at `end`, where its last visible or durable version ends. The caller holds the append lock, and has
    /// called `begin_append`.
    pub fn cut(&self, end: LogEnd) {
        assert!(end.version >= self.visible(), "cut at {} what is visible, {}", end.version, self.visible());
        assert!(end.version >= self.durable(), "cut at {} what is durable, {}", end.version, self.durable());
        let words = self.writable_words();
        let losses = words.losses.load(SeqCst);
        words.cuts[losses as usize % CUTS].store(end.version.0, SeqCst);
        words.losses.store(losses + 1, SeqCst);
        words.full.fetch_min(end.version.0, SeqCst);
        words.segment.store(end.segment.0, Relaxed);
        words.position.store(end.position, Relaxed);
        words.written.store(end.version.0, Release);
    }

    /// Newest version that was written with `Durability::Full`.
    pub fn full(&self) -> Version {
        Version(self.words().full.load(SeqCst))
    }

    pub fn set_full(&self, version: Version) {
        self.writable_words().full.store(version.0, SeqCst);
    }

    pub fn slots(&self) -> &[Slot; SLOTS] {
        &self.words().slots
    }

    pub fn slot(&self, n: usize) -> &Slot {
        &self.words().slots[n]
    }

    /// How many wait for their turn, on whatever branch.
    pub fn queued(&self) -> u32 {
        self.words().queued.load(SeqCst)
    }

    pub fn count_queued(&self, change: i32) {
        self.writable_words().queued.fetch_add(change as u32, SeqCst);
    }

    pub fn next_ticket(&self) -> u64 {
        self.writable_words().tickets.fetch_add(1, SeqCst) + 1
    }

    /// Sleeps while the slot's state is `state`. May return early.
    pub fn sleep_in(&self, slot: &Slot, state: u32, timeout: Duration) {
        sleep(&slot.state, state, timeout);
    }

    pub fn wake(&self, slot: &Slot) {
        // A failed wake leaves the sleeper asleep until it looks around.
        let _ = futex::wake(&slot.state, futex::Flags::empty(), 1);
    }

    /// An fsync begins that is for everything up to `version`.
    pub fn begin_sync(&self, version: Version) {
        let words = self.writable_words();
        words.syncing.store(version.0, SeqCst);
        words.syncs.fetch_add(1, SeqCst);
    }

    /// Sleeps until another process's fsync has ended that is for `version`, or until it is this one's turn to begin one.
    pub fn wait_for_sync(&self, version: Version, timeout: Duration, done: impl Fn() -> bool) {
        let words = self.writable_words();
        words.sync_waiters.fetch_add(1, SeqCst);
        let syncs = words.syncs.load(SeqCst) as usize;
        let in_time = words.syncing.load(SeqCst) >= version.0;
        let word = &words.synced[if in_time { syncs % 2 } else { (syncs + 1) % 2 }];
        let value = word.load(SeqCst);
        // Another that has begun meanwhile has made the two words change places.
        if words.syncs.load(SeqCst) as usize == syncs && !done() {
            sleep(word, value, timeout);
        }
        words.sync_waiters.fetch_sub(1, SeqCst);
    }

    /// An fsync has ended: wakes those whom it was for, and of the others one, who begins the next.
    pub fn tell_synced(&self) {
        let words = self.writable_words();
        let syncs = words.syncs.load(SeqCst) as usize;
        for (word, count) in [(&words.synced[syncs % 2], i32::MAX as u32), (&words.synced[(syncs + 1) % 2], 1)] {
            word.fetch_add(1, SeqCst);
            if words.sync_waiters.load(SeqCst) > 0 {
                let _ = futex::wake(word, futex::Flags::empty(), count);
            }
        }
    }

    /// Whether an fsync has failed, and what follows the durable version must be written again before one counts.
    pub fn sync_has_failed(&self) -> bool {
        self.words().unsynced.load(SeqCst) != 0
    }

    pub fn set_sync_failed(&self, failed: bool) {
        self.writable_words().unsynced.store(failed.into(), SeqCst);
    }

    /// Lets readers see everything up to `version`, and wakes those who wait for it.
    pub fn publish(&self, version: Version) {
        assert!(version <= self.written(), "visible {version} beyond written {}", self.written());
        self.writable_words().visible.fetch_max(version.0, SeqCst);
        self.ring();
    }

    /// Makes every waiter, in every process, look again.
    pub fn ring(&self) {
        if !self.writable {
            return;
        }
        let words = self.writable_words();
        words.bell.fetch_add(1, SeqCst);
        if words.waiters.load(SeqCst) > 0 {
            // A failed wake leaves waiters asleep until their timeout; there is nobody to tell.
            let _ = futex::wake(&words.bell, futex::Flags::empty(), i32::MAX as u32);
        }
    }

    /// Sleeps until the bell rings, `done` holds, or `timeout` has passed. May return early.
    pub fn wait(&self, timeout: Duration, done: impl Fn() -> bool) {
        let words = self.words();
        if self.writable {
            words.waiters.fetch_add(1, SeqCst);
        }
        let bell = words.bell.load(SeqCst);
        if !done() {
            // Nobody counts the waiter of a read-only mapping, so it looks again on its own.
            let timeout = if self.writable { timeout } else { timeout.min(Duration::from_millis(20)) };
            sleep(&words.bell, bell, timeout);
        }
        if self.writable {
            words.waiters.fetch_sub(1, SeqCst);
        }
    }
}

/// Sleeps while the word has the value. Every error (timeout, interrupt, a word that changed in between) means: look
/// again.
fn sleep(word: &AtomicU32, value: u32, timeout: Duration) {
    let timeout = futex::Timespec {
        tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()) as _,
    };
    let _ = futex::wait(word, futex::Flags::empty(), value, Some(&timeout));
}

fn fill(words: &HeadWords, store: StoreId, inode: u64, end: LogEnd) {
    let (id, boot) = (store.halves(), boot_id());
    for n in 0..2 {
        words.store[n].store(id[n], Relaxed);
        words.boot[n].store(boot[n], Relaxed);
    }
    words.format.store(FORMAT, Relaxed);
    words.inode.store(inode, Relaxed);
    words.segment.store(end.segment.0, Relaxed);
    words.position.store(end.position, Relaxed);
    for word in [&words.visible, &words.written, &words.durable] {
        word.store(end.version.0, Relaxed);
    }
    words.magic.store(MAGIC, Release);
}
