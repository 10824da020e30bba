//! The boundary to DuckDB's C API: everything that is `unsafe`, and nothing that decides.
//!
//! - `entry`: the function that DuckDB calls to load the extension
//! - `session`: a connection that runs statements and reads text results
//! - `chunk`: typed rows written into a table through the appender
//! - `columns`: what columns a table has
//! - `table_function`: Rust functions that SQL calls as tables
//! - `scan_function`: the same for tables whose columns the arguments tell, filled by several threads
//! - `filter_function`: conditions on whole numbers that SQL calls
//! - `loans`: what our own statements name by number
//! - `caller`: keeps a call on its caller's thread, so that DuckDB's workers are free for what it asks of DuckDB
//! - `vector`: one column of a chunk
//! - `exit`, `python`: hold our threads still when the process, or Python in it, ends

mod caller;
mod chunk;
mod columns;
mod entry;
mod exit;
mod filter_function;
mod loans;
mod python;
mod scan_function;
mod session;
mod table_function;
mod vector;

pub use caller::{Barrier, HOLD, Hold};
pub use chunk::TableWriter;
pub use columns::columns;
pub use exit::{Busy, busy};
pub use filter_function::{FilterFunction, NumberSet, register_filter};
pub use loans::{Loan, Loans};
pub use scan_function::{Columns, Producer, Scan, ScanFunction, ScanPlan, register_scan};
pub use session::{Prepared, Session, TextRow};
pub use table_function::{Args, Field, Function, Kind, Parameter, Rows, register};
pub use vector::Cell;
