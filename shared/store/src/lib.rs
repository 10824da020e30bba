//! The store: a directory with an append-only log that *is* the database, and what is derived from it in memory.
//!
//! ```text
//!   Transaction ──append──> log/*.wals ──refresh──> Index ──lookup──> Snapshot
//!                             │  └─checkpoint──> chunks/*.pack ─────────┘ (immutable)
//!                           HEAD: how far the log goes, seen by every process
//! ```
//!
//! It knows pages, branches and versions. It knows nothing of SQLite, DuckDB or what lies in a page.

mod admit;
mod append;
mod backup;
mod branches;
mod checkpoint;
mod commit;
mod delta;
mod epoch;
mod error;
mod forget;
mod index;
mod lock;
mod manifest;
mod moment;
mod retention;
mod sealed_manifest;
mod snapshot;
mod status;
mod store;
mod stream;
mod tail;
mod tend;
mod transaction;
mod turn;

pub use branches::Branch;
pub use checkpoint::Checkpoint;
pub use commit::{Commit, Payload};
pub use error::StoreError;
pub use maniac_log::{Durability, EntryKind, FORMAT, LogError, Losses, StoreId};
pub use maniac_seal::{GivenKey, KeyChoice, MasterKey, set_process_key};
pub use moment::{Moment, time_text};
pub use retention::{Retention, Tag};
pub use snapshot::Snapshot;
pub use status::Status;
pub use store::{Limits, OpenOptions, Store};
pub use stream::{Entries, Entry, Unreadable};
pub use transaction::{Transaction, WriteLock};
pub use turn::Turn;
