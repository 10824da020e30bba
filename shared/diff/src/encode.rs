//! Turns stored records into the records of a changeset, without values in between.

use std::ops::Range;

use maniac_base::{Value, write_varint};
use maniac_changeset::push_value;
use maniac_sqlite_format::{Encoding, FieldSource, RecordFields, RowLayout, Serial, utf16_to_utf8};

/// Reads the rows of one table of one snapshot, in the columns that the changeset has.
#[derive(Debug)]
pub(crate) struct RowEncoder<'a> {
    layout: &'a RowLayout,
    /// The rowid comes first, as the key.
    rowid_first: bool,
    fields: RecordFields,
}

impl<'a> RowEncoder<'a> {
    pub fn new(layout: &'a RowLayout, rowid_first: bool) -> RowEncoder<'a> {
        RowEncoder { layout, rowid_first, fields: RecordFields::default() }
    }

    /// Appends a row to `out` and notes where each of its values ends up in `spans`.
    pub fn encode(
        &mut self,
        rowid: i64,
        payload: &[u8],
        out: &mut Vec<u8>,
        spans: &mut Vec<Range<usize>>,
    ) -> Result<(), &'static str> {
        self.fields.parse(payload)?;
        spans.clear();
        let mut start = out.len();
        if self.rowid_first {
            push_value(out, &Value::Integer(rowid));
            spans.push(start..out.len());
            start = out.len();
        }
        for source in &self.layout.sources {
            match source {
                FieldSource::Rowid => push_value(out, &Value::Integer(rowid)),
                FieldSource::Field { index, real, default } => match self.fields.get(*index, payload) {
                    Some((serial, bytes)) => push_field(out, serial, bytes, self.layout.encoding, *real),
                    None => push_value(out, default),
                },
                FieldSource::Constant(value) => push_value(out, value),
            }
            spans.push(start..out.len());
            start = out.len();
        }
        Ok(())
    }
}

#[inline]
fn push_field(out: &mut Vec<u8>, serial: Serial, bytes: &[u8], encoding: Encoding, real: bool) {
    match serial.0 {
        kind if kind >= 12 => {
            let text = kind % 2 == 1;
            out.push(if text { 3 } else { 4 });
            if text && encoding != Encoding::Utf8 {
                let utf8 = utf16_to_utf8(bytes, encoding);
                write_varint(out, utf8.len() as u64);
                out.extend_from_slice(&utf8);
            } else {
                write_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
        _ => push_value(out, &serial.value(bytes, encoding, real)),
    }
}
