//! Random definitions of tables.

use super::values::{Misfits, fitting, mirror_type};
use super::{names, quote};
use crate::dice::Dice;

/// A statement that makes a table of the name. As many of its defaults are misfits.
pub fn create_table(dice: &mut Dice, name: &str, misfits: Misfits) -> String {
    let strict = dice.chance(12);
    let form = dice.below(8);
    let without_rowid = form >= 4 && dice.chance(35);
    let declared = |dice: &mut Dice| match strict {
        true => *dice.pick(&["INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY"]),
        false => misfits.declared(dice),
    };
    let mut names: Vec<String> = Vec::new();
    let mut fresh = |dice: &mut Dice| {
        let taken: Vec<&str> = names.iter().map(String::as_str).collect();
        let name = names::column(dice, &taken);
        names.push(name.clone());
        quote(&name)
    };
    let mut columns = Vec::new();
    let mut first = None;
    for _ in 0..1 + dice.below(5) {
        let (name, declared) = (fresh(dice), declared(dice));
        first.get_or_insert_with(|| name.clone());
        let default = default(dice, mirror_type(declared), misfits);
        let unique = if dice.chance(5) { " UNIQUE" } else { "" };
        columns.push(format!("{name} {declared}{default}{unique}"));
    }
    let mut place = |dice: &mut Dice, definition: String| {
        let place = dice.below(columns.len() as u64 + 1) as usize;
        columns.insert(place, definition);
    };
    let mut constraint = String::new();
    match form {
        0 | 1 => {}
        2 | 3 => {
            let name = fresh(dice);
            let key = dice.pick(&["", "", " AUTOINCREMENT", " DESC"]);
            place(dice, format!("{name} INTEGER PRIMARY KEY{key}"));
        }
        _ => {
            let parts = if form < 6 { 1 } else { 2 + dice.below(2) };
            let mut keys = Vec::new();
            for _ in 0..parts {
                let name = fresh(dice);
                let any = declared(dice);
                let declared = if strict { any } else { *dice.pick(&["TEXT", "INT", "", any]) };
                let collation = *dice.pick(&["", "", "", "", " COLLATE NOCASE", " COLLATE RTRIM"]);
                let not_null = if dice.chance(40) { " NOT NULL" } else { "" };
                place(dice, format!("{name} {declared}{collation}{not_null}"));
                keys.push(format!("{name}{}", if dice.chance(15) { " DESC" } else { "" }));
            }
            if dice.chance(50) {
                keys.reverse();
            }
            constraint = format!(", PRIMARY KEY ({})", keys.join(", "));
        }
    }
    if let Some(first) = first.filter(|_| dice.chance(25)) {
        let name = fresh(dice);
        let kind = dice.pick(&["STORED", "VIRTUAL"]);
        let at = dice.below(columns.len() as u64 + 1) as usize;
        let (declared, function) = *dice.pick(&[("TEXT", "typeof"), ("INT", "length"), ("REAL", "length")]);
        columns.insert(at, format!("{name} {declared} AS ({function}({first})) {kind}"));
    }
    let options: Vec<&str> = [(without_rowid, "WITHOUT ROWID"), (strict, "STRICT")]
        .into_iter()
        .filter(|option| option.0)
        .map(|option| option.1)
        .collect();
    format!("CREATE TABLE {}({}{constraint}) {}", quote(name), columns.join(", "), options.join(", "))
}

/// A DEFAULT clause, or none.
pub fn default(dice: &mut Dice, mirror: &str, misfits: Misfits) -> String {
    match dice.below(10) {
        0..=5 => String::new(),
        6 => " DEFAULT NULL".to_string(),
        _ if dice.chance(misfits.percent) => format!(" DEFAULT ({})", misfits.odd(dice)),
        _ => {
            let value = fitting(dice, mirror);
            if value.contains(['(', '|']) { format!(" DEFAULT ({value})") } else { format!(" DEFAULT {value}") }
        }
    }
}
