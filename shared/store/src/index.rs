//! What the log says, in memory: which entry holds which page, and the branches.
//!
//! Per page and branch the frames form a chain from new to old. Each frame also has a jump pointer further back, laid
//! out as a skew-binary list (Myers 1983, "An applicative random-access stack"), so that the newest frame at or below a
//! version is found in O(log n) steps, even for page 1, which every transaction writes. A frame costs 24 bytes, a
//! page's head 4, an entry 48.

use std::borrow::Cow;
use std::collections::BTreeMap;

use maniac_base::{BranchId, PageNo, Version};
use maniac_chunk::Root;
use maniac_log::{BranchNote, Defect, EntryKind, EntryRef, FrameRef, MergeNote, Stored, TagNote};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::admit;
use crate::manifest::{BranchAt, Manifest};
use crate::retention::{Retention, Tag};

const NONE: u32 = u32::MAX;

/// One page in one entry.
struct Frame {
    entry: u32,
    older: u32,
    jump: u32,
    depth: u32,
    /// Offset in the entry, in units of 8 bytes.
    offset: u32,
    stored: Stored,
}

/// An entry's note, opened.
fn note<'a>(entry: &EntryRef<'a>) -> Result<Cow<'a, [u8]>, String> {
    entry.note().map_err(|defect| match defect {
        Defect::Damaged(reason) => reason.to_owned(),
        Defect::Newer(what, kind) => format!("{what} {kind}, which this build does not know"),
    })
}

/// One entry of the log.
pub struct EntryMeta {
    pub branch: BranchId,
    /// Which segment, in the order in which this process opened them.
    pub segment: u32,
    pub offset: u64,
    pub page_count: u32,
    /// It has an effect: it is neither stale nor of a kind that this build passes over.
    pub counts: bool,
    pub time_ms: i64,
}

/// One page in one entry, as the index numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId(u32);

/// Where the bytes of a page lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    pub segment: u32,
    /// Where its entry starts.
    pub entry: u64,
    /// Offset in the entry, in units of 8 bytes.
    pub offset: u32,
    pub stored: Stored,
}

impl Location {
    /// The frame of the entry, which is one of this page.
    pub fn frame(&self, page: PageNo) -> FrameRef {
        FrameRef { page, stored: self.stored, offset: 8 * u64::from(self.offset) }
    }
}

/// A page: the newest bytes that are stored of it, and, while those are differences, the older ones that they build on.
pub type Pieces = Vec<Location>;

/// The newest frame of each page, as a table of tables, because a branch may write few of many pages.
#[derive(Default)]
struct Heads(Vec<Option<Box<HeadLeaf>>>);

/// The newest frames of neighbouring pages, and the newest of them all: what is unchanged since then is passed over.
struct HeadLeaf {
    newest: u32,
    slots: [u32; Heads::LEAF],
}

impl Heads {
    const LEAF: usize = 1024;

    fn get(&self, page: PageNo) -> u32 {
        let at = page.0 as usize;
        self.0.get(at / Heads::LEAF).and_then(Option::as_ref).map_or(NONE, |leaf| leaf.slots[at % Heads::LEAF])
    }

    /// `frame` is newer than all that were set before.
    fn set(&mut self, page: PageNo, frame: u32) {
        let at = page.0 as usize;
        if self.0.len() <= at / Heads::LEAF {
            self.0.resize_with(at / Heads::LEAF + 1, || None);
        }
        let empty = || Box::new(HeadLeaf { newest: NONE, slots: [NONE; Heads::LEAF] });
        let leaf = self.0[at / Heads::LEAF].get_or_insert_with(empty);
        leaf.newest = frame;
        leaf.slots[at % Heads::LEAF] = frame;
    }

    /// The pages whose newest frame is `first` or a later one.
    fn since(&self, first: u32) -> impl Iterator<Item = PageNo> + '_ {
        let leaves = self.0.iter().enumerate().filter_map(|(n, leaf)| Some((n, leaf.as_ref()?)));
        leaves.filter(move |(_, leaf)| leaf.newest >= first).flat_map(move |(n, leaf)| {
            let slots = leaf.slots.iter().enumerate().filter(move |(_, frame)| **frame != NONE && **frame >= first);
            slots.map(move |(at, _)| PageNo((n * Heads::LEAF + at) as u32))
        })
    }
}

