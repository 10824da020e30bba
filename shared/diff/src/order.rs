//! The order of rows in a WITHOUT ROWID table, so that two snapshots of it can be walked side by side.
//!
//! The order only decides how soon equal rows meet. Rows that don't meet, because a table uses a collation of the
//! application's own, are paired by their key later: slower, with the same result.

use std::cmp::Ordering;

use maniac_base::Value;
use maniac_sqlite_format::{Collation, Encoding, RecordFields, Table, utf16_to_utf8};

/// How the key of a WITHOUT ROWID table compares: its fields come first in the record.
#[derive(Clone, Debug)]
pub(crate) struct KeyOrder {
    parts: Vec<(Collation, bool)>,
    encoding: Encoding,
}

impl KeyOrder {
    pub fn new(table: &Table, encoding: Encoding) -> KeyOrder {
        KeyOrder { parts: table.key.iter().map(|part| (part.collation.clone(), part.descending)).collect(), encoding }
    }

    /// Compares two records that have been parsed into their fields.
    pub fn compare(&self, a: (&[u8], &RecordFields), b: (&[u8], &RecordFields)) -> Ordering {
        for (i, (collation, descending)) in self.parts.iter().enumerate() {
            let value = |(payload, fields): (&'_ [u8], &RecordFields)| -> Value<'static> {
                // UTF-8 leaves the text as it is stored, which is what BINARY compares.
                let field = fields.get(i, payload);
                field.map_or(Value::Null, |(serial, bytes)| serial.value(bytes, Encoding::Utf8, false).into_owned())
            };
            let order = compare_values(&value(a), &value(b), collation, self.encoding);
            if order != Ordering::Equal {
                return if *descending { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    }
}

fn rank(value: &Value<'_>) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    }
}

fn compare_values(a: &Value<'_>, b: &Value<'_>, collation: &Collation, encoding: Encoding) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Real(a), Value::Real(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Integer(a), Value::Real(b)) => compare_mixed(*a, *b),
        (Value::Real(a), Value::Integer(b)) => compare_mixed(*b, *a).reverse(),
        (Value::Text(a), Value::Text(b)) => compare_text(a, b, collation, encoding),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Exact, where a conversion to either type would round.
fn compare_mixed(integer: i64, real: f64) -> Ordering {
    if real < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    if real >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    let whole = real as i64;
    integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&(real - whole as f64)).unwrap_or(Ordering::Equal))
}

fn compare_text(a: &[u8], b: &[u8], collation: &Collation, encoding: Encoding) -> Ordering {
    let utf8 = |bytes: &[u8]| match encoding {
        Encoding::Utf8 => bytes.to_vec(),
        other => utf16_to_utf8(bytes, other),
    };
    let trimmed = |bytes: &[u8]| {
        let mut bytes = utf8(bytes);
        bytes.truncate(bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1));
        bytes
    };
    match collation {
        Collation::NoCase => utf8(a).to_ascii_lowercase().cmp(&utf8(b).to_ascii_lowercase()),
        Collation::Rtrim => trimmed(a).cmp(&trimmed(b)),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_classes_come_in_sqlites_order() {
        let values = [
            Value::Null,
            Value::Real(-1e300),
            Value::Integer(i64::MIN),
            Value::Integer(1),
            Value::Real(1.5),
            Value::Integer(2),
            Value::Real(9.3e18),
            Value::text("a"),
            Value::text("b"),
            Value::Blob(vec![0].into()),
        ];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                let order = compare_values(a, b, &Collation::Binary, Encoding::Utf8);
                assert_eq!(order, i.cmp(&j), "{a:?} {b:?}");
            }
        }
        assert_eq!(compare_mixed(i64::MAX, i64::MAX as f64), Ordering::Less);
    }

    #[test]
    fn collations() {
        let compare = |a, b, collation| compare_text(a, b, &collation, Encoding::Utf8);
        assert_eq!(compare(b"ABC", b"abc", Collation::NoCase), Ordering::Equal);
        assert_eq!(compare(b"abc  ", b"abc", Collation::Rtrim), Ordering::Equal);
        assert_eq!(compare(b"ABC", b"abc", Collation::Binary), Ordering::Less);
    }
}
