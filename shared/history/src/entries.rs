//! The entries of a branch's line with their changesets, also those that the log leaves to be derived.

use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_diff::Tracker;
use maniac_store::{Entry, Store};

use crate::HistoryError;

/// `Store::entries`, where every transaction has its changesets.
pub fn entries(
    store: &Arc<Store>,
    branch: BranchId,
    after: Version,
) -> Result<impl Iterator<Item = Result<Entry, HistoryError>> + Send + use<>, HistoryError> {
    let store = store.clone();
    Ok(store.clone().entries(branch, after)?.map(move |entry| derive(&store, entry?)))
}

/// Compares the snapshots before and after, where the entry says that its changesets follow from them.
fn derive(store: &Arc<Store>, mut entry: Entry) -> Result<Entry, HistoryError> {
    if entry.derived {
        let version = entry.version;
        let failed = |source| HistoryError::Diff { version, source };
        let before = store.snapshot(entry.branch, entry.base)?;
        let after = store.snapshot(entry.branch, version)?;
        let captured = Tracker::new(&before).and_then(|tracker| tracker.capture(&before, &after, &entry.pages));
        let captured = captured.map_err(failed)?;
        (entry.schema, entry.changeset, entry.derived) = (captured.schema, captured.changeset, false);
    }
    Ok(entry)
}
