//! The C library: a consumer of a branch's changes. [`consumer`] does the work, [`ffi`] is what C sees of it.

mod consumer;
mod cursor;
mod ffi;

pub use consumer::{Consumer, ConsumerError};
