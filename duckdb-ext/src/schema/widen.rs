//! The next type of a column that cannot hold a value, from what it holds in all.
//!
//! ```text
//!   BOOLEAN ── BIGINT ── DOUBLE ── HUGEINT ── DECIMAL, ever wider ──┐
//!   DECIMAL, ever wider ── DOUBLE ──────────────────────────────────┼── VARCHAR
//!   DATE ── TIMESTAMP ──────────────────────────────────────────────┘
//! ```
//!
//! A column goes to the first type behind its own that holds all its values, and never back, so that each is copied a few times
//! at most. A DOUBLE holds integers as long as all its digits are theirs, up to 2^53.

use super::convert::{EXACT_IN_DOUBLE, fit};
use super::decimal::{Decimal, MAX_WIDTH};
use super::{ColumnType, MirrorColumn};
use crate::source::BorrowedValue as Value;

/// Digits of a BIGINT: so many stay before the point of a DECIMAL that takes its place.
const BIGINT_DIGITS: u32 = 19;

/// What a column holds, as far as its next type depends on it.
#[derive(Debug)]
pub struct Census {
    family: Family,
    rounded: Option<u32>,
    /// There are values outside the family.
    strangers: bool,
    /// The greatest integer, without its sign.
    greatest: u64,
    fractions: bool,
    infinite: bool,
    /// Digits before and behind the point, as many as any number has.
    whole: u32,
    scale: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    Numbers,
    Days,
    None,
}

impl Census {
    /// A census of nothing yet, for a column of that type whose numbers are `rounded` to so many digits behind the point.
    pub fn of(column: ColumnType, rounded: Option<u32>) -> Census {
        use ColumnType as T;
        let family = match column {
            T::Boolean | T::BigInt | T::Double | T::HugeInt | T::Decimal { .. } => Family::Numbers,
            T::Date => Family::Days,
            _ => Family::None,
        };
        Census { family, rounded, strangers: false, greatest: 0, fractions: false, infinite: false, whole: 0, scale: 0 }
    }

    /// Whether no further value makes a difference.
    pub fn is_decided(&self) -> bool {
        self.strangers || self.family == Family::None
    }

    pub fn count(&mut self, value: &Value<'_>) {
        match (self.family, value) {
            (_, Value::Null) => {}
            (Family::Numbers, Value::Integer(_) | Value::Real(_)) => self.count_number(value),
            (Family::Days, value) => self.strangers |= fit(value, ColumnType::Timestamp).is_none(),
            _ => self.strangers = true,
        }
    }

    fn count_number(&mut self, value: &Value<'_>) {
        match value {
            Value::Integer(number) => self.greatest = self.greatest.max(number.unsigned_abs()),
            _ => self.fractions = true,
        }
        match Decimal::of(value) {
            None => self.infinite = true,
            Some(decimal) => {
                let decimal = self.rounded.map_or(decimal, |scale| decimal.rounded(scale));
                self.whole = self.whole.max(decimal.whole_digits());
                self.scale = self.scale.max(decimal.scale());
            }
        }
    }

    /// The column's next type. `has_hugeint`: the target keeps all digits of a HUGEINT.
    pub fn next_type(&self, column: &MirrorColumn, has_hugeint: bool) -> ColumnType {
        use ColumnType as T;
        let (declared, current) = (ColumnType::of_declared(&column.declared), column.column_type);
        let steps = match (declared, current) {
            (T::Decimal { .. }, T::Decimal { width, scale }) => {
                let wider = self.decimal(u32::from(width - scale), u32::from(scale));
                wider.into_iter().chain([T::Double]).collect()
            }
            (T::Decimal { .. }, _) => Vec::new(),
            (_, T::Decimal { width, scale }) => {
                Vec::from_iter(self.decimal(u32::from(width - scale), u32::from(scale)))
            }
            (_, T::Boolean | T::BigInt | T::Double | T::HugeInt) => {
                let steps = [T::Boolean, T::BigInt, T::Double, T::HugeInt];
                let behind = steps.iter().skip_while(|step| **step != current).skip(1).copied();
                let known = behind.filter(|step| has_hugeint || *step != T::HugeInt);
                known.chain(self.decimal(BIGINT_DIGITS, 0)).collect()
            }
            (_, T::Date) => vec![T::Timestamp],
            _ => Vec::new(),
        };
        steps.into_iter().find(|step| self.fits(*step)).unwrap_or(T::Varchar)
    }

    /// A DECIMAL for all numbers, if there is one: with `scale` digits behind the point at least, and `whole` before it where
    /// there is room. So a DECIMAL that follows another has more digits behind the point, or as many and more before it.
    fn decimal(&self, whole: u32, scale: u32) -> Option<ColumnType> {
        let scale = self.scale.max(scale);
        let whole = self.whole.max(whole).min(u32::from(MAX_WIDTH).checked_sub(scale)?);
        let (width, scale) = (u8::try_from(whole + scale).ok()?, u8::try_from(scale).ok()?);
        (whole >= self.whole).then_some(ColumnType::Decimal { width, scale })
    }

