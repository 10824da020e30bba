//! The record format: a header of serial types, then the fields' bytes (fileformat2.html, section 2.1).

use std::borrow::Cow;

use maniac_base::{Value, read_varint};

use crate::{Encoding, utf16_to_utf8};

/// A field's type and length.
///
/// | serial type | bytes | meaning |
/// |---|---|---|
/// | 0 | 0 | NULL |
/// | 1 to 6 | 1, 2, 3, 4, 6, 8 | integer, big-endian |
/// | 7 | 8 | IEEE 754 double, big-endian |
/// | 8, 9 | 0 | the integers 0 and 1 |
/// | even, from 12 | (n-12)/2 | blob |
/// | odd, from 13 | (n-13)/2 | text in the database's encoding |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial(pub u64);

impl Serial {
    #[inline]
    fn len(self) -> Option<usize> {
        const SMALL: [u8; 10] = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];
        match self.0 {
            n @ ..10 => Some(SMALL[n as usize].into()),
            10 | 11 => None,
            n => usize::try_from((n - 12) / 2).ok(),
        }
    }

    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    pub fn is_text(self) -> bool {
        self.0 >= 13 && self.0 % 2 == 1
    }

    /// The integer of the types that are one.
    #[inline]
    pub fn integer(self, bytes: &[u8]) -> Option<i64> {
        match self.0 {
            8 => Some(0),
            9 => Some(1),
            1..=6 => {
                // Sign from the first byte, the rest shifted in.
                let mut value = i64::from(*bytes.first()? as i8);
                for &byte in &bytes[1..] {
                    value = value << 8 | i64::from(byte);
                }
                Some(value)
            }
            _ => None,
        }
    }

    /// The real of the type that is one. A NaN can only come from a damaged or crafted file; SQLite reads it as NULL.
    #[inline]
    pub fn real(self, bytes: &[u8]) -> Option<f64> {
        match (self.0, bytes.try_into()) {
            (7, Ok(bits)) => Some(f64::from_be_bytes(bits)).filter(|real| !real.is_nan()),
            _ => None,
        }
    }

    /// The value of a field, with text in UTF-8. A column of REAL affinity may store an integer, which reads as the
    /// real that it stands for (`real`).
    #[inline(always)]
    pub fn value(self, bytes: &[u8], encoding: Encoding, real: bool) -> Value<'_> {
        match self.0 {
            7 => self.real(bytes).map_or(Value::Null, Value::Real),
            n if n >= 12 && n % 2 == 0 => Value::Blob(Cow::Borrowed(bytes)),
            n if n >= 12 && encoding == Encoding::Utf8 => Value::Text(Cow::Borrowed(bytes)),
            n if n >= 12 => Value::Text(Cow::Owned(utf16_to_utf8(bytes, encoding))),
            _ => match self.integer(bytes) {
                Some(value) if real => Value::Real(value as f64),
                Some(value) => Value::Integer(value),
                None => Value::Null,
            },
        }
    }
}

/// Reads the fields of a record one after the other.
#[derive(Clone, Debug)]
pub struct FieldReader<'p> {
    payload: &'p [u8],
    header_len: usize,
    /// Where the next serial type is in the header.
    at: usize,
    /// Where the next field starts.
    start: usize,
}

impl<'p> FieldReader<'p> {
    #[inline]
    pub fn new(payload: &'p [u8]) -> Result<FieldReader<'p>, &'static str> {
        let (header_len, at) = read_varint(payload).ok_or("a record is empty")?;
        let header_len = usize::try_from(header_len).unwrap_or(usize::MAX);
        if header_len > payload.len() {
            return Err("a record's header is longer than the record");
        }
        if header_len < at {
            return Err("a record's header is shorter than its own length");
        }
        Ok(FieldReader { payload, header_len, at, start: header_len })
    }

    /// The type of the next field and where it lies in the payload; nothing behind the last.
    #[inline(always)]
    pub(crate) fn next_range(&mut self) -> Result<Option<(Serial, usize, usize)>, &'static str> {
        if self.at >= self.header_len {
            return Ok(None);
        }
        let (serial, n) =
            read_varint(&self.payload[self.at..self.header_len]).ok_or("a record's header is cut short")?;
        self.at += n;
        let serial = Serial(serial);
        let len = serial.len().ok_or("a record has a reserved serial type")?;
        let start = self.start;
        let end = start.checked_add(len).filter(|&end| end <= self.payload.len());
        self.start = end.ok_or("a field is longer than its record")?;
        Ok(Some((serial, start, self.start)))
    }

    /// The type and bytes of the next field; nothing behind the last.
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<(Serial, &'p [u8])>, &'static str> {
        let payload = self.payload;
        Ok(self.next_range()?.map(|(serial, start, end)| (serial, &payload[start..end])))
    }
}

/// Where the fields of one record lie. Kept and filled again for each row, so that reading a table allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct RecordFields {
    fields: Vec<(Serial, u32, u32)>,
}

impl RecordFields {
    /// Finds the fields of a record; all of them lie inside `payload` when this succeeds.
    pub fn parse(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        self.parse_first(payload, usize::MAX)
    }

    /// Finds the first `count` fields of a record, or all where it has fewer.
    #[inline]
    pub fn parse_first(&mut self, payload: &[u8], count: usize) -> Result<(), &'static str> {
        self.fields.clear();
        let mut reader = FieldReader::new(payload)?;
        while self.fields.len() < count {
            let Some((serial, start, end)) = reader.next_range()? else { break };
            self.fields.push((serial, start as u32, end as u32));
        }
        Ok(())
    }

    /// Fields in the record; fewer than the table's columns where some were added later.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The type and bytes of a field of the `payload` that was parsed last.
    #[inline]
    pub fn get<'p>(&self, i: usize, payload: &'p [u8]) -> Option<(Serial, &'p [u8])> {
        let &(serial, start, end) = self.fields.get(i)?;
        payload.get(start as usize..end as usize).map(|bytes| (serial, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(payload: &[u8]) -> Vec<Value<'_>> {
        let mut fields = RecordFields::default();
        fields.parse(payload).unwrap();
        let get = |i| fields.get(i, payload).unwrap();
        (0..fields.len()).map(|i| get(i).0.value(get(i).1, Encoding::Utf8, false)).collect()
    }

    #[test]
    fn integers_of_every_width_keep_their_sign() {
        for (serial, bytes, expected) in [
            (1, &[0x80][..], -128),
            (2, &[0xff, 0x00], -256),
            (3, &[0x7f, 0xff, 0xff], 0x7f_ffff),
            (4, &[0x80, 0, 0, 0], i64::from(i32::MIN)),
            (5, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], -2),
            (6, &[0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN),
            (8, &[], 0),
            (9, &[], 1),
        ] {
            let mut payload = vec![2, serial];
            payload.extend(bytes);
            assert_eq!(fields(&payload), [Value::Integer(expected)]);
        }
    }

    #[test]
    fn all_storage_classes() {
        let mut payload = vec![5, 0, 7, 15, 16];
        payload.extend(2.5f64.to_be_bytes());
        payload.extend(b"a\x01\x02");
        let expected = [Value::Null, Value::Real(2.5), Value::text("a"), Value::Blob(Cow::Borrowed(&[1, 2]))];
        assert_eq!(fields(&payload), expected);
    }

    #[test]
    fn malformed_records_are_errors() {
        let cases: [&[u8]; 7] = [&[], &[5, 1], &[0], &[2, 10], &[2, 1], &[2, 0x80], &[0x81]];
        for case in cases {
            assert!(RecordFields::default().parse(case).is_err(), "{case:?}");
        }
    }
}
