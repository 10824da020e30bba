//! A store under torture, from the outside: what a host sees through stock SQLite.
//!
//! ```text
//!   tests/oracle    the same statements on a plain file and on a store: the same answers
//!   tests/hosts     several kinds of host on one store; forks; read-only places
//!   tests/faults    every call that changes a file fails once
//!   tests/crash     writers and readers killed, in many rounds
//!   tests/lost_writes  a machine that stops: un-synced writes are lost
//! ```

pub mod answer;
pub mod crash;
pub mod engine;
pub mod faults;
pub mod host;
pub mod ledger;
pub mod machine_stop;
pub mod oracle;
pub mod serve;
