//! `maniac_changes`: a row per changed row.

use std::sync::Arc;

use maniac_base::{BranchId, Value, Version};
use maniac_store::{Entry, Moment, Store};

use super::{Field, Relation, Row, Rows, Type};
use crate::{Follower, HistoryError, JsonObject, Stream, TableRow, TableRows};

pub const CHANGES: Relation = Relation {
    name: "maniac_changes",
    columns: &[
        ("version", Type::Integer),
        ("time", Type::Time),
        ("table", Type::Text),
        ("op", Type::Text),
        ("key", Type::Text),
        ("old", Type::Text),
        ("new", Type::Text),
        ("shadow_of", Type::Text),
    ],
};

/// Which changes: those of the versions after `from`, up to and including `to`. Negative numbers count as 0.
#[derive(Clone, Debug, Default)]
pub struct ChangesOf {
    /// Default: the beginning.
    pub from: Option<i64>,
    /// Default: the head. A version of the future is an error.
    pub to: Option<i64>,
    /// Of these versions only those after this one, up to and including that one.
    pub within: (Option<Version>, Option<Version>),
    /// Of one table only.
    pub table: Option<String>,
}

/// The changes of a branch's line, row by row, with the names that the columns had at the time.
pub fn changes(store: &Arc<Store>, branch: BranchId, of: ChangesOf) -> Result<Rows, HistoryError> {
    let version = |number: i64| Version(number.max(0) as u64);
    let (from, to) = (of.from.map_or(Version(0), version), of.to.map_or_else(|| store.head(), version));
    store.resolve(branch, Moment::Version(to))?;
    let (after, up_to) = of.within;
    let follower = Stream::new(store, branch).follow(after.map_or(from, |after| after.max(from)))?;
    let to = up_to.map_or(to, |up_to| up_to.min(to));
    Ok(Box::new(Changes { follower, to, table: of.table, at: None }))
}

struct Changes {
    follower: Follower,
    to: Version,
    table: Option<String>,
    /// The transaction at hand: its version, its time, and the rows that are left of it.
    at: Option<(Version, i64, TableRows)>,
}

impl Iterator for Changes {
    type Item = Result<Row, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((version, time_ms, rows)) = &mut self.at {
                let (version, time_ms) = (*version, *time_ms);
                match rows.next() {
                    Some(Ok(row)) => return Some(Ok(changed(version, time_ms, row))),
                    Some(Err(source)) => return Some(Err(HistoryError::Changeset { version, source })),
                    None => self.at = None,
                }
            }
            match self.follower.next()? {
                Ok(entry) if entry.version > self.to => return None,
                Ok(entry) if entry.unreadable.is_some() => return Some(Ok(unreadable(&entry))),
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

fn changed(version: Version, time_ms: i64, row: TableRow) -> Row {
    let TableRow { table, op, key, old, new, shadow_of } = row;
    vec![
        Field::count(version.0),
        Field::Time(time_ms),
        Field::Text(table),
        Field::text(op.name()),
        Field::Text(key),
        old.into(),
        new.into(),
        shadow_of.into(),
    ]
}

/// Nobody can tell what the version changed: there is no table and no key, and `new` has the reason.
fn unreadable(entry: &Entry) -> Row {
    let mut reason = JsonObject::default();
    reason.add("reason", &Value::text(entry.unreadable.as_deref().unwrap_or_default()));
    vec![
        Field::count(entry.version.0),
        Field::Time(entry.time_ms),
        Field::Null,
        Field::text("UNREADABLE"),
        Field::Null,
        Field::Null,
        Field::Text(reason.finish()),
        Field::Null,
    ]
}
