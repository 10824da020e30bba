//! Whether a batch follows a table's changes row by row or copies the table as the batch leaves it, whichever costs less.
//!
//! ```text
//!   follow   each change is decoded and netted; each row that changed is found, deleted and written
//!   copy     the rows that the table then has are written; its changes in the batch are not even decoded
//! ```
//!
//! It is decided before a commit's rows are decoded, from about how many there are and about how many rows the table has. What
//! a mirror that is behind has spent on following a table counts until it has caught up: so in a backlog, too, no more is
//! spent on following a table than on a copy of it, however many batches it takes.

use std::collections::HashMap;

use maniac_base::Version;

use super::Applier;
use crate::schema::OnMismatch;
use crate::source::{Commit, Extent};

/// Fewer changed rows are followed: the table stays what others know it as, and none of this takes long. (With the feature
/// `copy-all`, which tests are run with, tables are copied as often as they may be.)
const FROM_ROWS: u64 = if cfg!(feature = "copy-all") { 1 } else { 10_000 };

/// Nanoseconds per row, in a table of a number and a text; more columns cost both ways more. `bench/run.sh large` and
/// `updates` show them.
struct Costs {
    decode: u64,
    write: u64,
    copy: u64,
    /// For a table, however small.
    table: u64,
}

const NATIVE: Costs = Costs { decode: 1_000, write: 3_500, copy: 350, table: 10_000_000 };
const LAKE: Costs = Costs { decode: 1_000, write: 4_500, copy: 300, table: 100_000_000 };

/// A transaction's changes of one table that take more memory are not held in it.
const MOST_MEMORY: u64 = 96 << 20;
/// What a changed row takes beside its bytes.
const ROW_MEMORY: u64 = 300;

/// How often a table's size is looked up: when so many more of its rows have changed than at the last time, in percent.
const LOOK_AGAIN: u64 = 25;

/// What is known of the tables that changed since the mirror was last up to date, by their names in the source in lower case.
#[derive(Debug, Default)]
pub struct CopyCosts {
    tables: HashMap<String, Counted>,
    /// A copy was refused: the batch follows everything.
    follow_all: bool,
    follow_next: bool,
}

#[derive(Debug, Default)]
struct Counted {
    /// Changed rows that the batch has.
    rows: u64,
    /// Spent on following earlier batches.
    spent: u64,
    size: Option<Size>,
    copied: bool,
}

/// About how many rows a table has.
#[derive(Clone, Copy, Debug)]
struct Size {
    before: u64,
    after: u64,
    /// Changed rows when that was looked up.
    at: u64,
}

impl Costs {
    fn follow(&self, rows: u64, size: Size) -> u64 {
        rows.saturating_mul(self.decode).saturating_add(written(rows, size).saturating_mul(self.write))
    }

    fn copy(&self, size: Size) -> u64 {
        size.after.saturating_mul(self.copy).saturating_add(self.table)
    }

    fn prefer_copy(&self, spent: u64, rows: u64, size: Size) -> bool {
        cfg!(feature = "copy-all")
            || written(rows, size) >= FROM_ROWS && spent.saturating_add(self.follow(rows, size)) > self.copy(size)
    }
}

/// So many rows are written when changes have been netted.
fn written(rows: u64, size: Size) -> u64 {
    rows.min(size.before.max(size.after))
}

impl CopyCosts {
    /// A batch begins. `behind`: it is one of a backlog.
    fn begin(&mut self, behind: bool, costs: &Costs) {
        self.follow_all = std::mem::take(&mut self.follow_next);
        if !behind {
            self.tables.clear();
        }
        self.tables.retain(|_, table| !table.copied);
        for table in self.tables.values_mut() {
            let any = Size { before: table.rows, after: table.rows, at: 0 };
            table.spent = table.spent.saturating_add(costs.follow(table.rows, table.size.unwrap_or(any)));
            (table.rows, table.size) = (0, None);
        }
    }
}

impl Applier {
    /// To be called before a batch's commits are read.
    pub fn begin_batch(&mut self, behind: bool) {
        let costs = self.costs();
        self.copy_costs.begin(behind, costs);
    }

