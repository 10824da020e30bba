//! Creating, dropping, renaming and finding branches. Each is one small entry, whatever the database's size.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use maniac_base::{BranchId, PageSource, Term, Version};
use maniac_log::{BranchNote, Draft, Durability, EntryKind};

use crate::append::Addition;
use crate::error::StoreError;
use crate::index::{BranchState, Index};
use crate::manifest;
use crate::moment::{Moment, time_text};
use crate::store::Store;
use crate::tail::Tail;

/// Where a branch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    pub id: BranchId,
    pub name: String,
    pub parent: Option<BranchId>,
    /// The parent's version that the branch starts from.
    pub fork: Version,
    pub head: Version,
    /// Milliseconds since 1970-01-01 UTC; 0 for `main`, which is as old as the store.
    pub created_ms: i64,
    /// Pages of the database at the head.
    pub pages: u32,
    /// Transactions committed on the branch itself.
    pub commits: u64,
}

impl Store {
    /// All branches, in the order in which they were created.
    pub fn branches(self: &Arc<Self>) -> Result<Vec<Branch>, StoreError> {
        self.describe(|index| Ok(index.branches().map(|(id, _)| id).collect()))
    }

    pub fn branch(self: &Arc<Self>, name: &str) -> Result<Branch, StoreError> {
        let mut found = self.describe(|index| Ok(vec![self.find_branch(index, name)?.0]))?;
        Ok(found.remove(0))
    }

    /// The branch with this id, whatever it is called now.
    pub fn branch_by_id(self: &Arc<Self>, id: BranchId) -> Result<Branch, StoreError> {
        let mut found = self.describe(|index| self.known_branch(index, id).map(|_| vec![id]))?;
        Ok(found.remove(0))
    }

    fn describe(
        self: &Arc<Self>,
        which: impl Fn(&Index) -> Result<Vec<BranchId>, StoreError>,
    ) -> Result<Vec<Branch>, StoreError> {
        self.at_present(|| {
            self.refresh()?;
            let epoch = self.now();
            let found: Vec<(Branch, Option<u32>)> = {
                let index = epoch.index.read();
                let describe = |id| {
                    let state = self.known_branch(&index, id)?;
                    let branch = Branch {
                        id,
                        name: state.name.clone(),
                        parent: state.parent,
                        fork: state.fork,
                        head: state.head(),
                        created_ms: state.created_ms,
                        pages: 0,
                        commits: state.commit_count(),
                    };
                    Ok((branch, index.pages_at_head(id)))
                };
                which(&index)?.into_iter().map(describe).collect::<Result<_, StoreError>>()?
            };
            let pages = |(branch, pages): (Branch, Option<u32>)| match pages {
                Some(pages) => Ok(Branch { pages, ..branch }),
                None => {
                    let pages = self.snapshot_in(&epoch, branch.id, branch.head)?.page_count();
                    Ok(Branch { pages, ..branch })
                }
            };
            found.into_iter().map(pages).collect()
        })
    }

    /// The version that a branch shows at a moment.
    pub fn resolve(self: &Arc<Self>, branch: BranchId, moment: Moment) -> Result<Version, StoreError> {
        self.at_present(|| self.resolve_now(branch, &moment))
    }

