//! What can go wrong with a log, said so that the reader knows what, where, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use maniac_base::{Kind, Version};
use maniac_seal::KeyId;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
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
    /// An fsync has failed, and this version or one that it was built on is not in the log any more.
    #[error(
        "{path}: the disk failed to write version {version}, or one that it builds on. The transaction is not \
             committed: roll back and run it again"
    )]
    Lost { path: PathBuf, version: Version },
    /// Nobody needed it any more, and what follows a later checkpoint is there.
    #[error("version {version} of {path} is not kept any more")]
    Purged { path: PathBuf, version: Version },
    #[error(
        "{path} is encrypted with key {wanted}: give it with keyfile=PATH, maniac_key() or the environment variable \
             MANIAC_KEYFILE or MANIAC_KEY"
    )]
    KeyMissing { path: PathBuf, wanted: KeyId },
    #[error("{path} is encrypted with key {wanted}, and {from} gave key {given}: give the other one")]
    WrongKey { path: PathBuf, from: String, given: KeyId, wanted: KeyId },
    #[error(
        "{path} is not encrypted, but {from} gave a key: open it with an empty keyfile=, and to encrypt what it holds, \
             maniac_export it and maniac_import that into a new store with a key"
    )]
    NotEncrypted { path: PathBuf, from: String },
    #[error("{path} is not encrypted, so that it has no key to change; maniac_import into a new store with a key")]
    NoKeyToChange { path: PathBuf },
    #[error("{path} is open for reading only")]
    ReadOnly { path: PathBuf },
    #[error("{path} was opened before this process forked; open it again in the child")]
    Forked { path: PathBuf },
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Corrupt { path: PathBuf, offset: u64, reason: String },
    #[error("{path}: cannot {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },
}

impl LogError {
    pub fn kind(&self) -> Kind {
        match self {
            LogError::NotAStore { .. } | LogError::Purged { .. } => Kind::NotFound,
            LogError::NewerFormat { .. }
            | LogError::NewerFeatures { .. }
            | LogError::NewerEntry { .. }
            | LogError::OtherBuild { .. } => Kind::NewerFormat,
            LogError::KeyMissing { .. }
            | LogError::WrongKey { .. }
            | LogError::NotEncrypted { .. }
            | LogError::NoKeyToChange { .. } => Kind::Input,
            LogError::Lost { .. } => Kind::Unavailable,
            LogError::ReadOnly { .. } => Kind::ReadOnly,
            LogError::Forked { .. } => Kind::Misuse,
            LogError::Corrupt { .. } => Kind::Corrupt,
            LogError::Io { source, .. } => Kind::of_io(source),
        }
    }

    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> LogError {
        move |source| LogError::Io { path: path.to_owned(), action, source }
    }

    pub fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> LogError {
        LogError::Corrupt { path: path.to_owned(), offset, reason: reason.into() }
    }
}