pub struct BranchState {
    pub name: String,
    pub parent: Option<BranchId>,
    pub fork: Version,
    pub created_ms: i64,
    pub dropped: bool,
    /// What it was at the checkpoint that the index starts with, if it was there.
    at_checkpoint: Option<AtCheckpoint>,
    /// Versions of the transactions on this branch since, in order.
    commits: Vec<Version>,
    /// The transactions among them that merged another branch, and what of it.
    merges: Vec<(Version, BranchId, Version)>,
    heads: Heads,
}

/// A branch at a checkpoint.
struct AtCheckpoint {
    /// The version that it showed.
    head: Version,
    commits: u64,
    root: Root,
}

impl BranchState {
    fn new(name: String, parent: Option<BranchId>, fork: Version, created_ms: i64) -> BranchState {
        BranchState {
            name,
            parent,
            fork,
            created_ms,
            dropped: false,
            at_checkpoint: None,
            commits: Vec::new(),
            merges: Vec::new(),
            heads: Heads::default(),
        }
    }

    fn at_checkpoint(branch: &BranchAt) -> BranchState {
        let BranchAt { name, parent, fork, created_ms, dropped, head, commits, merges, root } = branch.clone();
        let at_checkpoint = Some(AtCheckpoint { head, commits, root });
        BranchState { dropped, at_checkpoint, merges, ..BranchState::new(name, parent, fork, created_ms) }
    }

    /// The newest version of this branch.
    pub fn head(&self) -> Version {
        let before = self.at_checkpoint.as_ref().map_or(self.fork, |at| at.head);
        self.commits.last().copied().unwrap_or(before)
    }

    /// Its pages at the checkpoint that the index starts with, if it was there.
    pub fn root(&self) -> Option<Root> {
        self.at_checkpoint.as_ref().map(|at| at.root)
    }

    /// How many transactions were committed on it.
    pub fn commit_count(&self) -> u64 {
        self.at_checkpoint.as_ref().map_or(0, |at| at.commits) + self.commits.len() as u64
    }

    /// The transactions that merged another branch, and what of it.
    pub fn merges(&self) -> &[(Version, BranchId, Version)] {
        &self.merges
    }

    /// The branch's newest transaction at or below `at`, if it has one of its own there.
    fn commit_at(&self, at: Version) -> Option<Version> {
        let n = self.commits.partition_point(|version| *version <= at);
        n.checked_sub(1).map(|n| self.commits[n])
    }
}

pub struct Index {
    /// What is in front of its first entry, which has the next version.
    start: Version,
    /// There is a checkpoint at its start: what was before is there.
    has_checkpoint: bool,
    /// The time of what is in front of its first entry.
    start_ms: i64,
    entries: Vec<EntryMeta>,
    frames: Vec<Frame>,
    /// By branch id; ids are given in order.
    branches: Vec<BranchState>,
    page_size: u32,
    retention: Retention,
    tags: BTreeMap<String, Tag>,
    /// Older databases that the checkpoint has: a branch at a version, the version that it shows, and its pages.
    pins: FxHashMap<(BranchId, Version), (Version, Root)>,
    live_bytes: u64,
    /// Bytes of its entries in the log.
    bytes: u64,
}

/// What lies behind the pages that an index knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: the branch, or what is left of its log, starts with this version.
    Nothing(Version),
    /// A database at rest, and the version that it shows.
    Checkpoint(Version, Root),
    /// The last of the branches that are looked through, in front of the checkpoint.
    Before,
}

/// The branches that a snapshot looks through, each with the newest version that counts there.
pub type Lineage = SmallVec<[(BranchId, Version); 2]>;

impl Index {
    /// The index of an empty log that goes on behind `start`, of a store made at `created_ms`.
    pub fn new(start: Version, created_ms: i64) -> Index {
        Index {
            start,
            has_checkpoint: false,
            start_ms: 0,
            entries: Vec::new(),
            frames: Vec::new(),
            branches: vec![BranchState::new("main".into(), None, start, created_ms)],
            page_size: 0,
            retention: Retention::default(),
            tags: BTreeMap::new(),
            pins: FxHashMap::default(),
            live_bytes: 0,
            bytes: 0,
        }
    }

