//! A branch's stream of transactions, followed in one place for every consumer: the C library, mirrors and SQL.
//!
//! ```text
//!   log       41          42               43        44         45
//!             commit      branch created   commit    DDL        commit
//!   follower  Entry 41    passed over      Entry 43  Entry 44   Entry 45
//!   schemas   [41 .................... 43]           [44 ........ 45]     read once, kept up to date
//! ```
//!
//! A consumer remembers the version of the last transaction that it is done with, and goes on from there. What can't be
//! read is named in its entry, with the reason; see `entries`. The schemas are those of what can be read.

use std::sync::Arc;
use std::time::Duration;

use maniac_base::{BranchId, Version};
use maniac_diff::changed_rows;
use maniac_sqlite_format::{Database, Schema};
use maniac_store::{Entry, EntryKind, Snapshot, Store};
use parking_lot::Mutex;

use crate::difference::{schema_failed, sound_schema_of};
use crate::entries::Wanted;
use crate::schemas::Schemas;
use crate::{Entries, HistoryError, TableRows, entries};

/// One branch of a store, with the schemas that its consumers needed last. Clones share these.
#[derive(Clone)]
pub struct Stream {
    store: Arc<Store>,
    branch: BranchId,
    schemas: Arc<Mutex<Schemas>>,
}

impl Stream {
    pub fn new(store: &Arc<Store>, branch: BranchId) -> Stream {
        Stream { store: store.clone(), branch, schemas: Arc::default() }
    }

    /// The transactions after a version. The version may be any that the branch has had, its own or an ancestor's.
    pub fn follow(&self, after: Version) -> Result<Follower, HistoryError> {
        let entries = entries(&self.store, self.branch, after)?;
        Ok(Follower { stream: self.clone(), entries, told: after, failed: false })
    }

    /// The version of the branch's newest transaction.
    pub fn head(&self) -> Result<Version, HistoryError> {
        Ok(self.store.branch_head(self.branch)?)
    }

    pub fn snapshot(&self, at: Version) -> Result<Snapshot, HistoryError> {
        Ok(self.store.snapshot(self.branch, at)?)
    }

    /// How many transactions follow `after`, counted up to `limit`, and when the first of them was made. Reads no rows.
    pub fn pending(&self, after: Version, limit: usize) -> Result<(usize, Option<i64>), HistoryError> {
        let (mut count, mut since) = (0, None);
        for entry in self.store.entries(self.branch, after)?.take(limit) {
            let entry = entry?;
            if entry.kind == EntryKind::Transaction {
                since = since.or(Some(entry.time_ms));
                count += 1;
            }
        }
        Ok((count, since))
    }

    /// The schema at a version, as far as it can be read.
    pub fn schema(&self, at: Version) -> Result<Arc<Schema>, HistoryError> {
        if let Some(known) = self.schemas.lock().at(at) {
            return Ok(known);
        }
        let schema = sound_schema_of(&self.snapshot(at)?)?;
        self.schemas.lock().add(at, &schema);
        Ok(schema)
    }

    /// What an entry of a follower did to the schema; `None` if it left it as it was.
    pub fn schema_change(&self, entry: &Entry) -> Result<Option<SchemaChange>, HistoryError> {
        if entry.schema.is_empty() {
            return Ok(None);
        }
        let before = self.schema(entry.since)?;
        let after = self.changed(&before, entry)?;
        Ok(Some(SchemaChange { before, after }))
    }

    /// The changed rows of an entry of a follower, whose changeset is handed over; of one table, if asked for.
    pub fn rows(&self, at: Version, changeset: Vec<u8>, only: Option<String>) -> Result<TableRows, HistoryError> {
        let schema = if changeset.is_empty() { Arc::default() } else { self.schema(at)? };
        Ok(TableRows::new(changeset, schema, only))
    }

    /// The schema after an entry, at a cost that follows what the entry changed.
    fn changed(&self, before: &Schema, entry: &Entry) -> Result<Arc<Schema>, HistoryError> {
        let at = entry.version;
        let snapshot = self.snapshot(at)?;
        let after = match Database::open(&snapshot).map_err(schema_failed(at))? {
            Some(database) => match before.with_changes(&database, &changed_rows(&entry.schema)) {
                Ok(schema) => schema,
                // Some of what changed can't be read.
                Err(_) => {
                    let (mut schema, _) = Schema::read_sound(&database).map_err(schema_failed(at))?;
                    schema.share(before);
                    schema
                }
            },
            None => Schema::default(),
        };
        let after = Arc::new(after);
        self.schemas.lock().add(at, &after);
        Ok(after)
    }

    /// An entry has been read: what is known of the schemas holds for its version too.
    fn pass(&self, entry: &Entry) {
        if entry.schema.is_empty() && entry.unreadable.iter().all(|unreadable| unreadable.table.is_some()) {
            self.schemas.lock().stays(entry.since, entry.version);
        }
    }
}

/// The schemas before and after an entry. What the entry did not touch is shared by both.
pub struct SchemaChange {
    pub before: Arc<Schema>,
    pub after: Arc<Schema>,
}

/// The transactions of a branch in the order of their versions, up to the head as it was when this was made or was asked
/// for [`more`](Follower::more). After an error the transaction that it was about comes again.
pub struct Follower {
    stream: Stream,
    entries: Entries,
    told: Version,
    /// What `entries` would tell next is not what follows what was told.
    failed: bool,
}

impl Follower {
    /// Up to here the branch has no transaction that was not told: where to go on, now or after a restart.
    pub fn told(&self) -> Version {
        self.told
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Goes on, after the end or an error, with what was committed since.
    pub fn more(&mut self) -> Result<(), HistoryError> {
        match self.failed {
            true => self.entries = entries(&self.stream.store, self.stream.branch, self.told)?,
            false => self.entries.more()?,
        }
        self.failed = false;
        Ok(())
    }

    /// The next transaction with its rows, also if it was committed after the last look; `None` if there is none yet.
    pub fn poll(&mut self) -> Result<Option<(Entry, TableRows)>, HistoryError> {
        let before = self.told;
        let mut next = self.next();
        if next.is_none() {
            self.more()?;
            next = self.next();
        }
        let Some(entry) = next.transpose()? else { return Ok(None) };
        let rows = self.stream.rows(entry.version, entry.changeset.clone(), None);
        let rows = rows.inspect_err(|_| (self.told, self.failed) = (before, true))?;
        Ok(Some((entry, rows)))
    }

    /// Sleeps until the branch has a transaction that was not told; `false` after the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, HistoryError> {
        let Stream { store, branch, .. } = &self.stream;
        let more = || store.branch_head(*branch).map_or(true, |head| head > self.told);
        Ok(store.wait_until(timeout, more)?)
    }
}

impl Iterator for Follower {
    type Item = Result<Entry, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_wanted(&mut |_, _, _| true)
    }
}

impl Follower {
    /// The next transaction, perhaps without the rows of tables that are not wanted; see `Entries::next_wanted`.
    pub fn next_wanted(&mut self, wanted: Wanted<'_>) -> Option<Result<Entry, HistoryError>> {
        if self.failed
            && let Err(error) = self.more()
        {
            return Some(Err(error));
        }
        loop {
            let entry = self.entries.next_wanted(wanted)?.inspect_err(|_| self.failed = true);
            let Ok(entry) = entry else { return Some(entry) };
            self.told = entry.version;
            if entry.kind == EntryKind::Transaction {
                self.stream.pass(&entry);
                return Some(Ok(entry));
            }
        }
    }
}
