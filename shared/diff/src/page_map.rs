//! Which page of a b-tree refers to which: enough to tell what tree any page belongs to.

use maniac_base::PageNo;
use maniac_sqlite_format::{Database, FormatError, tree_pages};

/// Not part of a b-tree: overflow, freelist, pointer map.
const NONE: u32 = 0;
/// The root of a b-tree, which no page refers to.
const ROOT: u32 = u32::MAX;
/// More levels than a b-tree can have.
const MAX_DEPTH: usize = 20;

/// Four bytes a page: its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageMap {
    parents: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Root,
    Page(PageNo),
}

/// What a transaction did to the map.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapDelta {
    /// Pages that left their tree. A page may at the same time be set as part of another.
    pub removed: Vec<PageNo>,
    pub set: Vec<(PageNo, Parent)>,
}

impl PageMap {
    /// The pages of all trees with these roots, by reading interior pages only.
    pub fn build(db: &Database<'_>, roots: impl Iterator<Item = PageNo>) -> Result<PageMap, FormatError> {
        let mut map = PageMap::empty(db);
        for root in roots {
            map.add(db, root).map_err(|(error, _)| error)?;
        }
        Ok(map)
    }

    pub fn empty(db: &Database<'_>) -> PageMap {
        PageMap { parents: vec![NONE; db.page_count() as usize + 1] }
    }

    /// Adds the pages of a tree. Fails half way where it can't be read, and where it meets another tree, whose root is told.
    pub fn add(&mut self, db: &Database<'_>, root: PageNo) -> Result<(), (FormatError, Option<PageNo>)> {
        let mut meets = None;
        let added = tree_pages(db, root, |page, parent| {
            // A root comes from `sqlite_schema`, which may say anything.
            let beyond = || FormatError::malformed(parent, 0, "a tree's page lies beyond the end of the database");
            let other = self.root_of(page);
            let slot = self.parents.get_mut(page.0 as usize).ok_or_else(beyond)?;
            if *slot != NONE {
                meets = other.filter(|other| *other != root);
                return Err(FormatError::malformed(parent, 0, "two pages refer to the same page"));
            }
            *slot = if page == root { ROOT } else { parent.0 };
            Ok(())
        });
        added.map_err(|error| (error, meets))
    }

    pub fn page_count(&self) -> u32 {
        self.parents.len().saturating_sub(1) as u32
    }

    pub fn parent(&self, page: PageNo) -> Option<Parent> {
        match self.parents.get(page.0 as usize) {
            None | Some(&NONE) => None,
            Some(&ROOT) => Some(Parent::Root),
            Some(&parent) => Some(Parent::Page(PageNo(parent))),
        }
    }

    /// The root of the tree that a page belongs to.
    pub fn root_of(&self, page: PageNo) -> Option<PageNo> {
        let mut page = page;
        for _ in 0..MAX_DEPTH {
            match self.parent(page)? {
                Parent::Root => return Some(page),
                Parent::Page(parent) => page = parent,
            }
        }
        None
    }

    pub fn apply(&mut self, delta: MapDelta, page_count: u32) {
        self.parents.resize(page_count as usize + 1, NONE);
        for page in delta.removed {
            if let Some(slot) = self.parents.get_mut(page.0 as usize) {
                *slot = NONE;
            }
        }
        for (page, parent) in delta.set {
            if let Some(slot) = self.parents.get_mut(page.0 as usize) {
                *slot = match parent {
                    Parent::Root => ROOT,
                    Parent::Page(parent) => parent.0,
                };
            }
        }
    }
}
