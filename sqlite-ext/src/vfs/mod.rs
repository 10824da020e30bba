//! The VFS `maniac`: from SQLite's C calls to a `Database` or a `Journal`.
//!
//! Files without a name (sorters, statement journals, the scratch database of VACUUM) and super-journals belong to the
//! platform's VFS, the default one when the extension was loaded. No panic crosses the boundary: a caught one is an
//! error, so that a commit it happened in does not count.
//!
//! A second VFS, `maniac-default`, has the same methods for hosts that can name no VFS. It opens the names of stores
//! (see `uri`) here, and leaves every other name to the VFS that was the default before it:
//!
//! ```text
//!   name            maniac     maniac-default
//!   shop.maniac     a store    a store            its journal here
//!   plain.db        a store    the VFS before     its methods, journal, WAL and shared memory with it
//! ```

#![allow(unsafe_code)]

mod behind;
mod database;
mod file;
mod journal;
mod names;
mod open;
mod register;
mod uri;
mod waiting;

pub use behind::{NAME, platform_name};
pub use database::Database;
pub use file::database_of;
pub use register::{become_default, register};
pub use waiting::{find_is_interrupted, is_interrupted};
