//! What becomes of a value that its column cannot hold, as a mirror's user chose it.

use std::fmt;
use std::str::FromStr;

use super::convert::fit;
use super::decimal::Decimal;
use super::{ColumnType, MirrorColumn};
use crate::source::BorrowedValue as Value;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// The column becomes a wider one.
    #[default]
    Widen,
    /// The mirror stops before the transaction.
    Error,
    /// Digits beyond the scale of a declared DECIMAL are rounded; otherwise the column becomes a wider one, and so do those of a
    /// key, in which two values could become one.
    Round,
    /// NULL in the column, and the value in the rejects. Columns of a key are widened: a row whose key is NULL would not
    /// be found again.
    Null,
}

impl OnMismatch {
    /// Whether a value is put aside, and not answered for the column as a whole.
    pub fn rejects(self, in_key: bool) -> bool {
        self == OnMismatch::Null && !in_key
    }

    /// The digits behind the point that values of a column are rounded to, if they are.
    pub fn rounds(self, column: &MirrorColumn, in_key: bool) -> Option<u32> {
        let declared = ColumnType::of_declared(&column.declared);
        match (declared, column.column_type) {
            (ColumnType::Decimal { .. }, ColumnType::Decimal { scale, .. }) if self == OnMismatch::Round && !in_key => {
                Some(scale.into())
            }
            _ => None,
        }
    }

    /// The value that takes the place of one which the column cannot hold, if it is rounded and fits then.
    pub fn rounded(self, column: &MirrorColumn, in_key: bool, value: &Value<'_>) -> Option<crate::source::Value> {
        let scale = self.rounds(column, in_key)?;
        let rounded = Value::Real(Decimal::of(value)?.rounded(scale).to_real());
        fit(&rounded, column.column_type).is_some().then_some(rounded)
    }
}

impl fmt::Display for OnMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnMismatch::Widen => "widen",
            OnMismatch::Error => "error",
            OnMismatch::Round => "round",
            OnMismatch::Null => "null",
        })
    }
}

/// Reads what `Display` wrote.
impl FromStr for OnMismatch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [OnMismatch::Widen, OnMismatch::Error, OnMismatch::Round, OnMismatch::Null]
            .into_iter()
            .find(|policy| policy.to_string() == text)
            .ok_or(())
    }
}

/// The storage class of a value, as SQLite's `typeof` names it.
pub fn class(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Integer(_) => "integer",
        Value::Real(_) => "real",
        Value::Text(_) => "text",
        Value::Blob(_) => "blob",
    }
}

/// Why a value is among the rejects.
pub fn reason(value: &Value<'_>, column: ColumnType) -> String {
    format!("a {column} cannot hold this {}", class(value))
}
