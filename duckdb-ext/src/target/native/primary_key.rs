//! When a native table gets its primary key: with its copy if it is small, later if it is large, once doing without has cost
//! about as much as the key will.
//!
//! A key over ten million rows takes a third of the time of their copy, and its index stays in memory. A table that only
//! ever grows has no use for it: rows are found by their keys when they change or go. A table that changes in large batches
//! has none either: to read the key of every row once costs less than to find thousands of rows one by one, and to keep the
//! index right. Until the key is there, that it would refuse no new row is checked by a query, which costs next to
//! nothing where keys grow.

use std::collections::HashMap;

use crate::error::Result;
use crate::host::Session;
use crate::schema::{MirrorTable, Tables, quote};
use crate::source::{Commit, RowChange, Value};
use crate::target::Target;
use crate::target::netting::{Net, NetTable};
use crate::target::upsert;

/// Up to so many rows the key comes with the copy: it takes milliseconds.
const WITH_THE_COPY: u64 = 100_000;
/// With an index, a row that changes costs as much as the keys of so many rows do that are read without (14 us for finding it by
/// a list and for its index, and 0.006 us each).
const READ_PER_CHANGE: u64 = 2_300;
/// To make the index costs as much as to read the keys of all rows so many times (0.2 us each).
const READS_PER_INDEX: u64 = 32;

/// Whether a table of so many rows gets its key with its copy.
pub fn with_the_copy(rows: u64) -> bool {
    rows <= WITH_THE_COPY
}

/// From so many rows a key that is changed, lists of the keys, each row found by the index, cost less than a condition on the
/// key of every row (8 us a key, and 0.006 us a row).
const ROWS_PER_LISTED_KEY: u64 = 1_000;

/// How it stands with the keys of a mirror's native tables, by their names in the mirror.
#[derive(Clone, Debug, Default)]
pub struct PrimaryKeys {
    /// Tables that can have a key and have none.
    missing: HashMap<String, Missing>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    rows: u64,
    /// Rows whose keys were read in vain, less what an index would have cost.
    in_vain: u64,
}

impl Missing {
    /// Counts a look for the rows of so many keys.
    fn look_for(&mut self, keys: usize) {
        if keys > 0 {
            self.in_vain += self.rows.saturating_sub(keys as u64 * READ_PER_CHANGE);
        }
    }

    fn is_worth_a_key(&self) -> bool {
        self.in_vain >= self.rows * READS_PER_INDEX
    }
}

impl PrimaryKeys {
    /// Reads which tables have no key, with their sizes. What was counted of looks stays. Tables are asked for by name:
    /// a list of all tables would look into every attached database.
    pub fn refresh(&mut self, session: &Session, target: &Target, tables: &Tables) -> Result<()> {
        let before = std::mem::take(&mut self.missing);
        for table in tables.iter().filter(|table| target.add_key(table).is_some()) {
            let name = target.table(&table.name);
            // Not pragma_table_info, which takes a name as text and loses the quotes in it.
            // A table that somebody dropped is missed when its rows are.
            let rows = session.value(&format!(
                "SELECT count(*)::VARCHAR FROM {name} WHERE NOT (SELECT bool_or(key IS NOT DISTINCT FROM 'PRI') \
                 FROM (DESCRIBE {name}))"
            ));
            let rows = rows.unwrap_or(None);
            if let Some(rows) = rows.and_then(|rows| rows.parse().ok()).filter(|rows| *rows > 0) {
                let in_vain = before.get(&table.name).map_or(0, |missing| missing.in_vain);
                self.missing.insert(table.name.clone(), Missing { rows, in_vain });
            }
        }
        Ok(())
    }

    /// A table was made and filled with so many rows.
    pub fn copied(&mut self, target: &Target, table: &MirrorTable, rows: u64) {
        self.missing.remove(&table.name);
        if target.add_key(table).is_some() && !with_the_copy(rows) {
            self.missing.insert(table.name.clone(), Missing { rows, in_vain: 0 });
        }
    }

