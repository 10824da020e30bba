//! What a branch holds, as far as it is the same whichever branch has merged the other: columns
//! without their order, rows without rowids that nothing refers to, and of texts the words.

use maniac_oracle::dump::quote;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params};

/// The rows of a query as SQL literals.
pub fn query(db: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Vec<String>>> {
    let mut statement = db.prepare(sql)?;
    let columns = statement.column_count();
    let literal = |value: ValueRef<'_>| match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("x'{bytes:02x?}'"),
    };
    let rows = statement.query_map(params, |row| (0..columns).map(|n| row.get_ref(n).map(literal)).collect())?;
    rows.collect()
}

/// The first column.
pub fn column(db: &Connection, sql: &str) -> Vec<String> {
    let rows = query(db, sql, ()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().filter_map(|row| row.into_iter().next()).collect()
}

/// The application's own tables: ordinary ones, then virtual ones with their module.
pub fn tables(db: &Connection) -> Vec<(String, Option<String>)> {
    let sql = "SELECT l.name, l.type, s.sql FROM pragma_table_list l JOIN sqlite_schema s ON s.name = l.name \
               WHERE l.schema = 'main' AND l.type IN ('table', 'virtual') AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               ORDER BY l.type, l.name";
    let module = |sql: &str| {
        let words: Vec<String> = sql.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase).collect();
        words.iter().position(|word| word == "using").and_then(|using| words.get(using + 1).cloned())
    };
    let rows = query(db, sql, ()).unwrap();
    rows.into_iter().map(|row| (row[0].clone(), (row[1] == "virtual").then(|| module(&row[2])).flatten())).collect()
}

/// Columns that a statement may set.
pub fn columns(db: &Connection, table: &str) -> Vec<String> {
    let rows = query(db, "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0", [table]);
    rows.unwrap_or_default().into_iter().map(|mut row| row.remove(0)).collect()
}

/// Each row of the application's own tables, as the values by the names of their columns.
pub fn rows(db: &Connection, table: &str) -> rusqlite::Result<Vec<Vec<(String, String)>>> {
    let mut names = columns(db, table);
    names.sort();
    let list: Vec<String> = names.iter().map(|name| quote(name)).collect();
    let rows = query(db, &format!("SELECT {} FROM {}", list.join(", "), quote(table)), ())?;
    Ok(rows.into_iter().map(|row| names.iter().cloned().zip(row).collect()).collect())
}

fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace("/* no change */", " ");
    let words = text.split(|c: char| c.is_whitespace() || "(),\"".contains(c)).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

pub fn read(db: &Connection) -> Vec<String> {
    let mut state = Vec::new();
    for (table, module) in tables(db) {
        let info = "SELECT name, upper(type), \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)";
        let info = query(db, info, [&table]).unwrap();
        state.extend(info.into_iter().map(|row| format!("{table}: column {}", row.join(" "))));
        let line = |row: Vec<(String, String)>| {
            let cells: Vec<String> = row.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{table}: {}", cells.join(" "))
        };
        state.extend(rows(db, &table).unwrap().into_iter().map(line));
        let text = query(db, "SELECT sql FROM sqlite_schema WHERE name = ?1", [&table]).unwrap();
        let mut text = words(&text.concat().concat());
        text.sort();
        state.push(format!("{table}: {}", text.join(" ")));
        if module.as_deref() == Some("fts5") {
            state.extend(vocabulary(db, &table));
        }
    }
    let objects =
        "SELECT type || ' ' || name || ' ' || sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL";
    state.extend(column(db, objects).iter().map(|text| words(text).join(" ")));
    for pragma in ["user_version", "application_id"] {
        state.extend(column(db, &format!("PRAGMA {pragma}")).into_iter().map(|value| format!("{pragma} {value}")));
    }
    state.extend(counters(db).into_iter().map(|(table, counter)| format!("{table}: counter {counter}")));
    state.sort();
    state
}

/// The words of an index, each as often as it occurs.
fn vocabulary(db: &Connection, index: &str) -> Vec<String> {
    let sql = format!("CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', {}, 'row')", quote(index));
    db.execute_batch(&sql).unwrap();
    let words = query(db, "SELECT term, doc, cnt FROM temp.words", ()).unwrap();
    db.execute_batch("DROP TABLE temp.words").unwrap();
    words.into_iter().map(|row| format!("{index}: word {}", row.join(" "))).collect()
}

pub fn counters(db: &Connection) -> Vec<(String, i64)> {
    let rows = query(db, "SELECT name, seq FROM sqlite_sequence", ()).unwrap_or_default();
    rows.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap_or_default())).collect()
}
