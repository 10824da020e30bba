//! `maniac_log`: a row per entry of a branch's line, oldest first.

use std::collections::HashMap;
use std::sync::Arc;

use maniac_base::{BranchId, Value, Version};
use maniac_changeset::{ChangesetError, Item, Reader, Target};
use maniac_store::{Entry, EntryKind, Store};

use super::{Field, Relation, Row, Rows, Type};
use crate::{HistoryError, JsonObject, entries};

pub const LOG: Relation = Relation {
    name: "maniac_log",
    columns: &[
        ("version", Type::Integer),
        ("time", Type::Time),
        ("kind", Type::Text),
        ("tables", Type::Text),
        ("rows", Type::Integer),
        ("pages", Type::Integer),
        ("bytes", Type::Integer),
    ],
};

/// The entries after a version and up to another one, where these are given.
pub fn log(
    store: &Arc<Store>,
    branch: BranchId,
    (after, up_to): (Option<Version>, Option<Version>),
) -> Result<Rows, HistoryError> {
    let mut entries = entries(store, branch, after.unwrap_or(Version(0)))?;
    if let Some(up_to) = up_to {
        entries = entries.up_to(up_to);
    }
    Ok(Box::new(entries.map(|entry| {
        let entry = entry?;
        row(&entry).map_err(|source| HistoryError::Changeset { version: entry.version, source })
    })))
}

fn row(entry: &Entry) -> Result<Row, ChangesetError> {
    let kind = match (entry.kind, entry.schema.is_empty()) {
        (EntryKind::Transaction, _) if !entry.unreadable.is_empty() => "unreadable",
        (EntryKind::Transaction, true) => "transaction",
        (EntryKind::Transaction, false) => "schema",
        (EntryKind::BranchCreated, _) => "branch created",
        (EntryKind::BranchDropped, _) => "branch dropped",
        (EntryKind::BranchRenamed, _) => "branch renamed",
        // They are about the store, and no branch has them.
        (EntryKind::Retention, _) => "retention",
        (EntryKind::Tagged, _) => "tagged",
        (EntryKind::Untagged, _) => "untagged",
    };
    let counts = count(&entry.changeset)?;
    let rows = counts.iter().map(|(_, rows)| rows).sum();
    let mut tables = JsonObject::default();
    counts.iter().for_each(|(table, rows)| tables.add(table, &Value::Integer(*rows)));
    // Of what can't be read nobody knows.
    let unreadable = || entry.unreadable.iter();
    unreadable().filter_map(|unreadable| unreadable.table.as_ref()).for_each(|table| tables.add(table, &Value::Null));
    let none = unreadable().any(|unreadable| unreadable.table.is_none());
    Ok(vec![
        Field::count(entry.version.0),
        Field::Time(entry.time_ms),
        Field::text(kind),
        if none { Field::Null } else { Field::Text(tables.finish()) },
        if entry.unreadable.is_empty() { Field::Integer(rows) } else { Field::Null },
        Field::count(entry.pages.len() as u64),
        Field::count(entry.bytes),
    ])
}

/// How many rows of each table were changed.
fn count(changeset: &[u8]) -> Result<Vec<(String, i64)>, ChangesetError> {
    let mut tables: Vec<(String, i64)> = Vec::new();
    let mut places = HashMap::new();
    let mut at = 0;
    for item in Reader::new(changeset) {
        match item? {
            Item::Table(header) => {
                let table = Target::of(&header).table;
                at = *places.entry(table).or_insert(tables.len());
                if at == tables.len() {
                    tables.push((table.to_owned(), 0));
                }
            }
            Item::Change(_) => tables[at].1 += 1,
        }
    }
    Ok(tables)
}
