//! What the bytes of the `LOCK` file stand for that the log doesn't use.

use maniac_base::BranchId;
use maniac_log::LockName;

/// Writing a transaction on a branch.
pub(crate) fn writer(branch: BranchId) -> LockName {
    LockName::Other(4096 + u64::from(branch.0))
}

/// Having appended to a branch and let go of it, and not yet made that visible. Shared.
pub(crate) fn pending(branch: BranchId) -> LockName {
    LockName::Other((1 << 40) + u64::from(branch.0))
}

/// Making a checkpoint.
pub(crate) const CHECKPOINT: LockName = LockName::Other(4);
