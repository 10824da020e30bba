//! Keeps alive what DuckLake has read of a lake's schema.
//!
//! A transaction of DuckLake 1.5.5 that has made, altered or dropped tables refers until its end to what was read of the schema
//! that it began with. That belongs to a cache, and to each query while it runs, but not to the transaction. The cache lets go
//! of it when another connection has read the same schema at the same time, after a flush, and when a snapshot with that
//! schema expires. The commit then uses freed memory: the process crashes, or a table is put into no schema (design note 024).
//!
//! So another connection refers to it meanwhile. It keeps what a statement was bound to until it runs its next query.

use super::Target;
use crate::instance::Lease;
use crate::schema::quote;

pub struct Pin(Lease);

impl Pin {
    /// `None` for what is not a lake, and if there is no connection to spare.
    pub fn new(session: &Lease, target: &Target) -> Option<Pin> {
        let other = if target.lake { session.another() } else { None }?;
        other.bind(&format!("FROM {}.current_snapshot()", quote(&target.catalog))).ok()?;
        Some(Pin(other))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        drop(self.0.run("SELECT 1"));
    }
}
