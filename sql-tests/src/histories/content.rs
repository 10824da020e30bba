//! A database's tables at a version, what a mirror shows, and how the two differ.

use std::collections::BTreeMap;

use super::shape::shapes;
use super::values::{Cell, may_become, mirror_type};
use super::{literal, quote};
use crate::session::{Failure, Session};
use crate::value::{Value, parse_hex};

/// What a mirror calls the key of a table that declares none.
const ROWID: &str = "_rowid_";

/// What SQLite has, by the tables' names.
pub type Source = BTreeMap<String, SourceTable>;

#[derive(Debug)]
pub struct SourceTable {
    /// Name, declared type, and whether it is part of the key.
    columns: Vec<(String, String, bool)>,
    rows: Vec<Vec<Cell>>,
}

/// What a mirror shows.
#[derive(Debug)]
pub struct Shown {
    /// By the names of the tables in the source.
    tables: BTreeMap<String, ShownTable>,
    /// Table, column, value, its type in SQLite: sorted.
    rejects: Vec<[String; 4]>,
}

#[derive(Debug)]
struct ShownTable {
    name: String,
    /// Name in the source, name and type in the mirror.
    columns: Vec<[String; 3]>,
    rows: Vec<Vec<String>>,
}

/// What a comparison may find.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// All values fit their columns, so that none is widened.
    pub all_fit: bool,
    /// Numbers in DECIMAL columns are rounded.
    pub rounds: bool,
    /// Values that don't fit are kept aside.
    pub rejects: bool,
}

/// Reads the tables of the version that the session has open.
pub fn source(session: &mut Session) -> Result<Source, Failure> {
    let mut source = Source::new();
    // What hex() shows of a text is in the database's own encoding.
    let wide = session.run("PRAGMA encoding")? == [[Value::Text("UTF-16le".into())]];
    for shape in shapes(session)? {
        let rowid = shape.rowid().filter(|_| !shape.has_key());
        let mut columns: Vec<(String, String, bool)> =
            rowid.iter().map(|_| (ROWID.to_string(), "INTEGER".to_string(), true)).collect();
        let mut selected: Vec<String> = rowid.iter().map(ToString::to_string).collect();
        // A mirror has what is stored.
        for column in shape.columns.iter().filter(|column| !column.is_virtual) {
            columns.push((column.name.clone(), column.declared.clone(), column.key.is_some()));
            let name = quote(&column.name);
            selected.push(format!(
                "CASE typeof({name}) WHEN 'text' THEN 'T' || hex({name}) WHEN 'blob' THEN 'X' || hex({name}) ELSE {name} END"
            ));
        }
        let rows = session.run(&format!("SELECT {} FROM {}", selected.join(", "), quote(&shape.name)))?;
        let rows =
            rows.iter().map(|row| row.iter().map(|value| cell(value, wide)).collect()).collect::<Result<_, _>>()?;
        source.insert(shape.name, SourceTable { columns, rows });
    }
    Ok(source)
}

fn cell(value: &Value, wide: bool) -> Result<Cell, Failure> {
    let unreadable = || Failure::Usage(format!("SQLite printed {value:?}"));
    Ok(match value {
        Value::Null => Cell::Null,
        Value::Integer(digits) => Cell::Integer(digits.parse().map_err(|_| unreadable())?),
        Value::Real(number) => Cell::Real(*number),
        Value::Text(text) => {
            let (class, hex) = text.split_at_checked(1).ok_or_else(unreadable)?;
            let bytes = parse_hex(hex).ok_or_else(unreadable)?;
            match (class, wide) {
                ("T", false) => Cell::Text(bytes),
                ("T", true) => {
                    let units: Vec<u16> =
                        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
                    Cell::Text(String::from_utf16_lossy(&units).into_bytes())
                }
                _ => Cell::Blob(bytes),
            }
        }
        _ => return Err(unreadable()),
    })
}

/// Reads a mirror's tables, as its own list of them has them; `at` is an empty text or an `AT` clause.
pub fn shown(duckdb: &mut Session, schema: &str, at: &str) -> Result<Shown, Failure> {
    let listed = duckdb.run(&format!(
        "SELECT table_name, mirror_table, column_name, mirror_column FROM {schema}._maniac_columns{at} \
         ORDER BY table_name, position"
    ))?;
    let mut tables: BTreeMap<String, ShownTable> = BTreeMap::new();
    for row in &listed {
        let [source, name, column, mirror_column] = row.as_slice() else { continue };
        let fresh = || ShownTable { name: plain(name), columns: Vec::new(), rows: Vec::new() };
        let table = tables.entry(plain(source)).or_insert_with(fresh);
        table.columns.push([plain(column), plain(mirror_column), String::new()]);
    }
    for table in tables.values_mut() {
        table.read(duckdb, &format!("{schema}.{}{at}", quote(&table.name)))?;
    }
    let rejects = duckdb.run(&format!(
        "SELECT table_name, column_name, hex(value), value_type FROM {schema}._maniac_rejects{at} ORDER BY ALL"
    ))?;
    let mut rejects: Vec<[String; 4]> =
        rejects.into_iter().filter_map(|row| row.iter().map(plain).collect::<Vec<_>>().try_into().ok()).collect();
    rejects.sort();
    Ok(Shown { tables, rejects })
}

