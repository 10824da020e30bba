//! Words that every part of Maniac shares: identifiers that must not be mixed up, the view of a database as numbered
//! pages, the values that rows are made of, and the checksum of everything that is stored.

mod checksum;
mod ids;
mod kind;
mod pages;
mod value;
mod varint;

pub use checksum::{Checksum, checksum};
pub use ids::{BranchId, PageNo, Term, Version};
pub use kind::{CODES, Codes, Kind};
pub use pages::{PageError, PageErrorKind, PageSource};
pub use value::Value;
pub use varint::{read_varint, write_varint};
