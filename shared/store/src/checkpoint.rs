//! A checkpoint: the pages of all branches, put to rest in packs, so that the log behind it is all that an opener reads.
//!
//! ```text
//!   log ──pages that changed since the last one──> chunks/*.pack ──then──> catalog/*.manifest
//! ```
//!
//! Nothing refers to a pack before the manifest has its name. What a process that was killed leaves behind is removed by
//! the next checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_chunk::{Compression, Packs, Root, Writer};
use maniac_log::LockFile;

use crate::epoch::{Epoch, pack_directory};
use crate::error::StoreError;
use crate::index::BranchState;
use crate::lock::CHECKPOINT;
use crate::manifest::{self, BranchAt, Manifest, Pin};
use crate::snapshot::Snapshot;
use crate::store::Store;

/// Packs are looked through when they have this part more than was needed of them the last time.
const WASTE: u64 = 7;

/// What a checkpoint has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The newest version that it has.
    pub version: Version,
    /// Bytes that it has written.
    pub bytes: u64,
}

impl Store {
    /// Puts the pages of all branches to rest as they are now. Nothing if somebody else is at it, or if there is nothing
    /// to do. Readers and writers go on meanwhile.
    pub fn checkpoint(self: &Arc<Self>) -> Result<Option<Checkpoint>, StoreError> {
        self.check_process()?;
        if !self.is_writable() {
            return Err(maniac_log::LogError::ReadOnly { path: self.path().to_owned() }.into());
        }
        let lock = LockFile::open(&**self.log.disk(), self.path())?;
        if !lock.try_lock(CHECKPOINT)? {
            return Ok(None);
        }
        let done = self.checkpoint_alone();
        lock.unlock(CHECKPOINT);
        done
    }

