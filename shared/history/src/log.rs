//! The log, an entry a row.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_changeset::{Item, Op, Reader, Target};
use maniac_store::{EntryKind, Store};

use crate::{HistoryError, entries};

/// What one version did to one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableCount {
    pub table: String,
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
}

impl TableCount {
    pub fn rows(&self) -> u64 {
        self.inserts + self.updates + self.deletes
    }
}

#[derive(Clone, Debug)]
pub struct LogEntry {
    pub version: Version,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    pub kind: EntryKind,
    pub schema_changed: bool,
    /// Why nobody can tell what it changed, if so.
    pub unreadable: Option<String>,
    pub tables: Vec<TableCount>,
    /// Pages written.
    pub pages: u64,
    /// Bytes in the log.
    pub bytes: u64,
}

/// The entries of a branch's line after version `from`, oldest first.
pub fn log(
    store: &Arc<Store>,
    branch: BranchId,
    from: Version,
) -> Result<impl Iterator<Item = Result<LogEntry, HistoryError>> + 'static, HistoryError> {
    let entries = entries(store, branch, from)?;
    Ok(entries.map(|entry| {
        let entry = entry?;
        Ok(LogEntry {
            version: entry.version,
            time_ms: entry.time_ms,
            kind: entry.kind,
            schema_changed: !entry.schema.is_empty(),
            unreadable: entry.unreadable,
            tables: count(&entry.changeset)
                .map_err(|source| HistoryError::Changeset { version: entry.version, source })?,
            pages: entry.pages.len() as u64,
            bytes: entry.bytes,
        })
    }))
}

fn count(changeset: &[u8]) -> Result<Vec<TableCount>, maniac_changeset::ChangesetError> {
    let mut tables: Vec<TableCount> = Vec::new();
    let mut at = 0;
    for item in Reader::new(changeset) {
        match item? {
            Item::Table(header) => {
                let table = Target::of(&header).table;
                at = tables.iter().position(|known| known.table == table).unwrap_or(tables.len());
                if at == tables.len() {
                    tables.push(TableCount { table: table.to_owned(), inserts: 0, updates: 0, deletes: 0 });
                }
            }
            Item::Change(change) => match change.op {
                Op::Insert => tables[at].inserts += 1,
                Op::Update => tables[at].updates += 1,
                Op::Delete => tables[at].deletes += 1,
            },
        }
    }
    Ok(tables)
}
