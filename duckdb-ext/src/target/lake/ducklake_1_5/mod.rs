//! Workarounds for faults of DuckLake 1.5.5, that is, of the DuckLake of DuckDB 1.5.
//!
//! - `cache_pin`: a transaction that changes tables refers to a schema that the cache may free. DuckLake's main branch keeps it
//!   for the transaction (its commit 9bf5e070), the branch for DuckDB 1.5 doesn't. May go with DuckDB 1.5.

pub mod cache_pin;
