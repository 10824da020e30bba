//! A manifest: what a store is at a version, written by a checkpoint and never changed. See docs/format.md.

use std::path::{Path, PathBuf};

use maniac_base::{BranchId, Version, checksum};
use maniac_chunk::{Place, Root};
use maniac_disk::{Disk, Open};
use maniac_log::StoreId;
use maniac_seal::DataKey;

use crate::error::StoreError;
use crate::retention::{RETENTION, Retention, Tag};
use crate::sealed_manifest;

/// The format that this build writes, and the highest one that it reads.
const FORMAT: u32 = 2;
const MAGIC: [u8; 4] = *b"MCAT";
const HEADER: usize = 96;
/// Bytes of a branch without its merges and its name.
const BRANCH: usize = 64;
const MERGE: usize = 20;
const PIN: usize = 40;
/// Bytes of a tag without its name.
const TAG: usize = 24;
/// What the names of unfinished manifests end with.
const UNFINISHED: &str = ".new";

const DROPPED: u8 = 1;
const HAS_PARENT: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The newest version that it has.
    pub version: Version,
    /// That version's time.
    pub time_ms: i64,
    /// Where the next entry stands: the first version of its segment, and the offset there.
    pub segment: Version,
    pub offset: u64,
    pub page_size: u32,
    /// By their ids.
    pub branches: Vec<BranchAt>,
    /// Older versions of branches that are kept.
    pub pins: Vec<Pin>,
    pub tags: Vec<Tag>,
    pub retention: Retention,
    /// The packs that its roots refer to, in ascending order.
    pub packs: Vec<u32>,
    /// Bytes of the packs that its roots needed when that was last counted.
    pub live_bytes: u64,
}

/// A branch at a version that is kept although it is not the branch's newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub branch: BranchId,
    /// The version that was asked for, and the one that the branch shows there.
    pub at: Version,
    pub version: Version,
    pub root: Root,
}

/// A branch at a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchAt {
    pub name: String,
    pub parent: Option<BranchId>,
    pub fork: Version,
    pub created_ms: i64,
    pub dropped: bool,
    /// The version that it shows.
    pub head: Version,
    /// How many transactions were committed on it.
    pub commits: u64,
    /// Those among them that merged another branch, and what of it.
    pub merges: Vec<(Version, BranchId, Version)>,
    /// Its pages; those of a branch that was dropped are gone.
    pub root: Root,
}

pub fn directory(store: &Path) -> PathBuf {
    store.join("catalog")
}

fn path_of(store: &Path, version: Version) -> PathBuf {
    directory(store).join(format!("{:016x}.manifest", version.0))
}

/// The versions that there are manifests of, in ascending order.
pub fn list(disk: &dyn Disk, store: &Path) -> Result<Vec<Version>, StoreError> {
    let dir = directory(store);
    let names = match disk.list(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(StoreError::io(&dir, "list"))?,
    };
    let version = |name: &std::ffi::OsString| {
        let stem = name.to_str()?.strip_suffix(".manifest").filter(|stem| stem.len() == 16)?;
        u64::from_str_radix(stem, 16).ok().map(Version)
    };
    let mut found: Vec<Version> = names.iter().filter_map(version).collect();
    found.sort_unstable();
    Ok(found)
}

pub fn remove(disk: &dyn Disk, store: &Path, version: Version) -> Result<(), StoreError> {
    let path = path_of(store, version);
    disk.remove(&path).map_err(StoreError::io(&path, "remove"))
}

