//! `HEAD`: the few words by which processes on one store tell each other how far the log goes.
//!
//! It is a hint. Nothing durable depends on it: a new boot, a copied directory or a missing file make the opener rebuild
//! it from the log. While it is valid its promise is `visible <= written` and `durable <= written`, and that a version is
//! durable before it is visible if it, or one in front of it, was written to be; checked where the words move.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use maniac_base::Version;
use maniac_disk::{CUTS, Disk, HEAD_BYTES, HeadWords, Open, SLOTS, Slot, Words};

use crate::error::LogError;
use crate::segment::StoreId;

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
    disk: Arc<dyn Disk>,
    words: Box<dyn Words>,
    /// What a writer has put in place since this process began with a head of its own.
    shared: OnceLock<Box<dyn Words>>,
    /// The words are this process's alone.
    private: bool,
    writable: bool,
}

impl Head {
    fn new(disk: &Arc<dyn Disk>, words: Box<dyn Words>, writable: bool) -> Head {
        Head { disk: disk.clone(), words, shared: OnceLock::new(), private: false, writable }
    }

    /// The valid `HEAD` of this store, if there is one.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, store: StoreId, writable: bool) -> Result<Option<Head>, LogError> {
        let path = Head::path(dir);
        let file = match disk.open(&path, if writable { Open::Write } else { Open::Read }) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io(&path, "open")(error)),
        };
        let stat = file.stat().map_err(LogError::io(&path, "look at"))?;
        if stat.length != HEAD_BYTES as u64 {
            return Ok(None);
        }
        let map = file.words(writable).map_err(LogError::io(&path, "map"))?;
        let words = map.get();
        let is = |word: &AtomicU64, value: u64| word.load(Acquire) == value;
        let (id, boot) = (store.halves(), disk.boot());
        let valid = is(&words.magic, MAGIC)
            && is(&words.format, FORMAT)
            && (0..2).all(|n| is(&words.store[n], id[n]) && is(&words.boot[n], boot[n]))
            && is(&words.inode, stat.identity.1);
        Ok(valid.then(|| Head::new(disk, map, writable)))
    }

    /// The words of whatever `HEAD` is there, and its inode.
    fn read(disk: &dyn Disk, dir: &Path) -> Option<(Vec<u64>, u64)> {
        let file = disk.open(&Head::path(dir), Open::Read).ok()?;
        let stat = file.stat().ok()?;
        let mut bytes = vec![0; stat.length.min(HEAD_BYTES as u64) as usize];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        Some((words.collect(), stat.identity.1))
    }

    /// Whether a build with another form of `HEAD` has made the one of this boot.
    pub fn is_of_another_build(disk: &dyn Disk, dir: &Path, store: StoreId) -> bool {
        Head::read(disk, dir).is_some_and(|(words, inode)| {
            words.len() >= 7
                && words[0] == MAGIC
                && words[1] != FORMAT
                && words[2..4] == store.halves()
                && words[4..6] == disk.boot()
                && words[6] == inode
        })
    }

    /// What a `HEAD` of an earlier boot or another place says of this store; nothing without one.
    pub fn left_behind(disk: &dyn Disk, dir: &Path, store: StoreId) -> Option<LeftBehind> {
        let (words, inode) = Head::read(disk, dir).filter(|(words, _)| words.len() * 8 >= FORMAT_1_BYTES)?;
        (words[0] == MAGIC && words[2..4] == store.halves())
            .then(|| LeftBehind { durable: Version(words[11]), copied: words[6] != inode })
    }

    /// Replaces `HEAD` by one that ends where the log does. The caller holds the append lock.
    pub fn create(disk: &Arc<dyn Disk>, dir: &Path, store: StoreId, end: LogEnd) -> Result<Head, LogError> {
        let path = Head::path(dir);
        let temporary = dir.join("HEAD.new");
        let file = disk
            .open(&temporary, Open::Replace)
            .and_then(|file| file.write_all_at(&[0; HEAD_BYTES], 0).map(|()| file))
            .map_err(LogError::io(&temporary, "create"))?;
        let inode = file.stat().map_err(LogError::io(&temporary, "look at"))?.identity.1;
        let map = file.words(true).map_err(LogError::io(&temporary, "map"))?;
        fill(map.get(), disk.boot(), store, inode, end);
        disk.rename(&temporary, &path).map_err(LogError::io(&path, "put in place"))?;
        Ok(Head::new(disk, map, true))
    }

    /// Brings the file to the disk. It needs that where it goes along with a copy, or takes back what it has said.
    pub fn sync(&self, dir: &Path) -> Result<(), LogError> {
        let path = Head::path(dir);
        self.disk.open(&path, Open::Write).and_then(|file| file.sync_all()).map_err(LogError::io(&path, "fsync"))
    }

    /// A head of this process alone, for a store that it cannot write to.
    pub fn private(disk: &Arc<dyn Disk>, store: StoreId, end: LogEnd) -> Head {
        let words = HeadWords::default();
        fill(&words, disk.boot(), store, 0, end);
        Head { private: true, ..Head::new(disk, Box::new(words), false) }
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("HEAD")
    }

    /// Goes over from a head of this process alone to the shared one, once there is one.
    pub fn look_for_writer(&self, dir: &Path, store: StoreId) -> Result<(), LogError> {
        if self.private
            && self.shared.get().is_none()
            && let Some(found) = Head::open(&self.disk, dir, store, false)?
            && found.visible() >= self.visible()
        {
            // Another thread may have found it first.
            let _ = self.shared.set(found.words);
        }
        Ok(())
    }

    fn words(&self) -> &HeadWords {
        self.shared.get().unwrap_or(&self.words).get()
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
        let words = self.writable_words();
        let losses = words.losses.load(SeqCst);
        words.cuts[losses as usize % CUTS].store(end.version.0, SeqCst);
        words.losses.store(losses + 1, SeqCst);
        words.full.fetch_min(end.version.0, SeqCst);
        words.durable.fetch_min(end.version.0, SeqCst);
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
        &self.words().slots.0
    }

    pub fn slot(&self, n: usize) -> &Slot {
        &self.words().slots.0[n]
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
        self.disk.wait(&slot.state, state, timeout);
    }

    pub fn wake(&self, slot: &Slot) {
        self.disk.wake(&slot.state, 1);
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
            self.disk.wait(word, value, timeout);
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
                self.disk.wake(word, count);
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
            self.disk.wake(&words.bell, i32::MAX as u32);
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
            self.disk.wait(&words.bell, bell, timeout);
        }
        if self.writable {
            words.waiters.fetch_sub(1, SeqCst);
        }
    }
}

fn fill(words: &HeadWords, boot: [u64; 2], store: StoreId, inode: u64, end: LogEnd) {
    let id = store.halves();
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
