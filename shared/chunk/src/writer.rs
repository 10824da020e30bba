//! Writes a pack: databases that differ from others, and copies of what other packs hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use maniac_base::{PageNo, checksum};
use maniac_disk::File;
use maniac_seal::{Seal, fresh_nonce};
use rustc_hash::FxHashMap;

use crate::CHUNK;
use crate::chunk::{self, Chunk, Slot, Slots};
use crate::codec::{self, Compression};
use crate::error::ChunkError;
use crate::node;
use crate::pack::{self, HEADER, Salt, pack_path};
use crate::packs::{Items, Packs};
use crate::place::Place;
use crate::sealed;
use crate::tree::{self, Root};

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 20;
/// What the names of unfinished packs end with.
const UNFINISHED: &str = ".new";

/// A pack under way. It has no name until it is finished.
pub struct Writer<'a> {
    packs: &'a Packs,
    number: u32,
    /// What its items are sealed with, if the store is encrypted.
    seal: Option<Seal>,
    compression: Compression,
    path: PathBuf,
    file: Box<dyn File>,
    /// Bytes of the file that are written.
    written: u64,
    /// Those that follow.
    buffer: Vec<u8>,
    /// The offsets of its chunks, by their names.
    names: FxHashMap<u64, Vec<u64>>,
    /// What has been copied of other packs, and where it is now.
    copied: FxHashMap<Place, Place>,
    finished: bool,
}

