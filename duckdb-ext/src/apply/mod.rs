//! Puts a source's commits into DuckDB: whole, in order, exactly once.
//!
//! ```text
//!   commits ── net (one change per key) ──┐
//!   schema change ── plan (statements) ───┼── applier: one DuckDB transaction with the version
//!   misfit, diverged ── copy (a table) ───┘
//! ```

mod applier;
mod attach;
mod copy;
mod ledger;
mod net;
mod rows;
mod state;
mod target;
mod upkeep;

pub use applier::{Applied, Applier};
pub use copy::{CopyJob, copy_job};
pub use ledger::{history, marked_by};
pub use state::Owner;
pub use target::Target;
pub use upkeep::{Done, Order, Upkeep, UpkeepChange, UpkeepStep};
