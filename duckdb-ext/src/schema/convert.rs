//! A value of SQLite in the form of a DuckDB column, if the column can hold it without losing anything.

use std::borrow::Cow;
use std::fmt::Write;

use super::ColumnType;
use super::decimal::{Decimal, MAX_WIDTH, plain_unscaled, unscaled_text};
use super::json::is_json;
use super::names::quote_text;
use super::time;
use crate::host::Cell;
use crate::source::BorrowedValue as Value;

/// A fitting value: ready to store, or text that had to be made first.
#[derive(Clone, Debug, PartialEq)]
pub enum Fitted<'a> {
    Cell(Cell<'a>),
    Made(String),
}

impl Fitted<'_> {
    #[inline(always)]
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Fitted::Cell(cell) => cell.clone(),
            Fitted::Made(text) => Cell::Bytes(text.as_bytes()),
        }
    }
}

/// Whole numbers up to here are all exact in a double.
pub const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// Whether a double shows all digits of the number.
#[inline(always)]
pub fn is_exact(number: i64) -> bool {
    number.unsigned_abs() <= EXACT_IN_DOUBLE
}

/// `value` for a column of `column`'s type; `None` if it does not fit. Everything fits VARCHAR: numbers as SQLite prints
/// them, blobs and invalid text in DuckDB's notation for blobs (`\xHH`), from which `::BLOB` gives the bytes back.
pub fn fit<'a>(value: &'a Value<'_>, column: ColumnType) -> Option<Fitted<'a>> {
    fit_into(value, column, Kept)
}

/// Where a value goes once its form is known.
pub trait Store<'a> {
    type Stored;

    fn store(self, fitted: Fitted<'a>) -> Self::Stored;
}

struct Kept;

impl<'a> Store<'a> for Kept {
    type Stored = Fitted<'a>;

    fn store(self, fitted: Fitted<'a>) -> Fitted<'a> {
        fitted
    }
}

/// Stores what `fit` would return, if the value fits. With a `store` that is inlined, the compiler knows the form of the
/// frequent pairs: a cell that is moved about costs more than one that is stored.
#[inline(always)]
pub fn fit_into<'a, S: Store<'a>>(value: &'a Value<'_>, column: ColumnType, place: S) -> Option<S::Stored> {
    use ColumnType as T;
    let cell = match (column, value) {
        (_, Value::Null) => return Some(place.store(Fitted::Cell(Cell::Null))),
        (T::BigInt, Value::Integer(number)) => return Some(place.store(Fitted::Cell(Cell::Integer(*number)))),
        (T::Double, Value::Real(number)) => return Some(place.store(Fitted::Cell(Cell::Double(*number)))),
        (T::Varchar, Value::Text(text)) if is_utf8(text) => {
            return Some(place.store(Fitted::Cell(Cell::Bytes(text))));
        }
        (T::Timestamp, Value::Text(text)) => time::timestamp(std::str::from_utf8(text).ok()?)?,
        (T::Date, Value::Text(text)) => time::date(std::str::from_utf8(text).ok()?)?,
        _ => return Some(place.store(fit_rare(value, column)?)),
    };
    Some(place.store(Fitted::Cell(Cell::Integer(cell))))
}

/// Most text is ASCII, which is told faster.
#[inline(always)]
pub fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

/// The pairs that `fit_into` leaves.
fn fit_rare<'a>(value: &'a Value<'_>, column: ColumnType) -> Option<Fitted<'a>> {
    use ColumnType as T;
    let cell = match (column, value) {
        (T::Boolean, Value::Integer(number @ (0 | 1))) => Cell::Bool(*number == 1),
        (T::Double, Value::Integer(number)) if is_exact(*number) => Cell::Double(*number as f64),
        (T::Decimal { width, scale }, Value::Integer(_) | Value::Real(_)) => decimal(value, width, scale)?,
        (T::HugeInt, Value::Integer(_) | Value::Real(_)) => Cell::Wide(Decimal::of(value)?.unscaled(MAX_WIDTH, 0)?),
        (T::Blob, Value::Blob(bytes)) => Cell::Bytes(bytes),
        (T::Uuid, Value::Blob(bytes)) => Cell::Wide(i128::from_be_bytes(bytes.as_ref().try_into().ok()?)),
        (T::Uuid, Value::Text(text)) => Cell::Wide(uuid(text)?),
        (T::Timestamp, Value::Integer(_) | Value::Real(_)) => Cell::Integer(time::timestamp_of_number(number(value)?)?),
        (T::Date, Value::Integer(_) | Value::Real(_)) => Cell::Integer(time::date_of_number(number(value)?)?),
        (T::Time, Value::Text(text)) => Cell::Integer(time::time(std::str::from_utf8(text).ok()?)?),
        (T::Json, Value::Text(text)) if is_json(std::str::from_utf8(text).ok()?) => Cell::Bytes(text),
        // JSON has no infinities.
        (T::Json, Value::Real(number)) if number.is_infinite() => return None,
        (T::Json | T::Varchar, Value::Integer(_) | Value::Real(_)) => return number_text(value).map(Fitted::Made),
        (T::Varchar, Value::Text(bytes) | Value::Blob(bytes)) => return Some(Fitted::Made(blob_text(bytes))),
        _ => return None,
    };
    Some(Fitted::Cell(cell))
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Real(number) => Some(*number),
        _ => None,
    }
}

