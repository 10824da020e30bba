//! From transactions to entries: how their pages are stored, and whether they still may commit.

use std::borrow::Cow;
use std::sync::Arc;

use maniac_base::{BranchId, PageNo, PageSource, Term, Version};
use maniac_log::{Draft, Durability, EntryKind, Form, LogError, Losses, MergeNote, Stored};

use crate::admit;
use crate::append::Addition;
use crate::error::StoreError;
use crate::index::Index;
use crate::store::Store;
use crate::tail::Tail;
use crate::transaction::{Transaction, WriteLock};

/// A transaction of more pages is large: it is stored as whole pages, in a segment of its own, and its changesets are
/// better derived than held in memory and written beside the rows.
pub(crate) const LARGE: usize = 4096;

/// What capture adds to a transaction.
#[derive(Default)]
pub struct Payload {
    pub schema: Vec<u8>,
    pub changeset: Vec<u8>,
    /// The changesets are left out, for whoever reads the entry to derive.
    pub derived: bool,
    /// The branch, and its version, whose changes the transaction brings into this branch.
    pub merged: Option<(BranchId, Version)>,
}

/// A transaction that is ready to become a version.
pub struct Commit<'a> {
    pub transaction: &'a Transaction,
    /// The branch's lock, taken.
    pub lock: &'a WriteLock,
    /// What `Transaction::changed` gave.
    pub changed: &'a [PageNo],
    pub payload: &'a Payload,
}

impl Store {
    /// Appends transactions on different branches of this store, all or none. Gives the version of each, in order, once
    /// they are as durable as asked for.
    ///
    /// `appended` is told the versions as soon as they are in the log, before they count: whoever waits to write on one of
    /// the branches may build on them from then on. If the disk then fails, they are gone, and so is the branch's lock.
    pub fn commit(
        self: &Arc<Self>,
        commits: &[Commit<'_>],
        durability: Durability,
        appended: &mut dyn FnMut(&[Version], Losses),
    ) -> Result<Vec<Version>, StoreError> {
        let size = |commit: &Commit<'_>| commit.transaction.page_size() as u32;
        if let Some(other) = commits.iter().find(|commit| size(commit) != size(&commits[0])) {
            return Err(StoreError::PageSize { store: size(&commits[0]), asked: size(other) });
        }
        let stored: Vec<Ready<'_>> = commits.iter().map(Ready::new).collect();
        let additions = stored.iter().map(|stored| stored.addition(commits.len() == 1)).collect::<Result<_, _>>()?;
        let versions = |first: Version| (0..commits.len() as u64).map(|n| Version(first.0 + n)).collect::<Vec<_>>();
        let outcome = self.append(durability, additions, &mut |first, losses| {
            appended(&versions(first), losses);
            // Without a wait for the disk there is nothing to be had from it.
            if durability == Durability::Full {
                commits.iter().for_each(|commit| commit.lock.hand_on_early());
            }
        });
        commits.iter().for_each(|commit| commit.lock.commit_is_over());
        let versions = versions(outcome?);
        stored.iter().zip(&versions).for_each(|(stored, version)| stored.keep_assembled(*version));
        Ok(versions)
    }
}

/// A transaction whose pages have found their form.
struct Ready<'a> {
    transaction: &'a Transaction,
    payload: &'a Payload,
    pages: Vec<(PageNo, Stored)>,
}

impl<'a> Ready<'a> {
    fn new(commit: &Commit<'a>) -> Ready<'a> {
        assert!(commit.lock.is_held(), "a commit without the branch's write lock");
        let Commit { transaction, changed, payload, .. } = *commit;
        let stored = |page: &PageNo| match transaction.difference(*page) {
            Some(difference) => Stored::new(Form::Difference, difference.len()),
            None => Stored::new(Form::Image, transaction.page_size()),
        };
        let pages = changed.iter().map(|page| (*page, stored(page))).collect();
        Ready { transaction, payload, pages }
    }

    fn bytes(&self, page: PageNo) -> Result<Cow<'_, [u8]>, LogError> {
        match self.transaction.difference(page) {
            Some(difference) => Ok(Cow::Borrowed(difference)),
            None => self.transaction.page(page).map_err(|error| self.transaction.broken(&error)),
        }
    }

    fn draft(&self) -> Draft<'_> {
        let base = self.transaction.base();
        Draft {
            kind: EntryKind::Transaction,
            term: Term(0),
            branch: base.branch(),
            base: base.version(),
            page_size: self.transaction.page_size() as u32,
            page_count: self.transaction.page_count(),
            pages: &self.pages,
            stored: Box::new(|page| self.bytes(page)),
            schema: &self.payload.schema,
            changeset: &self.payload.changeset,
            derived: self.payload.derived,
            note: Cow::Owned(self.payload.merged.map_or_else(Vec::new, MergeNote::encode)),
        }
    }

    /// `alone`: the transaction is not a member of a group, which has to stay in one segment.
    fn addition(&self, alone: bool) -> Result<Addition<'_>, StoreError> {
        let store = self.transaction.base().store();
        let prepared = if alone && self.pages.len() > LARGE { store.log.prepare(&self.draft())? } else { None };
        let branch = self.transaction.base().branch();
        let base_losses = self.transaction.base().losses().map(|losses| (self.transaction.base().version(), losses));
        Ok(Addition {
            branch,
            about_branches: false,
            prepared,
            losses: base_losses,
            draft: Box::new(|index, tail| self.check(index, tail).map(|()| self.draft())),
        })
    }

    /// Whether the transaction still builds on its branch's head.
    fn check(&self, index: &Index, tail: &Tail) -> Result<(), StoreError> {
        let base = self.transaction.base();
        let state = base.store().known_branch(index, base.branch())?;
        let head = tail.head(base.branch()).unwrap_or(state.head());
        admit::propose(&state.name, base.version(), head)?;
        let asked = self.transaction.page_size() as u32;
        let have = if index.page_size() == 0 { tail.page_size } else { index.page_size() };
        if have != 0 && have != asked {
            return Err(StoreError::PageSize { store: have, asked });
        }
        Ok(())
    }

    /// The next transaction is likely to build on the pages of this one.
    fn keep_assembled(&self, version: Version) {
        let base = self.transaction.base();
        let epoch = base.store().now();
        let index = epoch.index.read();
        let lineage = index.lineage(base.branch(), version);
        let mut assembled = epoch.assembled.lock();
        for (page, _) in &self.pages {
            if let (Some(_), Some(image)) = (self.transaction.difference(*page), self.transaction.shared(*page))
                && let Some(newest) = index.find(&lineage[..1], *page)
            {
                // Few ask for the page before, and its memory is still in the processor's caches.
                index.older(newest).and_then(|older| assembled.pop(&index.location(older)));
                assembled.put(index.location(newest), image);
            }
        }
    }
}
