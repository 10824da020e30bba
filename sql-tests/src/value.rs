//! Values as the two command lines print them in `.mode quote`, and as a test shows them.

use std::fmt;

/// One value of a result row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    /// Any width: DuckDB has 128-bit integers.
    Integer(String),
    Real(f64),
    /// A number that is printed with decimals and isn't a float: DuckDB's DECIMAL.
    Decimal(String),
    Boolean(bool),
    Text(String),
    Blob(Vec<u8>),
}

/// A column of a `query` record: the letter that stands for it, or none when every value is NULL or there is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// `I` integer, `R` real, `D` decimal, `B` boolean, `T` text, `X` blob.
    Of(char),
    /// Values of more than one type; only `?` expects it.
    Mixed,
    /// `?` in a file; in a result a column without any value.
    Any,
}

impl sqllogictest::ColumnType for Column {
    fn from_char(letter: char) -> Option<Self> {
        match letter {
            '?' => Some(Self::Any),
            'I' | 'R' | 'D' | 'B' | 'T' | 'X' => Some(Self::Of(letter)),
            _ => None,
        }
    }

    fn to_char(&self) -> char {
        match self {
            Self::Of(letter) => *letter,
            Self::Mixed => 'M',
            Self::Any => '?',
        }
    }
}

impl Column {
    /// Whether a result column is what the file asked for.
    pub fn satisfies(&self, expected: &Self) -> bool {
        *expected == Self::Any || *self == Self::Any || self == expected
    }

    /// The columns of a result.
    pub fn of(rows: &[Vec<Value>]) -> Vec<Self> {
        let width = rows.first().map_or(0, Vec::len);
        (0..width)
            .map(|column| {
                let mut letters = rows.iter().filter_map(|row| row.get(column).and_then(Value::letter));
                match letters.next() {
                    None => Self::Any,
                    Some(first) if letters.all(|letter| letter == first) => Self::Of(first),
                    Some(_) => Self::Mixed,
                }
            })
            .collect()
    }
}

impl Value {
    fn letter(&self) -> Option<char> {
        match self {
            Self::Null => None,
            Self::Integer(_) => Some('I'),
            Self::Real(_) => Some('R'),
            Self::Decimal(_) => Some('D'),
            Self::Boolean(_) => Some('B'),
            Self::Text(_) => Some('T'),
            Self::Blob(_) => Some('X'),
        }
    }
}

/// One line and never empty, because a .slt file ends a result with an empty line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(digits) | Self::Decimal(digits) => f.write_str(digits),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Text(text) if text.is_empty() => f.write_str("(empty)"),
            Self::Text(text) => f.write_str(&text.replace('\n', "\\n")),
            Self::Blob(bytes) => {
                f.write_str("x'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
        }
    }
}

/// A real as the decimal of 15 significant digits that SQLite shows, without an exponent.
pub fn shown_decimal(number: f64) -> String {
    // No other decimal of so few digits is as near to the same double, so that it is the shortest text of that one.
    format!("{number:.14e}").parse::<f64>().map_or_else(|_| number.to_string(), |shown| shown.to_string())
}

/// How numbers are to be read: both print integers alike, but a number with decimals is a REAL in SQLite and may be a
/// DECIMAL in DuckDB, where a DOUBLE always has a fraction, an exponent or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Duckdb,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read this as rows of quoted values: {near:?}")]
pub struct Unreadable {
    near: String,
}

/// Reads rows of comma-separated values, one row per line except where a quoted text contains a line break.
pub fn parse_rows(printed: &str, dialect: Dialect) -> Result<Vec<Vec<Value>>, Unreadable> {
    let mut rows = Vec::new();
    let mut rest = printed;
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            let (value, after) = parse_value(rest, dialect).ok_or_else(|| Unreadable { near: head(rest) })?;
            row.push(value);
            rest = after;
            match rest.as_bytes().first() {
                Some(b',') => rest = &rest[1..],
                Some(b'\n') => {
                    rest = &rest[1..];
                    break;
                }
                None => break,
                Some(_) => return Err(Unreadable { near: head(rest) }),
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

fn head(text: &str) -> String {
    text.chars().take(200).collect()
}

fn parse_value(text: &str, dialect: Dialect) -> Option<(Value, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        let (value, rest) = parse_quoted(quoted)?;
        return Some((Value::Text(value), rest));
    }
    if let Some(quoted) = text.strip_prefix("X'") {
        let (hex, rest) = quoted.split_once('\'')?;
        return Some((Value::Blob(parse_hex(hex)?), rest));
    }
    let end = text.find([',', '\n']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let digits = word.strip_prefix('-').unwrap_or(word);
    let value = match word {
        "NULL" => Value::Null,
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Value::Integer(word.into()),
        // `Inf` and `-Inf`, `inf`, `nan`, fractions and exponents. DuckDB prints DECIMAL and DOUBLE alike; a test that
        // wants to know asks typeof().
        _ => match (word.parse::<f64>(), dialect) {
            (Ok(value), Dialect::Sqlite) => Value::Real(value),
            (Ok(value), Dialect::Duckdb) if format!("{value:?}") == word || !value.is_finite() => Value::Real(value),
            (Ok(value), Dialect::Duckdb) if word.contains(['e', 'E']) => Value::Real(value),
            (Ok(_), Dialect::Duckdb) => Value::Decimal(word.into()),
            (Err(_), _) => return None,
        },
    };
    Some((value, rest))
}

/// Reads up to the closing quote; two quotes stand for one.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, after)),
        }
    }
}

pub(crate) fn parse_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_every_kind_of_value() {
        let rows = parse_rows("1,-2,0.10000000000000000555,Inf,X'00ab','it''s',NULL\n'a\nb','',X''\n", Dialect::Sqlite);
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            rows.unwrap(),
            vec![
                vec![
                    Value::Integer("1".into()),
                    Value::Integer("-2".into()),
                    Value::Real(0.1),
                    Value::Real(f64::INFINITY),
                    Value::Blob(vec![0, 0xab]),
                    text("it's"),
                    Value::Null,
                ],
                vec![text("a\nb"), text(""), Value::Blob(vec![])],
            ]
        );
    }

    #[test]
    fn duckdb_numbers() {
        let rows = parse_rows("1.50,1.5,3.0,1e+300,true,170141183460469231731\n", Dialect::Duckdb).unwrap();
        assert_eq!(Column::of(&rows).iter().map(sqllogictest::ColumnType::to_char).collect::<String>(), "DRRRBI");
    }

    #[test]
    fn a_column_of_two_types_is_mixed_and_nulls_have_none() {
        let rows = parse_rows("1,NULL,NULL\n'x',NULL,2\n", Dialect::Sqlite).unwrap();
        assert_eq!(Column::of(&rows), vec![Column::Mixed, Column::Any, Column::Of('I')]);
        assert!(!Column::Mixed.satisfies(&Column::Of('I')));
        assert!(Column::Mixed.satisfies(&Column::Any));
    }

    #[test]
    fn what_is_no_row_is_named() {
        for broken in ["'open", "X'0", "X'0g'", "'a'b", "hello world", "1,,2"] {
            assert!(parse_rows(broken, Dialect::Sqlite).is_err(), "{broken}");
        }
    }
}
