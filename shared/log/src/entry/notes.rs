//! What the notes of entries say.

use maniac_base::{BranchId, Version};

/// What a transaction that merges carries: the branch (u32) and the version (u64) of it that it merges.
pub struct MergeNote;

impl MergeNote {
    pub fn encode((branch, version): (BranchId, Version)) -> Vec<u8> {
        [&branch.0.to_le_bytes()[..], &version.0.to_le_bytes()].concat()
    }

    pub fn decode(note: &[u8]) -> Option<(BranchId, Version)> {
        let (branch, version) = note.split_first_chunk::<4>()?;
        Some((BranchId(u32::from_le_bytes(*branch)), Version(u64::from_le_bytes(version.try_into().ok()?))))
    }
}

/// What a BranchCreated entry carries: parent (u32), fork version (u64), name (UTF-8).
pub struct BranchNote {
    pub parent: BranchId,
    pub fork: Version,
    pub name: String,
}

impl BranchNote {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.parent.0.to_le_bytes().to_vec();
        out.extend_from_slice(&self.fork.0.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    pub fn decode(note: &[u8]) -> Option<BranchNote> {
        let (parent, rest) = note.split_first_chunk::<4>()?;
        let (fork, name) = rest.split_first_chunk::<8>()?;
        Some(BranchNote {
            parent: BranchId(u32::from_le_bytes(*parent)),
            fork: Version(u64::from_le_bytes(*fork)),
            name: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}

/// What a Tagged entry carries: the version (u64) and its name (UTF-8).
pub struct TagNote {
    pub version: Version,
    pub name: String,
}

impl TagNote {
    pub fn encode(&self) -> Vec<u8> {
        [&self.version.0.to_le_bytes(), self.name.as_bytes()].concat()
    }

    pub fn decode(note: &[u8]) -> Option<TagNote> {
        let (version, name) = note.split_first_chunk::<8>()?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        Some(TagNote { version: Version(u64::from_le_bytes(*version)), name })
    }
}
