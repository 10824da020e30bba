//! One changeset for a range of versions.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_changeset::Group;
use maniac_store::Store;

use crate::{HistoryError, difference, entries};

/// The session changeset that leads from version `from` of a branch to version `to`: each row once, netted as the
/// session extension nets. An empty range, or one that changed no row, is empty.
///
/// Where the schema changed on the way there are no shapes that the steps could be joined in; then the two ends are
/// compared, in the shapes of the newer one. So they are where a version on the way can't be read.
pub fn changeset(store: &Arc<Store>, branch: BranchId, from: Version, to: Version) -> Result<Vec<u8>, HistoryError> {
    if from > to {
        return Err(HistoryError::Backwards { from, to });
    }
    let mut group = Group::new();
    for entry in entries(store, branch, from)? {
        let entry = entry?;
        if entry.version > to {
            break;
        }
        if !entry.schema.is_empty() || !entry.unreadable.is_empty() || entry.reaches != entry.base {
            let (older, newer) = (store.snapshot(branch, from)?, store.snapshot(branch, to)?);
            return Ok(difference(&older, &newer)?.changeset);
        }
        group.add(&entry.changeset).map_err(|source| HistoryError::Changeset { version: entry.version, source })?;
    }
    Ok(group.finish())
}
