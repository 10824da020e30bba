//! What only lakes have: the version in their snapshots, a catalog that can be read and written, rows inlined in it.

pub mod applied_version;
pub mod catalog;
pub mod catalog_writer;
mod column_stats;
pub mod ducklake_1_5;
pub mod inlining;
