//! The functions that SQL calls, a file per purpose. Each turns arguments into a call and results into rows.

mod attach;
mod control;
mod copy;
mod history;
mod scan;
mod snapshot;
mod status;

use std::sync::Arc;

use crate::error::Result;
use crate::host::{Session, register, register_scan};
use crate::instance::Instance;

/// Registers every function of the extension.
pub fn register_all(session: &Session, instance: &Arc<Instance>) -> Result<()> {
    let functions = [
        &attach::ATTACH,
        &control::DETACH,
        &control::PAUSE,
        &control::RESUME,
        &control::WAIT,
        &status::STATUS,
        &snapshot::SNAPSHOT,
        &history::CHANGES,
        &history::TABLES,
        &history::BRANCHES,
        &history::LOG,
    ];
    functions.into_iter().try_for_each(|function| register(session, function, instance))?;
    [&scan::SCAN, &copy::COPY].into_iter().try_for_each(|function| register_scan(session, function, instance))
}
