//! What goes when nothing needs it any more: entries of the log, and checkpoints with their packs.
//!
//! ```text
//!   log          1 2 3 | 4 5 6 | 7 8 9 | 10 11 12        checkpoints at 3, 6, 9 and 11
//!                        └ base         └ now            kept: what was current from version 7 on
//! ```
//!
//! The base is the newest checkpoint that has everything that is kept behind it. What is in front of it goes, also while
//! others read it: they have it open. Between the base and the newest one, most checkpoints are needless, since the log
//! has it all.

use std::collections::BTreeSet;

use maniac_base::Version;
use maniac_log::{BranchNote, EntryKind, MergeNote, TARGET_BYTES, TagNote, segment_path};

use crate::epoch::pack_directory;
use crate::error::StoreError;
use crate::manifest::{self, Manifest};
use crate::retention::Retention;
use crate::store::Store;

/// Checkpoints stay so long, since somebody may be copying the directory.
const COPIED_MS: i64 = 60_000;

impl Store {
    /// Removes what nothing needs. Whoever calls holds the lock for making checkpoints.
    pub(crate) fn forget(&self) -> Result<(), StoreError> {
        let checkpoints = manifest::list(&**self.log.disk(), self.path())?;
        let Some(retained) = self.base(&checkpoints)? else { return Ok(()) };
        // Whoever gives a branch or a tag to an older version does so with the same lock, and looks whether that is there.
        let kept = self.log.while_nobody_appends(|| {
            let referred = self.oldest_referred()?;
            let base = referred.map_or(checkpoints.len(), |oldest| checkpoints.partition_point(|at| *at <= oldest));
            let Some(base) = base.checked_sub(1).map(|base| base.min(retained)) else { return Ok(None) };
            let kept = self.kept_checkpoints(&checkpoints[base..])?;
            self.remove_checkpoints(&checkpoints, &kept)?;
            Ok::<_, StoreError>(Some(kept))
        })?;
        let Some(kept) = kept else { return Ok(()) };
        let mut needed = BTreeSet::new();
        for version in &kept {
            needed.extend(self.manifest(*version)?.packs);
        }
        let disk = self.log.disk();
        // Only then what they were about.
        let dir = pack_directory(&self.log);
        for name in disk.list(&dir).map_err(StoreError::io(&dir, "list"))? {
            let number = name.to_str().and_then(|name| u32::from_str_radix(name.strip_suffix(".pack")?, 16).ok());
            if number.is_some_and(|number| !needed.contains(&number)) {
                let path = dir.join(name);
                disk.remove(&path).map_err(StoreError::io(&path, "remove"))?;
            }
        }
        let base = self.manifest(kept[0])?;
        if self.log.start()?.next() < base.segment {
            self.log.purge(base.segment)?;
        }
        Ok(())
    }

    /// The oldest version that the log refers to and that no checkpoint has for it, since that came later. The caller holds
    /// the append lock.
    fn oldest_referred(&self) -> Result<Option<Version>, StoreError> {
        self.refresh()?;
        let mut oldest: Option<Version> = None;
        let mut refer = |version: Version| oldest = Some(oldest.map_or(version, |oldest| oldest.min(version)));
        let (epoch, _) = self.visit_tail(&mut |unseen| {
            let note = unseen.entry.note().map_err(|defect| defect.at(self.path(), unseen.offset))?;
            let note = &*note;
            match unseen.entry.header.kind {
                Some(EntryKind::BranchCreated) => {
                    BranchNote::decode(note).into_iter().for_each(|note| refer(note.fork))
                }
                Some(EntryKind::Tagged) => TagNote::decode(note).into_iter().for_each(|note| refer(note.version)),
                _ => MergeNote::decode(note).into_iter().for_each(|(_, version)| refer(version)),
            }
            Ok(true)
        })?;
        epoch.index.read().referred_before().into_iter().for_each(refer);
        Ok(oldest)
    }

    fn remove_checkpoints(&self, all: &[Version], kept: &[Version]) -> Result<(), StoreError> {
        let disk = self.log.disk();
        let mut gone = all.iter().filter(|version| !kept.contains(version)).peekable();
        if gone.peek().is_none() {
            return Ok(());
        }
        gone.try_for_each(|version| manifest::remove(&**disk, self.path(), *version))?;
        let dir = manifest::directory(self.path());
        disk.sync_directory(&dir).map_err(StoreError::io(&dir, "fsync"))
    }

    fn manifest(&self, version: Version) -> Result<Manifest, StoreError> {
        Manifest::read(&**self.log.disk(), self.path(), self.id(), version, self.log.data_key())
    }

    /// Which of the checkpoints is the newest that has all that is kept behind it.
    fn base(&self, checkpoints: &[Version]) -> Result<Option<usize>, StoreError> {
        let behind = match self.retention()? {
            Retention::Versions(versions) => {
                let oldest = self.head().0.saturating_sub(versions);
                checkpoints.partition_point(|version| version.0 <= oldest)
            }
            Retention::Time(ms) => {
                let oldest = self.log.disk().now_ms().saturating_sub_unsigned(ms);
                let (mut low, mut high) = (0, checkpoints.len());
                while low < high {
                    let middle = (low + high) / 2;
                    if self.manifest(checkpoints[middle])?.time_ms <= oldest { low = middle + 1 } else { high = middle }
                }
                low
            }
        };
        Ok(behind.checked_sub(1))
    }

    /// Of the checkpoints from the base on: the first, the last, those of the last minute, and one for each 64 MiB of log, so
    /// that an older version is found without reading more of it than that.
    fn kept_checkpoints(&self, checkpoints: &[Version]) -> Result<Vec<Version>, StoreError> {
        let lately = self.log.disk().now_ms() - COPIED_MS;
        let (mut recent, newest) = (checkpoints.len() - 1, checkpoints.len() - 1);
        while recent > 1 && self.manifest(checkpoints[recent - 1])?.time_ms > lately {
            recent -= 1;
        }
        let mut kept: Vec<Version> = vec![checkpoints[0]];
        let (mut bytes, mut segments) = (0, self.log.list()?.into_iter().peekable());
        for (n, version) in checkpoints.iter().enumerate().skip(1) {
            while let Some(first) = segments.next_if(|first| *first <= *version) {
                let path = segment_path(self.path(), first);
                bytes += self.log.disk().stat(&path).map_err(StoreError::io(&path, "look at"))?.length;
            }
            if n == newest || n >= recent || bytes >= TARGET_BYTES {
                kept.push(*version);
                bytes = 0;
            }
        }
        Ok(kept)
    }
}
