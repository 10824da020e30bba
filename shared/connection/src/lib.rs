//! The life of a connection to a store: locks, snapshot, transaction, commit. A host, SQLite for
//! one, makes its calls; a committer decides what counts.
//!
//! ```text
//!   host ──lock, read, write, commit──> Database ──> Committer ──> the store's log (Local)
//!                                         State
//!                                     capture: which rows
//! ```
//!
//! It knows SQLite's lock levels and the first page of its databases, and none of its C.

mod bytes;
mod capture;
mod commit;
mod committer;
mod database;
mod error;
mod group;
mod page_one;
mod peers;
mod process;
mod state;
mod view;

pub use committer::{Committer, Local};
pub use database::{Database, Target};
pub use error::ConnectionError;
pub use peers::{ConnectionId, Journalled};
pub use process::Process;
pub use state::Level;
