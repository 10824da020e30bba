//! Names that are hard on somebody: keywords, quotes, dots, other scripts, letters beyond ASCII in both cases, and the
//! names that the extension and SQLite use themselves.

use crate::dice::Dice;

const TABLES: &[&str] = &[
    "items",
    "Orders",
    "order",
    "größe",
    "名前 x",
    "a.b",
    "it's",
    "say \"hi\"",
    "É",
    "é",
    "main",
    "select",
    "items_2",
    "_maniac_state",
    "%s; --",
    "t",
];

const COLUMNS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "Group",
    "a b",
    "select",
    "from",
    "it's",
    "\"q\"",
    "É",
    "é",
    "名前",
    "v0",
    "v1",
    "t",
    "p",
    "k",
    "key",
    "order",
    "a_2",
    "rowid",
    "_rowid_",
    "position",
    "row_id",
    "End_Snapshot",
    "_ducklake_internal_row_id",
    "xmin",
];

/// A name for a table that is none of `taken`, to SQLite.
pub fn table(dice: &mut Dice, taken: &[&str]) -> String {
    fresh(dice, TABLES, taken)
}

/// A name for a column that is none of `taken`, to SQLite.
pub fn column(dice: &mut Dice, taken: &[&str]) -> String {
    fresh(dice, COLUMNS, taken)
}

fn fresh(dice: &mut Dice, names: &[&str], taken: &[&str]) -> String {
    let free: Vec<&&str> =
        names.iter().filter(|name| !taken.iter().any(|other| other.eq_ignore_ascii_case(name))).collect();
    if free.is_empty() {
        return format!("n{}", dice.below(1 << 40));
    }
    let name = dice.pick(&free).to_string();
    // The same name in other letters is another spelling to both programs.
    if dice.chance(10) { name.to_ascii_uppercase() } else { name }
}
