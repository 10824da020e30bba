//! What can go wrong, said so that the reader knows what, where, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use maniac_base::{Kind, Version};
use maniac_chunk::ChunkError;
use maniac_log::LogError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something about the files.
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{path}: no such store; check the path, or open it with mode=rwc to create it")]
    NotFound { path: PathBuf },
    #[error("{path} cannot be opened: {reason}")]
    BadKey { path: PathBuf, reason: String },
    /// A host adds how it reads such a file.
    #[error(
        "{path} is not a Maniac store: it is an ordinary SQLite file; to turn it into one, open a new store in SQLite and \
         SELECT maniac_import('{path}')"
    )]
    PlainFile { path: PathBuf },
    #[error("no branch \"{name}\" in {path}; its branches are: {known}")]
    NoSuchBranch { path: PathBuf, name: String, known: String },
    #[error("branch \"{name}\" of {path} has been dropped")]
    BranchDropped { path: PathBuf, name: String },
    #[error("branch \"{name}\" exists already; drop it or choose another name")]
    BranchExists { name: String },
    #[error("\"{name}\" cannot name a branch: {reason}")]
    BadBranchName { name: String, reason: &'static str },
    #[error("branch \"{name}\" cannot be dropped: {reason}")]
    CannotDrop { name: String, reason: String },
    #[error("version {asked} is in the future of branch \"{branch}\": its head is version {head}")]
    Future { asked: String, branch: String, head: Version },
    #[error("branch \"{branch}\" has nothing at {asked}: its history starts at {first}")]
    BeforeHistory { asked: String, branch: String, first: String },
    #[error("\"{asked}\" is neither a version nor an ISO-8601 time such as 2026-01-31T12:00:00Z, and cannot be a tag")]
    BadMoment { asked: String },
    #[error(
        "\"{name}\" is neither a version nor an ISO-8601 time such as 2026-01-31T12:00:00Z, nor a tag of {path}: {known}"
    )]
    NoSuchTag { path: PathBuf, name: String, known: String },
    #[error("tag \"{name}\" exists already; take it away with maniac_untag('{name}'), or choose another name")]
    TagExists { name: String },
    #[error("\"{name}\" cannot be a tag: {reason}")]
    BadTagName { name: String, reason: &'static str },
    #[error("tag \"{name}\" is of branch \"{of}\", and branch \"{branch}\" does not have that version: open \"{of}\"")]
    TagOfAnother { name: String, of: String, branch: String },
    #[error("\"{asked}\" is neither a number of versions nor a time such as '30 days' or '12 hours'")]
    BadRetention { asked: String },
    /// Nothing was to keep it.
    #[error(
        "{asked} of {path} is not kept any more: the oldest that is kept is version {oldest} ({since}). maniac_retain('30 \
         days') keeps more from now on, and maniac_tag(name) keeps a version for good"
    )]
    Forgotten { path: PathBuf, asked: String, oldest: Version, since: String },
    /// Another connection writes to this branch; try again when it is done.
    #[error("another connection is writing to branch \"{branch}\"")]
    Busy { branch: String },
    /// The transaction was built on a version that is no longer the head; roll back and start over.
    #[error("branch \"{branch}\" has moved on from version {base} to {head}: roll back and run the transaction again")]
    Stale { branch: String, base: Version, head: Version },
    #[error("pages of this store have {store} bytes, not {asked}")]
    PageSize { store: u32, asked: u32 },
    #[error("{path} cannot take a backup: {reason}")]
    BadTarget { path: PathBuf, reason: String },
    #[error("{what} was interrupted")]
    Interrupted { what: &'static str },
}

impl From<ChunkError> for StoreError {
    fn from(error: ChunkError) -> StoreError {
        let log = match error {
            ChunkError::Io { path, action, source } => LogError::Io { path, action, source },
            ChunkError::Corrupt { path, offset, reason } => LogError::Corrupt { path, offset, reason },
            ChunkError::NewerFormat { path, found, supported } => LogError::NewerFormat { path, found, supported },
        };
        log.into()
    }
}

impl StoreError {
    pub fn kind(&self) -> Kind {
        match self {
            StoreError::Log(error) => error.kind(),
            StoreError::NotFound { .. }
            | StoreError::PlainFile { .. }
            | StoreError::NoSuchBranch { .. }
            | StoreError::BranchDropped { .. }
            | StoreError::Future { .. }
            | StoreError::BeforeHistory { .. }
            | StoreError::NoSuchTag { .. }
            | StoreError::Forgotten { .. } => Kind::NotFound,
            StoreError::BranchExists { .. } | StoreError::TagExists { .. } => Kind::Exists,
            StoreError::BadBranchName { .. }
            | StoreError::BadTagName { .. }
            | StoreError::TagOfAnother { .. }
            | StoreError::BadRetention { .. }
            | StoreError::CannotDrop { .. }
            | StoreError::BadMoment { .. }
            | StoreError::BadKey { .. }
            | StoreError::PageSize { .. }
            | StoreError::BadTarget { .. } => Kind::Input,
            StoreError::Busy { .. } => Kind::Busy,
            StoreError::Stale { .. } => Kind::Stale,
            StoreError::Interrupted { .. } => Kind::Interrupted,
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let io = LogError::io(path, action);
        move |source| io(source).into()
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> StoreError {
        LogError::corrupt(path, offset, reason).into()
    }
}
