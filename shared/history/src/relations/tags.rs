//! `maniac_tags`: a row per tag, in the order of their names.

use std::sync::Arc;

use maniac_store::Store;

use super::{Field, Relation, Rows, Type};
use crate::HistoryError;

pub const TAGS: Relation = Relation {
    name: "maniac_tags",
    columns: &[("name", Type::Text), ("branch", Type::Text), ("version", Type::Integer), ("created", Type::Time)],
};

pub fn tags(store: &Arc<Store>) -> Result<Rows, HistoryError> {
    let (tags, branches) = (store.tags()?, store.branches()?);
    let row = move |tag: maniac_store::Tag| {
        let branch = branches.iter().find(|branch| branch.id == tag.branch).map(|branch| branch.name.clone());
        Ok(vec![Field::Text(tag.name), branch.into(), Field::count(tag.version.0), Field::Time(tag.created_ms)])
    };
    Ok(Box::new(tags.into_iter().map(row)))
}
