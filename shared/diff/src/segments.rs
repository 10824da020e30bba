//! The cells of some segments of a tree, one after the other.

use maniac_sqlite_format::{Cell, Database, FormatError, TreePage};

use crate::tree_diff::Segment;
use crate::trim::same_cells;

/// A cursor over cells in key order.
pub(crate) struct Cells<'s, 'g> {
    db: Option<Database<'s>>,
    segments: std::slice::Iter<'g, Segment>,
    page: Option<TreePage<'s>>,
    cell: usize,
    end: usize,
}

impl<'s, 'g> Cells<'s, 'g> {
    /// Starts on the first cell. Without a database there are no segments.
    pub fn new(db: Option<&Database<'s>>, segments: &'g [Segment]) -> Result<Cells<'s, 'g>, FormatError> {
        let mut cells = Cells { db: db.copied(), segments: segments.iter(), page: None, cell: 0, end: 0 };
        cells.load()?;
        Ok(cells)
    }

    /// Goes to the next segment that has a cell.
    fn load(&mut self) -> Result<(), FormatError> {
        while self.cell >= self.end {
            let (Some(segment), Some(db)) = (self.segments.next(), &self.db) else {
                self.page = None;
                return Ok(());
            };
            // The cells of an interior page come one by one, with other pages between them.
            if self.page.as_ref().is_none_or(|page| page.no() != segment.page) {
                self.page = Some(db.tree_page(segment.page, segment.page, 0)?);
            }
            let count = self.page.as_ref().map_or(0, TreePage::cell_count);
            (self.cell, self.end) = match segment.cell {
                Some(cell) => (cell, (cell + 1).min(count)),
                None => (0, count),
            };
        }
        Ok(())
    }

    /// The cell that the cursor is on.
    #[inline]
    pub fn current(&self) -> Result<Option<Cell<'_>>, FormatError> {
        self.page.as_ref().map(|page| page.cell(self.cell)).transpose()
    }

    #[inline]
    pub fn advance(&mut self) -> Result<(), FormatError> {
        self.cell += 1;
        if self.cell < self.end { Ok(()) } else { self.load() }
    }

    /// Passes over the cells that are the same on both sides, if each side is at the start of one and the same leaf. The
    /// other side is the newer.
    pub fn skip_same(&mut self, other: &mut Cells<'_, '_>) -> Result<(), FormatError> {
        let (Some(mine), Some(theirs)) = (&self.page, &other.page) else { return Ok(()) };
        let at_start = |cells: &Cells<'_, '_>, page: &TreePage<'_>| cells.cell == 0 && cells.end == page.cell_count();
        if mine.no() != theirs.no() || !mine.kind().is_leaf() || !at_start(self, mine) || !at_start(other, theirs) {
            return Ok(());
        }
        let reach = other.db.as_ref().map_or(theirs.bytes().len(), |db| db.source().changed_bytes(theirs.no()).end);
        let (front, back) = same_cells(mine, theirs, reach);
        self.leave_out(front, back)?;
        other.leave_out(front, back)
    }

    fn leave_out(&mut self, front: usize, back: usize) -> Result<(), FormatError> {
        self.cell += front;
        self.end -= back;
        self.load()
    }
}
