//! Where a mirror lives, and how rows get there: what native tables and lakes share, and what each needs.
//!
//! ```text
//!   place       the database and schema, and the statements that differ between the two kinds
//!   state       the row that says which version is shown and who applies (owner); the columns
//!   netting     a batch as one change per key
//!   upsert      netted changes as statements; key_filter finds the rows of many keys
//!   native/     primary keys, bloat, compression
//!   lake/       the applied version, the catalog and what is written into it directly, inlining
//! ```
//!
//! Nothing here knows an applier.

mod key_filter;
pub mod lake;
mod maintenance_settings;
pub mod native;
pub mod netting;
mod owner;
mod place;
pub mod state;
pub mod upsert;

pub use key_filter::KEY_FILTER;
pub use maintenance_settings::{MaintenanceChange, MaintenanceSettings};
pub use owner::{Owner, is_alive, may_live, new_owner};
pub use place::{AUTHOR, INLINED_BYTES, INLINED_ROWS, Target};
