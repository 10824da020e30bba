//! The changeset that undoes a changeset.

use crate::{ChangesetError, Field, Item, Op, Reader, TableHeader, Writer};

/// Inserts become deletes and the other way round, updates swap their values: what `sqlite3changeset_invert` gives.
pub fn invert(changeset: &[u8]) -> Result<Vec<u8>, ChangesetError> {
    let mut writer = Writer::new();
    let mut reader = Reader::new(changeset);
    while let Some(item) = reader.next().transpose()? {
        let change = match item {
            Item::Table(header) => {
                writer.table(&header);
                continue;
            }
            Item::Change(change) => change,
        };
        match (change.op, change.old, change.new, reader.table()) {
            (Op::Update, Some(old), Some(new), Some(header)) => {
                let (old, new) = swap(&header, old.fields(), new.fields());
                writer.raw(Op::Update, change.indirect, &[&old, &new]);
            }
            (op, old, new, _) => {
                let records = [old, new].into_iter().flatten().map(|record| record.bytes());
                writer.raw(op.inverse(), change.indirect, &records.collect::<Vec<_>>());
            }
        }
    }
    Ok(writer.take())
}

/// The key stays where it is: it names the row before and after.
fn swap<'c>(
    header: &TableHeader<'_>,
    old: impl Iterator<Item = Field<'c>>,
    new: impl Iterator<Item = Field<'c>>,
) -> (Vec<u8>, Vec<u8>) {
    let mut swapped = (Vec::new(), Vec::new());
    for (i, (old, new)) in old.zip(new).enumerate() {
        let (first, second) = if header.is_key(i) { (old, new) } else { (new, old) };
        swapped.0.extend_from_slice(first.bytes());
        swapped.1.extend_from_slice(second.bytes());
    }
    swapped
}
