//! The value that a DEFAULT clause stands for in rows that were written before their column was added.
//!
//! SQLite only lets a column be added to a table with rows if its default is a constant: a literal, with signs,
//! parentheses and casts around it. Any other default has no value here, and no row needs it.
//!
//! What SQLite puts into such rows is not always what a statement would compute, or an INSERT stores. In a database of
//! UTF-16, where a statement takes the bytes of a blob that is cast to text for UTF-16, these rows have them read as
//! UTF-8, without the last one where their number is odd (`sqlite3VdbeMemCast` as of 3.40 and 3.53). A text that is cast
//! to a blob has its bytes in the database's encoding in both.

use std::borrow::Cow;

use maniac_base::Value;

use super::affinity::{Affinity, affinity_of, owned_text, parse_number};
use super::lexer::{Kind, Token, tokens};
use crate::Encoding;
use crate::text::{utf8_to_utf16, utf16_to_utf8};

/// Casts may nest; a default that needs more is not one that anybody wrote by hand.
const MAX_DEPTH: usize = 50;

/// The constant that the text of a DEFAULT clause stands for, as a column of that affinity stores it.
pub(super) fn constant(sql: &str, affinity: Affinity, encoding: Encoding) -> Option<Value<'static>> {
    let tokens = tokens(sql)?;
    let bare = !tokens.first()?.is_sign("(");
    let mut expression = Expression { tokens: &tokens, at: 0, encoding };
    let value = expression.term(affinity, bare, 0)?;
    (expression.at == tokens.len()).then(|| value.stored(encoding))
}

struct Expression<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    encoding: Encoding,
}

