//! What SQLite takes for the same key. Two texts that a collation takes for equal are one row's key, spelled twice, and so
//! are 1 and 1.0 in a column without a type.

use maniac_base::Value;
use maniac_changeset::{Field, TableHeader, push_value};
use maniac_sqlite_format::{Collation, Table};

/// A row's key in one spelling for all that are equal. A collation of the application's own is not known here: such keys
/// are the same only if their bytes are.
pub fn folded(header: &TableHeader<'_>, row: &[Field<'_>], table: Option<&Table>) -> Vec<u8> {
    let mut key = Vec::new();
    for (i, field) in row.iter().enumerate().filter(|(i, _)| header.is_key(*i)) {
        let collation = table.map_or(&Collation::Binary, |table| collation_of(table, header.key[i]));
        push_value(&mut key, &fold(field.value().unwrap_or_default(), collation));
    }
    key
}

/// That of the part of the key at this place, counted from 1.
fn collation_of(table: &Table, place: u8) -> &Collation {
    let Some(part) = table.key.get(usize::from(place).wrapping_sub(1)) else { return &Collation::Binary };
    // A key may name a column twice; then both collations tell rows apart.
    let twice = table.key.iter().filter(|other| other.column == part.column).count() > 1;
    if twice { &Collation::Binary } else { &part.collation }
}

fn fold<'v>(value: Value<'v>, collation: &Collation) -> Value<'v> {
    match (value, collation) {
        (Value::Text(text), Collation::NoCase) => Value::Text(text.to_ascii_lowercase().into()),
        (Value::Text(text), Collation::Rtrim) => {
            let end = text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
            Value::Text(text[..end].to_vec().into())
        }
        (Value::Real(number), _) => whole(number).map_or(Value::Real(number), Value::Integer),
        (other, _) => other,
    }
}

/// The integer that a real is equal to.
fn whole(number: f64) -> Option<i64> {
    // 2^63 itself is no i64, but what `as` would make of it is equal to it as a real.
    let fits = number.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    fits.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_folded_alike() {
        let text = |text: &'static str| Value::text(text);
        let key = |value: Value<'static>, collation: Collation| format!("{:?}", fold(value, &collation));
        assert_eq!(key(text("Ada ÄÖ"), Collation::NoCase), key(text("aDA ÄÖ"), Collation::NoCase));
        assert_ne!(key(text("Ä"), Collation::NoCase), key(text("ä"), Collation::NoCase));
        assert_eq!(key(text("a  "), Collation::Rtrim), key(text("a"), Collation::Rtrim));
        assert_ne!(key(text("A"), Collation::Rtrim), key(text("a"), Collation::Rtrim));
        assert_ne!(key(text("A"), Collation::Binary), key(text("a"), Collation::Binary));
        assert_eq!(key(Value::Real(1.0), Collation::Binary), key(Value::Integer(1), Collation::Binary));
        assert_eq!(key(Value::Real(-0.0), Collation::Binary), key(Value::Integer(0), Collation::Binary));
        assert_ne!(key(Value::Real(1.5), Collation::Binary), key(Value::Integer(1), Collation::Binary));
        assert_ne!(key(Value::Real(9.3e18), Collation::Binary), key(Value::Integer(i64::MAX), Collation::Binary));
    }
}
