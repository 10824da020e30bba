use maniac_base::{Kind, Version};
use maniac_changeset::ChangesetError;
use maniac_diff::DiffError;
use maniac_sqlite_format::FormatError;
use maniac_store::StoreError;

/// Why a part of the history could not be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("version {version}: {source}")]
    Changeset { version: Version, source: ChangesetError },
    #[error("the schema at version {version} cannot be read: {source}")]
    Schema { version: Version, source: FormatError },
    #[error("the changes of version {version} cannot be derived: {source}")]
    Diff { version: Version, source: DiffError },
    #[error("the range {from} to {to} runs backwards: give the older version first")]
    Backwards { from: Version, to: Version },
    #[error(
        "\"{asked}\" is no branch, no tag, no version and no ISO-8601 time; maniac_branches and maniac_tags list those that there are"
    )]
    BadPoint { asked: String },
}

impl HistoryError {
    pub fn kind(&self) -> Kind {
        match self {
            HistoryError::Store(error) => error.kind(),
            HistoryError::Changeset { .. } => Kind::Corrupt,
            HistoryError::Schema { source, .. } => source.kind(),
            HistoryError::Diff { source, .. } => source.kind(),
            HistoryError::Backwards { .. } | HistoryError::BadPoint { .. } => Kind::Input,
        }
    }
}
