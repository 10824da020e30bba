//! `maniac_diff`: a row per row that differs between two branches, versions or times.

use std::sync::Arc;

use maniac_base::BranchId;
use maniac_store::{Moment, Snapshot, Store};

use super::{Field, Relation, Rows, Type};
use crate::{HistoryError, TableRow, difference_rows};

pub const DIFF: Relation = Relation {
    name: "maniac_diff",
    columns: &[
        ("table", Type::Text),
        ("op", Type::Text),
        ("key", Type::Text),
        ("old", Type::Text),
        ("new", Type::Text),
        ("shadow_of", Type::Text),
    ],
};

/// Something to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// As the caller's branch shows it.
    Version(i64),
    /// The name of a branch, at its head, if there is one of that name; else that of a tag; else a version or a time of the
    /// caller's branch.
    Text(String),
}

impl Point {
    pub fn snapshot(&self, store: &Arc<Store>, branch: BranchId) -> Result<Snapshot, HistoryError> {
        let moment = match self {
            Point::Version(version) => Moment::parse(&version.to_string())?,
            Point::Text(text) => match store.branches()?.into_iter().find(|branch| branch.name == *text) {
                Some(branch) => return Ok(store.snapshot(branch.id, branch.head)?),
                None => match Moment::parse(text) {
                    Ok(Moment::Tag(name)) => match store.tags()?.into_iter().find(|tag| tag.name == name) {
                        Some(tag) => return Ok(store.snapshot(tag.branch, tag.version)?),
                        None => return Err(HistoryError::BadPoint { asked: name }),
                    },
                    moment => moment.map_err(|_| HistoryError::BadPoint { asked: text.clone() })?,
                },
            },
        };
        let version = store.resolve(branch, moment)?;
        Ok(store.snapshot(branch, version)?)
    }
}

/// What leads from one to the other; of one table, if asked for.
pub fn diff(from: &Snapshot, to: &Snapshot, only: Option<String>) -> Result<Rows, HistoryError> {
    let version = to.version();
    let rows = difference_rows(from, to, only)?;
    Ok(Box::new(rows.map(move |row| {
        let TableRow { table, op, key, old, new, shadow_of } =
            row.map_err(|source| HistoryError::Changeset { version, source })?;
        let (old, new, shadow_of) = (old.into(), new.into(), shadow_of.into());
        Ok(vec![Field::Text(table), Field::text(op.name()), Field::Text(key), old, new, shadow_of])
    })))
}
