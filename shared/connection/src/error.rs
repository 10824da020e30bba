//! What can stand in the way of a connection, by what its host can do about it.

use maniac_base::{Kind, PageError, Version};
use maniac_diff::DiffError;
use maniac_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Page(#[from] PageError),
    /// Let go of everything, wait for the turn, and try again.
    #[error("another connection is writing to the branch")]
    Busy,
    /// Roll back, and run the transaction again.
    #[error("the snapshot at version {base} is no longer the head, {head}")]
    Stale { base: Version, head: Version },
    /// Roll back, and don't keep the lock from one transaction to the next.
    #[error(
        "this connection, in exclusive locking mode, is at version {base}, and others have committed version {head}: run \
         PRAGMA locking_mode = normal, and start the transaction again"
    )]
    Overtaken { base: Version, head: Version },
    #[error("a write to a snapshot that is only read")]
    ReadOnly,
    #[error("a write that is not one whole page")]
    PartOfPage,
    #[error("more than 2^32 pages")]
    TooManyPages,
    #[error("the rows of a transaction cannot be read: {0}")]
    Unreadable(DiffError),
    /// Who decides on commits cannot be reached. Only this error leaves it open whether the
    /// transaction counts: look whether it does before running it again.
    #[error("the transaction could not be committed: {reason}")]
    Unavailable { reason: String },
    /// End the transaction; nothing of it was committed.
    #[error("a call has panicked in the middle of a transaction, which has to be rolled back; this is a bug in Maniac")]
    Broken,
}

impl ConnectionError {
    pub fn kind(&self) -> Kind {
        match self {
            ConnectionError::Store(error) => error.kind(),
            ConnectionError::Page(error) => error.kind(),
            ConnectionError::Busy => Kind::Busy,
            ConnectionError::Stale { .. } | ConnectionError::Overtaken { .. } => Kind::Stale,
            ConnectionError::ReadOnly => Kind::ReadOnly,
            ConnectionError::TooManyPages => Kind::Full,
            ConnectionError::Unreadable(error) => error.kind(),
            ConnectionError::Unavailable { .. } => Kind::Unavailable,
            ConnectionError::PartOfPage | ConnectionError::Broken => Kind::Internal,
        }
    }

    /// Another connection stands in the way, for now.
    pub fn is_busy(&self) -> bool {
        matches!(self.kind(), Kind::Busy | Kind::Stale)
    }
}
