//! A mirror at work: its settings and status, seen by SQL, and the thread that applies commits as they come.

mod report;
mod status;
mod worker;

pub use report::State;
pub use status::{Mirror, Settings, Wish};
pub use worker::start;
