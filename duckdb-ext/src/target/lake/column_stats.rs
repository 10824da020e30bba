//! What a lake's catalog says of a column over the whole table, and how new values change that: whether it has NULLs, its
//! least and its greatest value, as text that DuckDB casts to the column's type.

use std::cmp::Ordering;

use crate::host::Cell;
use crate::schema::ColumnType;
use crate::schema::time::{date_text, timestamp_text};

/// One column's row in `ducklake_table_column_stats`.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStats {
    pub column: i64,
    pub column_type: ColumnType,
    /// `None` if nobody knows, which stays so.
    pub has_null: Option<bool>,
    /// Both `None` for a column without values; one alone is unknown and stays so.
    pub least: Option<String>,
    pub greatest: Option<String>,
    /// Whether the catalog has a row for the column at all.
    pub kept: bool,
}

impl ColumnStats {
    /// Whether the catalog's values are such as `add` compares.
    pub fn are_known(&self) -> bool {
        [&self.least, &self.greatest].into_iter().flatten().all(|text| comparable(text, self.column_type))
    }

    /// Takes a value in. Fails with `None` for one whose text or order is DuckDB's own matter; then nothing is right any
    /// more.
    pub fn add(&mut self, cell: &Cell<'_>) -> Option<()> {
        if !self.kept {
            return Some(());
        }
        if *cell == Cell::Null {
            self.has_null = self.has_null.map(|_| true);
            return Some(());
        }
        let text = text_of(cell, self.column_type)?;
        match (&self.least, &self.greatest) {
            (None, None) => {
                self.least = Some(text.clone());
                self.greatest = Some(text);
            }
            (least, greatest) => {
                let order =
                    |bound: &Option<String>| bound.as_ref().map(|bound| compare(&text, bound, self.column_type));
                let (below, above) = (order(least), order(greatest));
                if below == Some(Ordering::Less) {
                    self.least = Some(text);
                } else if above == Some(Ordering::Greater) {
                    self.greatest = Some(text);
                }
            }
        }
        Some(())
    }
}

/// Whether columns of the type are dealt with here.
pub fn is_bounded(column: ColumnType) -> bool {
    use ColumnType as T;
    matches!(column, T::Boolean | T::BigInt | T::Double | T::Varchar | T::Date | T::Timestamp)
}

/// The value as DuckDB casts it to text.
fn text_of(cell: &Cell<'_>, column: ColumnType) -> Option<String> {
    use ColumnType as T;
    match (column, cell) {
        (T::Boolean, Cell::Bool(value)) => Some(value.to_string()),
        (T::BigInt, Cell::Integer(number)) => Some(number.to_string()),
        (T::Double, Cell::Double(number)) if number.is_finite() => Some(format!("{number:?}")),
        // DuckLake knows no bounds for text with NUL bytes.
        (T::Varchar, Cell::Bytes(bytes)) if !bytes.contains(&0) => String::from_utf8(bytes.to_vec()).ok(),
        (T::Date, Cell::Integer(days)) => date_text(*days),
        (T::Timestamp, Cell::Integer(micros)) => timestamp_text(*micros),
        _ => None,
    }
}

fn comparable(text: &str, column: ColumnType) -> bool {
    use ColumnType as T;
    match column {
        T::BigInt => text.parse::<i64>().is_ok(),
        T::Double => text.parse::<f64>().is_ok_and(f64::is_finite),
        T::Boolean => matches!(text, "true" | "false"),
        // Years of four digits after Christ are in the order of their text.
        T::Date => text.len() == 10,
        T::Timestamp => {
            text.len() >= 19 && text.as_bytes()[10] == b' ' && text.ends_with(|last: char| last.is_ascii_digit())
        }
        _ => true,
    }
}

/// Of two texts that are `comparable`.
fn compare(a: &str, b: &str, column: ColumnType) -> Ordering {
    match column {
        ColumnType::BigInt => a.parse::<i64>().ok().cmp(&b.parse::<i64>().ok()),
        ColumnType::Double => {
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
            number(a).total_cmp(&number(b))
        }
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(column_type: ColumnType, least: &str, greatest: &str) -> ColumnStats {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_string());
        ColumnStats {
            column: 1,
            column_type,
            has_null: Some(false),
            least: text(least),
            greatest: text(greatest),
            kept: true,
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let mut column = bounds(ColumnType::BigInt, "", "");
        for number in [9, 10, -2, 7] {
            column.add(&Cell::Integer(number)).unwrap();
        }
        assert_eq!(column, bounds(ColumnType::BigInt, "-2", "10"));
        let mut column = bounds(ColumnType::Double, "-1e+20", "9.5");
        column.add(&Cell::Double(10.0)).unwrap();
        column.add(&Cell::Double(-2e20)).unwrap();
        assert_eq!(column, bounds(ColumnType::Double, "-2e20", "10.0"));
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let mut column = bounds(ColumnType::Varchar, "b", "");
        column.add(&Cell::Bytes(b"a")).unwrap();
        column.add(&Cell::Bytes(b"z")).unwrap();
        assert_eq!(column, bounds(ColumnType::Varchar, "a", ""));
        column.add(&Cell::Null).unwrap();
        assert_eq!(column.has_null, Some(true));
        column.has_null = None;
        column.add(&Cell::Null).unwrap();
        assert_eq!(column.has_null, None);
    }

    #[test]
    fn values_of_uncertain_text_are_refused() {
        assert_eq!(bounds(ColumnType::Varchar, "a", "b").add(&Cell::Bytes(b"a\0")), None);
        assert_eq!(bounds(ColumnType::Double, "1", "2").add(&Cell::Double(f64::INFINITY)), None);
        assert_eq!(bounds(ColumnType::Date, "", "").add(&Cell::Integer(-800_000)), None);
        assert!(!bounds(ColumnType::Timestamp, "0044-03-15 12:00:00 (BC)", "").are_known());
        assert!(bounds(ColumnType::Timestamp, "2024-03-15 12:00:00.5", "").are_known());
        assert!(!bounds(ColumnType::Double, "inf", "").are_known());
    }
}
