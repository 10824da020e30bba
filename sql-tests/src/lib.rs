//! Tests from the outside: the real `sqlite3` and `duckdb` processes, the built extensions, and SQL.
//!
//! ```text
//!   .slt file ──> script ──> step ──> session ──> process ══pipes══> sqlite3 / duckdb
//!                   │          └────> compare (a table of one session against a table of another)
//!                   └─ sqllogictest: parsing, expected results, expected errors
//! ```
//!
//! `README.md` in this folder describes the language of the .slt files. The process tests in `tests/` use [`Session`]
//! directly, for what needs a loop or a clock.

pub mod compare;
pub mod dice;
pub mod histories;
pub mod lakes;
pub mod process;
pub mod python;
pub mod script;
pub mod session;
mod step;
pub mod tools;
pub mod value;

pub use session::{Failure, Kind, Session};
pub use tools::{Tools, workspace_root};
pub use value::Value;
