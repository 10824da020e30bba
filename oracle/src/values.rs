//! Random values of all storage classes.

use rusqlite::types::Value;

use crate::rng::Rng;

/// What a column takes, so that its key stays one value per row: a key column never changes between 1 and 1.0 or
/// between the cases of a letter, which SQLite takes for the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    Any,
    Key,
    KeyOrNull,
    Integer,
}

pub fn value(rng: &mut Rng, domain: Domain, page_size: usize) -> Value {
    match domain {
        Domain::Integer => Value::Integer(rng.below(400) as i64 - 50),
        Domain::KeyOrNull if rng.chance(25) => Value::Null,
        Domain::Key | Domain::KeyOrNull => key(rng, page_size),
        Domain::Any => any(rng, page_size),
    }
}

fn key(rng: &mut Rng, page_size: usize) -> Value {
    match rng.below(10) {
        0..5 => Value::Integer(rng.below(60) as i64),
        5 => Value::Real(rng.below(20) as f64 + 0.5),
        6 => Value::Blob(vec![rng.below(40) as u8; 1 + rng.below(3)]),
        7 if rng.chance(20) => Value::Text(text(rng, page_size)),
        _ => Value::Text(format!("k{}", rng.below(60))),
    }
}

fn any(rng: &mut Rng, page_size: usize) -> Value {
    match rng.below(12) {
        0 => Value::Null,
        1 => Value::Integer([0, 1, -1, i64::MIN, i64::MAX, 127, 128, -32769, 1 << 31, 1 << 47][rng.below(10)]),
        2 | 3 => Value::Integer(rng.bits() as i64 >> rng.below(64)),
        4 => Value::Real(rng.below(1000) as f64),
        5 => Value::Real(f64::from_bits(rng.bits() & 0x7fef_ffff_ffff_ffff)),
        6 | 7 => Value::Blob(blob(rng, page_size)),
        8 => Value::Text(format!("{}", rng.below(500))),
        _ => Value::Text(text(rng, page_size)),
    }
}

/// Mostly short, sometimes of several overflow pages.
fn length(rng: &mut Rng, page_size: usize) -> usize {
    match rng.below(10) {
        0..6 => rng.below(40),
        6 | 7 => rng.below(page_size),
        8 => rng.below(3 * page_size.min(8192)),
        _ => rng.below(6 * page_size.min(4096)),
    }
}

fn text(rng: &mut Rng, page_size: usize) -> String {
    let length = length(rng, page_size);
    let mut text = String::with_capacity(length);
    while text.len() < length {
        match rng.below(30) {
            0 => text.push(['é', '€', '𐍈', 'ß', '日'][rng.below(5)]),
            _ => text.push(char::from(b'a' + rng.below(26) as u8)),
        }
    }
    text
}

fn blob(rng: &mut Rng, page_size: usize) -> Vec<u8> {
    let length = length(rng, page_size);
    (0..length).map(|_| rng.bits() as u8).collect()
}
