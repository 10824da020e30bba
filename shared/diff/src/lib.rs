//! What changed between two snapshots of a database, row by row.
//!
//! ```text
//! dirty pages ─┐
//! page map ────┴─ trees ── leaves that differ ── rows that differ ── paired by key ── changeset
//!                   │                                 │
//!                overflow: leaves whose          shape: old rows in the
//!                chains differ                   columns of the new table
//! ```
//!
//! One primitive serves the capture of a commit (dirty pages known, cost proportional to them), the difference of any
//! two versions or branches, and a consumer that fell behind. It needs nothing but pages: no hooks, no triggers, no SQL.

mod capture;
mod encode;
mod error;
mod extent;
mod leaves;
mod order;
mod output;
mod overflow;
mod page_map;
mod readable;
mod row_diff;
mod schema_match;
mod segments;
mod snapshots;
mod touched;
mod tracker;
mod tree_diff;
mod trim;

pub use capture::{Captured, changed_rows};
pub use error::DiffError;
pub use extent::Extent;
pub use readable::{Readable, Trees, Unsound};
pub use schema_match::{TableMatch, match_changed, match_tables};
pub use snapshots::{TableDiff, Wanted, diff, whole_table, whole_tables};
pub use tracker::{Tracker, TrackerUpdate};
