//! Changed rows, one by one, with the names that their columns had at the time.

use std::sync::Arc;

use maniac_base::{BranchId, Value, Version};
use maniac_changeset::Op;
use maniac_store::{Entry, Store};

use crate::{Follower, HistoryError, JsonObject, Stream, TableRow, TableRows};

/// What a `RowChange` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp {
    Row(Op),
    /// Nobody can tell what the version changed: there is no table and no key, and `new` has the `reason`.
    Unreadable,
}

impl RowOp {
    pub fn name(self) -> &'static str {
        match self {
            RowOp::Row(op) => op.name(),
            RowOp::Unreadable => "UNREADABLE",
        }
    }
}

/// One row that a version changed. `key`, `old` and `new` are JSON objects by column name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    pub version: Version,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    pub table: Option<String>,
    pub op: RowOp,
    /// The primary key's columns, or `_rowid_`.
    pub key: Option<String>,
    /// The row of a DELETE; what the changed columns of an UPDATE held.
    pub old: Option<String>,
    /// The row of an INSERT; what the changed columns of an UPDATE hold now.
    pub new: Option<String>,
    /// The virtual table that keeps its index in this one.
    pub shadow_of: Option<String>,
}

/// The changes of the versions after `from`, up to and including `to`, in the branch's line; of one table if asked for.
pub fn changes(
    store: &Arc<Store>,
    branch: BranchId,
    from: Version,
    to: Version,
    table: Option<String>,
) -> Result<Changes, HistoryError> {
    let follower = Stream::new(store, branch).follow(from)?;
    Ok(Changes { follower, to, table, at: None })
}

pub struct Changes {
    follower: Follower,
    to: Version,
    table: Option<String>,
    /// The transaction at hand: its version, its time, and the rows that are left of it.
    at: Option<(Version, i64, TableRows)>,
}

impl Iterator for Changes {
    type Item = Result<RowChange, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((version, time_ms, rows)) = &mut self.at {
                let (version, time_ms) = (*version, *time_ms);
                match rows.next() {
                    Some(Ok(TableRow { table, op, key, old, new, shadow_of })) => {
                        let (table, op, key) = (Some(table), RowOp::Row(op), Some(key));
                        return Some(Ok(RowChange { version, time_ms, table, op, key, old, new, shadow_of }));
                    }
                    Some(Err(source)) => return Some(Err(HistoryError::Changeset { version, source })),
                    None => self.at = None,
                }
            }
            match self.follower.next()? {
                Ok(entry) if entry.version > self.to => return None,
                Ok(entry) if entry.unreadable.is_some() => return Some(Ok(unreadable(entry))),
                Ok(Entry { version, time_ms, changeset, .. }) => {
                    match self.follower.stream().rows(version, changeset, self.table.clone()) {
                        Ok(rows) => self.at = Some((version, time_ms, rows)),
                        Err(error) => return Some(Err(error)),
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn unreadable(entry: Entry) -> RowChange {
    let mut reason = JsonObject::default();
    reason.add("reason", &Value::Text(entry.unreadable.unwrap_or_default().into_bytes().into()));
    RowChange {
        version: entry.version,
        time_ms: entry.time_ms,
        table: None,
        op: RowOp::Unreadable,
        key: None,
        old: None,
        new: Some(reason.finish()),
        shadow_of: None,
    }
}
