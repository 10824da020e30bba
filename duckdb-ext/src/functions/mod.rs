//! The functions that SQL calls, a file per purpose. Each turns arguments into a call and results into rows.

mod attach;
mod attached;
mod control;
mod copy;
mod fill;
mod history;
mod maintain;
mod progress;
mod scan;
mod snapshot;
mod status;
mod views;

use std::sync::Arc;

use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::{Args, HOLD, Session, register, register_filter, register_scan};
use crate::instance::Instance;
use crate::target::KEY_FILTER;

/// Registers every function of the extension.
pub fn register_all(session: &Session, instance: &Arc<Instance>) -> Result<()> {
    let functions = [
        &attach::ATTACH,
        &control::DETACH,
        &control::PAUSE,
        &control::RESUME,
        &control::WAIT,
        &status::STATUS,
        &maintain::MAINTAIN,
        &snapshot::SNAPSHOT,
        &history::CHANGES,
        &history::DIFF,
        &history::LOG,
        &views::VIEWS,
        &history::BRANCHES,
        &history::TAGS,
        &history::ABOUT,
        &history::TABLES,
    ];
    functions.into_iter().try_for_each(|function| register(session, function, instance))?;
    [&scan::SCAN, &copy::COPY, &HOLD]
        .into_iter()
        .try_for_each(|function| register_scan(session, function, instance))?;
    register_filter(session, &KEY_FILTER)
}

/// A thousand years: clocks and DuckDB's intervals can still add that.
const MOST_SECONDS: u64 = 1000 * 365 * 24 * 3600;

/// A number of seconds, if it was given.
fn seconds(args: &Args, name: &str) -> Result<Option<Duration>> {
    let given = args.integer(name).map(|number| match u64::try_from(number) {
        Ok(seconds @ ..=MOST_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(Error::input(format!("{name} := {number} is out of range: give 0 to {MOST_SECONDS} seconds"))),
    });
    given.transpose()
}
