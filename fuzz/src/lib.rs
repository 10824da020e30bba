//! One function for each thing that parses bytes. Whatever the bytes: a result or an error, and no panic, no endless loop,
//! no reading beyond them.
//!
//! Formats with checksums would turn everything away at the door. So inputs are edits of a valid thing (see `edit`), and
//! where an edit asks for it the checksums around it are made right again.

mod apply;
mod bytes;
mod edit;
mod log;
mod pack;
mod pages;

pub use apply::apply;
pub use bytes::{changeset, record};
pub use log::log;
pub use pack::pack;
pub use pages::database;
