//! The entries of one branch's line, in order: what a consumer follows.

use std::sync::Arc;

use maniac_base::{BranchId, PageNo, Version};
use maniac_log::{Defect, EntryKind, TARGET_BYTES};

use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::index::Lineage;
use crate::store::Store;

/// One transaction of a branch's line, or another entry that bears on the branch.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: Version,
    pub branch: BranchId,
    /// The version that it was built on.
    pub base: Version,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    pub kind: EntryKind,
    /// Bytes that it takes in the log.
    pub bytes: u64,
    /// Pages that it wrote, in ascending order.
    pub pages: Vec<PageNo>,
    /// Session changeset of the changed `sqlite_schema` rows; empty if there are none.
    pub schema: Vec<u8>,
    /// Session changeset of the changed rows, in the shapes of the schema after the transaction.
    pub changeset: Vec<u8>,
    /// The two changesets are not in the log: they follow from the snapshots before and after.
    pub derived: bool,
    /// Tables whose rows were not asked for when the changesets were derived.
    pub left_out: Vec<String>,
    /// The version that the changesets lead from: the base, unless nothing of that can be read and they were derived.
    pub since: Version,
    /// The oldest version that a part of them leads from: tables that could not be read for a while have their changes
    /// since then.
    pub reaches: Version,
    /// What can't be told of the transaction, since a snapshot can't be read.
    pub unreadable: Vec<Unreadable>,
}

/// A table whose changes are not told yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Nothing where no table can be read.
    pub table: Option<String>,
    /// Its name when it could be read, if that was another one.
    pub was: Option<String>,
    pub reason: String,
}

pub struct Entries {
    store: Arc<Store>,
    /// What has the next versions.
    epoch: Arc<Epoch>,
    lineage: Lineage,
    next: Version,
    head: Version,
    /// The segment that was read last.
    segment: Option<u32>,
}

impl Store {
    /// The entries of the branch's line (its own, and its ancestors' up to the forks) after version `after`, up to the
    /// head as it is now.
    pub fn entries(self: &Arc<Self>, branch: BranchId, after: Version) -> Result<Entries, StoreError> {
        let head = self.refresh()?;
        let epoch = self.now();
        let index = epoch.index.read();
        self.known_branch(&index, branch)?;
        Ok(Entries {
            store: self.clone(),
            epoch: epoch.clone(),
            lineage: index.lineage(branch, head),
            next: after.next(),
            head,
            segment: None,
        })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next <= self.head {
            let version = self.next;
            self.next = version.next();
            let (segment, offset) = {
                if let Err(error) = self.find_epoch(version) {
                    // Once is enough.
                    self.next = self.head.next();
                    return Some(Err(error));
                }
                let index = self.epoch.index.read();
                let meta = index.entry(version)?;
                if !meta.counts
                    || !self.lineage.iter().any(|(branch, limit)| *branch == meta.branch && version <= *limit)
                {
                    continue;
                }
                (meta.segment, meta.offset)
            };
            // However long the log is, one of its segments is in memory.
            if let Some(done) = self.segment.replace(segment).filter(|done| *done != segment) {
                self.epoch.stretch.segment(done).release();
            }
            return Some(self.read(segment, offset));
        }
        None
    }
}

impl Entries {
    /// Those of them up to a version.
    pub fn up_to(self, version: Version) -> Entries {
        Entries { head: self.head.min(version), ..self }
    }

    /// Goes on with the epoch that has a version, which no earlier one has.
    fn find_epoch(&mut self, version: Version) -> Result<(), StoreError> {
        let has = |epoch: &Epoch| {
            let index = epoch.index.read();
            index.start() < version && version <= index.last()
        };
        if !has(&self.epoch) {
            // However long the log is, one of its segments is in memory.
            self.segment = None;
            self.epoch.stretch.release();
            self.epoch = self.store.epoch_with(&self.store.now(), Version(version.0 - 1))?;
        }
        Ok(())
    }

    fn read(&self, segment: u32, offset: u64) -> Result<Entry, StoreError> {
        let segment = self.epoch.stretch.segment(segment);
        let entry = segment.entry(offset)?;
        let damaged = |defect: Defect| defect.at(segment.path(), offset);
        entry.check_body().map_err(damaged)?;
        let header = entry.header;
        let read = Entry {
            version: header.version,
            branch: header.branch,
            base: header.base,
            time_ms: header.time_ms,
            kind: header.kind.expect("entries that count are of known kinds"),
            bytes: header.length,
            pages: entry.frames().map(|frame| frame.page).collect(),
            schema: entry.schema().map_err(damaged)?.into_owned(),
            changeset: entry.changeset().map_err(damaged)?.into_owned(),
            derived: header.derived,
            left_out: Vec::new(),
            since: header.base,
            reaches: header.base,
            unreadable: Vec::new(),
        };
        // An entry that has a segment to itself was looked through for the checksums of its pages.
        if header.length > TARGET_BYTES {
            segment.release();
        }
        Ok(read)
    }
}
