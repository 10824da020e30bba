//! Where transactions become versions.

use maniac_base::Version;
use maniac_store::{Commit, Durability, Losses};

use crate::error::ConnectionError;

/// What decides whether transactions count: this machine's log, or a cluster.
///
/// Each transaction was built on a version of its branch, `commit.transaction.base()`, and counts
/// only if that is the branch's head when it is committed.
pub trait Committer: Send + Sync {
    /// Proposes transactions on different branches of one store, whose locks are held. All of them
    /// become versions, or none.
    ///
    /// Returns their versions, in order, once they are as durable as asked for, and readers of the
    /// store see them.
    ///
    /// `written` is called at most once, as soon as they have versions and before they count. From
    /// then on the next writer may build on them, and the branches' locks may be handed on. If they
    /// are lost after that, so is what was built on them.
    ///
    /// # Errors
    /// After any error but `Unavailable` none of them counts, nor ever will: `StoreError::Stale`
    /// says that a branch has moved on, and the host runs the transaction again from a new
    /// snapshot.
    fn commit(
        &self,
        commits: &[Commit<'_>],
        durability: Durability,
        written: &mut dyn FnMut(&[Version], Losses),
    ) -> Result<Vec<Version>, ConnectionError>;
}

/// A store without a cluster: what is in its log and on disk is committed.
pub struct Local;

impl Committer for Local {
    fn commit(
        &self,
        commits: &[Commit<'_>],
        durability: Durability,
        written: &mut dyn FnMut(&[Version], Losses),
    ) -> Result<Vec<Version>, ConnectionError> {
        let Some(first) = commits.first() else { return Ok(Vec::new()) };
        Ok(first.transaction.base().store().commit(commits, durability, written)?)
    }
}
