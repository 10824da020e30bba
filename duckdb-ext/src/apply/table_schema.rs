//! Puts tables of the mirror that DuckLake has put into another schema of the lake where they belong.
//!
//! A table that a transaction of DuckLake 1.5.5 makes is written with the number of its schema, which the commit reads from
//! memory that may be freed by then. `cache_pin` keeps that memory, but for what is read anew while one statement runs. What the
//! commit then reads is often zero, the number of the lake's schema `main`: the table is there, with its rows, and the mirror
//! finds it neither by name nor in its list (design note 024). A number that is no schema's makes the whole lake unreadable.
//!
//! ```text
//!   ducklake_schema    0 main, 2 shop
//!   ducklake_table     21 made_1 in 2,  22 made_2 in 0      both begin in a snapshot of the mirror in shop
//! ```

use super::Applier;
use crate::error::Result;
use crate::schema::quote_text;
use crate::target::lake::applied_version;
use crate::target::lake::catalog::FORMAT;

/// How often it is tried while others change the catalog.
const ATTEMPTS: u32 = 3;

impl Applier {
    /// Looks for such tables among those that the mirror has made after the snapshot `since`. Whether there were any: then a new
    /// schema version is due, since DuckLake has read, and keeps, where they were.
    pub(super) fn put_in_place(&mut self, since: i64) -> Result<bool> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.transaction(|applier| applier.try_put_in_place(since)) {
                Err(_) if attempts > 0 => {}
                outcome => return outcome,
            }
        }
    }

    fn try_put_in_place(&self, since: i64) -> Result<bool> {
        let Some(place) = applied_version::metadata(&self.session, &self.target) else { return Ok(false) };
        let own = format!(
            "(SELECT schema_id FROM {place}.ducklake_schema WHERE end_snapshot IS NULL \
             AND lower(schema_name) = lower({}))",
            quote_text(&self.target.schema)
        );
        let marked =
            applied_version::marked_by(&self.target, &self.source.identity(), "TRY_CAST(commit_extra_info AS JSON)");
        let misplaced = self.session.query(&format!(
            "SELECT table_id::VARCHAR FROM {place}.ducklake_table AS t \
             JOIN {place}.ducklake_snapshot_changes AS made ON made.snapshot_id = t.begin_snapshot \
             WHERE (SELECT value FROM {place}.ducklake_metadata WHERE key = 'version' AND scope IS NULL) = '{FORMAT}' \
             AND t.begin_snapshot > {since} AND t.end_snapshot IS NULL AND t.schema_id <> {own} AND {marked} \
             AND t.table_name NOT IN (SELECT table_name FROM {place}.ducklake_table \
             WHERE end_snapshot IS NULL AND schema_id = {own})"
        ))?;
        let misplaced: Vec<String> = misplaced.into_iter().flatten().flatten().collect();
        if !misplaced.is_empty() {
            self.session.run(&format!(
                "UPDATE {place}.ducklake_table SET schema_id = {own} WHERE end_snapshot IS NULL AND table_id IN ({})",
                misplaced.join(", ")
            ))?;
        }
        Ok(!misplaced.is_empty())
    }
}