    /// Whether a table's changes in a commit are followed, together with those of the batch so far. If not, nor are those.
    pub fn follows(&mut self, at: Version, table: &str, extent: Extent) -> bool {
        let costs = self.costs();
        let known = self.tables.place(table).map(|place| &self.tables[place]);
        // A copy would answer for values as well that an earlier policy has put aside.
        let bound =
            known.is_some_and(|known| self.on_mismatch == OnMismatch::Error && self.rejects.may_have(&known.name));
        if self.copy_costs.follow_all || bound {
            return true;
        }
        let weighed = self.copy_costs.tables.entry(table.to_ascii_lowercase()).or_default();
        let rows = weighed.rows + extent.rows;
        if weighed.copied || rows < FROM_ROWS {
            return !weighed.copied;
        }
        if weighed.size.is_none_or(|size| rows > size.at + size.at * LOOK_AGAIN / 100) {
            // What can't be read fails later, where that can be said.
            let size = |at| self.source.rows_about(at, table).unwrap_or(u64::MAX);
            let before = weighed.size.map_or_else(|| size(self.version), |size| size.before);
            weighed.size = Some(Size { before, after: size(at), at: rows });
        }
        let large = extent.rows.saturating_mul(ROW_MEMORY).saturating_add(extent.bytes) > MOST_MEMORY;
        let copy = weighed.size.is_some_and(|size| costs.prefer_copy(weighed.spent, rows, size));
        // Of a table that the mirror doesn't have nothing is needed; of one that the batch renames, or makes, a copy.
        weighed.copied = known.is_none() || copy || large;
        !weighed.copied
    }

    /// Notes that the batch has the commit too.
    pub fn count(&mut self, commit: &Commit) {
        for changes in &commit.tables {
            let weighed = self.copy_costs.tables.entry(changes.table.to_ascii_lowercase()).or_default();
            weighed.rows += changes.rows.len() as u64;
        }
    }

    /// The next batch follows everything: a mirror that stops at values that don't fit stops before the transaction that
    /// brought one, and at none that it had before.
    pub fn follow_next(&mut self) {
        self.copy_costs.follow_next = true;
    }

    fn costs(&self) -> &'static Costs {
        if self.target.lake { &LAKE } else { &NATIVE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(costs: &Costs, rows: u64, before: u64, after: u64) -> bool {
        costs.prefer_copy(0, rows, Size { before, after, at: rows })
    }

    #[cfg(not(feature = "copy-all"))]
    #[test]
    fn a_table_of_which_much_changes_is_copied() {
        for costs in [&NATIVE, &LAKE] {
            assert!(copies(costs, 3_000_000, 0, 3_000_000), "insert");
            assert!(copies(costs, 3_000_000, 3_000_000, 3_000_000), "update");
            assert!(copies(costs, 3_000_000, 3_000_000, 0), "delete");
            assert!(copies(costs, 400_000, 3_000_000, 3_000_000));
            assert!(!copies(costs, 100_000, 3_000_000, 3_000_000));
            assert!(!copies(costs, 9_000, 9_000, 9_000), "that takes no time");
            assert!(!copies(costs, 1_000_000, 100, 100), "few rows change again and again");
        }
    }

    #[cfg(not(feature = "copy-all"))]
    #[test]
    fn a_backlog_is_followed_for_as_long_as_a_copy_takes() {
        let mut weighing = CopyCosts::default();
        let size = Size { before: 3_000_000, after: 3_000_000, at: 1 };
        let batches = (0..).take_while(|_| {
            weighing.begin(true, &NATIVE);
            let table = weighing.tables.entry("t".to_string()).or_default();
            (table.rows, table.size) = (50_000, Some(size));
            !NATIVE.prefer_copy(table.spent, table.rows, size)
        });
        assert_eq!(batches.count(), 4, "one twentieth of a table at a time");
        weighing.begin(false, &NATIVE);
        assert!(weighing.tables.is_empty());
    }
}
