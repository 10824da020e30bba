//! The part of the b-trees that dirty pages lie in.

use maniac_base::PageNo;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::page_map::{PageMap, Parent};

/// Pages whose bytes may differ, and the way from each up to its root in the older snapshot. A subtree without a touched
/// page is the same in both snapshots.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    dirty: FxHashSet<PageNo>,
    /// Dirty pages of trees and everything above them.
    seen: FxHashSet<PageNo>,
    /// The touched children of a page, in no order.
    children: FxHashMap<PageNo, Vec<PageNo>>,
    roots: FxHashSet<PageNo>,
}

impl Touched {
    pub fn new(map: &PageMap, dirty: &[PageNo]) -> Touched {
        let mut touched = Touched::default();
        for &page in dirty {
            touched.add(map, page);
        }
        touched
    }

    /// Adds one more page to the dirty ones.
    pub fn add(&mut self, map: &PageMap, page: PageNo) {
        self.dirty.insert(page);
        let mut page = page;
        while let Some(parent) = map.parent(page) {
            if !self.seen.insert(page) {
                return;
            }
            match parent {
                Parent::Root => {
                    self.roots.insert(page);
                    return;
                }
                Parent::Page(parent) => {
                    self.children.entry(parent).or_default().push(page);
                    page = parent;
                }
            }
        }
    }

    pub fn is_dirty(&self, page: PageNo) -> bool {
        self.dirty.contains(&page)
    }

    pub fn is_touched(&self, page: PageNo) -> bool {
        self.seen.contains(&page)
    }

    pub fn dirty(&self) -> impl Iterator<Item = PageNo> + '_ {
        self.dirty.iter().copied()
    }

    pub fn children(&self, page: PageNo) -> &[PageNo] {
        self.children.get(&page).map_or(&[], Vec::as_slice)
    }

    /// The roots of the older snapshot's trees that hold a dirty page.
    pub fn roots(&self) -> &FxHashSet<PageNo> {
        &self.roots
    }
}
