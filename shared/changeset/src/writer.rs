//! Writes a changeset.

use maniac_base::Value;

use crate::{Change, Field, Op, Record, TableHeader, push_value};

/// Appends tables and changes. What is written can be taken away at any time, so a changeset of any size goes through a
/// small buffer.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    /// What has been written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes that [`Writer::take`] would give.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub fn table(&mut self, header: &TableHeader<'_>) {
        header.write(&mut self.out);
    }

    fn start(&mut self, op: Op, indirect: bool) {
        self.out.extend([op as u8, u8::from(indirect)]);
    }

    pub fn insert(&mut self, new: &[Value<'_>]) {
        self.start(Op::Insert, false);
        new.iter().for_each(|value| push_value(&mut self.out, value));
    }

    pub fn delete(&mut self, old: &[Value<'_>]) {
        self.start(Op::Delete, false);
        old.iter().for_each(|value| push_value(&mut self.out, value));
    }

    /// An insert or delete of a record that is in this format already.
    pub fn whole_row(&mut self, op: Op, record: &[u8]) {
        debug_assert!(op != Op::Update);
        self.start(op, false);
        self.out.extend_from_slice(record);
    }

    /// The update that turns one whole row into another with the same key. Rows that are equal are no update; the answer
    /// says whether there was one.
    pub fn update(&mut self, header: &TableHeader<'_>, old: Record<'_>, new: Record<'_>) -> bool {
        let start = self.out.len();
        self.start(Op::Update, false);
        let mut changed = false;
        for (i, (old, new)) in old.fields().zip(new.fields()).enumerate() {
            changed |= old != new && !header.is_key(i);
            let keep = old != new || header.is_key(i);
            self.out.extend_from_slice(if keep { old.bytes() } else { Field::UNDEFINED.bytes() });
        }
        if !changed {
            self.out.truncate(start);
            return false;
        }
        for (i, (old, new)) in old.fields().zip(new.fields()).enumerate() {
            let keep = old != new && !header.is_key(i);
            self.out.extend_from_slice(if keep { new.bytes() } else { Field::UNDEFINED.bytes() });
        }
        true
    }

    /// A change as it was read.
    pub fn change(&mut self, change: &Change<'_>) {
        self.start(change.op, change.indirect);
        for record in [change.old, change.new].into_iter().flatten() {
            self.out.extend_from_slice(record.bytes());
        }
    }

    pub(crate) fn raw(&mut self, op: Op, indirect: bool, records: &[&[u8]]) {
        self.start(op, indirect);
        records.iter().for_each(|record| self.out.extend_from_slice(record));
    }
}
