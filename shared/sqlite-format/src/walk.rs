//! Walks over a b-tree's pages and cells.

use maniac_base::PageNo;

use crate::{Cell, Database, FormatError, TreePage};

/// More levels than any tree of 2^32 pages can have: SQLite's own limit.
const MAX_DEPTH: usize = 20;

/// The cells of a b-tree in key order: the rows of a table, or the entries of an index. In an index b-tree the cells of
/// interior pages lie between the children's.
pub struct TreeWalk<'s> {
    db: Database<'s>,
    /// From the root down: each page and the next step to take on it.
    stack: Vec<(TreePage<'s>, usize)>,
    /// Pages read so far. A tree has no page twice, so more than the database has means a cycle.
    visited: u32,
}

impl<'s> TreeWalk<'s> {
    /// A walk over the tree, or the part of a tree, below `root`.
    pub fn new(db: &Database<'s>, root: PageNo) -> Result<TreeWalk<'s>, FormatError> {
        let mut walk = TreeWalk { db: *db, stack: Vec::new(), visited: 0 };
        walk.descend(root, PageNo(1), 0)?;
        Ok(walk)
    }

    fn descend(&mut self, no: PageNo, from: PageNo, offset: usize) -> Result<(), FormatError> {
        self.visited += 1;
        if self.stack.len() >= MAX_DEPTH || self.visited > self.db.page_count() {
            return Err(FormatError::malformed(no, 0, "the b-tree refers back to itself"));
        }
        let page = self.db.tree_page(no, from, offset)?;
        if let Some((parent, _)) = self.stack.last()
            && parent.kind().is_table() != page.kind().is_table()
        {
            return Err(FormatError::malformed(no, 0, "a b-tree mixes pages of tables and indexes"));
        }
        self.stack.push((page, 0));
        Ok(())
    }

    /// The next cell.
    #[allow(clippy::should_implement_trait, reason = "the cell borrows from the walk")]
    pub fn next(&mut self) -> Result<Option<Cell<'_>>, FormatError> {
        let cell = loop {
            let Some((page, step)) = self.stack.last_mut() else { return Ok(None) };
            let at = *step;
            *step += 1;
            if page.kind().is_leaf() {
                if at < page.cell_count() {
                    break at;
                }
                self.stack.pop();
                continue;
            }
            // Interior pages take the children only, or children and cells in turn.
            let child = if page.kind().is_table() { Some(at) } else { at.is_multiple_of(2).then_some(at / 2) };
            match child {
                Some(child) if child < page.child_count() => {
                    let (no, from) = (page.child(child)?, page.no());
                    self.descend(no, from, 0)?;
                }
                None if at / 2 < page.cell_count() => break at / 2,
                _ => {
                    self.stack.pop();
                }
            }
        };
        match self.stack.last() {
            Some((page, _)) => page.cell(cell).map(Some),
            None => Ok(None),
        }
    }
}

/// Calls `visit` with each page of a tree and the page that refers to it (the root with itself), reading interior pages
/// only: every leaf of a b-tree lies at the same depth, so the leaves are known from the level above them.
pub fn tree_pages(
    db: &Database<'_>,
    root: PageNo,
    mut visit: impl FnMut(PageNo, PageNo) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    visit(root, root)?;
    let height = height(db, root)?;
    let mut level = if height > 0 { vec![root] } else { Vec::new() };
    let mut seen = 1u64;
    for depth in 1..=height {
        let mut below = Vec::new();
        for parent in level {
            let page = db.tree_page(parent, parent, 0)?;
            if page.kind().is_leaf() {
                return Err(FormatError::malformed(parent, 0, "a leaf lies higher than the others"));
            }
            for child in page.children() {
                let child = child?;
                if child.0 == 0 || child.0 > db.page_count() {
                    return Err(FormatError::malformed(parent, 0, "refers to a page outside the database"));
                }
                seen += 1;
                if seen > u64::from(db.page_count()) {
                    return Err(FormatError::malformed(parent, 0, "the b-tree refers back to itself"));
                }
                visit(child, parent)?;
                if depth < height {
                    below.push(child);
                }
            }
        }
        level = below;
    }
    Ok(())
}

/// Levels above the leaves.
fn height(db: &Database<'_>, root: PageNo) -> Result<usize, FormatError> {
    let mut page = db.tree_page(root, PageNo(1), 0)?;
    for height in 0..MAX_DEPTH {
        if page.kind().is_leaf() {
            return Ok(height);
        }
        page = db.tree_page(page.child(0)?, page.no(), 0)?;
    }
    Err(FormatError::malformed(root, 0, "the b-tree is too deep"))
}

impl Database<'_> {
    /// Splits a tree in key order into the roots of at least `parts` subtrees where it has that many pages, to be read
    /// side by side. Only table b-trees split: the interior pages of an index hold entries of their own.
    pub fn subtrees(&self, root: PageNo, parts: usize) -> Result<Vec<PageNo>, FormatError> {
        let mut level = vec![root];
        for _ in 0..MAX_DEPTH {
            let first = self.tree_page(level[0], PageNo(1), 0)?;
            if level.len() >= parts || first.kind().is_leaf() || !first.kind().is_table() {
                return Ok(level);
            }
            let mut below = Vec::new();
            for no in level {
                for child in self.tree_page(no, PageNo(1), 0)?.children() {
                    below.push(child?);
                }
                if below.len() > self.page_count() as usize {
                    return Err(FormatError::malformed(no, 0, "the b-tree refers back to itself"));
                }
            }
            level = below;
        }
        Err(FormatError::malformed(root, 0, "the b-tree is too deep"))
    }
}
