//! What tables become in DuckDB: names, types, values, and how a changed schema is followed. Nothing here touches a
//! database.

mod convert;
mod decimal;
mod json;
mod mismatch;
mod names;
mod plan;
mod selection;
mod tables;
pub mod time;
mod types;
mod widen;

pub use convert::{Fitted, Store, fit, fit_into, is_exact, is_utf8, literal, show};
pub use decimal::{SHOWN, has_short_text};
pub use mismatch::{OnMismatch, class, reason};
pub use names::{Names, quote, quote_text};
pub use plan::{COLUMNS_TABLE, MirrorColumn, MirrorTable, REJECTS_TABLE, STATE_TABLE, Step, names_of, plan, renew};
pub use selection::Selection;
pub use tables::Tables;
pub use types::ColumnType;
pub use widen::Census;
