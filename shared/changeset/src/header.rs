//! What a changeset says of a table and of a change before its values.

use maniac_base::write_varint;

/// What happened to a row. The numbers are SQLite's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Op {
    Delete = 9,
    Insert = 18,
    Update = 23,
}

impl Op {
    pub(crate) fn from_byte(byte: u8) -> Option<Op> {
        match byte {
            9 => Some(Op::Delete),
            18 => Some(Op::Insert),
            23 => Some(Op::Update),
            _ => None,
        }
    }

    /// The SQL statement that does it.
    pub fn name(self) -> &'static str {
        match self {
            Op::Delete => "DELETE",
            Op::Insert => "INSERT",
            Op::Update => "UPDATE",
        }
    }

    /// The op that undoes this one.
    pub fn inverse(self) -> Op {
        match self {
            Op::Delete => Op::Insert,
            Op::Insert => Op::Delete,
            Op::Update => Op::Update,
        }
    }
}

/// The table that the changes which follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableHeader<'c> {
    pub name: &'c str,
    /// A byte for each column: its place in the primary key counted from 1, or 0.
    pub key: &'c [u8],
}

impl TableHeader<'_> {
    pub fn columns(&self) -> usize {
        self.key.len()
    }

    pub fn is_key(&self, column: usize) -> bool {
        self.key.get(column).is_some_and(|&position| position != 0)
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'T');
        write_varint(out, self.key.len() as u64);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.name.as_bytes());
        out.push(0);
    }
}
