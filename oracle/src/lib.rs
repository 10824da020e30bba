//! Stock SQLite as the judge of what Maniac reads from pages.
//!
//! A random schema and random transactions run on a plain file. Around each commit the file's pages are kept, the changes
//! between the two are captured from the pages alone, and compared with what SQLite itself says in three ways: the session
//! extension's changeset, the rows that SQL reads before and after, and the rows of a copy that the captured changeset was
//! applied to. The other way round, `tests/apply` holds `maniac_apply` against SQLite's own. Every run is decided by its seed.

pub mod apply;
pub mod case;
pub mod dump;
pub mod history;
pub mod normal;
pub mod pages;
pub mod rng;
pub mod schema;
pub mod session;
pub mod statements;
pub mod values;
