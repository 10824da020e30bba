//! All or nothing, whether the user has a transaction open or not.

use rusqlite::Connection;

use super::temp_triggers::TempTriggers;
use crate::errors::{VfsError, VfsResult};

/// A transaction of its own, or a savepoint in the user's. Undone unless it is committed.
pub struct Atomic<'c> {
    db: &'c Connection,
    savepoint: bool,
    done: bool,
    temp_triggers: Option<TempTriggers>,
}

impl<'c> Atomic<'c> {
    /// The write lock is taken when something is written, or, with `now`, at once.
    pub fn begin(db: &'c Connection, now: bool) -> VfsResult<Atomic<'c>> {
        let savepoint = !db.is_autocommit();
        let begin = match (savepoint, now) {
            (true, _) => "SAVEPOINT maniac_apply",
            (false, false) => "BEGIN",
            (false, true) => "BEGIN IMMEDIATE",
        };
        db.execute_batch(begin).map_err(VfsError::sql)?;
        Ok(Atomic { db, savepoint, done: false, temp_triggers: None })
    }

    /// From here on TEMP triggers don't run, until this is over.
    pub fn hide_temp_triggers(&mut self) -> VfsResult<()> {
        self.temp_triggers = Some(TempTriggers::hide(self.db)?);
        Ok(())
    }

    pub fn commit(mut self) -> VfsResult<()> {
        if let Some(triggers) = self.temp_triggers.take() {
            triggers.restore(self.db)?;
        }
        self.db.execute_batch(if self.savepoint { "RELEASE maniac_apply" } else { "COMMIT" }).map_err(VfsError::sql)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Atomic<'_> {
    fn drop(&mut self) {
        // SQLite may have rolled back by itself, after an error of the disk.
        if self.done || self.db.is_autocommit() {
            return;
        }
        let undo = if self.savepoint { "ROLLBACK TO maniac_apply; RELEASE maniac_apply" } else { "ROLLBACK" };
        // What is left when this fails is a transaction that cannot be committed.
        let _ = self.db.execute_batch(undo);
    }
}

/// A part of a transaction, which is undone unless it is kept.
pub struct Trial<'c> {
    db: &'c Connection,
    kept: bool,
}

impl<'c> Trial<'c> {
    pub fn begin(db: &'c Connection) -> VfsResult<Trial<'c>> {
        db.execute_batch("SAVEPOINT maniac_trial").map_err(VfsError::sql)?;
        Ok(Trial { db, kept: false })
    }

    pub fn keep(mut self) -> VfsResult<()> {
        self.kept = true;
        self.db.execute_batch("RELEASE maniac_trial").map_err(VfsError::sql)
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.kept && !self.db.is_autocommit() {
            // What is left when this fails is a transaction that is rolled back.
            let _ = self.db.execute_batch("ROLLBACK TO maniac_trial; RELEASE maniac_trial");
        }
    }
}
