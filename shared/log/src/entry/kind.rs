//! Kinds of entries, and what becomes of those that this build doesn't know.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Pages that one SQLite transaction wrote, and the rows that it changed.
    Transaction = 1,
    /// A branch; the note holds its parent, fork version and name.
    BranchCreated = 2,
    /// The end of a branch.
    BranchDropped = 3,
    /// A new name for a branch; the note is the name.
    BranchRenamed = 4,
    /// How much of the past is kept from now on.
    Retention = 5,
    /// A name for a version of the entry's branch.
    Tagged = 6,
    /// The end of such a name, which is the note.
    Untagged = 7,
}

/// Kinds from here on must be understood: without them, what follows means something else.
const MUST_BE_UNDERSTOOD: u8 = 128;

impl EntryKind {
    const ALL: [EntryKind; 7] = [
        EntryKind::Transaction,
        EntryKind::BranchCreated,
        EntryKind::BranchDropped,
        EntryKind::BranchRenamed,
        EntryKind::Retention,
        EntryKind::Tagged,
        EntryKind::Untagged,
    ];

    /// The kind; nothing for one that is passed over; an error for one that can't be.
    pub(super) fn from_byte(byte: u8) -> Result<Option<EntryKind>, u8> {
        match EntryKind::ALL.into_iter().find(|kind| *kind as u8 == byte) {
            None if byte >= MUST_BE_UNDERSTOOD => Err(byte),
            kind => Ok(kind),
        }
    }
}
