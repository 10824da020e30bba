//! Formats that are read straight from bytes: records of a b-tree's cells, changesets.

use maniac_base::Value;
use maniac_changeset::{Group, Item, Op, Reader, Record, TableHeader, Writer, invert, push_value};
use maniac_sqlite_format::{Encoding, FieldSource, RecordFields, RowBlock, RowLayout};

/// Leading fields of a record that a block keeps.
const BLOCK_FIELDS: usize = 4;

/// A record: header of serial types, then values.
pub fn record(data: &[u8]) {
    let mut fields = RecordFields::default();
    if fields.parse(data).is_ok() {
        for n in 0..fields.len() {
            assert!(fields.get(n, data).is_some(), "a field of a record that was parsed");
        }
    }
    let mut block = RowBlock::new(BLOCK_FIELDS);
    let in_block = block.push(1, data, 0..data.len());
    assert_eq!(in_block, fields.parse_first(data, BLOCK_FIELDS), "a record alone and in a block");
    let source = |index| FieldSource::Field { index, real: false, default: Value::Null };
    let layout = RowLayout { encoding: Encoding::Utf16Le, sources: (0..BLOCK_FIELDS).map(source).collect() };
    let rows = block.rows(&layout, data);
    for n in (0..BLOCK_FIELDS).filter(|_| in_block.is_ok()) {
        assert_eq!(rows.value(0, n), layout.value(n, 1, data, &fields), "a value alone and in a block");
    }
}

/// A changeset, raw or made by editing a valid one.
pub fn changeset(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let bytes = if first % 4 == 0 {
        rest.to_vec()
    } else {
        let mut bytes = valid();
        crate::edit::Input(rest).apply(&mut bytes);
        bytes
    };
    let mut reader = Reader::new(&bytes);
    let mut items = 0;
    while let Some(item) = reader.next() {
        let Ok(item) = item else {
            assert!(reader.next().is_none(), "after an error there is nothing more");
            break;
        };
        items += 1;
        if let (Item::Change(change), Some(table)) = (item, reader.table()) {
            change.key(&table);
        }
        assert!(reader.offset() <= bytes.len() && items <= bytes.len(), "each item takes a byte at least");
    }
    if let Ok(there) = invert(&bytes) {
        let back = invert(&there).expect("what was made here is valid");
        assert_eq!(invert(&back).as_ref(), Ok(&there), "twice the other way round is the same");
    }
    let mut group = Group::new();
    if group.add(&bytes).is_ok() {
        // The same again may contradict what is there; then it is refused.
        let _ = group.add(&bytes);
        group.finish();
    }
}

fn valid() -> Vec<u8> {
    let table = TableHeader { name: "t", key: &[1, 0, 0] };
    let row = |n: i64, text: &str| {
        let mut out = Vec::new();
        [Value::Integer(n), Value::text(text), Value::Real(0.5)].iter().for_each(|value| push_value(&mut out, value));
        out
    };
    let mut writer = Writer::new();
    writer.table(&table);
    writer.whole_row(Op::Insert, &row(1, "inserted"));
    writer.whole_row(Op::Delete, &row(2, "deleted"));
    let (old, new) = (row(3, "old"), row(3, "new"));
    let parsed = |row| Record::parse(row, 3).expect("a row that was just written");
    assert!(writer.update(&table, parsed(&old), parsed(&new)), "the rows differ");
    writer.take()
}
