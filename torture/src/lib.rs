//! A store under torture, from the outside: what a host sees through stock SQLite.
//!
//! ```text
//!   tests/oracle    the same statements on a plain file and on a store: the same answers
//! ```

pub mod answer;
pub mod engine;
pub mod oracle;