    fn checkpoint_alone(self: &Arc<Self>) -> Result<Option<Checkpoint>, StoreError> {
        // Another process may have made one since this one looked.
        self.begin_behind_newest()?;
        let version = self.refresh()?;
        if version == self.now().index.read().start() {
            self.forget()?;
            return Ok(None);
        }
        // An index that ends with this version: that of everybody else is read on meanwhile.
        let epoch = Arc::new(Epoch::newest(&self.log)?);
        epoch.read_to(version)?;
        let place = {
            let cursor = epoch.cursor.lock();
            (epoch.stretch.segment(cursor.segment).first, cursor.offset)
        };
        let page_size = epoch.index.read().page_size();
        if page_size == 0 || self.goes_on(&epoch, version)? {
            self.forget()?;
            return Ok(None);
        }
        self.log.durable_to(version, self.log.losses())?;
        // What is in front of the checkpoint is to go by itself.
        let end = self.log.end_segment(self.limits.segment)?;
        let (segment, offset) = if end.version == version { (end.segment, end.position) } else { place };
        let disk = self.log.disk();
        for dir in [pack_directory(&self.log), manifest::directory(self.path())] {
            match disk.create_directory(&dir) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
                made => made.map_err(StoreError::io(&dir, "create the directory"))?,
            }
        }
        disk.sync_directory(self.path()).map_err(StoreError::io(self.path(), "fsync"))?;
        let number = self.next_pack()?;
        let none = Packs::new(disk.clone(), pack_directory(&self.log), self.id().0, page_size, [])
            .with_keys(self.log.data_key().cloned());
        let packs = epoch.packs.as_ref().unwrap_or(&none);
        let mut writer = Writer::begin(packs, number, Compression::None)?;
        let roots = self.roots(&epoch, version, &mut writer)?;
        let pins = self.pins(&epoch, version, &roots, &mut writer)?;
        let bytes = if writer.is_empty() { 0 } else { writer.finish()? };
        let packs = packs.with(packs.numbers().chain((bytes > 0).then_some(number)).collect::<Vec<u32>>());
        let mut manifest = {
            let index = epoch.index.read();
            let branches = (0..index.next_branch().0).map(BranchId).zip(&roots);
            let branches = branches.map(|(id, (head, root))| {
                let state = index.branch_ever(id).expect("branches have numbers in order");
                at_checkpoint(state, *head, *root)
            });
            Manifest {
                version,
                time_ms: index.last_time_ms(),
                segment,
                offset,
                page_size: index.page_size(),
                branches: branches.collect(),
                pins,
                tags: index.tags().cloned().collect(),
                retention: index.retention(),
                packs: packs.sorted_numbers(),
                live_bytes: index.live_bytes(),
            }
        };
        let copied = self.compact(&mut manifest, &packs, number + 1)?;
        manifest.write(&**disk, self.path(), self.id(), self.log.data_key())?;
        self.begin_anew(Epoch::behind(&self.log, &manifest)?)?;
        self.forget()?;
        Ok(Some(Checkpoint { version, bytes: bytes + copied }))
    }

    /// The branches as they are at a version, by their ids: what they show, and their pages.
    fn roots(
        self: &Arc<Self>,
        epoch: &Arc<Epoch>,
        version: Version,
        writer: &mut Writer<'_>,
    ) -> Result<Vec<(Version, Root)>, StoreError> {
        let mut roots: Vec<(Version, Root)> = Vec::new();
        let branches = epoch.index.read().next_branch();
        for id in (0..branches.0).map(BranchId) {
            let (dropped, root, parent, head) = {
                let index = epoch.index.read();
                let state = index.branch_ever(id).expect("branches have numbers in order");
                (state.dropped, state.root(), state.parent, state.head())
            };
            if dropped {
                roots.push((head, Root::EMPTY));
                continue;
            }
            let snapshot = self.snapshot_in(epoch, id, version)?;
            let (old, changed) = match (root, parent) {
                (Some(root), _) => (root, snapshot.touched()),
                (None, Some(parent)) => {
                    let beside = self.snapshot_in(epoch, parent, version)?;
                    (roots[parent.0 as usize].1, beside.differing_pages(&snapshot)?)
                }
                (None, None) => (Root::EMPTY, snapshot.touched()),
            };
            let root = put_to_rest(&snapshot, &old, &changed, writer)?;
            roots.push((snapshot.version(), root));
        }
        Ok(roots)
    }

    /// The older versions that are kept: those that have a tag, and those that branches are merged by.
    fn pins(
        self: &Arc<Self>,
        epoch: &Arc<Epoch>,
        version: Version,
        roots: &[(Version, Root)],
        writer: &mut Writer<'_>,
    ) -> Result<Vec<Pin>, StoreError> {
        let (wanted, known): (BTreeSet<(BranchId, Version)>, _) = {
            let index = epoch.index.read();
            let tags = index.tags().map(|tag| (tag.branch, tag.version));
            let wanted: BTreeSet<_> = tags.chain(index.ancestors()).collect();
            let known: Vec<_> = wanted.iter().map(|(branch, at)| index.pin(*branch, *at)).collect();
            (wanted, known)
        };
        let mut pins = Vec::new();
        for ((branch, at), known) in wanted.into_iter().zip(known) {
            if let Some((version, root)) = known {
                pins.push(Pin { branch, at, version, root });
                continue;
            }
            let snapshot = match self.snapshot_in(epoch, branch, at) {
                // It went before anything asked for it to be kept.
                Err(StoreError::Forgotten { .. } | StoreError::BeforeHistory { .. }) => continue,
                snapshot => snapshot?,
            };
            // It differs from what the branch is now, or else `main`, by least.
            let beside = if epoch.index.read().branch(branch).is_some() { branch } else { BranchId::MAIN };
            let (newest, (_, old)) = (self.snapshot_in(epoch, beside, version)?, roots[beside.0 as usize]);
            let changed = newest.differing_pages(&snapshot)?;
            let root = put_to_rest(&snapshot, &old, &changed, writer)?;
            pins.push(Pin { branch, at, version: snapshot.version(), root });
        }
        Ok(pins)
    }

    /// Copies what is needed of packs that are mostly needless into a new one, when there is more than a bit of that. Gives
    /// the bytes that were written.
    fn compact(&self, manifest: &mut Manifest, packs: &Packs, number: u32) -> Result<u64, StoreError> {
        let lengths: BTreeMap<u32, u64> =
            manifest.packs.iter().map(|n| Ok((*n, packs.pack(*n)?.length()))).collect::<Result<_, StoreError>>()?;
        let total: u64 = lengths.values().sum();
        if total <= manifest.live_bytes + manifest.live_bytes / WASTE + (256 << 10) {
            return Ok(0);
        }
        let mut roots: Vec<&mut Root> = manifest.branches.iter_mut().map(|branch| &mut branch.root).collect();
        roots.extend(manifest.pins.iter_mut().map(|pin| &mut pin.root));
        let live = packs.live(&roots.iter().map(|root| **root).collect::<Vec<_>>())?;
        let is_sparse = |pack: u32| live.get(&pack).is_none_or(|live| *live < lengths[&pack] / 5 * 4);
        let mut written = 0;
        if live.keys().any(|pack| is_sparse(*pack)) {
            let mut writer = Writer::begin(packs, number, Compression::None)?;
            for root in roots {
                *root = writer.copy_out_of(root, &is_sparse)?;
            }
            written = writer.finish()?;
        }
        manifest.packs.retain(|pack| !is_sparse(*pack));
        manifest.packs.extend((written > 0).then_some(number));
        manifest.live_bytes = live.iter().filter(|(pack, _)| !is_sparse(**pack)).map(|(_, live)| *live).sum();
        manifest.live_bytes += written;
        Ok(written)
    }

    /// Whether an entry counts only together with the next one.
    fn goes_on(&self, epoch: &Epoch, version: Version) -> Result<bool, StoreError> {
        let index = epoch.index.read();
        let Some(meta) = index.entry(version) else { return Ok(false) };
        Ok(epoch.stretch.segment(meta.segment).entry(meta.offset)?.header.more)
    }

    /// The number of the next pack. What was left unfinished goes.
    fn next_pack(&self) -> Result<u32, StoreError> {
        let (disk, dir) = (self.log.disk(), pack_directory(&self.log));
        let mut last = 0;
        for dir in [&dir, &manifest::directory(self.path())] {
            for name in disk.list(dir).map_err(StoreError::io(dir, "list"))? {
                let name = name.to_string_lossy();
                if name.ends_with(".new") {
                    let path = dir.join(&*name);
                    disk.remove(&path).map_err(StoreError::io(&path, "remove"))?;
                }
                let number = name.strip_suffix(".pack").and_then(|stem| u32::from_str_radix(stem, 16).ok());
                last = last.max(number.unwrap_or(0));
            }
        }
        Ok(last + 1)
    }

    /// Goes on behind the newest checkpoint, if that is newer than the one that this process is behind.
    pub(crate) fn begin_behind_newest(&self) -> Result<(), StoreError> {
        let newest = manifest::list(&**self.log.disk(), self.path())?.last().copied();
        if newest.is_some_and(|newest| newest > self.now.read().index.read().start() && newest <= self.head()) {
            self.begin_anew(Epoch::newest(&self.log)?)?;
        }
        Ok(())
    }

    /// What is opened from now on goes on behind a checkpoint. Snapshots that are open keep what they have.
    fn begin_anew(&self, epoch: Epoch) -> Result<(), StoreError> {
        epoch.read_to(self.head())?;
        let mut now = self.now.write();
        // Two threads that come to do so may have looked at different times.
        if epoch.index.read().start() > now.index.read().start() {
            *now = Arc::new(epoch);
        }
        Ok(())
    }
}

/// A snapshot's pages, given a database that differs from it by no more than the changed ones.
fn put_to_rest(
    snapshot: &Snapshot,
    old: &Root,
    changed: &[PageNo],
    writer: &mut Writer<'_>,
) -> Result<Root, StoreError> {
    let mut read = |no: PageNo| snapshot.page(no).map_err(|error| snapshot.broken(&error).into());
    writer.update::<StoreError>(old, snapshot.page_count(), changed, &mut read)
}

fn at_checkpoint(state: &BranchState, head: Version, root: Root) -> BranchAt {
    BranchAt {
        name: state.name.clone(),
        parent: state.parent,
        fork: state.fork,
        created_ms: state.created_ms,
        dropped: state.dropped,
        head,
        commits: state.commit_count(),
        merges: state.merges().to_vec(),
        root,
    }
}
