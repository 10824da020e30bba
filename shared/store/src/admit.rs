//! The busy rule: a transaction counts only if what it was built on is still the head of its branch.
//!
//! A writer is told before its entry is written. An entry that is in the log all the same, because whoever wrote it could
//! not know better, takes its version and does nothing.

use maniac_base::Version;

use crate::error::StoreError;

/// Whether a transaction built on `base` has any effect.
pub(crate) fn counts(base: Version, head: Version) -> bool {
    base == head
}

/// Refuses a transaction that would have none.
pub(crate) fn propose(branch: &str, base: Version, head: Version) -> Result<(), StoreError> {
    if counts(base, head) { Ok(()) } else { Err(StoreError::Stale { branch: branch.to_owned(), base, head }) }
}
