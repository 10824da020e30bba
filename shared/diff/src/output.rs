//! Collects the changes of one table: pairs old and new rows by their key and writes the table's part of a changeset.

use std::borrow::Cow;
use std::collections::HashMap;

use maniac_changeset::{Op, Record, TableHeader, Writer};

/// Where a row lies in the buffer that it was written to, with the two bytes in front of its record.
type Span = std::ops::Range<usize>;

const PREFIX: usize = 2;

/// Bytes set aside for inserts at once: a row or two.
const ROOM: usize = 512;

/// Rows are written to the buffers as deletes and inserts right away. Only if a table has both does anything need to be
/// paired, so that a bulk insert is copied once and costs no memory beyond its own changeset.
pub(crate) struct Output<'a> {
    name: Cow<'a, str>,
    key: Cow<'a, [u8]>,
    deletes: Vec<u8>,
    /// Starts with the table's header, so that a table with nothing but inserts is complete as it is.
    inserts: Vec<u8>,
    header_len: usize,
    updates: Writer,
    unpaired_old: Vec<Span>,
    unpaired_new: Vec<Span>,
}

impl<'a> Output<'a> {
    pub fn new(name: Cow<'a, str>, key: Cow<'a, [u8]>) -> Output<'a> {
        let mut inserts = Vec::with_capacity(ROOM);
        TableHeader { name: &name, key: &key }.write(&mut inserts);
        Output {
            name,
            key,
            header_len: inserts.len(),
            deletes: Vec::new(),
            inserts,
            updates: Writer::new(),
            unpaired_old: Vec::new(),
            unpaired_new: Vec::new(),
        }
    }

    /// The buffer that rows of one side go to, ready for a record.
    pub fn start(&mut self, op: Op) -> (&mut Vec<u8>, usize) {
        let buffer = if op == Op::Delete { &mut self.deletes } else { &mut self.inserts };
        let start = buffer.len();
        buffer.extend([op as u8, 0]);
        (buffer, start)
    }

    /// Takes back the row that was begun at `start` and returns its record.
    pub fn take_back(&mut self, op: Op, start: usize) -> Vec<u8> {
        let buffer = if op == Op::Delete { &mut self.deletes } else { &mut self.inserts };
        let record = buffer[start + PREFIX..].to_vec();
        buffer.truncate(start);
        record
    }

    /// The row begun at `start` is complete. `paired` if no row of the other side can have the same key.
    pub fn end(&mut self, op: Op, start: usize, paired: bool) {
        let (buffer, unpaired) = match op {
            Op::Delete => (&self.deletes, &mut self.unpaired_old),
            _ => (&self.inserts, &mut self.unpaired_new),
        };
        if !paired {
            unpaired.push(start..buffer.len());
        }
    }

    /// A row before and after, in whole records.
    pub fn update(&mut self, old: &[u8], new: &[u8]) {
        let header = TableHeader { name: &self.name, key: &self.key };
        let (Ok(old), Ok(new)) = (Record::parse(old, self.key.len()), Record::parse(new, self.key.len())) else {
            debug_assert!(false, "records are written by this crate");
            return;
        };
        self.updates.update(&header, old, new);
    }

    /// Pairs what is left and appends the table to a changeset, if anything changed: deletes first, then updates, then
    /// inserts, so that a row may take a unique value that another one gave up.
    pub fn finish(mut self, changeset: &mut Vec<u8>) {
        self.pair();
        let updates = self.updates.take();
        let (header, inserts) = self.inserts.split_at(self.header_len);
        match (self.deletes.is_empty() && updates.is_empty(), inserts.is_empty()) {
            (true, true) => {}
            (true, false) if changeset.is_empty() => *changeset = self.inserts,
            _ => [header, &self.deletes, &updates, inserts].iter().for_each(|part| changeset.extend_from_slice(part)),
        }
    }

    fn pair(&mut self) {
        if self.unpaired_old.is_empty() || self.unpaired_new.is_empty() {
            return;
        }
        let old_rows = std::mem::take(&mut self.deletes);
        let new_rows = std::mem::take(&mut self.inserts);
        let unpaired_old = std::mem::take(&mut self.unpaired_old);
        let unpaired_new = std::mem::take(&mut self.unpaired_new);
        let mut by_key: HashMap<Vec<u8>, Span> = HashMap::with_capacity(unpaired_old.len());
        for span in unpaired_old {
            by_key.insert(self.key_of(&old_rows[span.clone()]), span);
        }
        let mut inserts = new_rows[..self.header_len].to_vec();
        for span in unpaired_new {
            let row = &new_rows[span];
            match by_key.remove(&self.key_of(row)) {
                None => inserts.extend_from_slice(row),
                Some(old) => self.update(&old_rows[old.start + PREFIX..old.end], &row[PREFIX..]),
            }
        }
        let mut gone: Vec<Span> = by_key.into_values().collect();
        gone.sort_unstable_by_key(|span| span.start);
        self.deletes = gone.into_iter().flat_map(|span| &old_rows[span]).copied().collect();
        self.inserts = inserts;
    }

    fn key_of(&self, row: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        if let Ok(record) = Record::parse(&row[PREFIX..], self.key.len()) {
            for (field, _) in record.fields().zip(self.key.iter()).filter(|(_, position)| **position != 0) {
                key.extend_from_slice(field.bytes());
            }
        }
        key
    }
}
