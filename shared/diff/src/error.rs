//! Why two snapshots could not be compared.

use maniac_base::{Kind, PageError, PageErrorKind};
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

impl DiffError {
    pub fn kind(&self) -> Kind {
        match self {
            DiffError::Old(error) | DiffError::New(error) => error.kind(),
            DiffError::OutOfStep { .. } => Kind::Internal,
        }
    }

    /// Whether what SQLite has stored makes no sense here, as after a `PRAGMA writable_schema`; not because a page could not
    /// be had.
    pub fn is_about_content(&self) -> bool {
        match self {
            DiffError::Old(error) | DiffError::New(error) => is_about_content(error),
            DiffError::OutOfStep { .. } => false,
        }
    }

    /// What is wrong, without saying in which of the two.
    pub fn reason(&self) -> String {
        match self {
            DiffError::Old(error) | DiffError::New(error) => error.to_string(),
            DiffError::OutOfStep { .. } => self.to_string(),
        }
    }
}

pub(crate) fn is_about_content(error: &FormatError) -> bool {
    match error {
        FormatError::Page(PageError { kind, .. }) => *kind == PageErrorKind::OutOfRange,
        FormatError::Malformed { .. } | FormatError::Schema { .. } => true,
    }
}