    fn fits(&self, step: ColumnType) -> bool {
        use ColumnType as T;
        !self.strangers
            && match step {
                T::BigInt => !self.fractions,
                T::Double => self.greatest <= EXACT_IN_DOUBLE,
                T::HugeInt => !self.infinite && self.scale == 0 && self.whole <= u32::from(MAX_WIDTH),
                T::Decimal { .. } => !self.infinite,
                _ => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(declared: &str, current: &str, values: &[Value<'_>]) -> String {
        let column_type = current.parse().unwrap();
        let column = MirrorColumn { declared: declared.into(), column_type, ..MirrorColumn::default() };
        let mut census = Census::of(column_type, None);
        values.iter().for_each(|value| census.count(value));
        census.next_type(&column, true).to_string()
    }

    #[test]
    fn numbers_stay_numbers() {
        let (integer, real) = (|n: i64| Value::Integer(n), |n: f64| Value::Real(n));
        let (large, fraction) = (integer(9_007_199_254_740_993), real(1.5));
        for (declared, current, values, expected) in [
            ("BOOLEAN", "BOOLEAN", vec![integer(2), Value::Null], "BIGINT"),
            ("BOOLEAN", "BOOLEAN", vec![integer(1), real(0.5)], "DOUBLE"),
            ("INT", "BIGINT", vec![integer(1), fraction.clone()], "DOUBLE"),
            ("INT", "BIGINT", vec![integer(1), real(1e300), real(f64::INFINITY)], "DOUBLE"),
            ("INT", "BIGINT", vec![large.clone(), real(1e19)], "HUGEINT"),
            ("INT", "BIGINT", vec![large.clone(), fraction.clone()], "DECIMAL(20,1)"),
            ("INT", "BIGINT", vec![large.clone(), real(1e-20)], "DECIMAL(38,20)"),
            ("INT", "BIGINT", vec![large.clone(), real(1e-23)], "VARCHAR"),
            ("INT", "BIGINT", vec![large.clone(), real(1e300)], "VARCHAR"),
            ("INT", "BIGINT", vec![large.clone(), real(f64::NEG_INFINITY)], "VARCHAR"),
            ("INT", "DOUBLE", vec![large.clone(), fraction.clone()], "DECIMAL(20,1)"),
            ("INT", "HUGEINT", vec![large.clone(), fraction.clone()], "DECIMAL(20,1)"),
            ("INT", "DECIMAL(20,1)", vec![large.clone(), real(0.125)], "DECIMAL(22,3)"),
            ("INT", "DECIMAL(20,1)", vec![real(1e30)], "DECIMAL(32,1)"),
            ("INT", "DECIMAL(20,1)", vec![real(1e300)], "VARCHAR"),
            ("NUMERIC", "DOUBLE", vec![large.clone()], "HUGEINT"),
            ("DECIMAL(6,2)", "DECIMAL(6,2)", vec![real(1.234)], "DECIMAL(7,3)"),
            ("DECIMAL(6,2)", "DECIMAL(6,2)", vec![integer(123_456)], "DECIMAL(8,2)"),
            ("DECIMAL(6,2)", "DECIMAL(6,2)", vec![real(1.0 / 3.0)], "DECIMAL(19,15)"),
            ("DECIMAL(6,2)", "DECIMAL(6,2)", vec![real(1e-40)], "DOUBLE"),
            ("DECIMAL(6,2)", "DECIMAL(6,2)", vec![real(1e-40), large.clone()], "VARCHAR"),
            ("DECIMAL(6,2)", "DOUBLE", vec![large.clone()], "VARCHAR"),
        ] {
            assert_eq!(next(declared, current, &values), expected, "{declared} {current} {values:?}");
        }
    }

    #[test]
    fn rounded_numbers_need_no_more_digits_behind_the_point() {
        let column_type = ColumnType::Decimal { width: 5, scale: 2 };
        let column = MirrorColumn { declared: "DECIMAL(5,2)".into(), column_type, ..MirrorColumn::default() };
        let mut census = Census::of(column_type, Some(2));
        [1.2345, 999.995].into_iter().for_each(|number| census.count(&Value::Real(number)));
        assert_eq!(census.next_type(&column, true).to_string(), "DECIMAL(6,2)");
    }

    #[test]
    fn text_is_for_what_is_no_number() {
        let (text, blob) = (Value::text("many"), Value::Blob(vec![1].into()));
        for stranger in [text.clone(), blob] {
            for current in ["BOOLEAN", "BIGINT", "DOUBLE", "HUGEINT", "DECIMAL(20,1)", "TIME", "UUID", "BLOB"] {
                assert_eq!(next("INT", current, &[Value::Integer(1), stranger.clone()]), "VARCHAR", "{current}");
            }
        }
        let noon = Value::text("2024-02-29 12:00");
        assert_eq!(next("DATE", "DATE", &[Value::text("2024-02-29"), noon.clone()]), "TIMESTAMP");
        assert_eq!(next("DATE", "DATE", &[noon, text]), "VARCHAR");
        assert_eq!(next("DATE", "TIMESTAMP", &[Value::text("some day")]), "VARCHAR");
    }
}
