//! What can go wrong, said so that the reader knows what, where, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use maniac_base::Version;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: no such store; check the path, or open it with mode=rwc to create it")]
    NotFound { path: PathBuf },
    #[error("{path} is not a Maniac store: {reason}")]
    NotAStore { path: PathBuf, reason: String },
    #[error(
        "{path} needs a newer Maniac: it was written in format {found}, and this one reads up to format {supported}"
    )]
    NewerFormat { path: PathBuf, found: u32, supported: u32 },
    #[error("{path} needs a newer Maniac: it uses features {features:#x} of the format, which this one does not know")]
    NewerFeatures { path: PathBuf, features: u64 },
    #[error("{path} needs a newer Maniac: at byte {offset} is {what} {kind}, which this one does not know")]
    NewerEntry { path: PathBuf, offset: u64, what: &'static str, kind: u8 },
    #[error(
        "{path} is in use by another version of Maniac; close it there, or use the same version of both extensions"
    )]
    OtherBuild { path: PathBuf },
    #[error("no branch \"{name}\" in {path}; there are: {known}")]
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
    #[error("\"{asked}\" is neither a version nor an ISO-8601 time such as 2026-01-31T12:00:00Z")]
    BadMoment { asked: String },
    /// Another connection writes to this branch; try again when it is done.
    #[error("another connection is writing to branch \"{branch}\"")]
    Busy { branch: String },
    /// The transaction was built on a version that is no longer the head; roll back and start over.
    #[error("branch \"{branch}\" has moved on from version {base} to {head}: roll back and run the transaction again")]
    Stale { branch: String, base: Version, head: Version },
    /// An fsync has failed, and this version or one that it was built on is not in the log any more.
    #[error(
        "{path}: the disk failed to take version {version} or one that it builds on; nothing of it counts: roll \
             back, and run the transaction again"
    )]
    Lost { path: PathBuf, version: Version },
    #[error("{path} is open for reading only")]
    ReadOnly { path: PathBuf },
    #[error("pages of this store have {store} bytes, not {asked}")]
    PageSize { store: u32, asked: u32 },
    #[error("{path} cannot take a backup: {reason}")]
    BadTarget { path: PathBuf, reason: String },
    #[error("{what} was interrupted")]
    Interrupted { what: &'static str },
    #[error("{path} was opened before this process forked; open it again in the child")]
    Forked { path: PathBuf },
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Corrupt { path: PathBuf, offset: u64, reason: String },
    #[error("{path}: cannot {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },
}

impl StoreError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: path.to_owned(), offset, reason: reason.into() }
    }
}
