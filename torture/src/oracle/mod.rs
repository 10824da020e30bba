//! Stock SQLite on a plain file as an oracle for the VFS.
//!
//! A case is a pair of databases with the same settings, a few connections to each, and a long sequence of random steps
//! that both take. Every answer must be the same: rows, extended error codes, messages, counters, and from time to time
//! the whole content. With one connection the plain file has a rollback journal, with several it is in WAL mode, whose
//! snapshots behave as a store's do.

mod case;
mod compare;
mod settings;
mod statements;
mod step;

pub use case::run_case;
