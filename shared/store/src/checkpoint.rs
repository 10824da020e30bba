//! A checkpoint: the pages of all branches, put to rest in packs, so that the log behind it is all that an opener reads.
//!
//! ```text
//!   log ──pages that changed since the last one──> chunks/*.pack ──then──> catalog/*.manifest
//! ```
//!
//! Nothing refers to a pack before the manifest has its name. What a process that was killed leaves behind is removed by
//! the next checkpoint.

use std::sync::Arc;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_chunk::{Compression, Packs, Root, Writer};
use maniac_log::LockFile;

use crate::epoch::{Epoch, pack_directory};
use crate::error::StoreError;
use crate::index::BranchState;
use crate::lock::CHECKPOINT;
use crate::manifest::{self, BranchAt, Manifest};
use crate::store::Store;

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
        let newest = manifest::list(&**self.log.disk(), self.path())?.last().copied();
        if newest.is_some_and(|newest| newest > self.now.read().index.read().start()) {
            self.begin_anew(Epoch::newest(&self.log)?)?;
        }
        self.refresh()?;
        let epoch = self.now();
        let (version, segment, offset) = {
            let cursor = epoch.cursor.lock();
            (epoch.index.read().last(), epoch.stretch.segment(cursor.segment).first, cursor.offset)
        };
        if version == epoch.index.read().start() || self.page_size() == 0 || self.goes_on(version)? {
            return Ok(None);
        }
        self.log.durable_to(version, self.log.losses())?;
        let disk = self.log.disk();
        for dir in [pack_directory(&self.log), manifest::directory(self.path())] {
            match disk.create_directory(&dir) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
                made => made.map_err(StoreError::io(&dir, "create the directory"))?,
            }
        }
        disk.sync_directory(self.path()).map_err(StoreError::io(self.path(), "fsync"))?;
        let number = self.next_pack()?;
        let none = Packs::new(disk.clone(), pack_directory(&self.log), self.id().0, self.page_size(), []);
        let packs = epoch.packs.as_ref().unwrap_or(&none);
        let mut writer = Writer::begin(packs, number, Compression::None)?;
        let roots = self.roots(&epoch, version, &mut writer)?;
        let bytes = if writer.is_empty() { 0 } else { writer.finish()? };
        let mut numbers: Vec<u32> = packs.numbers().chain((bytes > 0).then_some(number)).collect();
        numbers.sort_unstable();
        let manifest = {
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
                packs: numbers,
            }
        };
        manifest.write(&**disk, self.path(), self.id())?;
        self.begin_anew(Epoch::behind(&self.log, &manifest)?)?;
        Ok(Some(Checkpoint { version, bytes }))
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
            let root = writer.update::<StoreError>(&old, snapshot.page_count(), &changed, &mut |no: PageNo| {
                snapshot.page(no).map_err(|error| snapshot.broken(&error).into())
            })?;
            roots.push((snapshot.version(), root));
        }
        Ok(roots)
    }

    /// Whether an entry counts only together with the next one.
    fn goes_on(&self, version: Version) -> Result<bool, StoreError> {
        let epoch = self.now();
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

    /// What is opened from now on goes on behind a checkpoint. Snapshots that are open keep what they have.
    fn begin_anew(&self, epoch: Epoch) -> Result<(), StoreError> {
        epoch.read_to(self.head())?;
        *self.now.write() = Arc::new(epoch);
        Ok(())
    }
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