    fn resolve_now(self: &Arc<Self>, branch: BranchId, moment: &Moment) -> Result<Version, StoreError> {
        let head = self.refresh()?;
        let epoch = self.now();
        let state = self.branch_by_id(branch)?;
        let future = |asked| StoreError::Future { asked, branch: state.name.clone(), head: state.head };
        // Where the log's beginning is gone, and there is no checkpoint instead.
        let cut = epoch.index.read().is_cut();
        let start = if cut { self.log.start()? } else { Version(0) };
        let last = match *moment {
            Moment::Version(version) if version > head => return Err(future(version.to_string())),
            Moment::Version(version) if version < start => {
                let first = start.next().to_string();
                return Err(before_history(&state.name, version.to_string(), first));
            }
            Moment::Version(version) => version,
            Moment::Tag(ref name) => {
                let index = epoch.index.read();
                let tag = index.tag(name).ok_or_else(|| self.no_such_tag(&index, name))?;
                let line = index.lineage(branch, head);
                if !line.iter().any(|(branch, limit)| *branch == tag.branch && tag.version <= *limit) {
                    let of = index.branch_ever(tag.branch).map_or_else(String::new, |of| of.name.clone());
                    return Err(StoreError::TagOfAnother { name: name.clone(), of, branch: state.name });
                }
                tag.version
            }
            Moment::Time(ms) if ms > self.log.disk().now_ms() => return Err(future(time_text(ms))),
            Moment::Time(ms) => self.epoch_at(&epoch, ms)?.index.read().last_at_time(ms),
        };
        let shown = cut.then(|| epoch.index.read().version_at(branch, last));
        let shown = shown.map_or_else(|| Ok(self.snapshot_in(&epoch, branch, last)?.version()), Ok::<_, StoreError>)?;
        match *moment {
            Moment::Time(ms) if shown <= start && state.head > shown => {
                let oldest = self.epoch_with(&epoch, start)?;
                let first = oldest.index.read().entry(start.next()).map(|entry| time_text(entry.time_ms));
                Err(before_history(&state.name, time_text(ms), first.unwrap_or_default()))
            }
            _ => Ok(shown),
        }
    }

    /// Makes a branch that starts as `from` is at `at` (its head by default).
    pub fn branch_create(self: &Arc<Self>, name: &str, from: &str, at: Option<Moment>) -> Result<Branch, StoreError> {
        check_branch_name(name)?;
        let parent = self.branch(from)?.id;
        let fork = at.map(|moment| self.resolve(parent, moment)).transpose()?;
        // The id of a branch that is yet to come: nothing unseen in the log can touch it.
        self.append_referring(BranchId(u32::MAX), &|index| {
            if index.branches().any(|(_, state)| state.name == name) {
                return Err(StoreError::BranchExists { name: name.to_owned() });
            }
            let state = self.known_branch(index, parent)?;
            let fork = fork.unwrap_or(state.head());
            let note = BranchNote { parent, fork, name: name.to_owned() }.encode();
            let branch = index.next_branch();
            Ok(Reference { kind: EntryKind::BranchCreated, branch, to: (parent, fork), note })
        })?;
        self.branch(name)
    }

    pub fn branch_drop(self: &Arc<Self>, name: &str) -> Result<(), StoreError> {
        let id = self.branch(name)?.id;
        // Nobody may be in the middle of a transaction on it.
        let mut lock = self.write_lock(id)?;
        lock.acquire()?;
        self.append_one(id, |index, _| {
            let refuse = |reason: String| StoreError::CannotDrop { name: name.to_owned(), reason };
            let state = self.known_branch(index, id)?;
            if id == BranchId::MAIN {
                return Err(refuse("it is the store's first branch".into()));
            }
            if let Some((_, child)) = index.branches().find(|(_, child)| child.parent == Some(id)) {
                return Err(refuse(format!("branch \"{}\" was made from it; drop that one first", child.name)));
            }
            Ok(plain(EntryKind::BranchDropped, id, state.head(), Vec::new()))
        })?;
        Ok(())
    }

    pub fn branch_rename(self: &Arc<Self>, from: &str, to: &str) -> Result<(), StoreError> {
        check_branch_name(to)?;
        let id = self.branch(from)?.id;
        self.append_one(id, |index, _| {
            let state = self.known_branch(index, id)?;
            if index.branches().any(|(other, state)| state.name == to && other != id) {
                return Err(StoreError::BranchExists { name: to.to_owned() });
            }
            Ok(plain(EntryKind::BranchRenamed, id, state.head(), to.as_bytes().to_vec()))
        })?;
        Ok(())
    }

