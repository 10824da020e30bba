//! Why two snapshots could not be compared.

use maniac_sqlite_format::FormatError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum DiffError {
    /// The older snapshot can't be read.
    #[error("before the change: {0}")]
    Old(FormatError),

    /// The newer snapshot can't be read.
    #[error("after the change: {0}")]
    New(FormatError),

    /// The tracker is not at the snapshot that it was given as the older one.
    #[error("the older snapshot has {found} pages, not {expected}")]
    OutOfStep { expected: u32, found: u32 },
}
