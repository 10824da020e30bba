//! `maniac_store`: one row about the store.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_store::{FORMAT, Store};

use super::{Field, Relation, Rows, Type};
use crate::HistoryError;

pub const STORE: Relation = Relation {
    name: "maniac_store",
    columns: &[
        ("path", Type::Text),
        ("format", Type::Integer),
        ("branch", Type::Text),
        ("version", Type::Integer),
        ("head", Type::Integer),
        ("durable", Type::Integer),
        ("page_size", Type::Integer),
        ("log_bytes", Type::Integer),
        ("segments", Type::Integer),
        ("index_bytes", Type::Integer),
        ("page_images", Type::Integer),
        ("checkpoint", Type::Integer),
        ("pack_bytes", Type::Integer),
        ("packs", Type::Integer),
        ("retention", Type::Text),
    ],
};

/// `version`: the one that the caller sees of the branch.
pub fn store(store: &Arc<Store>, branch: BranchId, version: Version) -> Result<Rows, HistoryError> {
    let status = store.status()?;
    let row = vec![
        Field::text(store.path().display().to_string()),
        Field::count(FORMAT),
        Field::text(store.branch_by_id(branch)?.name),
        Field::count(version.0),
        Field::count(status.head.0),
        Field::count(status.durable.0),
        Field::count(store.page_size()),
        Field::count(status.log_bytes),
        Field::count(status.segments),
        Field::count(status.index_bytes),
        Field::count(status.page_images),
        if status.checkpoint == Version(0) { Field::Null } else { Field::count(status.checkpoint.0) },
        Field::count(status.pack_bytes),
        Field::count(status.packs),
        Field::text(status.retention.to_string()),
    ];
    Ok(Box::new(std::iter::once(Ok(row))))
}
