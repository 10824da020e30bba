//! Words that every part of Maniac shares: identifiers that must not be mixed up, the view of a database as numbered
//! pages, and the checksum of everything that is stored.

mod checksum;
mod ids;
mod pages;
mod value;

pub use checksum::{Checksum, checksum};
pub use ids::{BranchId, PageNo, Term, Version};
pub use pages::{PageError, PageErrorKind, PageSource};
pub use value::Value;