impl ShownTable {
    fn read(&mut self, duckdb: &mut Session, place: &str) -> Result<(), Failure> {
        let described =
            duckdb.run(&format!("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {place})"))?;
        let names: Vec<String> = described.iter().map(|row| plain(&row[0])).collect();
        let expected: Vec<&String> = self.columns.iter().map(|column| &column[1]).collect();
        if names.iter().ne(expected.iter().copied()) {
            return Err(Failure::Usage(format!("{place} has columns {names:?}, and its mirror says {expected:?}")));
        }
        let mut selected = Vec::new();
        for (column, row) in self.columns.iter_mut().zip(&described) {
            column[2] = plain(&row[1]);
            let name = quote(&column[1]);
            selected.push(match column[2].as_str() {
                "VARCHAR" | "BLOB" | "JSON" => format!("hex({name})"),
                _ => format!("CAST({name} AS VARCHAR)"),
            });
        }
        for row in duckdb.run(&format!("SELECT {} FROM {place}", selected.join(", ")))? {
            let values = row.iter().zip(&self.columns).map(|(value, [_, _, mirror])| match (value, mirror.as_str()) {
                (Value::Null, _) => "NULL".to_string(),
                (value, "VARCHAR" | "BLOB" | "JSON") => {
                    parse_hex(&plain(value)).map_or_else(|| plain(value), |b| visible(&b))
                }
                (value, "DOUBLE") => plain(value).parse::<f64>().map_or_else(|_| plain(value), |n| format!("'{n:?}'")),
                (value, _) => visible(plain(value).as_bytes()),
            });
            self.rows.push(values.collect());
        }
        Ok(())
    }
}

/// What differs between a mirror and its source, or how many values were compared.
pub fn differences(source: &Source, shown: &Shown, terms: Terms) -> Result<usize, String> {
    let names = |names: Vec<&String>| format!("{names:?}");
    if source.keys().ne(shown.tables.keys()) {
        let (has, shows) = (names(source.keys().collect()), names(shown.tables.keys().collect()));
        return Err(format!("SQLite has the tables {has}, the mirror {shows}"));
    }
    let mut compared = 0;
    let mut rejects: Vec<[String; 4]> = Vec::new();
    for ((name, table), mirrored) in source.iter().zip(shown.tables.values()) {
        let of_table = |message: String| format!("table {name}: {message}");
        if !is_name_of(&mirrored.name, name) {
            return Err(of_table(format!("is called {} in the mirror", mirrored.name)));
        }
        table.compare_columns(mirrored, terms).map_err(of_table)?;
        let expected: Result<Vec<_>, String> =
            table.rows.iter().map(|row| table.expected(row, mirrored, terms, &mut rejects)).collect();
        compare_rows(expected.map_err(of_table)?, mirrored.rows.clone()).map_err(of_table)?;
        compared += table.rows.len() * table.columns.len();
    }
    rejects.sort();
    if rejects != shown.rejects {
        let only = |these: &[[String; 4]], those: &[[String; 4]]| -> Vec<[String; 4]> {
            these.iter().filter(|one| !those.contains(one)).take(5).cloned().collect()
        };
        return Err(format!(
            "{} values don't fit, the mirror has {} aside; only in SQLite {:?}, only aside {:?}",
            rejects.len(),
            shown.rejects.len(),
            only(&rejects, &shown.rejects),
            only(&shown.rejects, &rejects)
        ));
    }
    if !rejects.is_empty() && !terms.rejects {
        return Err("values are aside that should have widened their columns".into());
    }
    Ok(compared)
}

impl SourceTable {
    fn compare_columns(&self, mirrored: &ShownTable, terms: Terms) -> Result<(), String> {
        let sources: Vec<&String> = mirrored.columns.iter().map(|[source, ..]| source).collect();
        if self.columns.iter().map(|(name, ..)| name).ne(sources.iter().copied()) {
            return Err(format!("has columns {:?}, in the mirror {sources:?}", self.columns));
        }
        for ((name, declared, _), [_, mirror_name, mirror]) in self.columns.iter().zip(&mirrored.columns) {
            let as_declared = mirror_type(declared);
            let widened = may_become(as_declared, mirror) && !terms.all_fit;
            if !is_name_of(mirror_name, name) || (mirror != as_declared && !widened) {
                return Err(format!("column {name} {declared} is {mirror_name} {mirror}, not {as_declared}"));
            }
        }
        Ok(())
    }

