//! Maniac for SQLite: a loadable extension that registers the VFS `maniac` and its SQL functions.
//!
//! A shell around `maniac-connection` and `maniac-history`: it registers, converts and maps errors.

mod apply;
mod connection;
mod entry_point;
mod errors;
mod functions;
mod last_error;
mod tables;
mod vfs;
