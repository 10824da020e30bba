//! Rows of one page side by side, to be gone through column by column.
//!
//! ```text
//! page ── cells ── RowBlock: a rowid and the places of the fields for each row
//!                      └── BlockRows (with the page's bytes) ── a column: rowids, fields, or the same for every row
//! ```

use std::ops::Range;

use maniac_base::Value;

use crate::rows::borrow;
use crate::{Encoding, FieldReader, FieldSource, RowLayout, Serial};

/// The type of a field that a record ends before. In a record it would be a text longer than any.
const ABSENT: Serial = Serial(u64::MAX);

#[derive(Clone, Copy, Debug)]
struct Field {
    serial: Serial,
    /// Where it lies in the bytes that the block is of.
    start: u32,
    end: u32,
}

/// Where the rows of a page and their fields lie. Kept and filled again for each page, so that reading a table allocates
/// nothing.
#[derive(Debug, Default)]
pub struct RowBlock {
    /// How many leading fields of each record are kept.
    width: usize,
    rowids: Vec<i64>,
    /// `width` for each row.
    fields: Vec<Field>,
}

impl RowBlock {
    /// A block of no rows, which keeps the first `width` fields of each.
    pub fn new(width: usize) -> RowBlock {
        RowBlock { width, ..RowBlock::default() }
    }

    pub fn clear(&mut self) {
        self.rowids.clear();
        self.fields.clear();
    }

    pub fn len(&self) -> usize {
        self.rowids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rowids.is_empty()
    }

    /// Adds the row whose record is the part `record` of `bytes`; all rows of a block are of the same bytes. Where the
    /// record is malformed, the row is not added.
    #[inline(always)]
    pub fn push(&mut self, rowid: i64, bytes: &[u8], record: Range<usize>) -> Result<(), &'static str> {
        if self.width > 0 {
            let base = record.start;
            let mut reader = FieldReader::new(bytes.get(record).ok_or("a record lies outside its page")?)?;
            let before = self.fields.len();
            self.fields.resize(before + self.width, Field { serial: ABSENT, start: 0, end: 0 });
            for field in &mut self.fields[before..] {
                match reader.next_range() {
                    Ok(Some((serial, start, end))) => {
                        *field = Field { serial, start: (base + start) as u32, end: (base + end) as u32 };
                    }
                    Ok(None) => break,
                    Err(what) => {
                        self.fields.truncate(before);
                        return Err(what);
                    }
                }
            }
        }
        self.rowids.push(rowid);
        Ok(())
    }

    /// The rows, read with `layout` from the bytes that they were pushed with.
    pub fn rows<'b>(&'b self, layout: &'b RowLayout, bytes: &'b [u8]) -> BlockRows<'b> {
        BlockRows { block: self, layout, bytes }
    }
}

/// The rows of a block, as long as its page is at hand.
#[derive(Clone, Copy, Debug)]
pub struct BlockRows<'b> {
    block: &'b RowBlock,
    layout: &'b RowLayout,
    bytes: &'b [u8],
}

/// One column of a block.
#[derive(Clone, Copy, Debug)]
pub enum BlockColumn<'b> {
    Rowids(&'b [i64]),
    Fields(BlockFields<'b>),
    /// The same for every row.
    Constant(&'b Value<'static>),
}

/// A column that is a field of the records.
#[derive(Clone, Copy, Debug)]
pub struct BlockFields<'b> {
    fields: &'b [Field],
    width: usize,
    bytes: &'b [u8],
    pub encoding: Encoding,
    /// Whether integers stand for reals.
    pub real: bool,
    default: &'b Value<'static>,
}

impl<'b> BlockRows<'b> {
    pub fn len(&self) -> usize {
        self.block.len()
    }

    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The `i`-th column of the layout.
    #[inline]
    pub fn column(&self, i: usize) -> BlockColumn<'b> {
        match &self.layout.sources[i] {
            FieldSource::Rowid => BlockColumn::Rowids(&self.block.rowids),
            FieldSource::Constant(value) => BlockColumn::Constant(value),
            FieldSource::Field { index, real, default } => BlockColumn::Fields(BlockFields {
                fields: self.block.fields.get(*index..).unwrap_or(&[]),
                width: self.block.width,
                bytes: self.bytes,
                encoding: self.layout.encoding,
                real: *real,
                default,
            }),
        }
    }

    /// The value of a row in the `i`-th column.
    pub fn value(&self, row: usize, i: usize) -> Value<'b> {
        self.column(i).value(row)
    }
}

