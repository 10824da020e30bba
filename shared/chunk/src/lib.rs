//! Pages at rest: chunks of neighbouring pages in pack files, and trees that say which chunk holds which page.
//!
//! ```text
//!   Root ──> Node ──> Node ──> Chunk ──> page | page | (hole) | page ...     all in chunks/*.pack, never changed
//!                       └────> Chunk ──> (a page of another chunk) | page
//! ```
//!
//! A root is a whole database. A changed one shares every node, chunk and page that is the same with the one that it was
//! made from, so that it costs its difference. It knows nothing of branches, versions, nor of what lies in a page.

mod chunk;
mod codec;
mod error;
mod node;
mod pack;
mod packs;
mod place;
mod sealed;
mod tree;
mod writer;

pub use chunk::Slot;
pub use codec::{Compression, Form};
pub use error::ChunkError;
pub use pack::{Pack, Salt, pack_path, salt_of};
pub use packs::Packs;
pub use place::Place;
pub use tree::{Root, Visit};
pub use writer::Writer;

/// Neighbouring pages in a chunk.
pub const CHUNK: u32 = 64;
