//! Why a changeset could not be used.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangesetError {
    /// The bytes are no changeset. `offset` counts from its start.
    #[error("changeset, offset {offset}: {what}")]
    Malformed { offset: usize, what: &'static str },

    /// Changesets can only be joined while a table keeps its columns and key.
    #[error("changesets disagree on the columns of table {table}")]
    ShapeChanged { table: String },
}
