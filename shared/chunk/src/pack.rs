//! A pack: a file of chunks, nodes and pages that is written once, and never changed. See docs/format.md.

use std::path::{Path, PathBuf};

use maniac_base::checksum;
use maniac_disk::{Disk, Map, Open};
use maniac_seal::{DataKey, Purpose, Seal};

use crate::error::ChunkError;

/// The format that this build writes, and the highest one that it reads.
pub const FORMAT: u32 = 1;
const MAGIC: [u8; 4] = *b"PACK";
/// Where the items start.
pub const HEADER: u64 = 64;
const FOOTER_MAGIC: [u8; 8] = *b"PACK END";
/// Magic, number of names, their checksum, and the footer's own.
pub const FOOTER: u64 = 32;
/// A chunk's name, and where it is.
pub const NAME: usize = 16;

/// Offsets of the header's fields.
mod at {
    pub const FORMAT: usize = 4;
    pub const STORE: usize = 8;
    pub const NUMBER: usize = 24;
    pub const PAGE_SIZE: usize = 28;
    /// Of a sealed pack.
    pub const SALT: usize = 32;
    /// 1 if it is sealed. The seven bytes behind are zero.
    pub const SEALED: usize = 48;
    pub const CHECKSUM: usize = 56;
}

/// A pack's file, in the directory of packs.
pub fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08x}.pack"))
}

/// The random part of a sealed pack's key.
pub type Salt = [u8; 16];

