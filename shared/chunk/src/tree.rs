//! Trees of chunks.

use std::borrow::Cow;

use maniac_base::PageNo;

use crate::CHUNK;
use crate::chunk::{Chunk, Slot};
use crate::error::ChunkError;
use crate::node::{FANOUT, LEVELS, Node};
use crate::packs::{Items, Packs};
use crate::place::Place;

/// A database: the root of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its node; nowhere for a database without a page.
    pub place: Place,
    /// Levels of nodes: with one, the root's children are chunks.
    pub levels: u8,
    /// Pages in the database.
    pub pages: u32,
}

/// What a walk comes across. It goes down if it is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    Node { place: Place, bytes: u32 },
    Chunk(Place),
    Page(Slot),
}

impl Root {
    /// A database without a page.
    pub const EMPTY: Root = Root { place: Place::NOWHERE, levels: 1, pages: 0 };

    /// Levels that a database of so many pages needs.
    pub(crate) fn levels_for(pages: u32) -> u8 {
        let chunks = u64::from(pages.div_ceil(CHUNK));
        (1..LEVELS).find(|levels| u64::from(FANOUT).pow(u32::from(*levels)) >= chunks).unwrap_or(LEVELS)
    }

    /// Where a chunk is.
    pub(crate) fn chunk(&self, items: &impl Items, no: u32) -> Result<Place, ChunkError> {
        let mut place = self.place;
        if u64::from(no) >= u64::from(FANOUT).pow(u32::from(self.levels)) {
            return Ok(Place::NOWHERE);
        }
        for level in (1..=self.levels).rev() {
            if place.is_nowhere() {
                break;
            }
            let bytes = node_bytes(items, place, level)?;
            place = Node::new(&bytes).child(child_of(no, level));
        }
        Ok(place)
    }

    /// Goes through everything that the database is made of, parents first.
    pub fn walk(&self, packs: &Packs, visit: &mut impl FnMut(Visit) -> bool) -> Result<(), ChunkError> {
        walk(packs, self.place, self.levels, visit)
    }

    /// The pages that may differ between two databases of one store, in ascending order. What they share is passed over.
    pub fn differing(&self, other: &Root, packs: &Packs) -> Result<Vec<PageNo>, ChunkError> {
        let mut chunks = Vec::new();
        let levels = self.levels.max(other.levels);
        differing(packs, levels, (self.place, self.levels), (other.place, other.levels), 0, &mut chunks)?;
        let mut pages = Vec::new();
        for (no, one, other) in chunks {
            let slot = |place: Place| match place.is_nowhere() {
                true => Ok([None; CHUNK as usize]),
                false => {
                    let bytes = packs.chunk_bytes(place)?;
                    Chunk::new(&bytes).slots(packs.page_size()).map_err(|reason| packs.corrupt(place, reason))
                }
            };
            let (one, other) = (slot(one)?, slot(other)?);
            let differ = (0..CHUNK).filter(|n| one[*n as usize] != other[*n as usize]);
            pages.extend(differ.map(|n| PageNo(no * CHUNK + n + 1)));
        }
        Ok(pages)
    }
}

/// Which child of a node of this level has a chunk.
pub(crate) fn child_of(chunk: u32, level: u8) -> u32 {
    chunk.checked_shr(8 * (u32::from(level) - 1)).unwrap_or(0) % FANOUT
}

pub(crate) fn node_bytes<'a>(items: &'a impl Items, place: Place, level: u8) -> Result<Cow<'a, [u8]>, ChunkError> {
    let bytes = items.node_bytes(place)?;
    Node::new(&bytes).check(level).map_err(|reason| items.corrupt(place, reason))?;
    Ok(bytes)
}

/// The children of a node that may be nowhere.
pub(crate) fn children(items: &impl Items, place: Place, level: u8) -> Result<[Place; 256], ChunkError> {
    if place.is_nowhere() {
        return Ok([Place::NOWHERE; FANOUT as usize]);
    }
    Ok(Node::new(&node_bytes(items, place, level)?).children())
}

fn walk(packs: &Packs, place: Place, level: u8, visit: &mut impl FnMut(Visit) -> bool) -> Result<(), ChunkError> {
    if place.is_nowhere() {
        return Ok(());
    }
    if level == 0 {
        if visit(Visit::Chunk(place)) {
            let bytes = packs.chunk_bytes(place)?;
            let slots = Chunk::new(&bytes).slots(packs.page_size()).map_err(|reason| packs.corrupt(place, reason))?;
            slots.iter().flatten().for_each(|slot| {
                visit(Visit::Page(*slot));
            });
        }
        return Ok(());
    }
    let bytes = node_bytes(packs, place, level)?;
    if visit(Visit::Node { place, bytes: bytes.len() as u32 }) {
        for child in Node::new(&bytes).children() {
            walk(packs, child, level - 1, visit)?;
        }
    }
    Ok(())
}

/// A tree of fewer levels is the first child of one with more.
type Tree = (Place, u8);

fn differing(
    packs: &Packs,
    level: u8,
    one: Tree,
    other: Tree,
    first: u32,
    chunks: &mut Vec<(u32, Place, Place)>,
) -> Result<(), ChunkError> {
    if one.0 == other.0 {
        return Ok(());
    }
    if level == 0 {
        chunks.push((first, one.0, other.0));
        return Ok(());
    }
    let children = |tree: Tree| -> Result<[Tree; 256], ChunkError> {
        if tree.1 < level {
            let mut children = [(Place::NOWHERE, level - 1); FANOUT as usize];
            children[0] = tree;
            return Ok(children);
        }
        Ok(children(packs, tree.0, level)?.map(|place| (place, level - 1)))
    };
    let (a, b) = (children(one)?, children(other)?);
    for n in 0..FANOUT {
        let first = first + (n << (8 * (u32::from(level) - 1)));
        differing(packs, level - 1, a[n as usize], b[n as usize], first, chunks)?;
    }
    Ok(())
}
