//! Puts a source's commits into DuckDB: whole, in order, exactly once.
//!
//! ```text
//!   commits ── net (one change per key) ──┐
//!   schema change ── plan (statements) ───┼── applier: one DuckDB transaction with the version
//!   misfit, diverged ── copy (a table) ───┘
//!   misfit ── rejects, or the error that stops the mirror
//! ```

mod afresh;
mod among;
mod applier;
mod attach;
mod batch;
mod bounds;
mod catalog;
mod copy;
mod direct;
mod flushes;
mod inlining;
mod joining;
mod keys;
mod ledger;
mod misplaced;
mod net;
mod packing;
mod pin;
mod rejects;
mod rows;
mod shown;
mod state;
mod target;
mod upkeep;
mod views;
mod wear;
mod weighing;

pub use among::AMONG;
pub use applier::{Applied, Applier, Differing};
pub use attach::{Attached, Choices};
pub use copy::{CopyJob, CopyOutput, Tally};
pub use joining::Joining;
pub use ledger::{history, marked_by};
pub use shown::{Shown, shown};
pub use state::Owner;
pub use target::Target;
pub use upkeep::{Done, Order, Upkeep, UpkeepChange, UpkeepStep};
pub use views::OfferedView;
