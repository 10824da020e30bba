//! How worn a native table is: rows that were deleted and still take room. DuckDB 1.5 never gives it back while a table has
//! a primary key (2.0 does at a checkpoint), and each update leaves such a row behind, so that a table whose rows change again and
//! again would grow without end. It is copied anew once more rows are gone than there are, which costs each change a fraction of
//! itself.

use std::collections::HashMap;

use crate::error::Result;
use crate::host::Session;
use crate::schema::MirrorTable;
use crate::target::Target;
use crate::target::netting::NetTable;

/// Rows that may be gone from a table of any size.
const TOLERATED: u64 = 500_000;

/// What is known of the tables, by their names in the mirror.
#[derive(Debug, Default)]
pub struct Bloat {
    tables: HashMap<String, Rows>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    /// Deleted since the table was made: what was seen, and those since.
    gone: u64,
    /// As many are there: what was seen, and what came and went since.
    there: u64,
}

impl Rows {
    fn with(self, changes: &NetTable) -> Rows {
        let deleted = changes.deleted() as u64;
        let inserted = changes.inserted() as u64;
        Rows { gone: self.gone + deleted, there: (self.there + inserted).saturating_sub(deleted) }
    }

    fn are_bloated(self) -> bool {
        self.gone > self.there.max(TOLERATED)
    }
}

impl Bloat {
    /// Counts rows that are about to go and to come, and tells whether the table should be copied anew instead.
    pub fn count(
        &mut self,
        session: &Session,
        target: &Target,
        table: &MirrorTable,
        changes: &NetTable,
    ) -> Result<bool> {
        let counted = self.tables.get(&table.name).copied();
        if target.lake || counted.is_none() && changes.deleted() == 0 {
            return Ok(false);
        }
        let mut rows = counted.unwrap_or_default();
        if counted.is_none() || rows.with(changes).are_bloated() {
            rows = look(session, target, table, rows.gone)?;
        }
        rows = rows.with(changes);
        self.tables.insert(table.name.clone(), rows);
        Ok(rows.are_bloated())
    }

    /// How many rows a native table has of which some were deleted; 0 for others.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables.get(table).map_or(0, |rows| rows.there)
    }

    /// The table is a new one.
    pub fn forget(&mut self, table: &str) {
        self.tables.remove(table);
    }
}

/// Counts a table's rows, and those gone before its last one; `gone` is believed where that cannot be told.
fn look(session: &Session, target: &Target, table: &MirrorTable, gone: u64) -> Result<Rows> {
    // A column of that name hides DuckDB's own.
    let hidden = table.columns.iter().any(|column| column.name.eq_ignore_ascii_case("rowid"));
    let places = if hidden { "NULL::VARCHAR" } else { "(max(rowid) + 1)::VARCHAR" };
    let rows = session.query(&format!("SELECT count(*)::VARCHAR, {places} FROM {}", target.table(&table.name)))?;
    let number = |place: usize| rows.first()?.get(place)?.as_ref()?.parse::<u64>().ok();
    let there = number(0).unwrap_or(0);
    Ok(Rows { gone: number(1).map_or(gone, |places| places.saturating_sub(there)), there })
}