impl<'a> Writer<'a> {
    /// Begins a pack beside others, which it may refer to. Nobody else may be writing one of the same number.
    pub fn begin(packs: &'a Packs, number: u32, compression: Compression) -> Result<Writer<'a>, ChunkError> {
        let created = packs.disk.create_temporary(&packs.dir, "pack-", UNFINISHED);
        let (path, file) = created.map_err(ChunkError::io(&packs.dir, "create a file in"))?;
        let salt = packs.keys.as_ref().map(|_| {
            let random = || packs.disk.random().map_err(ChunkError::io(&packs.dir, "find a random number for"));
            let (random, more) = (random()?, random()?);
            let hashed = fresh_nonce(random, packs.disk.monotonic_ns(), &number.to_le_bytes());
            let mut salt: Salt = more.to_le_bytes();
            salt.iter_mut().zip(hashed).for_each(|(byte, hashed)| *byte ^= hashed);
            Ok(salt)
        });
        let salt = salt.transpose()?;
        Ok(Writer {
            packs,
            number,
            seal: packs.keys.as_ref().zip(salt).map(|(keys, salt)| pack::seal(keys, number, salt)),
            compression,
            path,
            file,
            written: 0,
            buffer: pack::header(packs.store, number, packs.page_size, salt).to_vec(),
            names: FxHashMap::default(),
            copied: FxHashMap::default(),
            finished: false,
        })
    }

    /// Whether nothing has been written so far.
    pub fn is_empty(&self) -> bool {
        self.written + self.buffer.len() as u64 == HEADER
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The database that a root stands for, with other pages and another length. `changed` are the pages that may differ,
    /// in ascending order, and `read` gives their bytes.
    pub fn update<'p, E: From<ChunkError>>(
        &mut self,
        root: &Root,
        pages: u32,
        changed: &[PageNo],
        read: &mut dyn FnMut(PageNo) -> Result<Cow<'p, [u8]>, E>,
    ) -> Result<Root, E> {
        let mut chunks: BTreeMap<u32, Place> = BTreeMap::new();
        for changed in changed.chunk_by(|a, b| (a.0 - 1) / CHUNK == (b.0 - 1) / CHUNK) {
            let no = (changed[0].0 - 1) / CHUNK;
            let within: Vec<PageNo> = changed.iter().copied().filter(|page| page.0 <= pages).collect();
            if within.is_empty() {
                continue;
            }
            let bytes = within.iter().map(|page| read(*page)).collect::<Result<Vec<_>, E>>()?;
            let old = root.chunk(self, no)?;
            let slots = within.iter().map(|page| (page.0 - 1) % CHUNK);
            chunks.insert(no, self.changed_chunk(old, slots.zip(&bytes))?);
        }
        if pages < root.pages {
            self.cut(root, pages, &mut chunks)?;
        }
        let levels = root.levels.max(Root::levels_for(pages));
        let mut place = root.place;
        for level in root.levels..levels {
            if !place.is_nowhere() {
                place = self.append_node(&node::encode(level + 1, &[place]))?;
            }
        }
        let chunks: Vec<(u32, Place)> = chunks.into_iter().collect();
        let place = self.changed_node(place, levels, &chunks)?;
        Ok(Root { place, levels, pages })
    }

    /// Takes what lies behind the last page out of the chunks.
    fn cut(&mut self, root: &Root, pages: u32, chunks: &mut BTreeMap<u32, Place>) -> Result<(), ChunkError> {
        let (kept, last) = (pages.div_ceil(CHUNK), root.pages.div_ceil(CHUNK));
        chunks.extend((kept..last).map(|no| (no, Place::NOWHERE)));
        let inside = pages % CHUNK;
        if inside > 0 {
            let place = match chunks.get(&(kept - 1)) {
                Some(place) => *place,
                None => root.chunk(self, kept - 1)?,
            };
            if !place.is_nowhere() {
                let mut slots = self.slots(place)?;
                slots[inside as usize..].fill(None);
                let cut = self.chunk(place, &slots)?;
                chunks.insert(kept - 1, cut);
            }
        }
        Ok(())
    }

    fn slots(&self, place: Place) -> Result<Slots, ChunkError> {
        if place.is_nowhere() {
            return Ok([None; CHUNK as usize]);
        }
        let bytes = self.chunk_bytes(place)?;
        Chunk::new(&bytes).slots(self.page_size()).map_err(|reason| self.corrupt(place, reason))
    }

    /// A chunk with other pages.
    fn changed_chunk<'p>(
        &mut self,
        old: Place,
        pages: impl Iterator<Item = (u32, &'p Cow<'p, [u8]>)>,
    ) -> Result<Place, ChunkError> {
        let mut slots = self.slots(old)?;
        let mut sums = slots.map(|slot| slot.map(|slot| slot.checksum));
        let mut changed = Vec::new();
        for (n, page) in pages {
            let sum = checksum(page);
            let same = match slots[n as usize] {
                Some(slot) if slot.checksum == sum => self.slot_page(&slot)? == *page,
                _ => false,
            };
            if !same {
                sums[n as usize] = Some(sum);
                changed.push((n as usize, page, sum));
            }
        }
        if changed.is_empty() {
            return Ok(old);
        }
        if let Some(place) = self.same_chunk(&slots, sums, &changed)? {
            return Ok(place);
        }
        for (n, page, checksum) in changed {
            let (form, stored) = codec::encode(page, self.compression);
            let place = self.append(&stored)?;
            slots[n] = Some(Slot { place, checksum, bytes: stored.len() as u32, form });
        }
        self.append_chunk(&slots)
    }

    /// A chunk of these pages, which may be there already.
    fn chunk(&mut self, old: Place, slots: &Slots) -> Result<Place, ChunkError> {
        if slots.iter().all(Option::is_none) {
            return Ok(Place::NOWHERE);
        }
        if !old.is_nowhere() && self.slots(old)? == *slots {
            return Ok(old);
        }
        let sums = slots.map(|slot| slot.map(|slot| slot.checksum));
        match self.same_chunk(slots, sums, &[])? {
            Some(place) => Ok(place),
            None => self.append_chunk(slots),
        }
    }

