//! A node of a tree: where its children are. See docs/format.md.

use maniac_base::checksum;

use crate::place::Place;

const MAGIC: [u8; 4] = *b"NODE";
const HEADER: usize = 8;
/// Children of a node.
pub const FANOUT: u32 = 256;
/// Levels that a tree can have: its chunks hold more pages than a database can.
pub const LEVELS: u8 = 4;
/// Bytes that a node takes at most.
pub const MOST: usize = HEADER + 8 * FANOUT as usize + 8;

/// `children` without those behind the last one that is somewhere.
pub fn encode(level: u8, children: &[Place]) -> Vec<u8> {
    let count = children.iter().rposition(|place| !place.is_nowhere()).map_or(0, |last| last + 1);
    let mut out = Vec::with_capacity(MOST);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[level, 0]);
    out.extend_from_slice(&(count as u16).to_le_bytes());
    children[..count].iter().for_each(|place| out.extend_from_slice(&place.to_bytes()));
    let sum = checksum(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Bytes of the node that begins with these, or what is wrong with them.
pub fn length(header: &[u8]) -> Result<usize, &'static str> {
    let count = u32::from(u16::from_le_bytes([header[6], header[7]]));
    if header[..4] != MAGIC || header[5] != 0 || count > FANOUT {
        return Err("there is no node here");
    }
    Ok(HEADER + 8 * count as usize + 8)
}

/// A node as it is stored. Until `check` has passed, its children are hearsay.
#[derive(Clone, Copy)]
pub struct Node<'a>(&'a [u8]);

impl<'a> Node<'a> {
    /// `bytes` are as many as `length` says.
    pub fn new(bytes: &'a [u8]) -> Node<'a> {
        Node(bytes)
    }

    pub fn check(&self, level: u8) -> Result<(), &'static str> {
        let (bytes, sum) = self.0.split_at(self.0.len() - 8);
        if checksum(bytes).to_le_bytes() != sum {
            return Err("a node does not match its checksum");
        }
        if bytes[4] != level { Err("a node is of another level than its parent says") } else { Ok(()) }
    }

    pub fn child(&self, n: u32) -> Place {
        let at = HEADER + 8 * n as usize;
        if at + 16 > self.0.len() { Place::NOWHERE } else { Place::from_bytes(&self.0[at..]) }
    }

    pub fn children(&self) -> [Place; FANOUT as usize] {
        std::array::from_fn(|n| self.child(n as u32))
    }
}
