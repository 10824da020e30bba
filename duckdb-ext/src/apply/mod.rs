//! Puts a source's commits into DuckDB: whole, in order, exactly once.
//!
//! ```text
//!   commits ── net (one change per key) ──┐
//!   schema change ── plan (statements) ───┼── applier: one DuckDB transaction with the version
//!   misfit, diverged ── copy (a table) ───┘
//!   misfit ── rejects, or the error that stops the mirror
//! ```

mod applier;
mod attach;
mod batch;
mod copy;
mod copy_cost;
mod current;
mod flush_check;
mod maintenance;
mod rejects;
mod schema_refresh;
mod table_schema;
mod views;

pub use applier::{Applied, Applier, Differing};
pub use attach::{Attached, Choices};
pub use copy::{CopyJob, CopyOutput, Tally};
pub use current::{Current, current};
pub use maintenance::{Done, MaintenanceStep, Order};
pub use views::OfferedView;
