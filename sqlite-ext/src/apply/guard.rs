//! Settings of the host's connection that are changed while changes are applied, and put back whatever happens.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::errors::{VfsError, VfsResult};

/// What must be so for the same changes to have the same effect on every connection:
///
/// - What triggers and foreign key actions did is in the changes already, so neither runs again.
/// - Views can be read, and shadow tables written.
/// - A schema's text means what it means when SQLite reads it from a file.
const CONFIGURATION: [(DbConfig, bool); 6] = [
    (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, true),
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false),
    (DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, true),
    (DbConfig::SQLITE_DBCONFIG_DQS_DDL, true),
];

/// Flags that are off for the same reason: statements that change rows give none, constraints are checked, and SQLite's
/// own tables are not touched by accident.
const FLAGS: [&str; 4] = ["count_changes", "ignore_check_constraints", "reverse_unordered_selects", "writable_schema"];

/// While it lives, the settings are as above.
pub struct Guard<'c> {
    db: &'c Connection,
    earlier: Vec<(DbConfig, bool)>,
    flags: Vec<&'static str>,
    last_insert_rowid: i64,
}

impl<'c> Guard<'c> {
    pub fn new(db: &'c Connection) -> VfsResult<Guard<'c>> {
        let last_insert_rowid = db.last_insert_rowid();
        let mut guard = Guard { db, earlier: Vec::new(), flags: Vec::new(), last_insert_rowid };
        for (config, value) in CONFIGURATION {
            let before = db.db_config(config).map_err(VfsError::sql)?;
            guard.earlier.push((config, before));
            db.set_db_config(config, value).map_err(VfsError::sql)?;
        }
        for flag in FLAGS {
            // A host that was built without a flag gives no row.
            let on = db.query_row(&format!("PRAGMA {flag}"), (), |row| row.get::<_, bool>(0)).unwrap_or(false);
            if on {
                guard.flags.push(flag);
                db.execute_batch(&format!("PRAGMA {flag} = OFF")).map_err(VfsError::sql)?;
            }
        }
        Ok(guard)
    }

    /// Whether the connection enforces foreign keys.
    pub fn foreign_keys(&self) -> bool {
        self.earlier.iter().any(|(config, on)| matches!(config, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY) && *on)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        for flag in self.flags.drain(..) {
            let restored = self.db.execute_batch(&format!("PRAGMA {flag} = ON"));
            debug_assert!(restored.is_ok(), "{restored:?}");
        }
        for (config, value) in self.earlier.drain(..) {
            // Only an unknown option is refused, and these were known a moment ago.
            let restored = self.db.set_db_config(config, value);
            debug_assert!(restored.is_ok(), "{restored:?}");
        }
        set_last_insert_rowid(self.db, self.last_insert_rowid);
    }
}

/// The rows that are written here are not the ones that the application asks for.
#[allow(unsafe_code)]
fn set_last_insert_rowid(db: &Connection, rowid: i64) {
    // SAFETY: the connection is open, and the call has no other condition.
    unsafe { rusqlite::ffi::sqlite3_set_last_insert_rowid(db.handle(), rowid) }
}
