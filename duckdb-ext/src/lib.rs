//! The DuckDB extension `maniac`: mirrors a branch of a store into native DuckDB tables or DuckLake tables, keeps them
//! fresh transaction by transaction, and reads the history of a store as tables.
//!
//! ```text
//!   store ──> source/ ──> mirror/worker ──> apply/ ──────> target/ ──────> host/session ──> DuckDB
//!             commits      batches, state    batches, DDL   netting, rows   SQL, appender
//!                          wake-ups          copies         native, lake
//!   SQL ────> host/table_function ──> functions/ ──> instance ──> mirrors
//! ```
//!
//! `host/` is the only place that knows DuckDB's C API, and the only one with `unsafe`. `schema/` and the netting decide
//! without a database, so that their tests run without one.

mod apply;
mod error;
mod functions;
mod host;
mod instance;
mod mirror;
mod schema;
mod source;
mod target;
