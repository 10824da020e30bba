//! A table's rows straight from its pages, by several threads, only the columns asked for.
//!
//! The pages of a table's b-tree are known from its interior pages alone. Threads take runs of them; between two
//! calls a reader remembers no more than a page's place and a cell's, so that it borrows nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use maniac_base::{PageNo, PageSource};
use maniac_sqlite_format::{
    Database, FieldSource, KeyForm, PageKind, RowBlock, RowLayout, Selection, Table, TreePage, full_payload, tree_pages,
};
use maniac_store::Snapshot;

use super::{Reader, RowsView, TableScan};
use crate::error::{Error, Result};

/// Pages that a reader takes at once, at least: towards the end of a table, so that all readers end together.
const PAGES_AT_ONCE: usize = 32;
/// And at most: about as many as fill a row group of DuckDB, so that its keys follow each other.
const MOST_PAGES_AT_ONCE: usize = 2048;

/// Of the mapped log about so much stays in this process's memory, however large the table is.
const RELEASED_BYTES: usize = 64 << 20;

/// What a sample reads of a table: so many stretches of so many pages.
const SAMPLE_STRETCHES: usize = 8;
const SAMPLE_PAGES: usize = 32;

pub struct PageScan {
    snapshot: Snapshot,
    /// One source per column of the table.
    layout: RowLayout,
    pages: Vec<PageNo>,
    next: AtomicUsize,
    /// Store and version, for messages.
    shown: String,
}

impl PageScan {
    pub fn open(snapshot: Snapshot, database: &Database<'_>, table: &Table, shown: String) -> Result<PageScan> {
        let layout = layout_of(database, table);
        let mut pages = Vec::new();
        tree_pages(database, table.root, |page, _| {
            pages.push(page);
            Ok(())
        })
        .map_err(|error| Error::source(format!("{shown}: {error}")))?;
        Ok(PageScan { snapshot, layout, pages, next: AtomicUsize::new(0), shown })
    }
}

impl PageScan {
    /// The next pages for a reader, as places in `pages`.
    fn take(&self) -> Option<Range<usize>> {
        let end_of = |start: usize| start + run_of(self.pages.len() - start);
        let taken = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < self.pages.len()).then(|| end_of(next)));
        let taken = taken.ok().map(|start| start..end_of(start))?;
        // All readers' pages: what they are at is mapped again when they touch it.
        let pages = (RELEASED_BYTES / self.snapshot.page_size()).max(1);
        if taken.start / pages < taken.end / pages {
            self.snapshot.release();
        }
        Some(taken)
    }
}

/// How many of the pages that are left a reader takes.
fn run_of(left: usize) -> usize {
    (left / 8).clamp(PAGES_AT_ONCE, MOST_PAGES_AT_ONCE).min(left)
}

/// Where in so many pages the stretches of a sample are: all of them if they are few.
fn stretches_of(pages: usize) -> impl Iterator<Item = Range<usize>> {
    let (stretches, length) = match pages > SAMPLE_STRETCHES * SAMPLE_PAGES {
        true => (SAMPLE_STRETCHES, SAMPLE_PAGES),
        false => (1, pages),
    };
    (0..stretches).map(move |n| {
        let start = (pages - length) * n / (SAMPLE_STRETCHES - 1);
        start..start + length
    })
}

/// How to read rows in the shape of the table's `SourceTable`.
pub fn layout_of(database: &Database<'_>, table: &Table) -> RowLayout {
    let mut layout = RowLayout::new(table, database.header().encoding, Selection::Stored);
    if matches!(table.key_form(), KeyForm::Rowid) {
        layout.sources.insert(0, FieldSource::Rowid);
    }
    layout
}

impl TableScan for PageScan {
    fn parts(&self) -> usize {
        self.pages.len().div_ceil(PAGES_AT_ONCE)
    }

    fn sample(&self) -> Arc<dyn TableScan> {
        let pages = &self.pages;
        let stretches = stretches_of(pages.len()).flat_map(|stretch| pages[stretch].iter().copied());
        let (snapshot, layout, shown) = (self.snapshot.clone(), self.layout.clone(), self.shown.clone());
        Arc::new(PageScan { snapshot, layout, pages: stretches.collect(), next: AtomicUsize::new(0), shown })
    }