    /// A table has another name, or is gone.
    pub fn renamed(&mut self, from: &str, to: Option<&str>) {
        if let (Some(missing), Some(to)) = (self.missing.remove(from), to) {
            self.missing.insert(to.to_string(), missing);
        }
    }

    /// Whether the index of a table of so many rows should find those of so many keys, rather than a look at every row.
    pub fn by_index(&self, target: &Target, table: &MirrorTable, rows: u64, keys: usize) -> bool {
        let has_key = target.add_key(table).is_some() && !self.missing.contains_key(&table.name);
        has_key && rows / ROWS_PER_LISTED_KEY > keys as u64
    }

    /// Gives tables the keys that pay by now, with what the commits will look for. To be called before a transaction: in one that
    /// deletes rows of the table too, DuckDB 1.5.5 writes an index into its write-ahead log that it cannot replay once
    /// the rows' keys are used again, and the database could not be opened any more. A key may be refused, for example
    /// while somebody reads who still sees rows that were deleted before; it is tried again some looks later.
    pub fn add_due(&mut self, session: &Session, target: &Target, tables: &Tables, commits: &[Commit]) {
        if self.missing.is_empty() {
            return;
        }
        for table in tables.iter() {
            let Some(missing) = self.missing.get_mut(&table.name) else { continue };
            let changes = commits.iter().flat_map(|commit| &commit.tables);
            let of_table = changes.filter(|changes| changes.table.eq_ignore_ascii_case(&table.source));
            let known = of_table.flat_map(|changes| &changes.rows).filter(|row| !matches!(row, RowChange::Insert(_)));
            missing.look_for(known.count());
            if !missing.is_worth_a_key() {
                continue;
            }
            match target.add_key(table).is_some_and(|statement| session.run(&statement).is_ok()) {
                true => drop(self.missing.remove(&table.name)),
                false => missing.in_vain /= 2,
            }
        }
    }

    /// Whether the table can take new rows: false if one of their keys is in it already, so that the mirror is not what it should
    /// be. A table with a key tells by itself.
    pub fn check(
        &mut self,
        session: &Session,
        target: &Target,
        table: &MirrorTable,
        changes: &NetTable,
    ) -> Result<bool> {
        let Some(missing) = self.missing.get_mut(&table.name) else { return Ok(true) };
        let new = changes.changes.iter().filter(|(_, net)| matches!(net, Net::Insert(_)));
        let new: Vec<&[Value]> = new.map(|(key, _)| key.as_slice()).collect();
        missing.rows += new.len() as u64;
        let within = is_within(session, target, table, &new)?;
        if within {
            missing.look_for(new.len());
        }
        Ok(!within || upsert::count(session, target, table, &new)? == 0)
    }
}

/// Whether the table has rows between the least and the greatest of some keys, which most often it hasn't.
fn is_within(session: &Session, target: &Target, table: &MirrorTable, keys: &[&[Value]]) -> Result<bool> {
    let numbers = || keys.iter().filter_map(|key| key.first().and_then(Value::as_integer));
    let (Some(least), Some(greatest), Some(place)) = (numbers().min(), numbers().max(), table.key.first()) else {
        return Ok(false);
    };
    let column = quote(&table.columns[*place].name);
    let found = session.value(&format!(
        "SELECT 'yes' FROM {} WHERE {column} BETWEEN {least} AND {greatest} LIMIT 1",
        target.table(&table.name)
    ))?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pays_where_few_rows_are_looked_for_again_and_again() {
        let looks = |rows: u64, keys: usize| {
            let mut missing = Missing { rows, in_vain: 0 };
            (1..1000).find(|_| {
                missing.look_for(keys);
                missing.is_worth_a_key()
            })
        };
        assert_eq!(looks(10_000_000, 1), Some(33));
        assert_eq!(looks(10_000_000, 2_000), Some(60));
        assert_eq!(looks(10_000_000, 5_000), None, "reading all keys costs less");
        assert_eq!(looks(10_000_000, 0), None);
        assert_eq!(looks(50_000_000, 5_000), Some(42));
    }
}
