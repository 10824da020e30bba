//! Changed rows, one by one, with the names that their columns had at the time.

use std::sync::Arc;

use maniac_base::{BranchId, Value, Version};
use maniac_changeset::{Change, Item, Op, ROWID_COLUMN, Reader, Record, TableHeader, Target};
use maniac_sqlite_format::{KeyForm, Schema};
use maniac_store::{Entry, Store};

use crate::{HistoryError, JsonObject, entries};

/// One row that a version changed. `key`, `old` and `new` are JSON objects by column name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    pub version: Version,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    pub table: String,
    pub op: Op,
    /// The primary key's columns, or `_rowid_`.
    pub key: String,
    /// The row of a DELETE; what the changed columns of an UPDATE held.
    pub old: Option<String>,
    /// The row of an INSERT; what the changed columns of an UPDATE hold now.
    pub new: Option<String>,
}

/// The changes of the versions after `from`, up to and including `to`, in the branch's line; of one table if asked for.
pub fn changes(
    store: &Arc<Store>,
    branch: BranchId,
    from: Version,
    to: Version,
    table: Option<String>,
) -> Result<Changes, HistoryError> {
    let entries = Box::new(entries(store, branch, from)?);
    Ok(Changes { store: store.clone(), branch, entries, to, table, names: None, rows: Vec::new().into_iter() })
}

pub struct Changes {
    store: Arc<Store>,
    branch: BranchId,
    entries: Box<dyn Iterator<Item = Result<Entry, HistoryError>> + Send>,
    to: Version,
    table: Option<String>,
    /// The schema that the entries at hand were written under.
    names: Option<Schema>,
    /// What is left of the entry at hand.
    rows: std::vec::IntoIter<RowChange>,
}

impl Iterator for Changes {
    type Item = Result<RowChange, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            let rows = match self.entries.next()? {
                Ok(entry) if entry.version > self.to => return None,
                Ok(entry) => self.read(&entry),
                Err(error) => Err(error),
            };
            match rows {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Changes {
    fn read(&mut self, entry: &Entry) -> Result<Vec<RowChange>, HistoryError> {
        let version = entry.version;
        if entry.changeset.is_empty() {
            if !entry.schema.is_empty() {
                self.names = None;
            }
            return Ok(Vec::new());
        }
        let names = match self.names.take().filter(|_| entry.schema.is_empty()) {
            Some(names) => names,
            None => Schema::read(&self.store.snapshot(self.branch, version)?)
                .map_err(|source| HistoryError::Schema { version, source })?,
        };
        let mut rows = Vec::new();
        let mut at = None;
        for item in Reader::new(&entry.changeset) {
            match item.map_err(|source| HistoryError::Changeset { version, source })? {
                Item::Table(header) => {
                    let target = Target::of(&header).table;
                    let wanted = self.table.as_ref().is_none_or(|table| table.eq_ignore_ascii_case(target));
                    at = wanted.then(|| (header, target, columns(&names, &header)));
                }
                Item::Change(change) => {
                    if let Some((header, target, columns)) = &at {
                        rows.push(row(entry, target, columns, header, &change));
                    }
                }
            }
        }
        self.names = Some(names);
        Ok(rows)
    }
}

/// The names of a changeset's columns.
fn columns(schema: &Schema, header: &TableHeader<'_>) -> Vec<String> {
    let target = Target::of(header);
    let table = schema.table(target.table);
    let by_rowid = target.null_key || table.is_some_and(|table| matches!(table.key_form(), KeyForm::Rowid));
    let rowid = by_rowid.then(|| ROWID_COLUMN.to_owned());
    let declared = table.iter().flat_map(|table| table.changeset_columns()).map(|(_, column)| column.name.clone());
    let mut names: Vec<String> = rowid.into_iter().chain(declared).collect();
    (names.len()..header.columns()).for_each(|n| names.push(format!("column {}", n + 1)));
    names
}

fn row(entry: &Entry, table: &str, columns: &[String], header: &TableHeader<'_>, change: &Change<'_>) -> RowChange {
    let object = |record: Option<Record<'_>>, wanted: &dyn Fn(usize) -> bool| {
        let mut object = JsonObject::default();
        let values = record.into_iter().flat_map(|record| record.values().collect::<Vec<Option<Value<'_>>>>());
        for (n, value) in values.enumerate() {
            if let (Some(value), true) = (value, wanted(n)) {
                object.add(&columns[n], &value);
            }
        }
        object.finish()
    };
    let side = |record: Option<Record<'_>>| {
        let all = change.op != Op::Update;
        record.map(|record| object(Some(record), &|n| all || !header.is_key(n)))
    };
    RowChange {
        version: entry.version,
        time_ms: entry.time_ms,
        table: table.to_owned(),
        op: change.op,
        key: object(Some(change.keyed()), &|n| header.is_key(n)),
        old: side(change.old),
        new: side(change.new),
    }
}