    pub(crate) fn append_one<'a>(
        self: &Arc<Self>,
        branch: BranchId,
        draft: impl FnOnce(&Index, &Tail) -> Result<Draft<'a>, StoreError> + 'a,
    ) -> Result<Version, StoreError> {
        let draft = Box::new(draft);
        let addition = Addition { branch, about_branches: true, losses: None, prepared: None, draft };
        self.append(Durability::Full, vec![addition], &mut |_, _| ())
    }

    /// Appends what refers to a branch at some version, if that is kept. A checkpoint that comes later sees to it that it
    /// stays so.
    pub(crate) fn append_referring(
        self: &Arc<Self>,
        about: BranchId,
        refer: &dyn Fn(&Index) -> Result<Reference, StoreError>,
    ) -> Result<Version, StoreError> {
        loop {
            // What this process still has in memory need not be there for others.
            self.begin_behind_newest()?;
            let moved = Cell::new(false);
            let appended = self.append_one(about, |index, _| {
                let checkpoints = manifest::list(&**self.log.disk(), self.path())?;
                moved.set(checkpoints.last().is_some_and(|newest| *newest > index.start()));
                let Reference { kind, branch, to: (referred, at), note } = refer(index)?;
                let wanted = index.only_before(referred, at);
                let gone = wanted.filter(|at| checkpoints.first().is_none_or(|first| first > at));
                match gone {
                    Some(at) if moved.get() || self.log.start()? > Version(0) => {
                        Err(self.forgotten(format!("version {at}"), checkpoints[0]))
                    }
                    _ if moved.get() => Err(StoreError::Interrupted { what: "the change of branches" }),
                    _ => Ok(plain(kind, branch, at, note)),
                }
            });
            match appended {
                Err(_) if moved.get() => (),
                done => return done,
            }
        }
    }

    fn find_branch<'a>(&self, index: &'a Index, name: &str) -> Result<(BranchId, &'a BranchState), StoreError> {
        index.branches().find(|(_, state)| state.name == name).ok_or_else(|| self.no_such_branch(index, name))
    }

    /// The branch that an id stands for, which was dropped if it is not there.
    pub(crate) fn known_branch<'a>(&self, index: &'a Index, id: BranchId) -> Result<&'a BranchState, StoreError> {
        index.branch(id).ok_or_else(|| match index.branch_ever(id) {
            Some(state) => StoreError::BranchDropped { path: self.path().to_owned(), name: state.name.clone() },
            None => self.no_such_branch(index, &format!("#{id}")),
        })
    }

    pub(crate) fn no_such_branch(&self, index: &Index, name: &str) -> StoreError {
        let known: Vec<&str> = index.branches().map(|(_, state)| state.name.as_str()).collect();
        StoreError::NoSuchBranch { path: self.path().to_owned(), name: name.to_owned(), known: known.join(", ") }
    }
}

pub(crate) fn before_history(branch: &str, asked: String, first: String) -> StoreError {
    StoreError::BeforeHistory { asked, branch: branch.to_owned(), first }
}

/// What an entry of a branch says of an older version.
pub(crate) struct Reference {
    pub kind: EntryKind,
    pub branch: BranchId,
    pub to: (BranchId, Version),
    pub note: Vec<u8>,
}

/// An entry without pages.
pub(crate) fn plain<'a>(kind: EntryKind, branch: BranchId, base: Version, note: Vec<u8>) -> Draft<'a> {
    Draft {
        kind,
        term: Term(0),
        branch,
        base,
        page_size: 0,
        page_count: 0,
        pages: &[],
        stored: Box::new(|n| unreachable!("page {n} of an entry without pages")),
        schema: &[],
        changeset: &[],
        derived: false,
        note: Cow::Owned(note),
    }
}

/// Why something cannot be the name of a branch or a tag.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it is empty"),
        _ if name.len() > 255 => Err("it has more than 255 bytes"),
        _ if name.trim() != name || name.chars().any(char::is_control) => {
            Err("it starts or ends with a space, or holds a control character")
        }
        _ => Ok(()),
    }
}

fn check_branch_name(name: &str) -> Result<(), StoreError> {
    check_name(name).map_err(|reason| StoreError::BadBranchName { name: name.to_owned(), reason })
}
