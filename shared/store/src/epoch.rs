//! A stretch of the log behind a checkpoint, or behind its beginning: what is in memory of a store.
//!
//! ```text
//!   log        1 2 3 4 5 6 7 8 9 10 11 12 13        checkpoints at 4 and 9
//!   epochs     └─────┘ └───────┘ └──────── now      each has an index of its own
//! ```
//!
//! A store is opened with its newest checkpoint and what follows it. Older epochs are read when somebody asks for a
//! version in them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use maniac_base::Version;
use maniac_chunk::Packs;
use maniac_log::{Cursor, Log, Stretch};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxBuildHasher;

use crate::error::StoreError;
use crate::index::{Index, Location};
use crate::manifest::{self, Manifest};
use crate::moment::time_text;
use crate::store::Store;

pub(crate) struct Epoch {
    /// What the log says behind the checkpoint.
    pub index: RwLock<Index>,
    /// The stretch of the log, whose segments stay open.
    pub stretch: Stretch,
    /// Where the index will read on.
    pub cursor: Mutex<Cursor>,
    /// Where the checkpoint's pages are, if the epoch begins with one.
    pub packs: Option<Packs>,
    /// Pages put together from differences, by where the newest of these lies.
    pub assembled: Mutex<LruCache<Location, Arc<[u8]>, FxBuildHasher>>,
}

/// Pages that `assembled` holds.
const ASSEMBLED: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

impl Epoch {
    /// The epoch that begins with a checkpoint, or else with the log; nothing of it is read so far.
    fn begin(log: &Arc<Log>, manifest: Option<&Manifest>) -> Result<Epoch, StoreError> {
        let Some(manifest) = manifest else {
            let index = Index::new(log.start()?, log.created_ms());
            return Ok(Epoch::of(index, log.stretch()?, None));
        };
        let packs = Packs::new(
            log.disk().clone(),
            pack_directory(log),
            log.id().0,
            manifest.page_size,
            manifest.packs.iter().copied(),
        )
        .with_keys(log.data_key().cloned());
        // They stay open as long as somebody has the epoch, also where their files are removed.
        packs.numbers().try_for_each(|number| packs.pack(number).map(drop))?;
        let stretch = log.stretch_at(manifest.segment, manifest.offset)?;
        Ok(Epoch::of(Index::behind(manifest), stretch, Some(packs)))
    }

    fn of(index: Index, (stretch, cursor): (Stretch, Cursor), packs: Option<Packs>) -> Epoch {
        Epoch {
            index: RwLock::new(index),
            stretch,
            cursor: Mutex::new(cursor),
            packs,
            assembled: Mutex::new(LruCache::with_hasher(ASSEMBLED, FxBuildHasher)),
        }
    }

    /// The newest epoch of a log: behind the newest checkpoint that can be read.
    pub fn newest(log: &Arc<Log>) -> Result<Epoch, StoreError> {
        while_files_go(log, || {
            let visible = log.visible();
            let newest = newest_checkpoint(log, &|manifest| manifest.version <= visible)?;
            newest.map_or_else(|| Epoch::begin(log, None), |(epoch, _)| Ok(epoch))
        })
    }

    /// The epoch that begins with a checkpoint that was just made.
    pub fn behind(log: &Arc<Log>, manifest: &Manifest) -> Result<Epoch, StoreError> {
        Epoch::begin(log, Some(manifest))
    }

    /// Reads on up to `target`.
    pub fn read_to(&self, target: Version) -> Result<(), StoreError> {
        let mut cursor = self.cursor.lock();
        let mut index = self.index.write();
        while index.last() < target {
            let entry = self.stretch.read(index.last(), &mut cursor)?;
            let Cursor { segment, offset } = *cursor;
            index
                .apply(&entry, segment, offset)
                .map_err(|reason| StoreError::corrupt(self.stretch.segment(segment).path(), offset, reason))?;
            cursor.offset += entry.header.length;
        }
        Ok(())
    }
}

pub(crate) fn pack_directory(log: &Log) -> std::path::PathBuf {
    log.path().join("chunks")
}

/// The epoch behind the newest checkpoint that `fits`, and the version of the one that follows it. One that can't be read
/// is passed over if there is another way: a copy that was made meanwhile may lack some of it.
fn newest_checkpoint(
    log: &Arc<Log>,
    fits: &dyn Fn(&Manifest) -> bool,
) -> Result<Option<(Epoch, Option<Version>)>, StoreError> {
    let (mut next, mut unreadable) = (None, None);
    for version in manifest::list(&**log.disk(), log.path())?.into_iter().rev() {
        let manifest = Manifest::read(&**log.disk(), log.path(), log.id(), version, log.data_key());
        let epoch = match &manifest {
            Ok(manifest) if !fits(manifest) => {
                next = Some(version);
                continue;
            }
            _ => manifest.and_then(|manifest| Epoch::begin(log, Some(&manifest))),
        };
        match epoch {
            Ok(epoch) => return Ok(Some((epoch, next))),
            Err(error) => unreadable = unreadable.or(Some(error)),
        }
    }
    match unreadable {
        Some(error) if log.start()? > Version(0) => Err(error),
        _ => Ok(None),
    }
}