impl Manifest {
    /// `keys` are there if the store is encrypted.
    pub fn read(
        disk: &dyn Disk,
        store: &Path,
        id: StoreId,
        version: Version,
        keys: Option<&DataKey>,
    ) -> Result<Manifest, StoreError> {
        let path = path_of(store, version);
        let file = disk.open(&path, Open::Read).map_err(StoreError::io(&path, "open"))?;
        let length = file.stat().map_err(StoreError::io(&path, "look at"))?.length;
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).map_err(StoreError::io(&path, "read"))?;
        let damaged = |reason: String| StoreError::corrupt(&path, 0, reason);
        let manifest = match keys {
            None => Manifest::decode(&bytes, id).map_err(damaged)?,
            Some(keys) => {
                let (plain, salts) = sealed_manifest::open(&bytes, id, version, keys).map_err(damaged)?;
                let manifest = Manifest::decode(&plain, id).map_err(damaged)?;
                sealed_manifest::check_packs(disk, store, &manifest.packs, &salts)?;
                manifest
            }
        };
        if manifest.version != version {
            return Err(StoreError::corrupt(&path, 24, "its name and its header tell of different versions"));
        }
        Ok(manifest)
    }

    /// Puts the manifest in its place, on disk, with everything that it refers to.
    pub fn write(&self, disk: &dyn Disk, store: &Path, id: StoreId, keys: Option<&DataKey>) -> Result<(), StoreError> {
        let bytes = match keys {
            None => self.encode(id),
            Some(keys) => {
                let salts = sealed_manifest::salts(disk, store, &self.packs)?;
                let salt = sealed_manifest::new_salt(disk, store)?;
                sealed_manifest::seal(&self.encode(id), &salts, self.version, keys, salt)
            }
        };
        let dir = directory(store);
        let created = disk.create_temporary(&dir, "manifest-", UNFINISHED);
        let (partial, file) = created.map_err(StoreError::io(&dir, "create a file in"))?;
        let path = path_of(store, self.version);
        let written =
            file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).and_then(|()| disk.rename(&partial, &path));
        if written.is_err() {
            // The error says more than one about what is left.
            let _ = disk.remove(&partial);
        }
        written.map_err(StoreError::io(&path, "write"))?;
        disk.sync_directory(&dir).map_err(StoreError::io(&dir, "fsync"))
    }

    /// All databases that it has.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        self.branches.iter().map(|branch| &branch.root).chain(self.pins.iter().map(|pin| &pin.root))
    }

    fn encode(&self, id: StoreId) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&self.version.0.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(&self.segment.0.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.page_size.to_le_bytes());
        out.extend_from_slice(&(self.branches.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.packs.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.pins.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.tags.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.retention.encode());
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(&self.live_bytes.to_le_bytes());
        for branch in &self.branches {
            let dropped = if branch.dropped { DROPPED } else { 0 };
            let has_parent = if branch.parent.is_some() { HAS_PARENT } else { 0 };
            out.extend_from_slice(&[dropped | has_parent, branch.root.levels]);
            out.extend_from_slice(&(branch.name.len() as u16).to_le_bytes());
            out.extend_from_slice(&branch.parent.unwrap_or(BranchId(0)).0.to_le_bytes());
            out.extend_from_slice(&branch.fork.0.to_le_bytes());
            out.extend_from_slice(&branch.created_ms.to_le_bytes());
            out.extend_from_slice(&branch.head.0.to_le_bytes());
            out.extend_from_slice(&branch.commits.to_le_bytes());
            out.extend_from_slice(&branch.root.place.to_bytes());
            out.extend_from_slice(&branch.root.pages.to_le_bytes());
            out.extend_from_slice(&(branch.merges.len() as u32).to_le_bytes());
            out.extend_from_slice(&[0; 8]);
            for (version, from, of) in &branch.merges {
                out.extend_from_slice(&version.0.to_le_bytes());
                out.extend_from_slice(&from.0.to_le_bytes());
                out.extend_from_slice(&of.0.to_le_bytes());
            }
            out.extend_from_slice(branch.name.as_bytes());
        }
        for Pin { branch, at, version, root } in &self.pins {
            out.extend_from_slice(&branch.0.to_le_bytes());
            out.extend_from_slice(&[root.levels, 0, 0, 0]);
            out.extend_from_slice(&at.0.to_le_bytes());
            out.extend_from_slice(&version.0.to_le_bytes());
            out.extend_from_slice(&root.place.to_bytes());
            out.extend_from_slice(&root.pages.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
        }
        for Tag { name, branch, version, created_ms } in &self.tags {
            out.extend_from_slice(&branch.0.to_le_bytes());
            out.extend_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&version.0.to_le_bytes());
            out.extend_from_slice(&created_ms.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
        self.packs.iter().for_each(|pack| out.extend_from_slice(&pack.to_le_bytes()));
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], id: StoreId) -> Result<Manifest, String> {
        if bytes.len() < HEADER + 8 || bytes[..4] != MAGIC {
            return Err("there is no manifest here".into());
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        // The format comes before the checksum: a newer one may keep its checksum elsewhere.
        if u32_at(4) != FORMAT {
            return Err(format!("it needs another Maniac: it was written in format {}", u32_at(4)));
        }
        let end = bytes.len() - 8;
        if checksum(&bytes[..end]) != u64_at(end) {
            return Err("a manifest does not match its checksum".into());
        }
        if bytes[8..24] != id.0.to_be_bytes() {
            return Err("the manifest belongs to another store".into());
        }
        let (count, packs) = (u32_at(60) as usize, u32_at(64) as usize);
        let (mut rest, mut branches) = (&bytes[HEADER..end], Vec::new());
        let mut take = |length: usize| {
            let taken = rest.split_at_checked(length).ok_or("a manifest ends too early");
            taken.map(|(taken, left)| {
                rest = left;
                taken
            })
        };
        for _ in 0..count {
            branches.push(BranchAt::decode(&mut take)?);
        }
        let (mut pins, mut tags) = (Vec::new(), Vec::new());
        for _ in 0..u32_at(68) {
            pins.push(Pin::decode(take(PIN)?)?);
        }
        for _ in 0..u32_at(72) {
            tags.push(Tag::decode(&mut take)?);
        }
        let packs = take(packs.saturating_mul(4))?.chunks_exact(4);
        let packs = packs.map(|pack| u32::from_le_bytes(pack.try_into().expect("four bytes"))).collect();
        if !rest.is_empty() || branches.is_empty() {
            return Err("a manifest's parts do not add up".into());
        }
        Ok(Manifest {
            version: Version(u64_at(24)),
            time_ms: u64_at(32) as i64,
            segment: Version(u64_at(40)),
            offset: u64_at(48),
            page_size: u32_at(56),
            branches,
            pins,
            tags,
            retention: Retention::decode(&bytes[76..][..RETENTION]).ok_or("a manifest's retention is malformed")?,
            packs,
            live_bytes: u64_at(88),
        })
    }
}

impl Pin {
    fn decode(bytes: &[u8]) -> Result<Pin, &'static str> {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Ok(Pin {
            branch: BranchId(u32_at(0)),
            at: Version(u64_at(8)),
            version: Version(u64_at(16)),
            root: root(bytes[4], &bytes[24..], u32_at(32))?,
        })
    }
}

