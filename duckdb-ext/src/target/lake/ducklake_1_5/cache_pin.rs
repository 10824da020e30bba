//! Keeps alive what DuckLake has read of a lake's schema.
//!
//! A transaction of DuckLake 1.5.5 that has made, altered or dropped tables refers until its end to what was read of the schema
//! that it began with. That belongs to a cache, and to each query while it runs, but not to the transaction. The cache lets go
//! of it when another connection has read the same schema at the same time, after a flush, and when a snapshot with that
//! schema expires. The commit then uses freed memory: the process crashes, or a table is put into no schema (design note 024).
//!
//! So another connection refers to it meanwhile, which keeps all that its statements were bound to until it runs a query. It
//! does so before and after each statement that changes tables: to be lost, what that statement refers to must have come into
//! the cache and gone from it in between.

use crate::instance::Lease;
use crate::target::Target;

pub struct CachePin {
    session: Lease,
    statement: String,
}

impl CachePin {
    /// `None` for what is not a lake, and if there is no connection to spare.
    pub fn new(session: &Lease, target: &Target) -> Option<CachePin> {
        let session = if target.lake { session.another() } else { None }?;
        let pin = CachePin { session, statement: format!("FROM {}()", target.function("current_snapshot")) };
        pin.renew();
        Some(pin)
    }

    /// Refers to what is in the cache now too.
    pub fn renew(&self) {
        // What cannot be bound here fails in the transaction too, which tells of it.
        drop(self.session.bind(&self.statement));
    }
}

impl Drop for CachePin {
    fn drop(&mut self) {
        drop(self.session.run("SELECT 1"));
    }
}
