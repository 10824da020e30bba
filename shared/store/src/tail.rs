//! What is written but not visible yet: the commits that wait for the disk.
//!
//! ```text
//!   entries   1 2 3 4 5 | 6 7 8          5 is visible: readers and the index end there
//!             └ index ┘   └ tail ┘       8 is written: the next writer of a branch builds on that
//! ```
//!
//! A writer builds on its branch's newest entry as soon as that is written, so that commits of one branch share fsyncs
//! as those of several do. It is told of its own commit only when its own entry, and with it every entry in front of
//! it, is on disk. Readers don't look here. If the disk fails, the tail is cut off (see `sync`), and whoever built on
//! it is told.

use std::sync::Arc;

use maniac_base::{BranchId, PageNo, Version};
use maniac_log::{Cursor, EntryKind, EntryRef, FrameRef, Losses};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::admit;
use crate::epoch::Epoch;
use crate::error::StoreError;
use crate::index::{BranchState, Location};
use crate::snapshot::Snapshot;
use crate::store::Store;

/// What a commit has to know of the tail.
#[derive(Default)]
pub(crate) struct Tail {
    /// The newest transaction of each branch that has one there.
    heads: FxHashMap<BranchId, Version>,
    /// Branches are created, dropped or renamed there.
    pub changes_branches: bool,
    /// That of its newest entry.
    pub time_ms: i64,
    /// 0 when no transaction is there.
    pub page_size: u32,
}

impl Tail {
    pub fn head(&self, branch: BranchId) -> Option<Version> {
        self.heads.get(&branch).copied()
    }
}

/// The pages of one branch that are in the tail.
pub(crate) struct Ahead {
    /// What has the segments that the pages are in.
    pub epoch: Arc<Epoch>,
    /// By entry, from old to new; the pages of an entry are in ascending order.
    entries: Vec<Vec<(PageNo, Location)>>,
    pub losses: Losses,
    /// Pages put together from differences.
    pub assembled: Mutex<FxHashMap<PageNo, Arc<[u8]>>>,
}

impl Ahead {
    /// What the tail has of a page, from new to old, down to the first whole image. Nothing if it has not written it.
    pub fn pieces(&self, page: PageNo) -> Vec<Location> {
        let mut pieces: Vec<Location> = Vec::new();
        for entry in self.entries.iter().rev() {
            if let Ok(n) = entry.binary_search_by_key(&page, |(no, _)| *no) {
                pieces.push(entry[n].1);
                if entry[n].1.stored.is_image() {
                    break;
                }
            }
        }
        pieces
    }

    pub fn pages(&self) -> impl Iterator<Item = PageNo> + '_ {
        self.entries.iter().flatten().map(|(page, _)| *page)
    }
}

/// An entry behind the index, and where it lies.
pub(crate) struct Unseen<'a> {
    pub entry: EntryRef<'a>,
    pub segment: u32,
    pub offset: u64,
    /// It is a transaction that has an effect.
    pub commits: bool,
    /// It is about branches, of which the index then knows too little.
    pub changes_branches: bool,
}

