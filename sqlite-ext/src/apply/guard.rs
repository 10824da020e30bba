//! Settings of the host's connection that are changed while changes are applied, and put back whatever happens.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::errors::{VfsError, VfsResult};

/// While it lives: what triggers and foreign key actions did is in the changes already, so neither runs again; and shadow
/// tables can be written.
pub struct Guard<'c> {
    db: &'c Connection,
    earlier: Vec<(DbConfig, bool)>,
}

impl<'c> Guard<'c> {
    pub fn new(db: &'c Connection) -> VfsResult<Guard<'c>> {
        let mut guard = Guard { db, earlier: Vec::new() };
        for (config, value) in [
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false),
            (DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, true),
        ] {
            let before = db.db_config(config).map_err(VfsError::sql)?;
            guard.earlier.push((config, before));
            db.set_db_config(config, value).map_err(VfsError::sql)?;
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
        for (config, value) in self.earlier.drain(..) {
            // Only an unknown option is refused, and these were known a moment ago.
            let restored = self.db.set_db_config(config, value);
            debug_assert!(restored.is_ok(), "{restored:?}");
        }
    }
}
