//! What a virtual table holds at a snapshot, read from its shadow tables.

use std::collections::{BTreeMap, HashSet};

use maniac_base::Value;
use maniac_changeset::{Op, ROWID_COLUMN, Record, TableHeader, Writer, push_value};
use maniac_sqlite_format::{Database, FormatError, KeyForm, Rows, Selection, Table};
use maniac_store::Snapshot;

use super::content::{Content, VirtualTable};
use crate::HistoryError;

/// Entries by their ids, each as a changeset's record.
pub type Entries = BTreeMap<i64, Vec<u8>>;

fn each_row(snapshot: &Snapshot, table: &Table, call: &mut dyn FnMut(i64, Vec<Value<'_>>)) -> Result<(), HistoryError> {
    let mut read = || -> Result<(), FormatError> {
        let Some(db) = Database::open(snapshot)? else { return Ok(()) };
        let mut rows = Rows::new(&db, table, Selection::Changeset)?;
        while let Some(row) = rows.next()? {
            call(row.rowid, row.values().collect());
        }
        Ok(())
    };
    read().map_err(|source| HistoryError::Schema { version: snapshot.version(), source })
}

/// The rowids of a table, in order.
pub fn rowids(snapshot: &Snapshot, table: &Table) -> Result<Vec<i64>, HistoryError> {
    let mut found = Vec::new();
    each_row(snapshot, table, &mut |rowid, _| found.push(rowid))?;
    Ok(found)
}

/// All rows of a table as inserts into the table of that name.
pub fn inserts(snapshot: &Snapshot, table: &Table, name: &str, out: &mut Writer) -> Result<(), HistoryError> {
    debug_assert!(name != ROWID_COLUMN);
    let by_rowid = table.key_form() == KeyForm::Rowid;
    let mut key: Vec<u8> = by_rowid.then_some(1).into_iter().collect();
    key.extend(table.changeset_columns().map(|(column, _)| table.key_position(column)));
    out.table(&TableHeader { name, key: &key });
    each_row(snapshot, table, &mut |rowid, mut values| {
        if by_rowid {
            values.insert(0, Value::Integer(rowid));
        }
        out.insert(&values);
    })
}

/// The entries of an R-Tree.
pub fn entries(snapshot: &Snapshot, table: &VirtualTable) -> Result<Entries, HistoryError> {
    let Content::Entries { coordinates, integers, .. } = table.content else { return Ok(Entries::new()) };
    let (Some(node), Some(rowid)) = (table.shadow("node"), table.shadow("rowid")) else { return Ok(Entries::new()) };
    let (mut further, mut leaves) = (BTreeMap::new(), HashSet::new());
    each_row(snapshot, rowid, &mut |id, values| {
        let mut values = values.into_iter().skip(1);
        leaves.extend(values.next().and_then(|node| node.as_integer()));
        let mut record = Vec::new();
        values.for_each(|value| push_value(&mut record, &value));
        further.insert(id, record);
    })?;
    let mut found = Entries::new();
    each_row(snapshot, node, &mut |number, values| {
        let Some(Value::Blob(data)) = values.get(1).filter(|_| leaves.contains(&number)) else { return };
        for (id, cell) in cells(data, coordinates) {
            let mut record = Vec::new();
            push_value(&mut record, &Value::Integer(id));
            for bytes in cell.as_chunks::<4>().0 {
                let value = match integers {
                    true => Value::Integer(i32::from_be_bytes(*bytes).into()),
                    false => Value::Real(f32::from_be_bytes(*bytes).into()),
                };
                push_value(&mut record, &value);
            }
            record.extend(further.get(&id).into_iter().flatten());
            found.insert(id, record);
        }
    })?;
    Ok(found)
}

/// The cells of a node: two bytes of depth, two of their number, then an id and the coordinates of each.
fn cells(node: &[u8], coordinates: usize) -> impl Iterator<Item = (i64, &[u8])> {
    let count = node.get(2..4).map_or(0, |bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
    let cells = node.get(4..).unwrap_or_default().chunks_exact(8 + 4 * coordinates).take(count);
    cells.filter_map(|cell| {
        let (id, coordinates) = cell.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*id), coordinates))
    })
}

/// The changes that lead from some entries to others.
pub fn changes(name: &str, columns: usize, from: &Entries, to: &Entries, out: &mut Writer) {
    if from == to {
        return;
    }
    let mut key = vec![0; columns];
    key[0] = 1;
    let header = TableHeader { name, key: &key };
    out.table(&header);
    for (_, old) in from.iter().filter(|(id, _)| !to.contains_key(id)) {
        out.whole_row(Op::Delete, old);
    }
    for (id, new) in to {
        if let (Some(Ok(old)), Ok(new)) =
            (from.get(id).map(|old| Record::parse(old, columns)), Record::parse(new, columns))
        {
            out.update(&header, old, new);
        }
    }
    for (_, new) in to.iter().filter(|(id, _)| !from.contains_key(id)) {
        out.whole_row(Op::Insert, new);
    }
}
