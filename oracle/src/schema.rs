//! Random tables.

use crate::rng::Rng;
use crate::values::Domain;

#[derive(Clone, Debug)]
pub struct ColumnSpec {
    pub name: String,
    pub domain: Domain,
    pub generated: bool,
    pub key: bool,
}

#[derive(Clone, Debug)]
pub struct TableSpec {
    pub name: String,
    pub columns: Vec<ColumnSpec>,
    pub sql: String,
}

impl TableSpec {
    /// Columns that a statement may set.
    pub fn settable(&self) -> Vec<&ColumnSpec> {
        self.columns.iter().filter(|column| !column.generated).collect()
    }
}

const TYPES: [&str; 11] =
    ["", "INTEGER", "INT", "REAL", "TEXT", "BLOB", "NUMERIC", "DOUBLE PRECISION", "VARCHAR(10)", "ANY", "DATE"];

const DEFAULTS: [&str; 12] = [
    "",
    " DEFAULT 5",
    " DEFAULT -1.25",
    " DEFAULT 'it''s'",
    " DEFAULT '12'",
    " DEFAULT x'00ff'",
    " DEFAULT TRUE",
    " DEFAULT word",
    " DEFAULT NULL",
    " DEFAULT (7)",
    " DEFAULT \"quoted\"",
    " DEFAULT 1.50",
];

/// A column definition that ALTER TABLE ADD COLUMN takes on a table with rows.
///
/// A whole number as the default of a REAL column is left out: of a row that was written before the column, SQL reads 5.0
/// but the session extension records 5.
pub fn added_column(rng: &mut Rng, name: &str) -> String {
    let declared = rng.pick(&TYPES);
    let real = matches!(declared, "REAL" | "DOUBLE PRECISION");
    let default = rng.pick(&DEFAULTS);
    let whole = ["5", "'12'", "TRUE", "(7)"].iter().any(|number| default.ends_with(number));
    format!("{name} {declared}{}", if real && whole { "" } else { default })
}

/// Names that need their quotes, and those that don't.
fn column_name(rng: &mut Rng, i: usize) -> String {
    match rng.below(12) {
        0 => format!("c {i}"),
        1 => format!("select{i}"),
        2 => format!("é{i}"),
        _ => format!("c{i}"),
    }
}

pub fn table(rng: &mut Rng, name: String) -> TableSpec {
    let form = rng.below(7);
    let strict = rng.chance(12);
    let types: &[&str] = if strict { &["ANY"] } else { &TYPES };
    let mut columns = Vec::new();
    let mut definitions = Vec::new();
    let count = 1 + rng.below(6);
    let quote = |name: &str| format!("\"{name}\"");
    for i in 0..count {
        let name = column_name(rng, i);
        let collate = if rng.chance(10) { " COLLATE NOCASE" } else { "" };
        definitions.push(format!("{} {}{}{collate}", quote(&name), rng.pick(types), rng.pick(&DEFAULTS)));
        columns.push(ColumnSpec { name, domain: Domain::Any, generated: false, key: false });
    }
    let without_rowid = matches!(form, 5 | 6);
    let mut constraint = String::new();
    // A column with INT affinity turns 1.5e0 and text digits to numbers, so keys have types that keep values apart.
    let key_types: &[&str] = if strict {
        &["ANY", "ANY COLLATE NOCASE"]
    } else {
        &["", "BLOB", "BLOB COLLATE NOCASE", "BLOB COLLATE RTRIM"]
    };
    let key_type = |rng: &mut Rng| rng.pick(key_types).to_string();
    match form {
        0 => {}
        1 | 2 => {
            let place = rng.below(count + 1);
            let definition = rng.pick(&["INTEGER PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"]);
            definitions.insert(place, format!("id {definition}"));
            columns
                .insert(place, ColumnSpec { name: "id".into(), domain: Domain::Integer, generated: false, key: true });
        }
        _ => {
            let parts = 1 + usize::from(form == 4 || form == 6) + usize::from(rng.chance(10));
            let not_null = without_rowid || strict || rng.chance(50);
            let mut names = Vec::new();
            for part in 0..parts {
                let name = format!("k{part}");
                let place = rng.below(definitions.len() + 1);
                let suffix = if not_null && !without_rowid { " NOT NULL" } else { "" };
                definitions.insert(place, format!("{name} {}{suffix}", key_type(rng)));
                let domain = if not_null { Domain::Key } else { Domain::KeyOrNull };
                columns.insert(place, ColumnSpec { name: name.clone(), domain, generated: false, key: true });
                names.push(format!("{name}{}", if rng.chance(20) { " DESC" } else { "" }));
            }
            if rng.chance(50) {
                names.reverse();
            }
            constraint = format!(", PRIMARY KEY({})", names.join(", "));
        }
    }
    if rng.chance(25) {
        let source = columns[rng.below(columns.len())].name.clone();
        let kind = if rng.chance(50) { "STORED" } else { "VIRTUAL" };
        let place = rng.below(definitions.len() + 1);
        let expression = format!("GENERATED ALWAYS AS (typeof({}) || length({0})) {kind}", quote(&source));
        definitions.insert(place, format!("g TEXT {expression}"));
        columns.insert(place, ColumnSpec { name: "g".into(), domain: Domain::Any, generated: true, key: false });
    }
    let options = match (without_rowid, strict) {
        (false, false) => "",
        (true, false) => " WITHOUT ROWID",
        (false, true) => " STRICT",
        (true, true) => " STRICT, WITHOUT ROWID",
    };
    let sql = format!("CREATE TABLE \"{name}\"({}{constraint}){options}", definitions.join(", "));
    TableSpec { name, columns, sql }
}
