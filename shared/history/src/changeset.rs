//! One changeset for a range of versions.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_changeset::Group;
use maniac_store::Store;

use crate::{HistoryError, entries};

/// The session changeset that leads from version `from` of a branch to version `to`: each row once, netted as the
/// session extension nets. An empty range, or one that changed no row, is empty.
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
        group.add(&entry.changeset).map_err(|source| HistoryError::Changeset { version: entry.version, source })?;
    }
    Ok(group.finish())
}
