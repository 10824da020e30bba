//! The packs that somebody reads: pages by their root and number.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use maniac_base::{PageNo, checksum};
use maniac_disk::Disk;
use maniac_seal::{DataKey, Purpose, Seal, TAG};
use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::chunk::{self, Chunk, Slot};
use crate::codec;
use crate::error::ChunkError;
use crate::node;
use crate::pack::{NAME, Pack, pack_path};
use crate::place::Place;
use crate::sealed::{self, PREFIX};
use crate::tree::Visit;

/// Packs of one store, each opened when it is first asked for. They stay open, also where their files are removed, as long
/// as somebody has this.
pub struct Packs {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) store: u128,
    pub(crate) page_size: u32,
    /// If the store is encrypted.
    pub(crate) keys: Option<Arc<DataKey>>,
    /// Nodes and chunks of sealed packs, opened.
    opened: Mutex<LruCache<Place, Arc<[u8]>, FxBuildHasher>>,
    packs: FxHashMap<u32, OnceLock<Arc<Pack>>>,
}

/// Nodes and chunks that `opened` holds: some 2 MB.
const OPENED: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Where items are read from: packs that are complete, and for a writer also the one that it writes.
pub(crate) trait Items {
    fn page_size(&self) -> usize;
    /// Bytes as they are stored.
    fn stored(&self, place: Place, length: usize) -> Result<Cow<'_, [u8]>, ChunkError>;
    /// What a pack is sealed with.
    fn seal(&self, pack: u32) -> Result<Option<&Seal>, ChunkError>;
    fn corrupt(&self, place: Place, reason: &str) -> ChunkError;

    /// The bytes of an item, opened.
    fn bytes(&self, place: Place, length: usize) -> Result<Cow<'_, [u8]>, ChunkError> {
        match self.seal(place.pack())? {
            None => self.stored(place, length),
            Some(seal) => self.open(place, seal, length + TAG, false),
        }
    }

    /// Opens an item that is stored in so many bytes.
    fn open(&self, place: Place, seal: &Seal, length: usize, is_node: bool) -> Result<Cow<'_, [u8]>, ChunkError> {
        let opened = sealed::open(seal, place.offset(), &self.stored(place, length)?, is_node);
        opened.map(Cow::Owned).map_err(|broken| self.corrupt(place, &broken.to_string()))
    }

    /// A node.
    fn node_bytes(&self, place: Place) -> Result<Cow<'_, [u8]>, ChunkError> {
        let Some(seal) = self.seal(place.pack())? else {
            let length = node::length(&self.stored(place, 8)?).map_err(|reason| self.corrupt(place, reason))?;
            return self.stored(place, length);
        };
        let prefix = self.stored(place, PREFIX)?;
        let length = u64::from_le_bytes((*prefix).try_into().expect("eight bytes"));
        if length > node::MOST as u64 {
            return Err(self.corrupt(place, "there is no node here"));
        }
        let bytes = self.open(place, seal, PREFIX + length as usize + TAG, true)?;
        match bytes.len() >= 8 && node::length(&bytes) == Ok(bytes.len()) {
            true => Ok(bytes),
            false => Err(self.corrupt(place, "there is no node here")),
        }
    }

    fn chunk_bytes(&self, place: Place) -> Result<Cow<'_, [u8]>, ChunkError> {
        let bytes = self.bytes(place, chunk::BYTES)?;
        Chunk::new(&bytes).check(self.page_size()).map_err(|reason| self.corrupt(place, reason))?;
        Ok(bytes)
    }

    /// The page that a slot tells of.
    fn slot_page(&self, slot: &Slot) -> Result<Cow<'_, [u8]>, ChunkError> {
        let damaged = || self.corrupt(slot.place, "a page does not match its checksum");
        let page = match self.bytes(slot.place, slot.bytes as usize)? {
            Cow::Borrowed(stored) => codec::decode(stored, slot.form, self.page_size()).ok_or_else(damaged)?,
            Cow::Owned(stored) => {
                Cow::Owned(codec::decode(&stored, slot.form, self.page_size()).ok_or_else(damaged)?.into_owned())
            }
        };
        if checksum(&page) != slot.checksum {
            return Err(damaged());
        }
        Ok(page)
    }
}

