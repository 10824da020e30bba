//! Column types and their affinity, and what an affinity does to a value.

use std::borrow::Cow;

use maniac_base::Value;

use super::lexer::unquote;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    Blob,
    Text,
    Numeric,
    Integer,
    Real,
}

/// A column's type as declared, without the words that start a generated column's expression: SQLite takes them for
/// part of the type at first, since they may be names too.
pub(super) fn declared_type(text: &str) -> String {
    let strip = |text: &'_ str, word: &str| -> Option<String> {
        let head = text.len().checked_sub(word.len())?;
        let matches = text.is_char_boundary(head) && text[head..].eq_ignore_ascii_case(word);
        matches.then(|| text[..head].trim_end().to_string())
    };
    let mut text = text.to_string();
    if text.len() >= 16
        && let Some(shorter) = strip(&text, "always")
    {
        text = strip(&shorter, "generated").unwrap_or(shorter);
    }
    unquote(&text)
}

/// Section 3.1 of datatype3.html, in the order in which SQLite looks: INT anywhere wins.
pub(super) fn affinity_of(declared: &str) -> Affinity {
    if declared.is_empty() {
        return Affinity::Blob;
    }
    let lower = declared.to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let mut affinity = Affinity::Numeric;
    for end in 1..=bytes.len() {
        let seen = &bytes[..end];
        if seen.ends_with(b"int") {
            return Affinity::Integer;
        } else if seen.ends_with(b"char") || seen.ends_with(b"clob") || seen.ends_with(b"text") {
            affinity = Affinity::Text;
        } else if seen.ends_with(b"blob") && matches!(affinity, Affinity::Numeric | Affinity::Real) {
            affinity = Affinity::Blob;
        } else if (seen.ends_with(b"real") || seen.ends_with(b"floa") || seen.ends_with(b"doub"))
            && affinity == Affinity::Numeric
        {
            affinity = Affinity::Real;
        }
    }
    affinity
}

impl Affinity {
    /// What a column of this affinity stores for a value.
    pub fn apply(self, value: Value<'static>) -> Value<'static> {
        match (self, value) {
            (Affinity::Blob, value) => value,
            (Affinity::Text, Value::Integer(value)) => owned_text(value.to_string()),
            (Affinity::Text, Value::Real(value)) => owned_text(real_text(value)),
            (Affinity::Numeric | Affinity::Integer, Value::Real(value)) => numeric(value),
            (Affinity::Real, Value::Integer(value)) => Value::Real(value as f64),
            (Affinity::Numeric | Affinity::Integer | Affinity::Real, Value::Text(text)) => {
                match std::str::from_utf8(&text).ok().and_then(parse_number) {
                    Some(Value::Integer(value)) if self == Affinity::Real => Value::Real(value as f64),
                    Some(Value::Real(value)) if self != Affinity::Real => numeric(value),
                    Some(number) => number,
                    None => Value::Text(text),
                }
            }
            (_, value) => value,
        }
    }
}

/// An integer where the real is one exactly.
fn numeric(value: f64) -> Value<'static> {
    let integer = value as i64;
    if integer as f64 == value && integer > i64::MIN && integer < i64::MAX {
        Value::Integer(integer)
    } else {
        Value::Real(value)
    }
}

/// A number that fills the whole text but for surrounding space.
pub(super) fn parse_number(text: &str) -> Option<Value<'static>> {
    let text = text.trim_matches(|c: char| matches!(c, ' ' | '\t'..='\r'));
    let digits = text.trim_start_matches(['+', '-']);
    let well_formed = text.len() - digits.len() <= 1
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !well_formed {
        return None;
    }
    match text.parse::<i64>() {
        Ok(value) => Some(Value::Integer(value)),
        Err(_) => text.parse::<f64>().ok().map(Value::Real),
    }
}

pub(super) fn owned_text(text: String) -> Value<'static> {
    Value::Text(Cow::Owned(text.into_bytes()))
}

/// A real as text the way SQLite's `%!.15g` gives it: 15 digits, always with a decimal point.
fn real_text(value: f64) -> String {
    if value == 0.0 {
        return "0.0".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:.14e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = all.trim_end_matches('0');
    if !(-4..15).contains(&exponent) {
        let (head, tail) = digits.split_at(1);
        let tail = if tail.is_empty() { "0" } else { tail };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{head}.{tail}e{exponent_sign}{:02}", exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    let padded = format!("{digits:0<whole$}");
    let (head, tail) = padded.split_at(whole);
    format!("{sign}{head}.{}", if tail.is_empty() { "0" } else { tail })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of datatype3.html, section 3.1.1, and the traps it names.
    #[test]
    fn affinities_of_the_documented_types() {
        for (declared, expected) in [
            ("INT", Affinity::Integer),
            ("UNSIGNED BIG INT", Affinity::Integer),
            ("CHARINT", Affinity::Integer),
            ("FLOATING POINT", Affinity::Integer),
            ("VARCHAR(255)", Affinity::Text),
            ("CLOB", Affinity::Text),
            ("BLOB", Affinity::Blob),
            ("", Affinity::Blob),
            ("DOUBLE PRECISION", Affinity::Real),
            ("FLOAT", Affinity::Real),
            ("DECIMAL(10,5)", Affinity::Numeric),
            ("STRING", Affinity::Numeric),
            ("DATETIME", Affinity::Numeric),
        ] {
            assert_eq!(affinity_of(declared), expected, "{declared}");
        }
    }

    #[test]
    fn reals_become_text_as_sqlite_prints_them() {
        for (value, text) in [
            (1.5, "1.5"),
            (-2.0, "-2.0"),
            (100.0, "100.0"),
            (0.0001, "0.0001"),
            (1e-5, "1.0e-05"),
            (1e15, "1.0e+15"),
            (123456789012345.0, "123456789012345.0"),
            (1.0 / 3.0, "0.333333333333333"),
        ] {
            assert_eq!(real_text(value), text);
        }
    }

    #[test]
    fn only_whole_numbers_convert() {
        assert_eq!(parse_number(" 12 "), Some(Value::Integer(12)));
        assert_eq!(parse_number("-1.5e2"), Some(Value::Real(-150.0)));
        assert_eq!(parse_number("9223372036854775808"), Some(Value::Real(9223372036854775808.0)));
        for text in ["", "abc", "1a", "--1", "1 2", "inf", "nan", "0x10", "1e", "."] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