impl<'b> BlockColumn<'b> {
    #[inline]
    pub fn value(&self, row: usize) -> Value<'b> {
        match self {
            BlockColumn::Rowids(rowids) => Value::Integer(rowids[row]),
            BlockColumn::Fields(fields) => fields.value(row),
            BlockColumn::Constant(value) => borrow(value),
        }
    }
}

impl<'b> BlockFields<'b> {
    /// The type and bytes of the field in a row; nothing where the row was written before the column was added.
    #[inline(always)]
    pub fn get(&self, row: usize) -> Option<(Serial, &'b [u8])> {
        let field = &self.fields[row * self.width];
        (field.serial != ABSENT).then(|| (field.serial, &self.bytes[field.start as usize..field.end as usize]))
    }

    /// The integer in a row, if the field is one.
    #[inline(always)]
    pub fn integer(&self, row: usize) -> Option<i64> {
        let field = &self.fields[row * self.width];
        match field.serial.0 {
            1..=6 if field.end >= 8 => {
                // The eight bytes up to its end, and what is before it shifted out: any length at once.
                let end = field.end as usize;
                let other_bits = 64 - 8 * (field.end - field.start);
                let bytes = self.bytes.get(end - 8..end)?.try_into().ok()?;
                Some(i64::from_be_bytes(bytes) << other_bits >> other_bits)
            }
            _ => self.get(row).and_then(|(serial, bytes)| serial.integer(bytes)),
        }
    }

    pub fn value(&self, row: usize) -> Value<'b> {
        match self.get(row) {
            Some((serial, bytes)) => serial.value(bytes, self.encoding, self.real),
            None => borrow(self.default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In front of the other bytes of a page, and where there are less than eight before its end.
    #[test]
    fn integers_of_any_length() {
        let layout = RowLayout {
            encoding: Encoding::Utf8,
            sources: vec![FieldSource::Field { index: 0, real: false, default: Value::Null }],
        };
        for before in [0, 20] {
            for (serial, bytes) in [
                (1, &[0x80][..]),
                (2, &[0x7f, 0xff]),
                (3, &[0xff, 0, 1]),
                (4, &[0x80, 0, 0, 1]),
                (5, &[0x80, 1, 2, 3, 4, 5]),
                (6, &[0x7f, 1, 2, 3, 4, 5, 6, 7]),
                (8, &[]),
                (9, &[]),
                (0, &[]),
                (15, b"7"),
            ] {
                let page = [&vec![0xa5; before][..], &[2, serial], bytes].concat();
                let mut block = RowBlock::new(1);
                block.push(1, &page, before..page.len()).unwrap();
                let BlockColumn::Fields(fields) = block.rows(&layout, &page).column(0) else { panic!("a field") };
                assert_eq!(fields.integer(0), Serial(serial.into()).integer(bytes), "{serial} behind {before}");
            }
        }
    }

    #[test]
    fn rows_of_several_lengths() {
        let layout = RowLayout {
            encoding: Encoding::Utf8,
            sources: vec![
                FieldSource::Rowid,
                FieldSource::Field { index: 1, real: false, default: Value::Integer(7) },
                FieldSource::Constant(Value::Null),
                FieldSource::Field { index: 0, real: true, default: Value::Null },
            ],
        };
        // Two records of one and of two fields, with a byte before each.
        let bytes = [9, 2, 1, 5, 9, 3, 1, 15, 6, b'x'];
        let mut block = RowBlock::new(2);
        block.push(10, &bytes, 1..4).unwrap();
        block.push(11, &bytes, 5..10).unwrap();
        assert_eq!(block.push(12, &bytes, 5..9), Err("a field is longer than its record"));
        assert_eq!(block.push(12, &bytes, 8..12), Err("a record lies outside its page"));
        let rows = block.rows(&layout, &bytes);
        let values = |row| (0..4).map(|i| rows.value(row, i)).collect::<Vec<_>>();
        assert_eq!(rows.len(), 2);
        assert_eq!(values(0), [Value::Integer(10), Value::Integer(7), Value::Null, Value::Real(5.0)]);
        assert_eq!(values(1), [Value::Integer(11), Value::text("x"), Value::Null, Value::Real(6.0)]);
        block.clear();
        assert!(block.is_empty());
    }
}
