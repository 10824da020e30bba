//! What can go wrong, told by what the caller can do about it.

/// The result of everything that may fail in this crate.
pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call named something that is not there or cannot be: fix the call.
    #[error("{0}")]
    Input(String),
    /// The store could not be read.
    #[error("{0}")]
    Source(String),
    /// The store's newest versions hold what nobody can read; a later one may mend it.
    #[error(
        "the changes of version {version} cannot be read: {reason}. The mirror stays at the version before, and goes on when \
         the source can be read again"
    )]
    Unreadable { version: maniac_base::Version, reason: String },
    /// A statement of ours failed in DuckDB.
    #[error("{message} (in: {statement})")]
    Database { message: String, statement: String },
    /// Another process took this mirror over, so that going on would apply transactions twice.
    #[error("{0}")]
    Overtaken(String),
    /// What the mirror needs is gone for good.
    #[error("{0}")]
    Gone(String),
    /// The store does not keep what follows the version that the mirror shows: its tables are copied anew.
    #[error("{0}")]
    Forgotten(String),
    /// The snapshots are gone that told which version a mirror in a lake shows.
    #[error("{0}")]
    Expired(String),
    /// A value that its column cannot hold, in a mirror that stops there.
    #[error(
        "column {column} of table {table} cannot hold the value {value} of the row {key}: it is not a {wanted}. Repair the \
         row in the source and try again (with CALL maniac_resume where the mirror is attached), or attach with \
         on_mismatch := 'widen' or 'null'"
    )]
    Misfit { table: String, column: String, key: String, value: String, wanted: String },
}

impl Error {
    pub fn input(message: impl Into<String>) -> Error {
        Error::Input(message.into())
    }

    /// Whether trying again gives the same: somebody has to do something about the mirror first.
    pub fn is_final(&self) -> bool {
        matches!(self, Error::Overtaken(_) | Error::Gone(_) | Error::Expired(_) | Error::Misfit { .. })
    }

    pub fn source(message: impl ToString) -> Error {
        Error::Source(message.to_string())
    }
}