    /// The index of a log that goes on behind a checkpoint.
    pub fn behind(manifest: &Manifest) -> Index {
        Index {
            start: manifest.version,
            has_checkpoint: true,
            start_ms: manifest.time_ms,
            entries: Vec::new(),
            frames: Vec::new(),
            branches: manifest.branches.iter().map(BranchState::at_checkpoint).collect(),
            page_size: manifest.page_size,
            retention: manifest.retention,
            tags: manifest.tags.iter().map(|tag| (tag.name.clone(), tag.clone())).collect(),
            pins: manifest.pins.iter().map(|pin| ((pin.branch, pin.at), (pin.version, pin.root))).collect(),
            live_bytes: manifest.live_bytes,
            bytes: 0,
        }
    }

    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// In the order of their names.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.values()
    }

    pub fn tag(&self, name: &str) -> Option<&Tag> {
        self.tags.get(name)
    }

    /// Bytes of the checkpoint's packs that were needed when that was last counted.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// How many entries the log has behind the checkpoint, and their bytes.
    pub fn length(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.bytes)
    }

    /// The versions that branches are merged by: where the line of one leaves another's, and what was merged. Nothing that
    /// two heads have in common is newer.
    pub fn ancestors(&self) -> Vec<(BranchId, Version)> {
        let lines: Vec<Lineage> = self.branches().map(|(id, state)| self.lineage(id, state.head())).collect();
        let mut ancestors: Vec<(BranchId, Version)> = lines.iter().flat_map(|line| line[1..].iter().copied()).collect();
        if self.branches.iter().any(|branch| !branch.merges.is_empty()) {
            for (n, one) in lines.iter().enumerate() {
                ancestors.extend(lines[..n].iter().map(|other| self.common(one, other)));
            }
        }
        // Heads are there in any case.
        ancestors.retain(|(branch, at)| self.branch(*branch).is_none_or(|state| *at < state.head()));
        ancestors
    }

    /// What branches, tags and merges of the index refer to in front of it, and the checkpoint does not have.
    pub fn referred_before(&self) -> Vec<Version> {
        let forks = self.branches.iter().filter(|branch| branch.at_checkpoint.is_none());
        let forks = forks.filter_map(|branch| Some((branch.parent?, branch.fork)));
        let tags = self.tags.values().map(|tag| (tag.branch, tag.version));
        let merges = self.branches.iter().flat_map(|branch| &branch.merges);
        let merges =
            merges.filter(|(version, ..)| *version > self.start).map(|(_, branch, version)| (*branch, *version));
        let referred = forks.chain(tags).chain(merges);
        referred.filter_map(|(branch, at)| self.only_before(branch, at)).collect()
    }

    /// The version that a branch would have to be looked up at in front of the index, if it is not here.
    pub fn only_before(&self, branch: BranchId, at: Version) -> Option<Version> {
        let lineage = self.lineage(branch, at);
        match self.origin(&lineage) {
            (depth, Origin::Before) => Some(lineage[depth - 1].1),
            _ => None,
        }
    }

    /// A branch at an older version, if the checkpoint has it.
    pub fn pin(&self, branch: BranchId, at: Version) -> Option<(Version, Root)> {
        self.pins.get(&(branch, at)).copied()
    }

    pub fn last(&self) -> Version {
        Version(self.start.0 + self.entries.len() as u64)
    }

    /// The version behind which the index begins: 0, unless the log's beginning is gone, or there is a checkpoint.
    pub fn start(&self) -> Version {
        self.start
    }

    /// What is in front of the index is nowhere.
    pub fn is_cut(&self) -> bool {
        self.start > Version(0) && !self.has_checkpoint
    }

    /// How many entries of the log have at most this version.
    fn entries_to(&self, version: Version) -> u64 {
        version.0.saturating_sub(self.start.0)
    }

    pub fn page_images(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of memory that the index takes.
    pub fn memory(&self) -> usize {
        let branch = |state: &BranchState| {
            let leaves = state.heads.0.iter().flatten().count() * size_of::<HeadLeaf>();
            leaves + state.heads.0.capacity() * 8 + state.commits.capacity() * 8
        };
        self.entries.capacity() * size_of::<EntryMeta>()
            + self.frames.capacity() * size_of::<Frame>()
            + self.branches.iter().map(branch).sum::<usize>()
    }

    pub fn last_time_ms(&self) -> i64 {
        self.entries.last().map_or(self.start_ms, |entry| entry.time_ms)
    }

    /// Bytes in a page; 0 until the first transaction.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    pub fn entry(&self, version: Version) -> Option<&EntryMeta> {
        self.entries.get((self.entries_to(version) as usize).checked_sub(1)?)
    }

    pub fn branches(&self) -> impl Iterator<Item = (BranchId, &BranchState)> {
        self.branches.iter().enumerate().map(|(id, state)| (BranchId(id as u32), state)).filter(|(_, s)| !s.dropped)
    }

    pub fn branch(&self, id: BranchId) -> Option<&BranchState> {
        self.branches.get(id.0 as usize).filter(|state| !state.dropped)
    }

    /// A branch that may have been dropped.
    pub fn branch_ever(&self, id: BranchId) -> Option<&BranchState> {
        self.branches.get(id.0 as usize)
    }

    pub fn next_branch(&self) -> BranchId {
        BranchId(self.branches.len() as u32)
    }

    /// Takes in the next entry. An error says what makes it impossible.
    pub fn apply(&mut self, entry: &EntryRef<'_>, segment: u32, offset: u64) -> Result<(), String> {
        let header = &entry.header;
        if header.version != self.last().next() {
            return Err(format!("version {} follows version {}", header.version, self.last()));
        }
        let counts = match header.kind {
            None => false,
            Some(EntryKind::Transaction) => self.apply_transaction(entry)?,
            Some(EntryKind::BranchCreated) => {
                let note = BranchNote::decode(&note(entry)?).ok_or("a branch's note is malformed")?;
                self.know_branches_before(header.branch);
                if header.branch > self.next_branch() || note.parent.0 >= header.branch.0 {
                    return Err(format!("branch {} cannot be created from branch {}", header.branch, note.parent));
                }
                let is_next = header.branch == self.next_branch();
                if is_next {
                    self.branches.push(BranchState::new(note.name, Some(note.parent), note.fork, header.time_ms));
                }
                is_next
            }
            Some(EntryKind::BranchDropped) => self.change_branch(header.branch, |branch| branch.dropped = true)?,
            Some(EntryKind::BranchRenamed) => {
                let name = String::from_utf8(note(entry)?.into_owned()).map_err(|_| "a branch's name is not UTF-8")?;
                self.change_branch(header.branch, |branch| branch.name = name)?
            }
            Some(EntryKind::Retention | EntryKind::Tagged | EntryKind::Untagged) => {
                self.apply_setting(entry)?;
                false
            }
        };
        self.entries.push(EntryMeta {
            branch: header.branch,
            segment,
            offset,
            page_count: header.page_count,
            counts,
            time_ms: header.time_ms,
        });
        self.bytes += header.length;
        Ok(())
    }

    /// What says something of the store, and is not a part of any branch.
    fn apply_setting(&mut self, entry: &EntryRef<'_>) -> Result<(), String> {
        // A note is hearsay until the whole entry has been checked.
        entry.check_body().map_err(|_| "a setting does not match its checksum")?;
        let header = &entry.header;
        match header.kind {
            Some(EntryKind::Retention) => {
                self.retention = Retention::decode(&note(entry)?).ok_or("a retention is malformed")?;
            }
            Some(EntryKind::Tagged) => {
                let note = TagNote::decode(&note(entry)?).ok_or("a tag's note is malformed")?;
                self.know_branches_before(BranchId(header.branch.0 + 1));
                if header.branch >= self.next_branch() || note.version >= header.version {
                    return Err(format!("tag \"{}\" is of what is not there", note.name));
                }
                let TagNote { version, name } = note;
                let tag = Tag { name: name.clone(), branch: header.branch, version, created_ms: header.time_ms };
                // Of two that come at the same time, the first counts.
                self.tags.entry(name).or_insert(tag);
            }
            _ => {
                let name = String::from_utf8(note(entry)?.into_owned()).map_err(|_| "a tag's name is not UTF-8")?;
                self.tags.remove(&name);
            }
        }
        Ok(())
    }

    /// False if the branch has been dropped.
    fn change_branch(&mut self, id: BranchId, change: impl FnOnce(&mut BranchState)) -> Result<bool, String> {
        self.know_branches_before(BranchId(id.0 + 1));
        let branch = self.branches.get_mut(id.0 as usize).ok_or(format!("there is no branch {id}"))?;
        let there = !branch.dropped;
        if there {
            change(branch);
        }
        Ok(there)
    }

    /// Where the log's beginning is gone, branches were made there: they have a number, and a name that tells it.
    fn know_branches_before(&mut self, id: BranchId) {
        while self.is_cut() && self.next_branch() < id {
            let name = format!("#{}", self.next_branch());
            self.branches.push(BranchState::new(name, None, self.start, 0));
        }
    }

    /// Whether it counts.
    fn apply_transaction(&mut self, entry: &EntryRef<'_>) -> Result<bool, String> {
        let header = &entry.header;
        self.know_branches_before(BranchId(header.branch.0 + 1));
        let (start, is_cut, has_checkpoint) = (self.start, self.is_cut(), self.has_checkpoint);
        let branch = self.branches.get_mut(header.branch.0 as usize);
        let branch = branch.ok_or_else(|| format!("there is no branch {}", header.branch))?;
        if is_cut && branch.commits.is_empty() && branch.fork == start && header.base < start {
            // Its last transaction is gone with the log's beginning.
            branch.fork = header.base;
        }
        if branch.dropped || !admit::counts(header.base, branch.head()) {
            return Ok(false);
        }
        if self.page_size != 0 && header.page_size != self.page_size {
            return Err(format!("pages of {} bytes among pages of {}", header.page_size, self.page_size));
        }
        // A note is hearsay until the whole entry has been checked, and few have one.
        let merged = match header.note_len {
            0 => None,
            _ => {
                entry.check_body().map_err(|_| "a merge's note does not match its checksum")?;
                Some(MergeNote::decode(&note(entry)?).ok_or("a merge's note is malformed")?)
            }
        };
        if merged.is_some_and(|(branch, version)| branch >= self.next_branch() || version > self.last()) {
            return Err("a merge of what is not there".into());
        }
        let ordinal = u32::try_from(self.entries.len()).map_err(|_| "more than 2^32 entries")?;
        let Index { frames, branches, .. } = self;
        let branch = &mut branches[header.branch.0 as usize];
        if frames.len() + header.frames as usize >= NONE as usize {
            return Err("more than 2^32 page images".into());
        }
        for frame in entry.frames() {
            let head = branch.heads.get(frame.page);
            let offset = u32::try_from(frame.offset / 8).map_err(|_| "an entry of more than 32 GiB")?;
            // Or to what the branch's pages were at the checkpoint.
            let has_older = has_checkpoint && branch.at_checkpoint.is_some();
            if head == NONE && !frame.stored.is_image() && !has_older {
                if is_cut {
                    // What it is the difference to is gone with the log's beginning, and so is the page.
                    continue;
                }
                return Err(format!("page {} is stored as a difference to nothing", frame.page));
            }
            let id = frames.len() as u32;
            let (jump, depth) = match head {
                NONE => (id, 0),
                older => {
                    let (parent, far) = (&frames[older as usize], frames[older as usize].jump);
                    let (jump, further) = (&frames[far as usize], frames[far as usize].jump);
                    let even = parent.depth - jump.depth == jump.depth - frames[further as usize].depth;
                    (if even { further } else { older }, parent.depth + 1)
                }
            };
            frames.push(Frame { entry: ordinal, older: head, jump, depth, offset, stored: frame.stored });
            branch.heads.set(frame.page, id);
        }
        branch.commits.push(header.version);
        if let Some((from, version)) = merged {
            branch.merges.push((header.version, from, version));
        }
        self.page_size = header.page_size;
        Ok(true)
    }

    /// The newest version that `branch` shows at `at`: its own, or its ancestors' up to the fork.
    pub fn version_at(&self, branch: BranchId, at: Version) -> Version {
        let state = &self.branches[branch.0 as usize];
        match (state.commit_at(at), &state.at_checkpoint, state.parent) {
            (Some(version), ..) => version,
            // In front of the checkpoint whoever asks goes on elsewhere.
            (None, Some(at_checkpoint), _) => at_checkpoint.head.min(at),
            (None, None, Some(parent)) => self.version_at(parent, at.min(state.fork)),
            (None, None, None) => state.fork,
        }
    }

    /// Which branches of a lineage have to be looked through, the first ones, and what lies behind them.
    pub fn origin(&self, lineage: &Lineage) -> (usize, Origin) {
        for (n, (branch, limit)) in lineage.iter().enumerate() {
            if *limit < self.start
                && let Some((version, root)) = self.pin(*branch, *limit)
            {
                return (n + 1, Origin::Checkpoint(version, root));
            }
            if let Some(at) = &self.branches[branch.0 as usize].at_checkpoint {
                let origin = if *limit >= at.head { Origin::Checkpoint(at.head, at.root) } else { Origin::Before };
                return (n + 1, origin);
            }
        }
        let (last, _) = lineage.last().expect("a lineage has a branch");
        (lineage.len(), Origin::Nothing(self.branches[last.0 as usize].fork))
    }

    /// The newest transaction that the branches, the first ones of a lineage, have in the index.
    pub fn newest_commit(&self, lineage: &[(BranchId, Version)]) -> Option<Version> {
        lineage.iter().find_map(|(branch, limit)| self.branches[branch.0 as usize].commit_at(*limit))
    }

    /// Pages of the database at a branch's head; nothing if that is in front of the checkpoint.
    pub fn pages_at_head(&self, branch: BranchId) -> Option<u32> {
        let head = self.branches[branch.0 as usize].head();
        match (self.entry(head), self.origin(&self.lineage(branch, head)).1) {
            (Some(entry), _) => Some(entry.page_count),
            (None, Origin::Checkpoint(_, root)) => Some(root.pages),
            (None, Origin::Nothing(_)) => Some(0),
            (None, Origin::Before) => None,
        }
    }

    /// The pages that the branches, the first ones of a lineage, have written in the index.
    pub fn touched(&self, lineage: &[(BranchId, Version)]) -> Vec<PageNo> {
        lineage.iter().flat_map(|(branch, _)| self.branches[branch.0 as usize].heads.since(0)).collect()
    }

    /// When what is in front of the index was committed, if there is a checkpoint.
    pub fn checkpoint_ms(&self) -> Option<i64> {
        self.has_checkpoint.then_some(self.start_ms)
    }

    /// The newest version that was committed at or before a time, or what is in front of the index.
    pub fn last_at_time(&self, time_ms: i64) -> Version {
        Version(self.start.0 + self.entries.partition_point(|entry| entry.time_ms <= time_ms) as u64)
    }

    pub fn lineage(&self, branch: BranchId, at: Version) -> Lineage {
        let mut lineage = Lineage::from_slice(&[(branch, at)]);
        let (mut id, mut limit) = (branch, at);
        while let Some(parent) = self.branches[id.0 as usize].parent {
            limit = limit.min(self.branches[id.0 as usize].fork);
            id = parent;
            lineage.push((id, limit));
        }
        lineage
    }

    /// The newest frame of the page that the branches, the first of a lineage, show; nothing for a page that was never
    /// written, or only in front of the index.
    pub fn find(&self, lineage: &[(BranchId, Version)], page: PageNo) -> Option<FrameId> {
        lineage.iter().find_map(|(branch, at)| {
            let head = self.branches[branch.0 as usize].heads.get(page);
            self.newest(head, self.entries_to(*at)).map(FrameId)
        })
    }

    /// The pages that the two lineages show different frames of, in ascending order, found without reading a page: only
    /// what a branch wrote after the version that both share is looked at.
    ///
    /// What they have from in front of the index is not looked at.
    pub fn differing(&self, a: &Lineage, b: &Lineage) -> Vec<PageNo> {
        let limit = |lineage: &Lineage, id: BranchId| {
            lineage.iter().find(|(branch, _)| *branch == id).map_or(Version(0), |(_, at)| *at)
        };
        let mut pages: Vec<PageNo> = Vec::new();
        for &(branch, _) in a.iter().chain(b) {
            let (one, other) = (limit(a, branch), limit(b, branch));
            if one != other {
                let shared = one.min(other);
                let first = self.frames.partition_point(|frame| u64::from(frame.entry) < self.entries_to(shared));
                pages.extend(self.branches[branch.0 as usize].heads.since(first as u32));
            }
        }
        pages.sort_unstable();
        pages.dedup();
        let (one, other) = (&a[..self.origin(a).0], &b[..self.origin(b).0]);
        pages.retain(|&page| self.find(one, page) != self.find(other, page));
        pages
    }

    /// The newest version whose changes both lineages have: where they parted, or what one merged of the other since.
    pub fn common(&self, a: &Lineage, b: &Lineage) -> (BranchId, Version) {
        let limit = |lineage: &Lineage, id| lineage.iter().find(|(branch, _)| *branch == id).map(|(_, at)| *at);
        let parted = a.iter().find_map(|&(branch, at)| Some((branch, at.min(limit(b, branch)?))));
        let merges = [(a, b), (b, a)].into_iter().flat_map(|(into, from)| {
            let seen = into.iter().flat_map(|&(branch, at)| {
                let merges = &self.branches[branch.0 as usize].merges;
                merges.iter().filter(move |(version, ..)| *version <= at)
            });
            let seen = seen.map(|&(_, branch, version)| (branch, version));
            seen.filter(move |(branch, version)| limit(from, *branch).is_some_and(|limit| *version <= limit))
        });
        let newest = parted.into_iter().chain(merges).max_by_key(|(_, version)| *version);
        newest.unwrap_or((BranchId::MAIN, Version(0)))
    }

    /// The newest frame that the branch itself has of the page.
    pub fn find_own(&self, branch: BranchId, page: PageNo) -> Option<FrameId> {
        Some(self.branches[branch.0 as usize].heads.get(page)).filter(|id| *id != NONE).map(FrameId)
    }

    pub fn location(&self, id: FrameId) -> Location {
        let frame = &self.frames[id.0 as usize];
        let entry = &self.entries[frame.entry as usize];
        Location { segment: entry.segment, entry: entry.offset, offset: frame.offset, stored: frame.stored }
    }

    /// The same branch's frame of the page before this one.
    pub fn older(&self, id: FrameId) -> Option<FrameId> {
        Some(self.frames[id.0 as usize].older).filter(|older| *older != NONE).map(FrameId)
    }

    /// What makes up the page that ends with this frame. Where the last piece is a difference, it is one to what lies
    /// behind the index.
    pub fn pieces(&self, id: FrameId) -> Pieces {
        let mut pieces = Pieces::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let piece = self.location(id);
            pieces.push(piece);
            next = self.older(id).filter(|_| !piece.stored.is_image());
        }
        pieces
    }

    /// How many differences a frame builds on, itself included.
    pub fn differences(&self, id: FrameId) -> usize {
        let frame = |id: &u32| &self.frames[*id as usize];
        let chain = std::iter::successors(Some(id.0), |id| Some(frame(id).older).filter(|older| *older != NONE));
        chain.take_while(|id| !frame(id).stored.is_image()).count()
    }

    /// The newest frame of the chain that is one of the first `entries`.
    fn newest(&self, head: u32, entries: u64) -> Option<u32> {
        let mut id = head;
        while id != NONE {
            let frame = &self.frames[id as usize];
            if u64::from(frame.entry) < entries {
                return Some(id);
            }
            let jump = &self.frames[frame.jump as usize];
            id = if u64::from(jump.entry) < entries || frame.jump == id { frame.older } else { frame.jump };
        }
        None
    }
}