    /// A row as the mirror must show it, and the values that it can't.
    fn expected(
        &self,
        row: &[Cell],
        mirrored: &ShownTable,
        terms: Terms,
        rejects: &mut Vec<[String; 4]>,
    ) -> Result<Vec<String>, String> {
        let columns = self.columns.iter().zip(&mirrored.columns);
        row.iter()
            .zip(columns)
            .map(|(cell, ((name, declared, is_key), [_, mirror_name, mirror]))| {
                let rounds = terms.rounds && !is_key && mirror_type(declared).starts_with("DECIMAL");
                match (cell, cell.shown(mirror).or_else(|| cell.rounded(mirror).filter(|_| rounds))) {
                    (Cell::Null, _) => Ok("NULL".to_string()),
                    (_, Some(bytes)) => Ok(visible(&bytes)),
                    (_, None) if *is_key => Err(format!("{cell:?} of the key's column {name} does not fit {mirror}")),
                    (_, None) => {
                        let hex: String = cell.as_text().iter().map(|byte| format!("{byte:02X}")).collect();
                        rejects.push([mirrored.name.clone(), mirror_name.clone(), hex, cell.class().to_string()]);
                        Ok("NULL".to_string())
                    }
                }
            })
            .collect()
    }
}

/// As multisets: neither side promises an order, and rows may be equal.
fn compare_rows(mut expected: Vec<Vec<String>>, mut shown: Vec<Vec<String>>) -> Result<(), String> {
    expected.sort();
    shown.sort();
    if expected == shown {
        return Ok(());
    }
    let mut balance: BTreeMap<&Vec<String>, i64> = BTreeMap::new();
    expected.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    shown.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    let side = |sign: i64| -> String {
        let rows = balance.iter().filter(|(_, count)| count.signum() == sign);
        rows.take(5).map(|(row, _)| format!("\n    {}", row.join(" | "))).collect()
    };
    let counts = format!("{} rows in SQLite, {} in the mirror", expected.len(), shown.len());
    Err(format!("{counts}\n  only in SQLite:{}\n  only in the mirror:{}", side(1), side(-1)))
}

/// Names of a source that a mirror, or its lake, takes for itself.
const TAKEN: &[&str] = &[ROWID, "rowid", "row_id", "end_snapshot", "xmin"];

/// A mirror has the source's names; those that it takes for itself have a number behind them, or no underscore in front.
fn is_name_of(mirror: &str, source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    let is_taken = TAKEN.contains(&lower.as_str()) || lower.starts_with("_maniac_");
    let number = mirror.get(source.len()..).and_then(|rest| rest.strip_prefix('_')).unwrap_or_default();
    let name = match is_taken && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) {
        true => &mirror[..source.len()],
        false => mirror,
    };
    name.eq_ignore_ascii_case(source)
        || lower.starts_with("_ducklake_")
            && lower.strip_prefix('_').is_some_and(|rest| rest.eq_ignore_ascii_case(mirror))
}

/// Text and blobs for a message: one line, and never like NULL. Long ones are told by their ends and length.
fn visible(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => format!("'{}'", text.escape_debug()),
        Err(_) => format!("x{bytes:02x?}"),
    };
    match text.char_indices().nth(60) {
        Some((at, _)) if bytes.len() > 200 => {
            let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            format!("{}.. ({} bytes, {sum:x})", &text[..at], bytes.len())
        }
        _ => text,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The tables in a schema, which must be the mirror's and its own. Not to be asked while mirrors follow: it looks into
/// every attached database (design notes 024 and 029).
pub fn strays(duckdb: &mut Session, schema: &str, shown: &Shown) -> Result<Vec<String>, Failure> {
    let (catalog, name) = match schema.split_once('.') {
        Some((catalog, name)) => (literal(catalog), name),
        None => ("current_database()".to_string(), schema),
    };
    let listed = duckdb.run(&format!(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = {catalog} AND schema_name = {} ORDER BY 1",
        literal(name)
    ))?;
    let own = ["_maniac_state", "_maniac_columns", "_maniac_rejects"].map(String::from);
    let mut expected: Vec<String> = shown.tables.values().map(|table| table.name.clone()).chain(own).collect();
    let listed: Vec<String> = listed.iter().flatten().map(plain).collect();
    let stray: Vec<String> = listed.iter().filter(|name| !expected.contains(name)).cloned().collect();
    expected.retain(|name| !listed.contains(name));
    Ok(stray.into_iter().chain(expected).collect())
}
