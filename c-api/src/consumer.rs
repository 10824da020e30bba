//! A consumer: one branch's transactions in order, each read row by row.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use maniac_base::{BranchId, Version};
use maniac_history::{Entries, HistoryError, TableRow, TableRows, entries, schema_of};
use maniac_sqlite_format::Schema;
use maniac_store::{Entry, EntryKind, Moment, OpenOptions, Store, StoreError};

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

pub struct Consumer {
    store: Arc<Store>,
    branch: BranchId,
    cursor: Option<(PathBuf, Cursor)>,
    /// The newest version that was delivered.
    delivered: Version,
    /// What was there when it was last looked.
    entries: Entries,
    schema: Option<Arc<Schema>>,
    rows: Option<TableRows>,
}

impl Consumer {
    /// Starts behind `from`, or behind what the cursor file says is acknowledged, whichever is newer.
    pub fn open(path: &Path, branch: &str, cursor: Option<&Path>, from: Version) -> Result<Consumer, ConsumerError> {
        let store = Store::open(path, OpenOptions { create: false })?;
        let branch = store.branch(branch)?.id;
        let cursor = cursor.map(|path| {
            let cursor =
                Cursor::open(path).map_err(|source| ConsumerError::Cursor { path: path.to_owned(), source })?;
            Ok::<_, ConsumerError>((path.to_owned(), cursor))
        });
        let cursor = cursor.transpose()?;
        let delivered = cursor.as_ref().map_or(from, |(_, cursor)| cursor.version().max(from));
        // Refuses a version of the future: that of another store.
        store.resolve(branch, Moment::Version(delivered))?;
        let entries = entries(&store, branch, delivered)?;
        Ok(Consumer { store, branch, cursor, delivered, entries, schema: None, rows: None })
    }

    /// The branch's head.
    pub fn head(&self) -> Result<Version, ConsumerError> {
        Ok(self.store.branch_head(self.branch)?)
    }

    /// The next transaction, if there is one yet. Its rows follow by [`Consumer::next_row`].
    pub fn next_transaction(&mut self) -> Result<Option<Entry>, ConsumerError> {
        self.rows = None;
        let mut looked = false;
        loop {
            match self.entries.next() {
                None if looked => return Ok(None),
                None => {
                    self.entries.more()?;
                    looked = true;
                }
                Some(Err(error)) => {
                    self.entries.more()?;
                    return Err(error.into());
                }
                Some(Ok(entry)) if entry.kind != EntryKind::Transaction => self.delivered = entry.version,
                Some(Ok(entry)) if entry.unreadable.is_some() => {
                    // The schema that would be needed for its rows is what can't be read.
                    self.schema = None;
                    self.delivered = entry.version;
                    return Ok(Some(entry));
                }
                Some(Ok(entry)) => {
                    let schema = match self.schema.take().filter(|_| entry.schema.is_empty()) {
                        Some(schema) => schema,
                        None => schema_of(&self.store.snapshot(self.branch, entry.version)?)?,
                    };
                    self.schema = Some(schema.clone());
                    self.rows = Some(TableRows::new(entry.changeset.clone(), schema, None));
                    self.delivered = entry.version;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The next changed row of the transaction at hand.
    pub fn next_row(&mut self) -> Result<Option<TableRow>, ConsumerError> {
        let version = self.delivered;
        let row = self.rows.as_mut().and_then(Iterator::next).transpose();
        row.map_err(|source| HistoryError::Changeset { version, source }.into())
    }

    /// Sleeps until there is a transaction that was not delivered; `false` after the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, ConsumerError> {
        let more = || self.store.branch_head(self.branch).map_or(true, |head| head > self.delivered);
        Ok(self.store.wait_until(timeout, more)?)
    }

    /// Notes durably that everything up to a version is done with.
    pub fn acknowledge(&mut self, version: Version) -> Result<(), ConsumerError> {
        if version > self.delivered {
            let message = format!("version {version} cannot be acknowledged: {} was delivered last", self.delivered);
            return Err(ConsumerError::Misuse(message));
        }
        let Some((path, cursor)) = &mut self.cursor else {
            return Err(ConsumerError::Misuse("this consumer was opened without a cursor file".into()));
        };
        cursor.advance(version).map_err(|source| ConsumerError::Cursor { path: path.clone(), source })
    }
}
