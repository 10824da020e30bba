//! Records: one value a column, where "undefined" is a value of its own.
//!
//! | type byte | then |
//! |---|---|
//! | 0 | nothing: the column is undefined, it did not change |
//! | 1 | integer, 8 bytes big-endian |
//! | 2 | real, 8 bytes big-endian IEEE 754 |
//! | 3 | text: varint length, UTF-8 bytes |
//! | 4 | blob: varint length, bytes |
//! | 5 | nothing: NULL |

use std::borrow::Cow;

use maniac_base::{Value, read_varint, write_varint};

const UNDEFINED: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const NULL: u8 = 5;

/// Appends a value as a changeset holds it.
pub fn push_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Integer(value) => {
            out.push(INTEGER);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Real(value) => {
            out.push(REAL);
            out.extend_from_slice(&value.to_bits().to_be_bytes());
        }
        Value::Text(bytes) => push_bytes(out, TEXT, bytes),
        Value::Blob(bytes) => push_bytes(out, BLOB, bytes),
    }
}

fn push_bytes(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// One column of a record, as its bytes. Equal bytes mean equal values, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field<'c>(pub(crate) &'c [u8]);

impl<'c> Field<'c> {
    pub const UNDEFINED: Field<'static> = Field(&[UNDEFINED]);

    pub fn is_defined(&self) -> bool {
        self.0[0] != UNDEFINED
    }

    pub fn is_null(&self) -> bool {
        self.0[0] == NULL
    }

    pub fn bytes(&self) -> &'c [u8] {
        self.0
    }

    /// The value, or nothing where the column is undefined.
    pub fn value(&self) -> Option<Value<'c>> {
        let word = || <[u8; 8]>::try_from(&self.0[1..]).unwrap_or_default();
        let tail = || {
            let start = read_varint(&self.0[1..]).map_or(0, |(_, n)| n);
            Cow::Borrowed(&self.0[1 + start..])
        };
        match self.0[0] {
            INTEGER => Some(Value::Integer(i64::from_be_bytes(word()))),
            REAL => Some(Value::Real(f64::from_bits(u64::from_be_bytes(word())))),
            TEXT => Some(Value::Text(tail())),
            BLOB => Some(Value::Blob(tail())),
            NULL => Some(Value::Null),
            _ => None,
        }
    }
}

/// The length of the value that `bytes` starts with, or what is wrong with it.
pub(crate) fn field_len(bytes: &[u8]) -> Result<usize, &'static str> {
    let len = match bytes.first() {
        Some(&(UNDEFINED | NULL)) => 1,
        Some(&(INTEGER | REAL)) => 9,
        Some(&(TEXT | BLOB)) => {
            let (len, n) = read_varint(&bytes[1..]).ok_or("a value is cut short")?;
            let len = usize::try_from(len).map_err(|_| "a value is cut short")?;
            len.checked_add(1 + n).ok_or("a value is cut short")?
        }
        Some(_) => return Err("a value has an unknown type"),
        None => return Err("a record is cut short"),
    };
    if len > bytes.len() { Err("a value is cut short") } else { Ok(len) }
}

/// A record whose values have been checked to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'c> {
    bytes: &'c [u8],
}

impl<'c> Record<'c> {
    pub(crate) const EMPTY: Record<'static> = Record { bytes: &[] };

    /// The record of `columns` values that `bytes` starts with.
    pub fn parse(bytes: &'c [u8], columns: usize) -> Result<Record<'c>, (usize, &'static str)> {
        let mut at = 0;
        for _ in 0..columns {
            at += field_len(&bytes[at..]).map_err(|what| (at, what))?;
        }
        Ok(Record { bytes: &bytes[..at] })
    }

    pub fn bytes(&self) -> &'c [u8] {
        self.bytes
    }

    pub fn fields(&self) -> impl Iterator<Item = Field<'c>> + use<'c> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let len = field_len(rest).ok()?;
            let (field, tail) = rest.split_at(len);
            rest = tail;
            Some(Field(field))
        })
    }

    /// The values; nothing for undefined columns.
    pub fn values(&self) -> impl Iterator<Item = Option<Value<'c>>> + use<'c> {
        self.fields().map(|field| field.value())
    }
}
