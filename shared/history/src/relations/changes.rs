//! `maniac_changes`: a row per changed row.

use std::collections::VecDeque;
use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_store::{Entry, Moment, Store, Unreadable};

use super::{Field, Relation, Row, Rows, Type};
use crate::{Follower, HistoryError, Stream, TableRow, TableRows, unreadable_reason};

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
    Ok(Box::new(Changes { follower, to, table: of.table, at: None, unreadable: VecDeque::new() }))
}

struct Changes {
    follower: Follower,
    to: Version,
    table: Option<String>,
    /// The transaction at hand: its version, its time, and the rows that are left of it.
    at: Option<(Version, i64, TableRows)>,
    /// Tables of the transaction at hand that can't be read.
    unreadable: VecDeque<Row>,
}

impl Iterator for Changes {
    type Item = Result<Row, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(unreadable) = self.unreadable.pop_front() {
                return Some(Ok(unreadable));
            }
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
                Ok(entry) => {
                    let tables = entry.unreadable.iter().filter(|unreadable| is_asked(&self.table, unreadable));
                    self.unreadable = tables.map(|table| unreadable(&entry, table)).collect();
                    let Entry { version, time_ms, changeset, .. } = entry;
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

fn is_asked(asked: &Option<String>, unreadable: &Unreadable) -> bool {
    match (asked, &unreadable.table) {
        (Some(asked), Some(table)) => asked.eq_ignore_ascii_case(table),
        _ => true,
    }
}

/// Nobody can tell what the version changed in a table, or in any if there is none: `new` has the reason.
fn unreadable(entry: &Entry, unreadable: &Unreadable) -> Row {
    vec![
        Field::count(entry.version.0),
        Field::Time(entry.time_ms),
        unreadable.table.clone().into(),
        Field::text("UNREADABLE"),
        Field::Null,
        Field::Null,
        Field::Text(unreadable_reason(unreadable)),
        Field::Null,
    ]
}