impl Packs {
    /// The packs of these numbers in a directory.
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        store: u128,
        page_size: u32,
        numbers: impl IntoIterator<Item = u32>,
    ) -> Packs {
        let packs = numbers.into_iter().map(|number| (number, OnceLock::new())).collect();
        Packs { disk, dir, store, page_size, keys: None, opened: no_items(), packs }
    }

    /// The packs of an encrypted store.
    pub fn with_keys(self, keys: Option<DataKey>) -> Packs {
        Packs { keys: keys.map(Arc::new), ..self }
    }

    /// What the names of chunks are in packs: in sealed ones they need a key.
    pub(crate) fn stored_name(&self, name: u64) -> u64 {
        self.keys.as_ref().map_or(name, |keys| keys.name(Purpose::ChunkNames, &name.to_le_bytes()))
    }

    /// Packs of other numbers in the same place. Those that are open stay so.
    pub fn with(&self, numbers: impl IntoIterator<Item = u32>) -> Packs {
        let keep = |number| (number, self.packs.get(&number).cloned().unwrap_or_default());
        let packs = numbers.into_iter().map(keep).collect();
        let (disk, dir, keys) = (self.disk.clone(), self.dir.clone(), self.keys.clone());
        Packs { disk, dir, store: self.store, page_size: self.page_size, keys, opened: no_items(), packs }
    }

    /// These packs and others. Those that are open stay so.
    pub fn and(&self, others: &Packs) -> Packs {
        let mut both = self.with(self.numbers());
        for (number, pack) in &others.packs {
            let known = both.packs.entry(*number).or_default();
            if known.get().is_none() {
                *known = pack.clone();
            }
        }
        both
    }

    pub fn directory(&self) -> &Path {
        &self.dir
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.packs.keys().copied()
    }

    pub fn sorted_numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.numbers().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes what has been read of them out of the process's resident memory.
    pub fn release(&self) {
        self.packs.values().filter_map(OnceLock::get).for_each(|pack| pack.release());
    }

    pub fn pack(&self, number: u32) -> Result<&Pack, ChunkError> {
        let Some(cell) = self.packs.get(&number) else {
            let path = pack_path(&self.dir, number);
            return Err(ChunkError::corrupt(&path, 0, "the pack is referred to, and is not one of the store's"));
        };
        match cell.get() {
            Some(pack) => Ok(pack),
            None => {
                let pack =
                    Pack::open(&*self.disk, &self.dir, number, self.store, self.page_size, self.keys.as_deref())?;
                Ok(cell.get_or_init(|| Arc::new(pack)))
            }
        }
    }

    /// Bytes of each pack that databases are made of. What several share counts once.
    pub fn live(&self, roots: &[crate::Root]) -> Result<BTreeMap<u32, u64>, ChunkError> {
        let (mut live, mut seen) = (BTreeMap::new(), FxHashSet::default());
        let mut count = |place: Place, bytes: u64, once: bool| {
            let new = !once || seen.insert(place);
            if new {
                *live.entry(place.pack()).or_insert(0) += bytes.next_multiple_of(8);
            }
            new
        };
        for root in roots {
            root.walk(self, &mut |visit| match visit {
                Visit::Node { place, bytes } => count(place, u64::from(bytes), true),
                Visit::Chunk(place) => count(place, (chunk::BYTES + NAME) as u64, true),
                // One database alone has each of its pages once.
                Visit::Page(slot) => count(slot.place, u64::from(slot.bytes), roots.len() > 1),
            })?;
        }
        Ok(live)
    }

    /// Reads everything that a database is made of, and checks every byte of it. What has been `seen` is passed over.
    pub fn check(&self, root: &crate::Root, seen: &mut FxHashSet<Place>) -> Result<(), ChunkError> {
        let mut damage = None;
        root.walk(self, &mut |visit| {
            let place = match &visit {
                Visit::Node { place, .. } | Visit::Chunk(place) => *place,
                Visit::Page(slot) => slot.place,
            };
            let new = damage.is_none() && seen.insert(place);
            if let (true, Visit::Page(slot)) = (new, &visit) {
                damage = self.slot_page(slot).err();
            }
            new
        })?;
        damage.map_or(Ok(()), Err)
    }

    /// Bytes of a pack's file.
    pub fn length(&self, number: u32) -> Result<u64, ChunkError> {
        Ok(self.pack(number)?.length())
    }

    /// A page of the database that a root stands for; nothing for one that was never written.
    pub fn page(&self, root: &crate::Root, no: PageNo) -> Result<Option<Cow<'_, [u8]>>, ChunkError> {
        match self.slot(root, no)? {
            Some(slot) => self.slot_page(&slot).map(Some),
            None => Ok(None),
        }
    }

    /// How a page of the database that a root stands for is stored.
    pub fn slot(&self, root: &crate::Root, no: PageNo) -> Result<Option<Slot>, ChunkError> {
        let place = root.chunk(self, (no.0 - 1) / crate::CHUNK)?;
        if place.is_nowhere() {
            return Ok(None);
        }
        let bytes = self.chunk_bytes(place)?;
        let slot = Chunk::new(&bytes).slot((no.0 - 1) % crate::CHUNK, self.page_size());
        slot.map_err(|reason| self.corrupt(place, reason))
    }
}

impl Items for Packs {
    fn page_size(&self) -> usize {
        self.page_size as usize
    }

    fn stored(&self, place: Place, length: usize) -> Result<Cow<'_, [u8]>, ChunkError> {
        self.pack(place.pack())?.bytes(place.offset(), length).map(Cow::Borrowed)
    }

    fn seal(&self, pack: u32) -> Result<Option<&Seal>, ChunkError> {
        Ok(if self.keys.is_some() { self.pack(pack)?.seal() } else { None })
    }

    fn open(&self, place: Place, seal: &Seal, length: usize, is_node: bool) -> Result<Cow<'_, [u8]>, ChunkError> {
        let expected = length - TAG - if is_node { PREFIX } else { 0 };
        let keeps = is_node || expected == chunk::BYTES;
        if keeps && let Some(opened) = self.opened.lock().get(&place).filter(|opened| opened.len() == expected) {
            return Ok(Cow::Owned(opened.to_vec()));
        }
        let opened = sealed::open(seal, place.offset(), &self.stored(place, length)?, is_node);
        let opened = opened.map_err(|broken| self.corrupt(place, &broken.to_string()))?;
        if keeps {
            self.opened.lock().put(place, opened.as_slice().into());
        }
        Ok(Cow::Owned(opened))
    }

    fn corrupt(&self, place: Place, reason: &str) -> ChunkError {
        ChunkError::corrupt(&pack_path(&self.dir, place.pack()), place.offset(), reason)
    }
}

fn no_items() -> Mutex<LruCache<Place, Arc<[u8]>, FxBuildHasher>> {
    Mutex::new(LruCache::with_hasher(OPENED, FxBuildHasher))
}
