//! `maniac_branches`: a row per branch, in the order in which they were made.

use std::sync::Arc;

use maniac_store::Store;

use super::{Field, Relation, Rows, Type};
use crate::HistoryError;

pub const BRANCHES: Relation = Relation {
    name: "maniac_branches",
    columns: &[
        ("name", Type::Text),
        ("parent", Type::Text),
        ("fork", Type::Integer),
        ("head", Type::Integer),
        ("created", Type::Time),
        ("pages", Type::Integer),
        ("commits", Type::Integer),
    ],
};

pub fn branches(store: &Arc<Store>) -> Result<Rows, HistoryError> {
    let branches = store.branches()?;
    let name_of = |id| branches.iter().find(|branch| branch.id == id).map(|branch| branch.name.clone());
    let row = |branch: &maniac_store::Branch| {
        Ok(vec![
            Field::text(&branch.name),
            branch.parent.and_then(name_of).into(),
            Field::count(branch.fork.0),
            Field::count(branch.head.0),
            // `main` is as old as the store.
            if branch.created_ms == 0 { Field::Null } else { Field::Time(branch.created_ms) },
            Field::count(branch.pages),
            Field::count(branch.commits),
        ])
    };
    Ok(Box::new(branches.iter().map(row).collect::<Vec<_>>().into_iter()))
}