/// What a part of the expression is.
enum Term {
    Value(Value<'static>),
    /// A blob that a text was cast to, as this text: it may be cast back.
    BytesOf(Cow<'static, [u8]>),
}

impl Term {
    fn apply(self, affinity: Affinity) -> Term {
        match self {
            Term::Value(value) => Term::Value(affinity.apply(value)),
            bytes => bytes,
        }
    }

    fn stored(self, encoding: Encoding) -> Value<'static> {
        match self {
            Term::Value(value) => value,
            Term::BytesOf(text) if encoding == Encoding::Utf8 => Value::Blob(text),
            Term::BytesOf(text) => Value::Blob(Cow::Owned(utf8_to_utf16(&text, encoding))),
        }
    }

    /// As CAST reads it.
    fn cast_to(self, target: Affinity, encoding: Encoding) -> Term {
        let (value, text) = match self {
            Term::BytesOf(text) => (None, text),
            Term::Value(Value::Text(text)) => (None, text),
            Term::Value(Value::Blob(bytes)) => match target {
                Affinity::Blob => return Term::Value(Value::Blob(bytes)),
                Affinity::Text => return Term::Value(Value::Text(text_of_blob(bytes, encoding))),
                _ => (None, bytes),
            },
            Term::Value(value) => (Some(value), Cow::default()),
        };
        match (target, value) {
            (_, Some(Value::Null)) => Term::Value(Value::Null),
            (Affinity::Blob, None) => Term::BytesOf(text),
            (Affinity::Blob, Some(value)) => match Affinity::Text.apply(value) {
                Value::Text(text) => Term::BytesOf(text),
                other => Term::Value(other),
            },
            (Affinity::Text, None) => Term::Value(Value::Text(text)),
            (Affinity::Integer, None) => Term::Value(Value::Integer(integer_prefix(&text))),
            (Affinity::Integer, Some(Value::Real(value))) => Term::Value(Value::Integer(value as i64)),
            (target, None) => Term::Value(target.apply(number_prefix(&text))),
            (target, Some(value)) => Term::Value(target.apply(value)),
        }
    }

    fn negated(self) -> Term {
        let number = match self {
            Term::BytesOf(text) | Term::Value(Value::Text(text) | Value::Blob(text)) => {
                Affinity::Numeric.apply(number_prefix(&text))
            }
            Term::Value(value) => value,
        };
        Term::Value(match number {
            Value::Integer(value) => value.checked_neg().map_or(Value::Real(-(value as f64)), Value::Integer),
            Value::Real(value) => Value::Real(-value),
            other => other,
        })
    }
}

/// The text that a blob becomes.
fn text_of_blob(bytes: Cow<'static, [u8]>, encoding: Encoding) -> Cow<'static, [u8]> {
    if encoding == Encoding::Utf8 {
        return bytes;
    }
    let even = &bytes[..bytes.len() & !1];
    Cow::Owned(utf16_to_utf8(&utf8_to_utf16(even, encoding), encoding))
}

impl<'t> Expression<'t> {
    fn next(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn term(&mut self, affinity: Affinity, bare: bool, depth: usize) -> Option<Term> {
        if depth > MAX_DEPTH {
            return None;
        }
        let token = self.next()?;
        if token.is_sign("+") {
            return self.term(affinity, bare, depth + 1);
        }
        if token.is_sign("-") {
            if let Some(number) = self.tokens.get(self.at).filter(|token| token.kind == Kind::Number) {
                self.at += 1;
                return number_literal(number.text, true, affinity).map(Term::Value);
            }
            return Some(self.term(affinity, bare, depth + 1)?.negated().apply(affinity));
        }
        if token.is_sign("(") {
            let value = self.term(affinity, bare, depth + 1)?;
            return self.next()?.is_sign(")").then_some(value);
        }
        let value = match token.kind {
            Kind::Number => number_literal(token.text, false, affinity),
            Kind::String => Some(affinity.apply(owned_text(token.unquoted()))),
            Kind::Blob => blob_literal(token.text),
            Kind::Word if token.is("null") => Some(Value::Null),
            Kind::Word if token.is("true") => Some(affinity.apply(Value::Integer(1))),
            Kind::Word if token.is("false") => Some(affinity.apply(Value::Integer(0))),
            Kind::Word if token.is_any(&["current_time", "current_date", "current_timestamp"]) => None,
            Kind::Word if token.is("cast") => return self.cast(affinity, depth),
            // DEFAULT word means the text of the word.
            Kind::Word | Kind::Name if bare => Some(affinity.apply(owned_text(token.unquoted()))),
            _ => None,
        };
        value.map(Term::Value)
    }

    /// The first such token that is not between parentheses which start from there on.
    fn outermost(&self, from: usize, is: impl Fn(&Token<'t>) -> bool) -> Option<usize> {
        let mut open = 0;
        self.tokens.iter().enumerate().skip(from).find_map(|(place, token)| {
            if open == 0 && is(token) {
                return Some(place);
            }
            open += i32::from(token.is_sign("(")) - i32::from(token.is_sign(")"));
            None
        })
    }

    fn cast(&mut self, affinity: Affinity, depth: usize) -> Option<Term> {
        if !self.next()?.is_sign("(") {
            return None;
        }
        let from = self.at;
        let end = self.outermost(from, |token| token.is("as"))?;
        let close = self.outermost(end, |token| token.is_sign(")"))?;
        let words: Vec<&str> = self.tokens[end + 1..close].iter().map(|token| token.text).collect();
        let target = affinity_of(&words.join(" "));
        let value = self.term(target, false, depth + 1)?;
        if self.at != end {
            return None;
        }
        self.at = close + 1;
        Some(value.cast_to(target, self.encoding).apply(affinity))
    }
}

fn number_literal(text: &str, negative: bool, affinity: Affinity) -> Option<Value<'static>> {
    let text: String = text.chars().filter(|&c| c != '_').collect();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).ok()? as i64;
        return Some(affinity.apply(Value::Integer(if negative { value.wrapping_neg() } else { value })));
    }
    let text = if negative { format!("-{text}") } else { text };
    if let Ok(value) = text.parse::<i64>() {
        return Some(affinity.apply(Value::Integer(value)));
    }
    // A TEXT column keeps the spelling of a real, in rows that never stored it.
    if affinity == Affinity::Text {
        return Some(owned_text(text));
    }
    let value = text.parse::<f64>().ok()?;
    Some(if affinity == Affinity::Blob { Value::Real(value) } else { affinity.apply(Value::Real(value)) })
}

fn blob_literal(text: &str) -> Option<Value<'static>> {
    let digits = text.get(2..text.len().checked_sub(1)?)?.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let high = char::from(*pair.first()?).to_digit(16)?;
        let low = char::from(*pair.get(1)?).to_digit(16)?;
        Some((high << 4 | low) as u8)
    });
    Some(Value::Blob(Cow::Owned(pairs.collect::<Option<Vec<u8>>>()?)))
}

/// The longest number that text starts with; 0 without one.
fn number_prefix(text: &[u8]) -> Value<'static> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let ends = (1..=text.len()).rev().filter(|&end| text.is_char_boundary(end));
    ends.filter_map(|end| parse_number(&text[..end])).next().unwrap_or(Value::Integer(0))
}

/// The digits that text starts with, with their sign; the nearest integer where they are too many.
fn integer_prefix(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| i64::from(byte - b'0'));
    digits.fold(0, |value: i64, digit| {
        let value = value.saturating_mul(10);
        if negative { value.saturating_sub(digit) } else { value.saturating_add(digit) }
    })
}
