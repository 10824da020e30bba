//! Why a database could not be read.

use maniac_base::{Kind, PageError, PageNo};

#[derive(Clone, Debug, thiserror::Error)]
pub enum FormatError {
    /// The page itself could not be had.
    #[error(transparent)]
    Page(#[from] PageError),

    /// The bytes of a page are not what a SQLite database has there. `offset` counts from the start of the page.
    #[error("page {page}, offset {offset}: {what}")]
    Malformed { page: PageNo, offset: usize, what: &'static str },

    /// The text of a table in `sqlite_schema` can't be understood.
    #[error("table {table}: {reason}")]
    Schema { table: String, reason: String },
}

impl FormatError {
    pub fn kind(&self) -> Kind {
        match self {
            FormatError::Page(error) => error.kind(),
            FormatError::Malformed { .. } | FormatError::Schema { .. } => Kind::Corrupt,
        }
    }

    pub fn malformed(page: PageNo, offset: usize, what: &'static str) -> Self {
        FormatError::Malformed { page, offset, what }
    }
}