    /// A chunk that holds the pages of these slots, but for the changed ones, instead of which it holds those. It has the
    /// same name, which proves nothing: every byte is compared.
    fn same_chunk(
        &self,
        slots: &Slots,
        sums: [Option<u64>; CHUNK as usize],
        changed: &[(usize, &Cow<'_, [u8]>, u64)],
    ) -> Result<Option<Place>, ChunkError> {
        let name = chunk::name(sums.into_iter());
        let own = self.names.get(&name).into_iter().flatten().map(|offset| Place::new(self.number, *offset));
        let mut candidates: Vec<Place> = own.collect();
        let stored_name = self.packs.stored_name(name);
        for number in self.packs.numbers() {
            let found = self.packs.pack(number)?.chunks_named(stored_name);
            candidates.extend(found.map(|offset| Place::new(number, offset)));
        }
        'candidates: for place in candidates {
            let found = self.slots(place)?;
            for n in 0..CHUNK as usize {
                let changed = changed.iter().find(|(at, ..)| *at == n);
                let same = match (changed, &slots[n], &found[n]) {
                    (Some((_, page, _)), _, Some(found)) => self.slot_page(found)? == **page,
                    (None, Some(slot), Some(found)) => {
                        slot.place == found.place || self.slot_page(slot)? == self.slot_page(found)?
                    }
                    (None, None, None) => true,
                    _ => false,
                };
                if !same {
                    continue 'candidates;
                }
            }
            return Ok(Some(place));
        }
        Ok(None)
    }

    fn append_chunk(&mut self, slots: &Slots) -> Result<Place, ChunkError> {
        let bytes = chunk::encode(slots);
        let place = self.append(&bytes)?;
        self.names.entry(Chunk::new(&bytes).name()).or_default().push(place.offset());
        Ok(place)
    }

    /// A node with other chunks below it, which are given in ascending order.
    fn changed_node(&mut self, place: Place, level: u8, chunks: &[(u32, Place)]) -> Result<Place, ChunkError> {
        if level == 0 {
            return Ok(chunks[0].1);
        }
        if chunks.is_empty() {
            return Ok(place);
        }
        let old = tree::children(self, place, level)?;
        let mut children = old;
        for chunks in chunks.chunk_by(|a, b| tree::child_of(a.0, level) == tree::child_of(b.0, level)) {
            let n = tree::child_of(chunks[0].0, level) as usize;
            children[n] = self.changed_node(old[n], level - 1, chunks)?;
        }
        self.node(place, level, &old, &children)
    }

    fn node(&mut self, place: Place, level: u8, old: &[Place], children: &[Place]) -> Result<Place, ChunkError> {
        if old == children {
            Ok(place)
        } else if children.iter().all(|child| child.is_nowhere()) {
            Ok(Place::NOWHERE)
        } else {
            self.append_node(&node::encode(level, children))
        }
    }

    /// The database that a root stands for, without anything that lies in one of the packs `leave`.
    pub fn copy_out_of(&mut self, root: &Root, leave: &dyn Fn(u32) -> bool) -> Result<Root, ChunkError> {
        Ok(Root { place: self.copied_node(root.place, root.levels, leave)?, ..*root })
    }

    fn copied_node(&mut self, place: Place, level: u8, leave: &dyn Fn(u32) -> bool) -> Result<Place, ChunkError> {
        if place.is_nowhere() {
            return Ok(place);
        }
        if let Some(copied) = self.copied.get(&place) {
            return Ok(*copied);
        }
        let copied = if level == 0 {
            let mut slots = self.slots(place)?;
            let old = slots;
            for slot in slots.iter_mut().flatten().filter(|slot| leave(slot.place.pack())) {
                slot.place = self.copied_page(slot)?;
            }
            if slots != old || leave(place.pack()) { self.append_chunk(&slots)? } else { place }
        } else {
            let old = tree::children(self, place, level)?;
            let mut children = old;
            for child in &mut children {
                *child = self.copied_node(*child, level - 1, leave)?;
            }
            let stays = children == old && !leave(place.pack());
            if stays { place } else { self.append_node(&node::encode(level, &children))? }
        };
        self.copied.insert(place, copied);
        Ok(copied)
    }

    fn copied_page(&mut self, slot: &Slot) -> Result<Place, ChunkError> {
        if let Some(copied) = self.copied.get(&slot.place) {
            return Ok(*copied);
        }
        // Damage must not be carried on as if it were sound.
        self.slot_page(slot)?;
        let stored = self.bytes(slot.place, slot.bytes as usize)?.into_owned();
        let copied = self.append(&stored)?;
        self.copied.insert(slot.place, copied);
        Ok(copied)
    }

    fn append(&mut self, item: &[u8]) -> Result<Place, ChunkError> {
        self.append_item(item, false)
    }

    fn append_node(&mut self, node: &[u8]) -> Result<Place, ChunkError> {
        self.append_item(node, true)
    }

    fn append_item(&mut self, item: &[u8], is_node: bool) -> Result<Place, ChunkError> {
        let sealed = self.seal.as_ref().map(|seal| sealed::seal(seal, self.length(), item, is_node));
        self.append_stored(sealed.as_deref().unwrap_or(item))
    }

    fn append_stored(&mut self, bytes: &[u8]) -> Result<Place, ChunkError> {
        let place = Place::new(self.number, self.length());
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(place)
    }

    fn flush(&mut self) -> Result<(), ChunkError> {
        self.file.write_all_at(&self.buffer, self.written).map_err(ChunkError::io(&self.path, "write"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Completes the pack: it is on disk under its name when this returns. Gives the bytes of its file.
    pub fn finish(mut self) -> Result<u64, ChunkError> {
        let names = std::mem::take(&mut self.names);
        let names = names.into_iter().flat_map(|(name, offsets)| offsets.into_iter().map(move |offset| (name, offset)));
        let names = names.map(|(name, offset)| (self.packs.stored_name(name), offset));
        let footer = pack::footer(names.collect());
        self.buffer.extend_from_slice(&footer);
        self.flush()?;
        self.file.sync_all().map_err(ChunkError::io(&self.path, "fsync"))?;
        let path = pack_path(&self.packs.dir, self.number);
        self.packs.disk.rename(&self.path, &path).map_err(ChunkError::io(&path, "put in place"))?;
        self.finished = true;
        let dir = &self.packs.dir;
        self.packs.disk.sync_directory(dir).map_err(ChunkError::io(dir, "fsync"))?;
        Ok(self.written)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // What stays of a process that was killed is removed by the next one that writes a pack.
            let _ = self.packs.disk.remove(&self.path);
        }
    }
}

impl Items for Writer<'_> {
    fn page_size(&self) -> usize {
        self.packs.page_size()
    }

    fn seal(&self, pack: u32) -> Result<Option<&Seal>, ChunkError> {
        if pack == self.number { Ok(self.seal.as_ref()) } else { self.packs.seal(pack) }
    }

    fn stored(&self, place: Place, length: usize) -> Result<Cow<'_, [u8]>, ChunkError> {
        if place.pack() != self.number {
            return self.packs.stored(place, length);
        }
        let offset = place.offset();
        if offset < HEADER || offset + length as u64 > self.length() {
            return Err(self.corrupt(place, "an item lies outside of its pack"));
        }
        if offset >= self.written {
            return Ok(Cow::Borrowed(&self.buffer[(offset - self.written) as usize..][..length]));
        }
        let mut bytes = vec![0; length];
        // An item is never written in two pieces.
        self.file.read_exact_at(&mut bytes, offset).map_err(ChunkError::io(&self.path, "read"))?;
        Ok(Cow::Owned(bytes))
    }

    fn corrupt(&self, place: Place, reason: &str) -> ChunkError {
        if place.pack() == self.number {
            ChunkError::corrupt(&self.path, place.offset(), reason)
        } else {
            self.packs.corrupt(place, reason)
        }
    }
}
