//! Numbers that must not be mixed up.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A page of a SQLite database, counted from 1 as SQLite does.
    PageNo(u32)
}
id! {
    /// An entry's index in the log: one sequence for the whole store, starting at 1. 0 is the empty store.
    Version(u64)
}
id! {
    /// A branch, as the log names it. It stays when the branch is renamed. `main` is 0.
    BranchId(u32)
}
id! {
    /// The Raft term that an entry was written in; 0 without a cluster.
    Term(u64)
}

impl Version {
    pub fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

impl BranchId {
    pub const MAIN: BranchId = BranchId(0);
}
