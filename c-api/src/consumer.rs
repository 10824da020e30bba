//! A consumer: one branch's transactions in order, each read row by row.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maniac_base::{Kind, Version};
use maniac_history::{Follower, HistoryError, Stream, TableRow, TableRows};
use maniac_store::{Entry, Moment, OpenOptions, Store, StoreError};

use crate::cursor::Cursor;

#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("{path}: the cursor cannot be kept: {source}")]
    Cursor { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Misuse(String),
}

impl ConsumerError {
    pub fn kind(&self) -> Kind {
        match self {
            ConsumerError::Store(error) => error.kind(),
            ConsumerError::History(error) => error.kind(),
            // A file that is no cursor, or that can't be read or written.
            ConsumerError::Cursor { source, .. } if source.kind() == io::ErrorKind::InvalidData => Kind::Input,
            ConsumerError::Cursor { source, .. } => Kind::of_io(source),
            ConsumerError::Misuse(_) => Kind::Input,
        }
    }
}

pub struct Consumer {
    follower: Follower,
    cursor: Option<(PathBuf, Cursor)>,
    /// The transaction at hand, and those of its rows that are left.
    rows: Option<(Version, TableRows)>,
}

impl Consumer {
    /// Starts behind `from`, or behind what the cursor file says is acknowledged, whichever is newer.
    pub fn open(path: &Path, branch: &str, cursor: Option<&Path>, from: Version) -> Result<Consumer, ConsumerError> {
        let store = Store::open(path, OpenOptions { create: false, ..OpenOptions::default() })?;
        let branch = store.branch(branch)?.id;
        let cursor = cursor.map(|path| {
            let cursor =
                Cursor::open(path).map_err(|source| ConsumerError::Cursor { path: path.to_owned(), source })?;
            Ok::<_, ConsumerError>((path.to_owned(), cursor))
        });
        let cursor = cursor.transpose()?;
        let after = cursor.as_ref().map_or(from, |(_, cursor)| cursor.version().max(from));
        // Refuses a version of the future: that of another store.
        store.resolve(branch, Moment::Version(after))?;
        Ok(Consumer { follower: Stream::new(&store, branch).follow(after)?, cursor, rows: None })
    }

    /// The branch's head.
    pub fn head(&self) -> Result<Version, ConsumerError> {
        Ok(self.follower.stream().head()?)
    }

    /// The next transaction, if there is one yet. Its rows follow by [`Consumer::next_row`].
    pub fn next_transaction(&mut self) -> Result<Option<Entry>, ConsumerError> {
        self.rows = None;
        let Some((entry, rows)) = self.follower.poll()? else { return Ok(None) };
        self.rows = Some((entry.version, rows));
        Ok(Some(entry))
    }

    /// The next changed row of the transaction at hand.
    pub fn next_row(&mut self) -> Result<Option<TableRow>, ConsumerError> {
        let Some((version, rows)) = &mut self.rows else { return Ok(None) };
        let version = *version;
        rows.next().transpose().map_err(|source| HistoryError::Changeset { version, source }.into())
    }

    /// Sleeps until there is a transaction that was not delivered; `false` after the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, ConsumerError> {
        Ok(self.follower.wait(timeout)?)
    }

    /// Notes durably that everything up to a version is done with.
    pub fn acknowledge(&mut self, version: Version) -> Result<(), ConsumerError> {
        let delivered = self.follower.told();
        if version > delivered {
            let message = format!("version {version} cannot be acknowledged: {delivered} was delivered last");
            return Err(ConsumerError::Misuse(message));
        }
        let Some((path, cursor)) = &mut self.cursor else {
            return Err(ConsumerError::Misuse("this consumer was opened without a cursor file".into()));
        };
        cursor.advance(version).map_err(|source| ConsumerError::Cursor { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_can_be_done() {
        let directory = tempfile::tempdir().unwrap();
        let kind = |path: &Path, branch: &str, cursor: Option<&Path>, from: u64| {
            Consumer::open(path, branch, cursor, Version(from)).err().map(|error| error.kind())
        };
        let store = directory.path().join("s.maniac");
        assert_eq!(kind(&store, "main", None, 0), Some(Kind::NotFound));
        std::fs::create_dir(&store).unwrap();
        std::fs::write(store.join("other"), "no store").unwrap();
        assert_eq!(kind(&store, "main", None, 0), Some(Kind::NotFound));
        std::fs::remove_file(store.join("other")).unwrap();
        drop(Store::open(&store, OpenOptions { create: true, ..OpenOptions::default() }).unwrap());
        assert_eq!(kind(&store, "main", None, 0), None);
        assert_eq!(kind(&store, "nowhere", None, 0), Some(Kind::NotFound));
        assert_eq!(kind(&store, "main", None, 9), Some(Kind::NotFound));
        let cursor = directory.path().join("cursor");
        std::fs::write(&cursor, "seven").unwrap();
        assert_eq!(kind(&store, "main", Some(&cursor), 0), Some(Kind::Input));
        let mut consumer = Consumer::open(&store, "main", None, Version(0)).unwrap();
        assert_eq!(consumer.acknowledge(Version(1)).unwrap_err().kind(), Kind::Input);
    }
}
