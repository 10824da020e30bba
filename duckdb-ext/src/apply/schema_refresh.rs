//! Has DuckLake read a lake's schema anew, under another number.
//!
//! DuckLake 1.5.5 keeps what it has read of a schema version for the whole process, with the names of the tables in the catalog
//! that hold a table's inlined rows. A flush drops those of a table's older shapes, under the same number. Of a transaction that
//! is open meanwhile and one that comes later, the one then gets what the other has read (design note 024):
//!
//! ```text
//!   version 7    an open transaction reads    data_1_5, data_1_7
//!                a flush drops                data_1_5
//!   version 7    the open one reads again     data_1_5, data_1_7    later ones: "data_1_5 does not exist"
//!     or         a later one reads            data_1_7              the open one: rows are missing
//! ```
//!
//! So both must not have the same number. To give a table the comment that it has makes a new one, and so does a snapshot that
//! is written into the catalog directly (`catalog_writer`), where that can be:
//!
//! - in the transaction of the flush, if it will drop something, and once more when it has, since that is a transaction of its own;
//! - after a change of the tables, since maintenance looks at the versions that changed tables, and at no others;
//! - when it happened nevertheless, by somebody else's flush or before this process knew: then the batch is tried again.

use super::Applier;
use crate::error::{Error, Result};
use crate::schema::{STATE_TABLE, quote, quote_text};
use crate::target::lake::applied_version;

/// Whether a statement failed because a table of inlined rows, or of their deletions, is not there, in the words of DuckDB,
/// PostgreSQL or SQLite.
pub fn is_stale(error: &Error) -> bool {
    let Error::Database { message, .. } = error else { return false };
    message.contains("ducklake_inlined_") && (message.contains("does not exist") || message.contains("no such table"))
}

impl Applier {
    /// Makes a new schema version of a lake, without any other change.
    pub(super) fn refresh_schema(&mut self) -> Result<()> {
        self.direct.forget();
        let what = format!("schema version renewed at version {}", self.version);
        if self.refresh_directly(&what) {
            return Ok(());
        }
        self.transaction(|applier| {
            applier.applied.begin(&applier.session, &applier.target, &applier.owner)?;
            applier.alter_nothing()?;
            applier.mark(&what, Some(applier.version))
        })?;
        if self.applied.has_others() {
            self.direct.give_way();
        }
        self.applied.renewed();
        Ok(())
    }

    /// The same past DuckLake, if that can be done: right after the applier's own last snapshot.
    fn refresh_directly(&mut self, what: &str) -> bool {
        let Some(base) = self.applied.last() else { return false };
        let (message, extra) = self.labels(what, Some(self.version));
        let renewed =
            self.transaction(|applier| applier.direct.renew(&applier.session, &applier.target, base, &message, &extra));
        match renewed {
            Ok(true) => self.applied.added(base),
            Ok(false) => {}
            // Somebody else has made a snapshot meanwhile, or this one was made and its commit failed afterwards.
            Err(_) => self.applied.lost_count(),
        }
        matches!(renewed, Ok(true))
    }

    /// To be called after the tables of a lake were changed. Without it a transaction of somebody else's may read too little
    /// later, or fail, so that the mirror is none the worse when this fails.
    pub(super) fn leave_version(&mut self) {
        if self.target.lake {
            drop(self.put_in_place(self.applied.last().map_or(0, |last| last - 1)));
            drop(self.refresh_schema());
        }
    }

    /// Makes the transaction one that changes the schema.
    pub(super) fn alter_nothing(&mut self) -> Result<()> {
        self.pin();
        // The mirror's own table, which has no comment.
        self.session.run(&format!("COMMENT ON TABLE {} IS NULL", self.target.table(STATE_TABLE)))?;
        self.pin();
        Ok(())
    }

    /// Whether a flush of the table will drop tables of inlined rows: those of its older shapes, and empty ones of others.
    pub(super) fn flush_drops(&self, table: &str) -> Result<bool> {
        let Some(place) = applied_version::metadata(&self.session, &self.target) else { return Ok(true) };
        let superseded = self.session.query(&format!(
            "SELECT holder, (table_id IN (SELECT table_id FROM {place}.ducklake_table AS t \
             JOIN {place}.ducklake_schema AS s USING (schema_id) WHERE t.end_snapshot IS NULL AND t.table_name = {} \
             AND lower(s.schema_name) = lower({})))::VARCHAR FROM (SELECT table_id, table_name AS holder, \
             schema_version < max(schema_version) OVER (PARTITION BY table_id) AS old \
             FROM {place}.ducklake_inlined_data_tables) WHERE old",
            quote_text(table),
            quote_text(&self.target.schema)
        ))?;
        for row in superseded {
            let [Some(holder), own] = row.as_slice() else { continue };
            let first = format!("SELECT 'a row' FROM {place}.{} LIMIT 1", quote(holder));
            if own.as_deref() == Some("true") || self.session.value(&first)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_three_catalogs() {
        let error = |message: &str| Error::Database { message: message.into(), statement: "SELECT".into() };
        for message in [
            "Catalog Error: Failed to read inlined data from DuckLake: Table with name ducklake_inlined_data_1_5 does not exist!",
            "ERROR:  relation \"public.ducklake_inlined_delete_3\" does not exist",
            "no such table: ducklake_inlined_data_1_5",
        ] {
            assert!(is_stale(&error(message)), "{message}");
        }
        assert!(!is_stale(&error("Catalog Error: Table with name t does not exist!")));
        assert!(!is_stale(&Error::source("ducklake_inlined_data_1_5 does not exist")));
    }
}