/// The value as an SQL literal of the column's type; `None` if it does not fit.
pub fn literal(value: &Value<'_>, column: ColumnType) -> Option<String> {
    let fitted = fit(value, column)?;
    let text = match (fitted.cell(), value) {
        (Cell::Null, _) => return Some("NULL".to_string()),
        (Cell::Bool(value), _) => value.to_string(),
        (Cell::Double(number), _) => format!("{number:?}"),
        (Cell::Bytes(bytes), _) => match column {
            ColumnType::Blob => blob_text(bytes),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        },
        (Cell::Wide(bits), Value::Blob(_)) if column == ColumnType::Uuid => format!("{bits:032x}"),
        // DuckDB reads past the offset in a text for TIMESTAMP.
        (Cell::Integer(micros), _) if column == ColumnType::Timestamp => time::timestamp_text(micros)?,
        (Cell::Integer(days), _) if column == ColumnType::Date => time::date_text(days)?,
        (_, Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        (cell, number) => match (column, cell) {
            (ColumnType::Decimal { scale, .. }, Cell::Integer(unscaled)) => unscaled_text(unscaled.into(), scale),
            (ColumnType::Decimal { scale, .. }, Cell::Wide(unscaled)) => unscaled_text(unscaled, scale),
            (ColumnType::HugeInt, Cell::Wide(number)) => number.to_string(),
            _ => number_text(number)?,
        },
    };
    Some(format!("CAST({} AS {column})", quote_text(&text)))
}

/// The value for a message, cut if it is long.
pub fn show(value: &Value<'_>) -> String {
    const LIMIT: usize = 60;
    let text = match value {
        Value::Null => Cow::Borrowed("NULL"),
        Value::Integer(_) | Value::Real(_) => Cow::Owned(number_text(value).unwrap_or_default()),
        Value::Text(text) => Cow::Owned(format!("'{}'", String::from_utf8_lossy(text))),
        Value::Blob(bytes) => Cow::Owned(format!("a blob of {} bytes", bytes.len())),
    };
    match text.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.into_owned(),
    }
}

/// A number as text that reads back as the same number.
fn number_text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) if number.is_infinite() => Some(if *number > 0.0 { "Inf" } else { "-Inf" }.to_string()),
        Value::Real(number) => Some(format!("{number:?}")),
        _ => None,
    }
}

/// DuckDB's text form of a blob: ASCII as it is, other bytes and what the notation itself uses as `\xHH`.
fn blob_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' '..=b'~' if !matches!(byte, b'\\' | b'\'' | b'"') => text.push(*byte as char),
            _ => {
                let _ = write!(text, "\\x{byte:02X}");
            }
        }
    }
    text
}

