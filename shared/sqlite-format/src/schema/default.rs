//! The value that a DEFAULT clause stands for in rows that were written before their column was added.
//!
//! SQLite only lets a column be added to a table with rows if its default is a constant: a literal, with signs,
//! parentheses and casts around it. Any other default has no value here, and no row needs it.

use std::borrow::Cow;

use maniac_base::Value;

use super::affinity::{Affinity, affinity_of, owned_text, parse_number};
use super::lexer::{Kind, Token, tokens};

/// Casts may nest; a default that needs more is not one that anybody wrote by hand.
const MAX_DEPTH: usize = 50;

/// The constant that the text of a DEFAULT clause stands for, as a column of that affinity stores it.
pub(super) fn constant(sql: &str, affinity: Affinity) -> Option<Value<'static>> {
    let tokens = tokens(sql)?;
    let bare = !tokens.first()?.is_sign("(");
    let mut expression = Expression { tokens: &tokens, at: 0 };
    let value = expression.term(affinity, bare, 0)?;
    (expression.at == tokens.len()).then_some(value)
}

struct Expression<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
}

impl<'t> Expression<'t> {
    fn next(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn term(&mut self, affinity: Affinity, bare: bool, depth: usize) -> Option<Value<'static>> {
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
                return number_literal(number.text, true, affinity);
            }
            return negate(self.term(affinity, bare, depth + 1)?, affinity);
        }
        if token.is_sign("(") {
            let value = self.term(affinity, bare, depth + 1)?;
            return self.next()?.is_sign(")").then_some(value);
        }
        match token.kind {
            Kind::Number => number_literal(token.text, false, affinity),
            Kind::String => Some(affinity.apply(owned_text(token.unquoted()))),
            Kind::Blob => blob_literal(token.text),
            Kind::Word if token.is("null") => Some(Value::Null),
            Kind::Word if token.is("true") => Some(affinity.apply(Value::Integer(1))),
            Kind::Word if token.is("false") => Some(affinity.apply(Value::Integer(0))),
            Kind::Word if token.is_any(&["current_time", "current_date", "current_timestamp"]) => None,
            Kind::Word if token.is("cast") => self.cast(affinity, depth),
            // DEFAULT word means the text of the word.
            Kind::Word | Kind::Name if bare => Some(affinity.apply(owned_text(token.unquoted()))),
            _ => None,
        }
    }

    fn cast(&mut self, affinity: Affinity, depth: usize) -> Option<Value<'static>> {
        if !self.next()?.is_sign("(") {
            return None;
        }
        let from = self.at;
        let end = from + self.tokens[from..].iter().position(|token| token.is("as"))?;
        let close = end + self.tokens[end..].iter().position(|token| token.is_sign(")"))?;
        let words: Vec<&str> = self.tokens[end + 1..close].iter().map(|token| token.text).collect();
        let target = affinity_of(&words.join(" "));
        let value = self.term(target, false, depth + 1)?;
        if self.at != end {
            return None;
        }
        self.at = close + 1;
        Some(affinity.apply(cast_to(value, target)))
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

fn negate(value: Value<'static>, affinity: Affinity) -> Option<Value<'static>> {
    let number = match value {
        Value::Text(text) => parse_number(std::str::from_utf8(&text).ok()?).unwrap_or(Value::Integer(0)),
        other => other,
    };
    let negated = match number {
        Value::Integer(value) => value.checked_neg().map_or(Value::Real(-(value as f64)), Value::Integer),
        Value::Real(value) => Value::Real(-value),
        Value::Null => Value::Null,
        _ => return None,
    };
    Some(affinity.apply(negated))
}

fn cast_to(value: Value<'static>, target: Affinity) -> Value<'static> {
    match (target, value) {
        (_, Value::Null) => Value::Null,
        (Affinity::Blob, Value::Text(bytes)) => Value::Blob(bytes),
        (Affinity::Blob, value) => match Affinity::Text.apply(value) {
            Value::Text(bytes) => Value::Blob(bytes),
            other => other,
        },
        (Affinity::Text, Value::Blob(bytes)) => Value::Text(bytes),
        (Affinity::Integer, Value::Real(value)) => Value::Integer(value as i64),
        (Affinity::Integer | Affinity::Numeric | Affinity::Real, Value::Text(text) | Value::Blob(text)) => {
            let prefix = number_prefix(&String::from_utf8_lossy(&text));
            match (target, prefix) {
                (Affinity::Integer, Value::Real(value)) => Value::Integer(value as i64),
                (target, value) => target.apply(value),
            }
        }
        (target, value) => target.apply(value),
    }
}

/// The longest number that text starts with; 0 without one.
fn number_prefix(text: &str) -> Value<'static> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let ends = (1..=text.len()).rev().filter(|&end| text.is_char_boundary(end));
    ends.filter_map(|end| parse_number(&text[..end])).next().unwrap_or(Value::Integer(0))
}