impl Store {
    /// Visits the entries behind the index, from old to new. The visitor says whether to go on. Gives the epoch that they
    /// are in, and the version that its index ends with.
    pub(crate) fn visit_tail(
        &self,
        visit: &mut dyn FnMut(&Unseen<'_>) -> Result<bool, StoreError>,
    ) -> Result<(Arc<Epoch>, Version), StoreError> {
        let (losses, written) = (self.log.losses(), self.log.head().written());
        // The lock keeps the cursor where the index ends.
        let epoch = self.now();
        let place = epoch.cursor.lock();
        let end = epoch.index.read().last();
        let (mut cursor, mut last) = (*place, end);
        let mut heads: FxHashMap<BranchId, Version> = FxHashMap::default();
        while last < written {
            let entry = match epoch.stretch.read(last, &mut cursor) {
                // What is being cut off is none any more.
                Err(_) if self.log.losses() != losses => break,
                entry => entry?,
            };
            let header = entry.header;
            let known = || epoch.index.read().branch(header.branch).map(BranchState::head);
            let commits = header.kind == Some(EntryKind::Transaction)
                && heads
                    .get(&header.branch)
                    .copied()
                    .or_else(known)
                    .is_none_or(|head| admit::counts(header.base, head));
            if commits {
                heads.insert(header.branch, header.version);
            }
            let changes_branches = header.kind.is_some_and(|kind| kind != EntryKind::Transaction);
            let Cursor { segment, offset } = cursor;
            if !visit(&Unseen { entry, segment, offset, commits, changes_branches })? {
                break;
            }
            cursor.offset += header.length;
            last = header.version;
        }
        Ok((epoch.clone(), end))
    }

    /// The caller holds the append lock, so that the tail ends where it does.
    pub(crate) fn tail(&self) -> Result<Tail, StoreError> {
        let mut tail = Tail::default();
        self.visit_tail(&mut |unseen| {
            let header = &unseen.entry.header;
            tail.time_ms = tail.time_ms.max(header.time_ms);
            tail.changes_branches |= unseen.changes_branches;
            if unseen.commits {
                tail.heads.insert(header.branch, header.version);
                tail.page_size = header.page_size;
            }
            Ok(true)
        })?;
        Ok(tail)
    }

    /// Whether entries of the tail bear on this branch. Those of other branches are commits under way, and none of its
    /// business.
    pub(crate) fn tail_touches(&self, branch: BranchId) -> Result<bool, StoreError> {
        let mut touches = false;
        self.visit_tail(&mut |unseen| {
            touches = unseen.entry.header.branch == branch || unseen.changes_branches;
            Ok(!touches)
        })?;
        Ok(touches)
    }

    /// The branch's newest version that is written, visible or not. The caller holds the branch's write lock.
    pub fn written_head(&self, branch: BranchId) -> Result<Version, StoreError> {
        let mut head = self.branch_head(branch)?;
        if self.log.head().written() > self.log.head().visible() {
            self.visit_tail(&mut |unseen| {
                if unseen.commits && unseen.entry.header.branch == branch {
                    head = unseen.entry.header.version;
                }
                Ok(true)
            })?;
        }
        Ok(head)
    }

    /// The branch as the next transaction on it finds it: with what is written and not visible yet. The caller holds the
    /// branch's write lock.
    pub fn snapshot_to_write(self: &Arc<Self>, branch: BranchId) -> Result<Snapshot, StoreError> {
        self.at_present(|| self.snapshot_with_tail(branch))
    }

    fn snapshot_with_tail(self: &Arc<Self>, branch: BranchId) -> Result<Snapshot, StoreError> {
        let losses = self.log.losses();
        let visible = self.refresh()?;
        if self.log.head().written() == visible {
            return self.snapshot(branch, visible);
        }
        let (mut entries, mut newest, mut other) = (Vec::new(), None, false);
        let (epoch, base) = self.visit_tail(&mut |unseen| {
            let Unseen { entry, segment, offset, commits, changes_branches } = unseen;
            other |= changes_branches;
            if *commits && entry.header.branch == branch {
                let place = |frame: FrameRef| {
                    let within = (frame.offset / 8) as u32;
                    (frame.page, Location { segment: *segment, entry: *offset, offset: within, stored: frame.stored })
                };
                entries.push(entry.frames().map(place).collect());
                newest = Some((entry.header.version, entry.header.page_count, entry.header.page_size));
            }
            Ok(!other)
        })?;
        if other {
            self.publish_up_to(self.log.head().written(), losses)?;
            return self.snapshot(branch, self.head());
        }
        self.known_branch(&epoch.index.read(), branch)?;
        let snapshot = self.snapshot_in(&epoch, branch, base)?;
        let Some((version, page_count, page_size)) = newest else { return Ok(snapshot) };
        let ahead = Ahead { epoch, entries, losses, assembled: Mutex::default() };
        Ok(snapshot.with(version, page_count, page_size, ahead))
    }

    /// Makes everything up to `version` durable and visible, unless it is lost: what a writer built on and then gave up
    /// must not vanish from its sight.
    pub fn publish_up_to(&self, version: Version, losses: Losses) -> Result<(), StoreError> {
        self.log.publish_up_to(version, losses)?;
        self.refresh()?;
        Ok(())
    }
}
