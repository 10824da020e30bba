//! The log: entries in segment files, and `HEAD`, which tells all processes how far they go.
//!
//! ```text
//!   append ──> segment 1 | segment 2 | segment 3 ...      HEAD: visible <= written, durable <= written
//!              └─────── entries 1 2 3 4 5 ... ─────┘
//!   read <── cursor                    durable_to: one fsync for all who wait for one
//! ```
//!
//! It knows entries, versions and what is on disk. It knows nothing of branches, nor of what lies in a page.

mod append;
mod cursor;
mod draft;
mod entry;
mod error;
mod head;
mod key;
mod lock;
mod log;
mod recover;
mod seal;
mod segment;
mod sync;
mod truncate;

pub use append::{Durability, Proposal, Written};
pub use cursor::{Cursor, Stretch};
pub use draft::{Draft, Prepared, StoredBytes};
pub use entry::{BranchNote, Defect, EntryKind, EntryRef, Form, FrameRef, Header, MergeNote, Stored, TagNote};
pub use error::LogError;
pub use head::{Head, LogEnd, Losses};
pub use lock::{LockFile, LockName};
pub use log::Log;
pub use segment::{FORMAT, HEADER, Segment, StoreId, TARGET_BYTES, segment_path};
