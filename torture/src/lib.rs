//! A store under torture, from the outside: what a host sees through stock SQLite.
//!
//! ```text
//!   tests/oracle                the same statements on a plain file and on a store: the same answers
//!   tests/hosts                 several kinds of host on one store at once; forks, timeouts, pragmas
//!   tests/read_only             a store that cannot be written to
//!   tests/faults                every call that changes a file fails once
//!   tests/faults_of_several     the same while a transaction over two branches commits
//!   tests/faults_of_large       the same in a transaction larger than memory
//!   tests/faults_of_many_writers the same while five processes write to two branches
//!   tests/many_writers          sixteen processes write to one branch, and die
//!   tests/crash                 writers and readers killed, in many rounds
//!   tests/lost_writes           a machine that stops: un-synced writes are lost
//!   torture-worker big          a database of gigabytes
//! ```

pub mod answer;
pub mod big;
pub mod crash;
pub mod engine;
pub mod faults;
pub mod host;
pub mod ledger;
pub mod machine_stop;
pub mod oracle;
pub mod serve;