fn root(levels: u8, place: &[u8], pages: u32) -> Result<Root, &'static str> {
    match (1..=4).contains(&levels) {
        true => Ok(Root { place: Place::from_bytes(place), levels, pages }),
        false => Err("a tree has too few or too many levels"),
    }
}

impl Tag {
    fn decode<'a>(take: &mut dyn FnMut(usize) -> Result<&'a [u8], &'static str>) -> Result<Tag, String> {
        let fixed = take(TAG)?;
        let u64_at = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
        let name = take(usize::from(u16::from_le_bytes([fixed[4], fixed[5]])))?;
        Ok(Tag {
            name: std::str::from_utf8(name).map_err(|_| "a tag's name is not UTF-8")?.to_owned(),
            branch: BranchId(u32::from_le_bytes(fixed[..4].try_into().expect("four bytes"))),
            version: Version(u64_at(8)),
            created_ms: u64_at(16) as i64,
        })
    }
}

impl BranchAt {
    fn decode<'a>(take: &mut dyn FnMut(usize) -> Result<&'a [u8], &'static str>) -> Result<BranchAt, String> {
        let fixed = take(BRANCH)?;
        let u32_at = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
        let merges = take((u32_at(52) as usize).saturating_mul(MERGE))?.chunks_exact(MERGE);
        let merge = |bytes: &[u8]| {
            let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            let from = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
            (Version(u64_at(0)), BranchId(from), Version(u64_at(12)))
        };
        let merges = merges.map(merge).collect();
        let name = take(usize::from(u16::from_le_bytes([fixed[2], fixed[3]])))?;
        let root = root(fixed[1], &fixed[40..], u32_at(48))?;
        Ok(BranchAt {
            name: std::str::from_utf8(name).map_err(|_| "a branch's name is not UTF-8")?.to_owned(),
            parent: (fixed[0] & HAS_PARENT != 0).then_some(BranchId(u32_at(4))),
            fork: Version(u64_at(8)),
            created_ms: u64_at(16) as i64,
            dropped: fixed[0] & DROPPED != 0,
            head: Version(u64_at(24)),
            commits: u64_at(32),
            merges,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let main = BranchAt {
            name: "main".into(),
            parent: None,
            fork: Version(0),
            created_ms: 5,
            dropped: false,
            head: Version(7),
            commits: 4,
            merges: vec![(Version(6), BranchId(1), Version(5))],
            root: Root { place: Place::new(2, 64), levels: 1, pages: 3 },
        };
        let dev = BranchAt {
            name: "développement".into(),
            parent: Some(BranchId::MAIN),
            fork: Version(2),
            dropped: true,
            merges: Vec::new(),
            root: Root::EMPTY,
            ..main.clone()
        };
        Manifest {
            version: Version(7),
            time_ms: 1_000,
            segment: Version(1),
            offset: 640,
            page_size: 512,
            pins: vec![Pin { branch: BranchId::MAIN, at: Version(3), version: Version(2), root: main.root }],
            tags: vec![Tag { name: "étape".into(), branch: BranchId(1), version: Version(4), created_ms: 9 }],
            retention: Retention::Versions(12),
            branches: vec![main, dev],
            packs: vec![1, 2],
            live_bytes: 4096,
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let bytes = manifest().encode(StoreId(9));
        assert_eq!(Manifest::decode(&bytes, StoreId(9)), Ok(manifest()));
        let error = Manifest::decode(&bytes, StoreId(8)).unwrap_err();
        assert!(error.contains("another store"), "{error}");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = manifest().encode(StoreId(9));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Manifest::decode(&changed, StoreId(9)).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at], StoreId(9)).is_err(), "cut at {at}");
        }
    }

    /// Also with right checksums there is no reading beyond the bytes.
    #[test]
    fn lengths_are_not_trusted() {
        let bytes = manifest().encode(StoreId(9));
        for at in (0..bytes.len() - 8).filter(|at| !(8..24).contains(at)) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let end = changed.len() - 8;
                let sum = checksum(&changed[..end]).to_le_bytes();
                changed[end..].copy_from_slice(&sum);
                let _ = Manifest::decode(&changed, StoreId(9));
            }
        }
    }
}
