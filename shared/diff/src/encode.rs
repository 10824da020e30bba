//! Turns stored records into the records of a changeset, without values in between.

use maniac_base::{Value, write_varint};
use maniac_changeset::push_value;
use maniac_sqlite_format::{Encoding, FieldReader, FieldSource, RowLayout, Serial, utf16_to_utf8};

/// Reads the rows of one table of one snapshot, in the columns that the changeset has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowEncoder<'a> {
    layout: &'a RowLayout,
    /// The rowid comes first, as the key.
    rowid_first: bool,
}

impl<'a> RowEncoder<'a> {
    pub fn new(layout: &'a RowLayout, rowid_first: bool) -> RowEncoder<'a> {
        RowEncoder { layout, rowid_first }
    }

    /// Appends a row to `out`.
    pub fn encode(&self, rowid: i64, payload: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.rowid_first {
            push_value(out, &Value::Integer(rowid));
        }
        let mut fields = FieldReader::new(payload)?;
        let mut next = 0;
        for source in &self.layout.sources {
            match source {
                FieldSource::Rowid => push_value(out, &Value::Integer(rowid)),
                FieldSource::Field { index, real, default } => {
                    if *index < next {
                        // Only the key of a WITHOUT ROWID table is stored out of its columns' order.
                        fields = FieldReader::new(payload)?;
                        next = 0;
                    }
                    let mut field = fields.next_field()?;
                    while next < *index && field.is_some() {
                        field = fields.next_field()?;
                        next += 1;
                    }
                    match field {
                        Some((serial, bytes)) => push_field(out, serial, bytes, self.layout.encoding, *real),
                        None => push_value(out, default),
                    }
                    next += 1;
                }
                FieldSource::Constant(value) => push_value(out, value),
            }
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
