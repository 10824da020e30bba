//! Finds the pages of one b-tree whose rows have to be looked at.
//!
//! The newer tree is walked from its root along touched pages only, which tells what it looks like now; then the older
//! one, which tells what it lost. Two facts make that complete at a cost proportional to the dirty pages:
//!
//! - A page that isn't dirty has the same children in both snapshots, so below it only touched children matter.
//! - A subtree without a dirty page that some page of the newer tree refers to is unchanged, wherever it hangs; one that
//!   none refers to any more is gone, though no page of it was written (SQLite frees pages without writing them).

use maniac_base::PageNo;
use maniac_sqlite_format::{Database, FormatError, TreePage};
use rustc_hash::FxHashSet;

use crate::DiffError;
use crate::page_map::{MapDelta, PageMap, Parent};
use crate::touched::Touched;

/// Some rows of a tree: all cells of a leaf, or one cell of an interior page of an index b-tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub page: PageNo,
    pub cell: Option<usize>,
}

/// The rows of a tree that may differ, each side in key order. Rows that are on neither side are unchanged.
#[derive(Debug, Default)]
pub(crate) struct TreeDiff {
    pub old: Vec<Segment>,
    pub new: Vec<Segment>,
}

/// More levels than a b-tree can have.
const MAX_DEPTH: usize = 20;

pub(crate) struct TreeDiffer<'a, 's> {
    pub map: &'a PageMap,
    pub touched: &'a Touched,
    pub old: Option<&'a Database<'s>>,
    pub new: Option<&'a Database<'s>>,
    /// Every page counts as dirty: the whole tree is compared.
    pub all: bool,
}

struct Walk<'a, 's, 'd> {
    differ: &'a TreeDiffer<'a, 's>,
    old_root: Option<PageNo>,
    /// Pages that visited pages of the newer tree refer to.
    referred: FxHashSet<PageNo>,
    result: TreeDiff,
    delta: &'d mut MapDelta,
    visits: u64,
}

impl<'s> TreeDiffer<'_, 's> {
    /// Compares a tree's older and newer form; a missing root means that there is none. What happens to the page map is
    /// added to `delta`.
    pub fn run(
        &self,
        old_root: Option<PageNo>,
        new_root: Option<PageNo>,
        delta: &mut MapDelta,
    ) -> Result<TreeDiff, DiffError> {
        let mut walk = Walk {
            differ: self,
            old_root,
            referred: FxHashSet::default(),
            result: TreeDiff::default(),
            delta,
            visits: 0,
        };
        if let (Some(root), Some(db)) = (new_root, self.new) {
            let fresh = old_root.is_none() || self.map.root_of(root) != old_root;
            if fresh || self.map.parent(root) != Some(Parent::Root) {
                walk.delta.set.push((root, Parent::Root));
            }
            walk.newer(db, root, fresh, 0, None).map_err(DiffError::New)?;
        }
        if let (Some(root), Some(db)) = (old_root, self.old) {
            walk.visits = 0;
            let retained = old_root == new_root || walk.referred.contains(&root);
            walk.older(db, root, retained, 0).map_err(DiffError::Old)?;
        }
        Ok(walk.result)
    }

    fn is_dirty(&self, page: PageNo) -> bool {
        self.all || self.touched.is_dirty(page)
    }
}

impl<'s> Walk<'_, 's, '_> {
    fn visit(&mut self, db: &Database<'_>, page: PageNo, depth: usize) -> Result<(), FormatError> {
        self.visits += 1;
        if depth >= MAX_DEPTH || self.visits > u64::from(db.page_count()) {
            return Err(FormatError::malformed(page, 0, "the b-tree refers back to itself"));
        }
        Ok(())
    }

    /// Walks the newer tree. `fresh`: the page was not part of this tree before.
    fn newer(
        &mut self,
        db: &Database<'s>,
        no: PageNo,
        fresh: bool,
        depth: usize,
        is_table: Option<bool>,
    ) -> Result<(), FormatError> {
        self.visit(db, no, depth)?;
        if !fresh && !self.differ.is_dirty(no) {
            for child in self.touched_children(db, no)? {
                self.newer(db, child, false, depth + 1, is_table)?;
            }
            return Ok(());
        }
        let page = db.tree_page(no, no, 0)?;
        let table = page.kind().is_table();
        if is_table.is_some_and(|expected| expected != table) {
            return Err(FormatError::malformed(no, 0, "a b-tree mixes pages of tables and indexes"));
        }
        if page.kind().is_leaf() {
            self.result.new.push(Segment { page: no, cell: None });
            return Ok(());
        }
        for i in 0..page.child_count() {
            let child = page.child(i)?;
            if !self.referred.insert(child) {
                return Err(FormatError::malformed(no, 0, "two pages refer to the same page"));
            }
            let parent = self.differ.map.parent(child);
            let stays = parent == Some(Parent::Page(no));
            let known = (stays && !fresh)
                || (parent.is_some() && self.differ.map.root_of(child) == self.old_root && self.old_root.is_some());
            if !known || !stays {
                self.delta.set.push((child, Parent::Page(no)));
            }
            if !known || self.differ.is_dirty(child) || self.differ.touched.is_touched(child) {
                self.newer(db, child, !known, depth + 1, Some(table))?;
            }
            if !table && i < page.cell_count() {
                self.result.new.push(Segment { page: no, cell: Some(i) });
            }
        }
        Ok(())
    }

    /// Walks the older tree, after the newer one. `retained`: the page is part of the newer tree too.
    fn older(&mut self, db: &Database<'s>, no: PageNo, retained: bool, depth: usize) -> Result<(), FormatError> {
        self.visit(db, no, depth)?;
        if retained && !self.differ.is_dirty(no) {
            for child in self.touched_children(db, no)? {
                self.older(db, child, true, depth + 1)?;
            }
            return Ok(());
        }
        if !retained {
            self.delta.removed.push(no);
        }
        let page = db.tree_page(no, no, 0)?;
        if page.kind().is_leaf() {
            self.result.old.push(Segment { page: no, cell: None });
            return Ok(());
        }
        for i in 0..page.child_count() {
            let child = page.child(i)?;
            let retained = self.referred.contains(&child);
            if !retained || self.differ.all || self.differ.touched.is_touched(child) {
                self.older(db, child, retained, depth + 1)?;
            }
            if !page.kind().is_table() && i < page.cell_count() {
                self.result.old.push(Segment { page: no, cell: Some(i) });
            }
        }
        Ok(())
    }

    /// The touched children of a page that is the same in both snapshots, in key order.
    fn touched_children(&self, db: &Database<'s>, no: PageNo) -> Result<Vec<PageNo>, FormatError> {
        let touched = self.differ.touched.children(no);
        if touched.len() < 2 {
            return Ok(touched.to_vec());
        }
        let page: TreePage<'_> = db.tree_page(no, no, 0)?;
        let mut ordered = Vec::with_capacity(touched.len());
        for child in page.children() {
            let child = child?;
            if self.differ.touched.is_touched(child) {
                ordered.push(child);
            }
        }
        Ok(ordered)
    }
}
