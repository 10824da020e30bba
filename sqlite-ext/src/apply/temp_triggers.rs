//! Triggers in the connection's TEMP schema. `SQLITE_DBCONFIG_ENABLE_TRIGGER` leaves them on, so they are dropped for the
//! time that changes are applied, in the same transaction: a rollback brings them back.

use rusqlite::Connection;

use super::table::quote;
use crate::errors::{VfsError, VfsResult};

pub struct TempTriggers {
    /// The text of each in `sqlite_temp_schema`, the oldest first.
    hidden: Vec<String>,
}

impl TempTriggers {
    pub fn hide(db: &Connection) -> VfsResult<TempTriggers> {
        drop_all(db).map(|hidden| TempTriggers { hidden }).map_err(VfsError::sql)
    }

    /// Makes them again, but for those whose table is gone: these go with it, as when it is dropped by hand.
    pub fn restore(self, db: &Connection) -> VfsResult<()> {
        for sql in self.hidden {
            // What is stored says CREATE TRIGGER, whichever schema it was made in.
            let rest = sql.get("CREATE TRIGGER ".len()..).unwrap_or_default();
            let created = db.execute_batch(&format!("CREATE TEMP TRIGGER {rest}"));
            let gone = |error: &rusqlite::Error| error.to_string().contains("no such table");
            created.or_else(|error| if gone(&error) { Ok(()) } else { Err(VfsError::sql(error)) })?;
        }
        Ok(())
    }
}

fn drop_all(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sought = "SELECT name, sql FROM temp.sqlite_master WHERE type = 'trigger' ORDER BY rowid";
    let mut triggers = db.prepare(sought)?;
    let triggers = triggers.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let triggers = triggers.collect::<rusqlite::Result<Vec<_>>>()?;
    for (name, _) in &triggers {
        db.execute_batch(&format!("DROP TRIGGER temp.{}", quote(name)))?;
    }
    Ok(triggers.into_iter().map(|(_, sql)| sql).collect())
}