    fn reader(self: Arc<Self>, columns: &[usize]) -> Box<dyn Reader> {
        let sources = columns.iter().filter_map(|place| self.layout.sources.get(*place).cloned()).collect();
        let layout = RowLayout { encoding: self.layout.encoding, sources };
        let needed = layout.sources.iter().map(|source| match source {
            FieldSource::Field { index, .. } => index + 1,
            FieldSource::Rowid | FieldSource::Constant(_) => 0,
        });
        let needed = needed.max().unwrap_or(0);
        Box::new(PageReader { scan: self, layout, needed, block: RowBlock::new(needed), page: 0, end: 0, cell: 0 })
    }
}

struct PageReader {
    scan: Arc<PageScan>,
    layout: RowLayout,
    /// How many leading fields of a record are needed.
    needed: usize,
    block: RowBlock,
    /// The page under way and the end of those taken, as places in the scan's pages, and the next cell.
    page: usize,
    end: usize,
    cell: usize,
}

impl PageReader {
    /// Puts the next rows of a page into the block, at most `limit`, and shows them to `each`. A row that continues on
    /// other pages is shown alone.
    fn read_page(
        &mut self,
        database: &Database<'_>,
        page: &TreePage<'_>,
        limit: usize,
        each: &mut dyn FnMut(&RowsView<'_>) -> Result<()>,
    ) -> Result<usize> {
        let unreadable = |error: &dyn std::fmt::Display| Error::source(format!("{}: {error}", self.scan.shown));
        let malformed = |what: &'static str| unreadable(&format!("page {}: {what}", page.no()));
        self.block.clear();
        while self.cell < page.cell_count() && self.block.len() < limit {
            let cell = page.cell(self.cell).map_err(|error| unreadable(&error))?;
            if cell.overflow.is_some() && self.needed > 0 {
                if self.block.is_empty() {
                    let payload = full_payload(database, &cell).map_err(|error| unreadable(&error))?;
                    self.block.push(cell.rowid, &payload, 0..payload.len()).map_err(malformed)?;
                    self.cell += 1;
                    each(&self.block.rows(&self.layout, &payload))?;
                    return Ok(1);
                }
                break;
            }
            let record = cell.local_at..cell.local_at + cell.local.len();
            self.block.push(cell.rowid, page.bytes(), record).map_err(malformed)?;
            self.cell += 1;
        }
        each(&self.block.rows(&self.layout, page.bytes()))?;
        Ok(self.block.len())
    }
}

impl Reader for PageReader {
    fn read(&mut self, limit: usize, each: &mut dyn FnMut(usize, &RowsView<'_>) -> Result<()>) -> Result<usize> {
        let scan = self.scan.clone();
        let unreadable = |error: &dyn std::fmt::Display| Error::source(format!("{}: {error}", scan.shown));
        let Some(database) = Database::open(&scan.snapshot).map_err(|error| unreadable(&error))? else { return Ok(0) };
        let mut rows = 0;
        while rows < limit {
            if self.page >= self.end {
                let Some(pages) = scan.take() else { break };
                (self.page, self.end, self.cell) = (pages.start, pages.end, 0);
            }
            let no = scan.pages[self.page];
            let page = database.tree_page(no, no, 0).map_err(|error| unreadable(&error))?;
            let cells = if page.kind() == PageKind::InteriorTable { 0 } else { page.cell_count() };
            while self.cell < cells && rows < limit {
                rows += self.read_page(&database, &page, limit - rows, &mut |block| each(rows, block))?;
            }
            if self.cell >= cells {
                self.page += 1;
                self.cell = 0;
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_from_the_first_page_to_the_last() {
        for pages in [0, 1, 256] {
            assert!(stretches_of(pages).eq(std::iter::once(0..pages)));
        }
        for pages in [257, 1000, 1_000_000] {
            let stretches: Vec<_> = stretches_of(pages).collect();
            assert_eq!((stretches.len(), stretches[0].start, stretches[7].end), (8, 0, pages));
            assert!(stretches.windows(2).all(|pair| pair[0].end <= pair[1].start), "{stretches:?}");
        }
    }

    #[test]
    fn runs_shrink_towards_the_end_and_cover_all_pages() {
        for pages in [0, 1, 31, 32, 33, 500, 100_000] {
            let (mut left, mut runs) = (pages, Vec::new());
            while left > 0 {
                runs.push(run_of(left));
                left -= run_of(left);
            }
            assert_eq!(runs.iter().sum::<usize>(), pages);
            assert!(runs.iter().rev().is_sorted(), "{runs:?}");
            assert!(runs.iter().all(|run| (1..=MOST_PAGES_AT_ONCE).contains(run)), "{runs:?}");
        }
    }
}
