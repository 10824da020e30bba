//! The functions that SQL calls, a file per purpose. Each turns arguments into a call and results into rows.

mod attach;
mod control;
mod history;
mod status;

use std::sync::Arc;

use crate::error::Result;
use crate::host::{Session, register};
use crate::instance::Instance;

/// Registers every function of the extension.
pub fn register_all(session: &Session, instance: &Arc<Instance>) -> Result<()> {
    register(session, &attach::ATTACH, 1, instance)?;
    register(session, &control::DETACH, 1, instance)?;
    register(session, &control::PAUSE, 1, instance)?;
    register(session, &control::RESUME, 1, instance)?;
    register(session, &control::WAIT, 1, instance)?;
    register(session, &status::STATUS, 0, instance)?;
    register(session, &history::CHANGES, 1, instance)?;
    register(session, &history::TABLES, 1, instance)?;
    register(session, &history::BRANCHES, 1, instance)?;
    register(session, &history::LOG, 1, instance)
}