impl Store {
    /// The epoch that the newest versions are in.
    pub(crate) fn now(&self) -> Arc<Epoch> {
        self.now.read().clone()
    }

    /// The epoch that goes on behind a version: `epoch` or an earlier one.
    pub(crate) fn epoch_with(&self, epoch: &Arc<Epoch>, version: Version) -> Result<Arc<Epoch>, StoreError> {
        if epoch.index.read().start() <= version {
            return Ok(epoch.clone());
        }
        let has = |index: &Index| index.start() <= version && version < index.last();
        self.past_epoch(&has, &|manifest| manifest.version <= version, &|| format!("version {version}"))
    }

    /// The epoch that a moment is in: `epoch` or an earlier one.
    pub(crate) fn epoch_at(&self, epoch: &Arc<Epoch>, time_ms: i64) -> Result<Arc<Epoch>, StoreError> {
        let begins_by = |index: &Index| index.checkpoint_ms().is_none_or(|checkpoint| checkpoint <= time_ms);
        if begins_by(&epoch.index.read()) {
            return Ok(epoch.clone());
        }
        let has = |index: &Index| begins_by(index) && time_ms < index.last_time_ms();
        self.past_epoch(&has, &|manifest| manifest.time_ms <= time_ms, &|| {
            format!("what was at {}", time_text(time_ms))
        })
    }

    /// An epoch in front of the present one: one that is in memory and `has` what is looked for, or else the one behind the
    /// newest checkpoint that `fits`.
    fn past_epoch(
        &self,
        has: &dyn Fn(&Index) -> bool,
        fits: &dyn Fn(&Manifest) -> bool,
        asked: &dyn Fn() -> String,
    ) -> Result<Arc<Epoch>, StoreError> {
        // Who comes second waits for what the first one reads.
        let mut past = self.past.lock();
        let known = past.iter().find(|(_, epoch)| has(&epoch.index.read())).map(|(start, _)| *start);
        if let Some(epoch) = known.and_then(|start| past.get(&start)) {
            return Ok(epoch.clone());
        }
        let begins_now = self.now.read().index.read().start();
        let fits = |manifest: &Manifest| manifest.version < begins_now && fits(manifest);
        let epoch = Arc::new(while_files_go(&self.log, || self.read_past(&fits, begins_now, asked))?);
        let start = epoch.index.read().start();
        past.put(start, epoch.clone());
        Ok(epoch)
    }

    /// Does something with the present epoch, and again with that behind a newer checkpoint if it asks for what is gone: what
    /// had to be looked up in front of one checkpoint the next one may have.
    pub(crate) fn at_present<T>(&self, run: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            let start = self.now.read().index.read().start();
            let done = run();
            if !matches!(done, Err(StoreError::Forgotten { .. })) {
                return done;
            }
            self.begin_behind_newest()?;
            if self.now.read().index.read().start() == start {
                return done;
            }
        }
    }

    /// What nothing has kept.
    pub(crate) fn forgotten(&self, asked: String, oldest: Version) -> StoreError {
        match Manifest::read(&**self.log.disk(), self.path(), self.id(), oldest, self.log.data_key()) {
            Ok(Manifest { time_ms, .. }) => {
                let (path, since) = (self.path().to_owned(), time_text(time_ms));
                StoreError::Forgotten { path, asked, oldest, since }
            }
            Err(error) => error,
        }
    }

    fn read_past(
        &self,
        fits: &dyn Fn(&Manifest) -> bool,
        begins_now: Version,
        asked: &dyn Fn() -> String,
    ) -> Result<Epoch, StoreError> {
        let (epoch, end) = match newest_checkpoint(&self.log, fits)? {
            Some(found) => found,
            None => {
                let first = manifest::list(&**self.log.disk(), self.path())?.first().copied();
                if let Some(oldest) = first.filter(|_| self.log.start().is_ok_and(|start| start > Version(0))) {
                    return Err(self.forgotten(asked(), oldest));
                }
                (Epoch::begin(&self.log, None)?, first)
            }
        };
        epoch.read_to(end.unwrap_or(begins_now).min(begins_now))?;
        Ok(epoch)
    }
}

/// Reads files that others may be removing, and again if they were.
pub(crate) fn while_files_go<T>(log: &Log, read: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let there = || Ok::<_, StoreError>((manifest::list(&**log.disk(), log.path())?, log.list()?));
    loop {
        let before = there()?;
        match read() {
            Err(error) if there()? == before => return Err(error),
            Err(_) => (),
            done => return done,
        }
    }
}