/// `salt` is there if the pack is sealed.
pub fn header(store: u128, number: u32, page_size: u32, salt: Option<Salt>) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..4].copy_from_slice(&MAGIC);
    header[at::FORMAT..][..4].copy_from_slice(&FORMAT.to_le_bytes());
    header[at::STORE..][..16].copy_from_slice(&store.to_be_bytes());
    header[at::NUMBER..][..4].copy_from_slice(&number.to_le_bytes());
    header[at::PAGE_SIZE..][..4].copy_from_slice(&page_size.to_le_bytes());
    if let Some(salt) = salt {
        header[at::SALT..][..16].copy_from_slice(&salt);
        header[at::SEALED] = 1;
    }
    let sum = checksum(&header[..at::CHECKSUM]);
    header[at::CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// The key of a pack: one that is put in another's place has another.
pub fn seal(keys: &DataKey, number: u32, salt: Salt) -> Seal {
    keys.seal(Purpose::Pack, &[&salt[..], &number.to_le_bytes()].concat())
}

/// The salt of a sealed pack's file; nothing if there is none.
pub fn salt_of(disk: &dyn Disk, dir: &Path, number: u32) -> Option<Salt> {
    let mut found = [0; HEADER as usize];
    disk.open(&pack_path(dir, number), Open::Read).and_then(|file| file.read_exact_at(&mut found, 0)).ok()?;
    found[at::SALT..][..16].try_into().ok()
}

/// The names of a pack's chunks, in ascending order, and the footer.
pub fn footer(mut names: Vec<(u64, u64)>) -> Vec<u8> {
    names.sort_unstable();
    let mut out = Vec::with_capacity(names.len() * NAME + FOOTER as usize);
    for (name, offset) in &names {
        out.extend_from_slice(&name.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
    }
    let sum = checksum(&out);
    let start = out.len();
    out.extend_from_slice(&FOOTER_MAGIC);
    out.extend_from_slice(&(names.len() as u64).to_le_bytes());
    out.extend_from_slice(&sum.to_le_bytes());
    let sum = checksum(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// A pack that is complete, mapped.
pub struct Pack {
    path: PathBuf,
    map: Box<dyn Map>,
    /// What its items are sealed with, if the store is encrypted.
    seal: Option<Seal>,
    /// Where the items end and the names start.
    end: u64,
    names: usize,
}

impl Pack {
    /// `keys` are there if the store is encrypted.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u32,
        store: u128,
        page_size: u32,
        keys: Option<&DataKey>,
    ) -> Result<Pack, ChunkError> {
        let path = pack_path(dir, number);
        let file = disk.open(&path, Open::Read).map_err(ChunkError::io(&path, "open"))?;
        let length = file.stat().map_err(ChunkError::io(&path, "look at"))?.length;
        if length < HEADER + FOOTER {
            return Err(ChunkError::corrupt(&path, length, "the file is too short for a pack"));
        }
        let map = file.map(length as usize).map_err(ChunkError::io(&path, "map"))?;
        let found = map.slice(0, HEADER as usize);
        let format = u32::from_le_bytes(found[at::FORMAT..][..4].try_into().expect("four bytes"));
        // The format comes before the checksum: a newer one may keep its checksum elsewhere.
        if found[..4] == MAGIC && format > FORMAT {
            return Err(ChunkError::NewerFormat { path, found: format, supported: FORMAT });
        }
        let salt: Salt = found[at::SALT..][..16].try_into().expect("sixteen bytes");
        let (is_plain, is_sealed) =
            (header(store, number, page_size, None), header(store, number, page_size, Some(salt)));
        let (expected, other) = if keys.is_some() { (is_sealed, is_plain) } else { (is_plain, is_sealed) };
        if found == other {
            let (is, store_is) = if keys.is_some() { ("not encrypted", "encrypted") } else { ("encrypted", "not") };
            let reason = format!("the pack is {is}, and its store is {store_is}: it does not belong here");
            return Err(ChunkError::corrupt(&path, at::SEALED as u64, reason));
        }
        if found != expected {
            let sum = checksum(&found[..at::CHECKSUM]).to_le_bytes();
            let reason = match found[..4] == MAGIC && found[at::CHECKSUM..] == sum {
                true => "the pack belongs to another store, or has been put in another's place",
                false => "the header does not match its checksum",
            };
            return Err(ChunkError::corrupt(&path, 0, reason));
        }
        let footer = map.slice((length - FOOTER) as usize, FOOTER as usize);
        let u64_at = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().expect("eight bytes"));
        let names = u64_at(8);
        let room = length - HEADER - FOOTER;
        if footer[..8] != FOOTER_MAGIC || checksum(&footer[..24]) != u64_at(24) || names > room / NAME as u64 {
            return Err(ChunkError::corrupt(&path, length - FOOTER, "the pack does not end with its footer"));
        }
        let end = length - FOOTER - names * NAME as u64;
        if checksum(map.slice(end as usize, names as usize * NAME)) != u64_at(16) {
            return Err(ChunkError::corrupt(&path, end, "the names of chunks do not match their checksum"));
        }
        let seal = keys.map(|keys| seal(keys, number, salt));
        Ok(Pack { path, map, seal, end, names: names as usize })
    }

    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.map.length() as u64
    }

    /// Takes what has been read of the file out of the process's resident memory.
    pub fn release(&self) {
        self.map.release();
    }

    /// Bytes of an item, as they are stored.
    pub fn bytes(&self, offset: u64, length: usize) -> Result<&[u8], ChunkError> {
        if offset < HEADER || offset.checked_add(length as u64).is_none_or(|end| end > self.end) {
            return Err(ChunkError::corrupt(&self.path, offset, "an item lies outside of its pack"));
        }
        Ok(self.map.slice(offset as usize, length))
    }

    /// A chunk by its number in the order of names: its name, and its offset.
    fn named(&self, n: usize) -> (u64, u64) {
        let item = self.map.slice(self.end as usize + n * NAME, NAME);
        let u64_at = |at: usize| u64::from_le_bytes(item[at..at + 8].try_into().expect("eight bytes"));
        (u64_at(0), u64_at(8))
    }

    /// The offsets of all chunks of a name.
    pub fn chunks_named(&self, name: u64) -> impl Iterator<Item = u64> + '_ {
        let (mut low, mut high) = (0, self.names);
        while low < high {
            let middle = (low + high) / 2;
            if self.named(middle).0 < name { low = middle + 1 } else { high = middle }
        }
        (low..self.names).map(|n| self.named(n)).take_while(move |(found, _)| *found == name).map(|(_, offset)| offset)
    }
}
