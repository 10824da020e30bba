//! What can go wrong with pages at rest.

use std::io;
use std::path::{Path, PathBuf};

use maniac_base::Kind;

#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Corrupt { path: PathBuf, offset: u64, reason: String },
    #[error(
        "{path} needs a newer Maniac: it was written in format {found}, and this one reads up to format {supported}"
    )]
    NewerFormat { path: PathBuf, found: u32, supported: u32 },
    #[error("{path}: cannot {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },
}

impl ChunkError {
    pub fn kind(&self) -> Kind {
        match self {
            ChunkError::Corrupt { .. } => Kind::Corrupt,
            ChunkError::NewerFormat { .. } => Kind::NewerFormat,
            ChunkError::Io { source, .. } => Kind::of_io(source),
        }
    }

    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> ChunkError {
        move |source| ChunkError::Io { path: path.to_owned(), action, source }
    }

    pub fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> ChunkError {
        ChunkError::Corrupt { path: path.to_owned(), offset, reason: reason.into() }
    }
}
