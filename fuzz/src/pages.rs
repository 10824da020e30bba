//! Databases whose pages are not what they should be.

use std::borrow::Cow;

use maniac_base::{PageError, PageNo, PageSource};
use maniac_diff::{Tracker, diff};
use maniac_sqlite_format::{Database, Rows, Schema, Selection};

use crate::edit::Input;

/// Two tables, one of them WITHOUT ROWID, an index, overflow pages, freelist and pointer map. Pages of 512 bytes.
static VALID: &[u8] = include_bytes!("../seeds/tables.db");
const PAGE: usize = 512;

struct Pages(Vec<u8>);

impl PageSource for Pages {
    fn page_size(&self) -> usize {
        PAGE
    }

    fn page_count(&self) -> u32 {
        (self.0.len() / PAGE) as u32
    }

    fn page(&self, no: PageNo) -> Result<Cow<'_, [u8]>, PageError> {
        let start = (no.0 as usize).wrapping_sub(1).wrapping_mul(PAGE);
        let page = self.0.get(start..start.wrapping_add(PAGE));
        page.map(Cow::Borrowed).ok_or_else(|| PageError::out_of_range(no, self.page_count()))
    }
}

/// Reads every row of an edited database; then captures the edit as if a transaction had made it, and compares it with
/// the valid one.
pub fn database(data: &[u8]) {
    let mut bytes = VALID.to_vec();
    let touched = Input(data).apply(&mut bytes);
    let (valid, edited) = (Pages(VALID.to_vec()), Pages(bytes));
    read(&edited);
    let mut dirty: Vec<PageNo> = touched.iter().map(|place| PageNo((place / PAGE) as u32 + 1)).collect();
    // What a length or a copy has changed besides.
    dirty.extend((1..=edited.page_count()).map(PageNo).filter(|no| edited.page(*no).ok() != valid.page(*no).ok()));
    dirty.retain(|no| no.0 <= edited.page_count());
    dirty.sort_unstable();
    dirty.dedup();
    for (old, new) in [(&valid, &edited), (&edited, &valid)] {
        if let Ok(mut tracker) = Tracker::new(old)
            && let Ok(captured) = tracker.capture(old, new, &dirty)
        {
            tracker.advance(captured.update);
        }
        let _ = diff(old, new, &mut |_| Ok(()));
    }
}

fn read(pages: &Pages) {
    let (Ok(Some(db)), Ok(schema)) = (Database::open(pages), Schema::read(pages)) else { return };
    for table in &schema.tables {
        let Ok(mut rows) = Rows::new(&db, table, Selection::Stored) else { continue };
        let mut seen = 0;
        while let Ok(Some(row)) = rows.next() {
            row.values().for_each(drop);
            seen += 1;
            assert!(seen <= pages.0.len(), "a row takes a byte at least, and no page is read twice");
        }
    }
}
