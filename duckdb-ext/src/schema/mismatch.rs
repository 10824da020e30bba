//! What becomes of a value that its column cannot hold, as a mirror's user chose it.

use std::fmt;
use std::str::FromStr;

use super::ColumnType;
use crate::source::BorrowedValue as Value;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// The column becomes VARCHAR.
    #[default]
    Widen,
    /// The mirror stops before the transaction.
    Error,
    /// NULL in the column, and the value in the rejects. Columns of a key are widened: a row whose key is NULL would not
    /// be found again.
    Null,
}

impl OnMismatch {
    /// Whether a value is put aside, and not answered for the column as a whole.
    pub fn rejects(self, in_key: bool) -> bool {
        self == OnMismatch::Null && !in_key
    }
}

impl fmt::Display for OnMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnMismatch::Widen => "widen",
            OnMismatch::Error => "error",
            OnMismatch::Null => "null",
        })
    }
}

/// Reads what `Display` wrote.
impl FromStr for OnMismatch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [OnMismatch::Widen, OnMismatch::Error, OnMismatch::Null]
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