/// The number as a DECIMAL(width, scale), if it is within it.
fn decimal(value: &Value<'_>, width: u8, scale: u8) -> Option<Cell<'static>> {
    let plain = match value {
        Value::Real(number) => plain_unscaled(*number, width, scale).map(i128::from),
        _ => None,
    };
    let unscaled = plain.or_else(|| Decimal::of(value)?.unscaled(width, scale))?;
    Some(match width {
        ..=18 => Cell::Integer(i64::try_from(unscaled).ok()?),
        _ => Cell::Wide(unscaled),
    })
}

/// A UUID in its canonical form of 36 characters, upper or lower case.
fn uuid(text: &[u8]) -> Option<i128> {
    if text.len() != 36 {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, byte) in text.iter().enumerate() {
        match place {
            8 | 13 | 18 | 23 if *byte == b'-' => {}
            8 | 13 | 18 | 23 => return None,
            _ => bits = bits << 4 | u128::from((*byte as char).to_digit(16)?),
        }
    }
    Some(bits as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'static> {
        Value::Text(text.as_bytes().to_vec().into())
    }

    fn fitted(value: &Value<'_>, column: ColumnType) -> Option<Cell<'static>> {
        fit(value, column).map(|fitted| match fitted.cell() {
            Cell::Bytes(bytes) => Cell::Bytes(bytes.to_vec().leak()),
            Cell::Null => Cell::Null,
            Cell::Bool(v) => Cell::Bool(v),
            Cell::Integer(v) => Cell::Integer(v),
            Cell::Wide(v) => Cell::Wide(v),
            Cell::Double(v) => Cell::Double(v),
        })
    }

    #[test]
    fn what_fits_is_stored_and_what_does_not_is_told() {
        use ColumnType as T;
        let fits = [
            (Value::Null, T::Uuid, Cell::Null),
            (Value::Integer(-5), T::BigInt, Cell::Integer(-5)),
            (Value::Integer(1), T::Boolean, Cell::Bool(true)),
            (Value::Integer(3), T::Double, Cell::Double(3.0)),
            (Value::Real(12.34), T::Decimal { width: 4, scale: 2 }, Cell::Integer(1234)),
            (Value::Integer(-7), T::Decimal { width: 20, scale: 1 }, Cell::Wide(-70)),
            (Value::Real(1e3), T::Decimal { width: 4, scale: 0 }, Cell::Integer(1000)),
            (text("2024-02-29"), T::Date, Cell::Integer(19_782)),
            (Value::Integer(1_709_164_801), T::Timestamp, Cell::Integer(1_709_164_801_000_000)),
            (Value::Real(2_460_369.5), T::Date, Cell::Integer(19_782)),
            (text("{}"), T::Json, Cell::Bytes(b"{}")),
            (Value::Integer(5), T::Varchar, Cell::Bytes(b"5")),
            (Value::Real(5.0), T::Varchar, Cell::Bytes(b"5.0")),
            (Value::Blob(vec![0, b'a', b'\\'].into()), T::Varchar, Cell::Bytes(b"\\x00a\\x5C")),
            (Value::Text(vec![b'a', 0xff].into()), T::Varchar, Cell::Bytes(b"a\\xFF")),
            (Value::Blob(vec![0; 16].into()), T::Uuid, Cell::Wide(0)),
        ];
        for (value, column, cell) in fits {
            assert_eq!(fitted(&value, column), Some(cell), "{value:?} in {column}");
        }
        let misfits = [
            (text("x"), T::BigInt),
            (Value::Real(1.5), T::BigInt),
            (Value::Integer(2), T::Boolean),
            (Value::Integer(i64::MAX), T::Double),
            (Value::Real(12.345), T::Decimal { width: 9, scale: 2 }),
            (Value::Integer(1000), T::Decimal { width: 4, scale: 1 }),
            (Value::Real(f64::INFINITY), T::Decimal { width: 9, scale: 2 }),
            (text("yesterday"), T::Timestamp),
            (Value::Integer(1984), T::Timestamp),
            (Value::Integer(1_700_000_000), T::Date),
            (text("{"), T::Json),
            (Value::Real(f64::INFINITY), T::Json),
            (text("not-a-uuid"), T::Uuid),
            (text("bytes?"), T::Blob),
        ];
        for (value, column) in misfits {
            assert_eq!(fitted(&value, column), None, "{value:?} in {column}");
        }
    }

    #[test]
    fn every_value_fits_varchar() {
        let values = [Value::Null, Value::Integer(1), Value::Real(-0.0), text("é"), Value::Blob(vec![255].into())];
        assert!(values.iter().all(|value| fit(value, ColumnType::Varchar).is_some()));
    }

    #[test]
    fn uuids() {
        let canonical = text("00112233-4455-6677-8899-AABBCCDDEEFF");
        let bits = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;
        assert_eq!(fitted(&canonical, ColumnType::Uuid), Some(Cell::Wide(bits)));
        assert_eq!(fitted(&text("00112233-4455-6677-8899-AABBCCDDEEFg"), ColumnType::Uuid), None);
    }

    #[test]
    fn literals_quote_what_they_hold() {
        assert_eq!(literal(&text("it's"), ColumnType::Varchar).unwrap(), "CAST('it''s' AS VARCHAR)");
        assert_eq!(literal(&Value::Integer(5), ColumnType::BigInt).unwrap(), "CAST('5' AS BIGINT)");
        assert_eq!(literal(&Value::Null, ColumnType::Date).unwrap(), "NULL");
        assert_eq!(literal(&Value::Real(0.1), ColumnType::Double).unwrap(), "CAST('0.1' AS DOUBLE)");
        let decimal = ColumnType::Decimal { width: 6, scale: 2 };
        assert_eq!(literal(&Value::Real(1.25), decimal).unwrap(), "CAST('1.25' AS DECIMAL(6,2))");
        assert_eq!(literal(&Value::Blob(vec![1].into()), ColumnType::Blob).unwrap(), "CAST('\\x01' AS BLOB)");
        let noon = literal(&Value::Real(2_460_370.0), ColumnType::Timestamp);
        assert_eq!(noon.unwrap(), "CAST('2024-02-29 12:00:00' AS TIMESTAMP)");
        assert_eq!(literal(&Value::Integer(0), ColumnType::Date), None);
        assert_eq!(
            literal(&text("2024-03-01 00:15+02:00"), ColumnType::Timestamp).unwrap(),
            "CAST('2024-02-29 22:15:00' AS TIMESTAMP)"
        );
        assert!(literal(&text("x"), ColumnType::BigInt).is_none());
    }
}
