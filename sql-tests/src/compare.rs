//! Row by row, types included: a table in SQLite against its mirror in DuckDB.
//!
//! Both sides are brought to one canonical text per value, which names the storage class: `I:5`, `R:0.5`, `T:abc`.
//! What a value must look like follows from the DuckDB column's type, so an INTEGER that arrived as text, or a REAL
//! that lost a bit, differs. Rows are sorted on both sides and compared as multisets: neither side promises an order,
//! and tables without a key may hold equal rows.

use std::collections::BTreeMap;

use crate::session::{Failure, Session};
use crate::value::{Value, parse_hex, shown_decimal};

/// A mirror keeps its own state in tables that begin so, beside the data.
const STATE_PREFIX: &str = "_maniac_";
/// What a mirror calls the key of a table that declares none.
const ROWID: &str = "_rowid_";
/// Rows shown per side when tables differ.
const SHOWN: usize = 5;

/// Compares one table. `target` is the DuckDB name, quoted where it must be: `shop.items`, `lake.shop."odd name"`.
pub fn table(sqlite: &mut Session, source: &str, duckdb: &mut Session, target: &str) -> Result<(), Failure> {
    let mut columns = sqlite_columns(sqlite, source)?;
    let mirrored = duckdb_columns(duckdb, target)?;
    if mirrored.first().is_some_and(|column| column.name == ROWID) && !columns.iter().any(|name| name == ROWID) {
        columns.insert(0, ROWID.into());
    }
    let mirrored_names: Vec<&str> = mirrored.iter().map(|column| column.name.as_str()).collect();
    if columns != mirrored_names {
        return Err(different(format!("{source} has columns {columns:?}, {target} has {mirrored_names:?}")));
    }
    let kinds: Vec<ColumnKind> = mirrored.iter().map(|column| ColumnKind::of(&column.declared)).collect();

    let mut balance: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    let selected = columns.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
    let left = sqlite.run(&format!("SELECT {selected} FROM {}", quote(source)))?;
    for row in &left {
        let key = row.iter().zip(&kinds).map(|(value, kind)| kind.sqlite_text(value)).collect();
        *balance.entry(key).or_default() += 1;
    }
    let selected = mirrored.iter().zip(&kinds).map(|(column, kind)| kind.select(&column.name)).collect::<Vec<_>>();
    let right = duckdb.run(&format!("SELECT {} FROM {target}", selected.join(", ")))?;
    for row in &right {
        let key = row.iter().zip(&kinds).map(|(value, kind)| kind.duckdb_text(value)).collect::<Result<_, _>>()?;
        *balance.entry(key).or_default() -= 1;
    }
    balance.retain(|_, count| *count != 0);
    if balance.is_empty() {
        return Ok(());
    }
    let side = |sign: i64| {
        let rows: Vec<&Vec<String>> =
            balance.iter().filter(|(_, count)| count.signum() == sign).map(|(row, _)| row).collect();
        let shown: String = rows.iter().take(SHOWN).map(|row| format!("\n    {}", row.join(" | "))).collect();
        let more = rows.len().saturating_sub(SHOWN);
        if more > 0 { format!("{shown}\n    and {more} more") } else { shown }
    };
    Err(different(format!(
        "{source} ({} rows) and {target} ({} rows) differ\n  only in SQLite:{}\n  only in DuckDB:{}",
        left.len(),
        right.len(),
        side(1),
        side(-1)
    )))
}

/// Compares every ordinary table of the SQLite database with the tables of a DuckDB schema (`schema` or
/// `catalog.schema`), which must hold the same tables and, apart from the mirror's state, no others. Returns how many.
pub fn all(sqlite: &mut Session, duckdb: &mut Session, schema: &str) -> Result<usize, Failure> {
    let listed = sqlite.run(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let names: Vec<String> = listed.into_iter().flatten().map(|name| plain(&name)).collect();
    let (catalog, schema_name) = match schema.split_once('.') {
        Some((catalog, schema)) => (format!("'{catalog}'"), schema),
        None => ("current_database()".into(), schema),
    };
    let listed = duckdb.run(&format!(
        "SELECT table_name FROM information_schema.tables \
         WHERE table_catalog = {catalog} AND table_schema = '{schema_name}' AND table_type = 'BASE TABLE'"
    ))?;
    let mut mirrored: Vec<String> = listed.into_iter().flatten().map(|name| plain(&name)).collect();
    mirrored.retain(|name| !name.starts_with(STATE_PREFIX));
    mirrored.sort();
    if names != mirrored {
        return Err(different(format!("SQLite has tables {names:?}, {schema} has {mirrored:?}")));
    }
    for name in &names {
        table(sqlite, name, duckdb, &format!("{schema}.{}", quote(name)))?;
    }
    Ok(names.len())
}

struct Mirrored {
    name: String,
    declared: String,
}

fn sqlite_columns(session: &mut Session, table: &str) -> Result<Vec<String>, Failure> {
    let literal = table.replace('\'', "''");
    // Hidden columns of virtual tables (1) and virtual generated ones (2) are not stored; generated ones that are (3) are data
    // like any other.
    let rows = session.run(&format!("SELECT name FROM pragma_table_xinfo('{literal}') WHERE hidden IN (0, 3)"))?;
    if rows.is_empty() {
        return Err(different(format!("SQLite has no table {table}")));
    }
    Ok(rows.into_iter().flatten().map(|name| plain(&name)).collect())
}

fn duckdb_columns(session: &mut Session, table: &str) -> Result<Vec<Mirrored>, Failure> {
    let rows = session.run(&format!("SELECT column_name, column_type FROM (DESCRIBE {table})"))?;
    Ok(rows.iter().map(|row| Mirrored { name: plain(&row[0]), declared: plain(&row[1]) }).collect())
}

/// What SQLite value a DuckDB column may hold, and how both are brought to one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnKind {
    Integer,
    /// HUGEINT: whole numbers that are REAL in SQLite, too.
    Huge,
    Boolean,
    Double,
    Decimal,
    Blob,
    /// DATE, TIME and TIMESTAMP: the text forms that SQLite writes differ in `T`, `Z` and trailing zeroes.
    Moment,
    /// VARCHAR, JSON, UUID, and whatever else prints as text.
    Text,
}

impl ColumnKind {
    fn of(declared: &str) -> Self {
        match declared.split('(').next().unwrap_or(declared) {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "UTINYINT" | "USMALLINT" | "UINTEGER" | "UBIGINT" => {
                Self::Integer
            }
            "HUGEINT" => Self::Huge,
            "BOOLEAN" => Self::Boolean,
            "DOUBLE" | "FLOAT" => Self::Double,
            "DECIMAL" => Self::Decimal,
            "BLOB" => Self::Blob,
            "DATE"
            | "TIME"
            | "TIMESTAMP"
            | "TIMESTAMP_S"
            | "TIMESTAMP_MS"
            | "TIMESTAMP_NS"
            | "TIMESTAMP WITH TIME ZONE" => Self::Moment,
            _ => Self::Text,
        }
    }

    /// Everything leaves DuckDB as text, so that its printing of numbers plays no part.
    fn select(self, column: &str) -> String {
        let column = quote(column);
        match self {
            Self::Blob => format!("hex({column})"),
            _ => format!("CAST({column} AS VARCHAR)"),
        }
    }

    fn duckdb_text(self, value: &Value) -> Result<String, Failure> {
        let Value::Text(text) = value else { return Ok("NULL".into()) };
        let unreadable = || Failure::Usage(format!("DuckDB printed {text:?} for a {self:?} column"));
        Ok(match self {
            Self::Integer => format!("I:{text}"),
            Self::Boolean => format!("I:{}", i32::from(text == "true")),
            Self::Double => real(text.parse().map_err(|_| unreadable())?),
            Self::Decimal | Self::Huge => format!("D:{}", trim_zeroes(text)),
            Self::Blob => blob(&parse_hex(text).ok_or_else(unreadable)?),
            Self::Moment => format!("M:{}", moment(text)),
            Self::Text => format!("T:{text}"),
        })
    }

    fn sqlite_text(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Null) => "NULL".into(),
            // A NUMERIC column stores 5.0 as 5; in a DOUBLE column that is the same number, if it is exact.
            (Self::Double, Value::Integer(digits)) => match digits.parse::<i64>().map(|number| (number, number as f64))
            {
                Ok((number, float)) if float as i64 == number => real(float),
                _ => format!("I:{digits}"),
            },
            (Self::Decimal | Self::Huge, Value::Integer(digits)) => format!("D:{digits}"),
            (Self::Decimal | Self::Huge, Value::Real(number)) => format!("D:{}", trim_zeroes(&shown_decimal(*number))),
            (Self::Moment, Value::Text(text)) => format!("M:{}", moment(text)),
            (_, Value::Integer(digits)) => format!("I:{digits}"),
            (_, Value::Real(number)) => real(*number),
            (_, Value::Blob(bytes)) => blob(bytes),
            (_, Value::Text(text)) => format!("T:{text}"),
            (_, other) => format!("{other:?}"),
        }
    }
}

/// The shortest text that reads back as the same bits; zero has two.
fn real(number: f64) -> String {
    format!("R:{number:?}")
}

fn blob(bytes: &[u8]) -> String {
    format!("X:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn trim_zeroes(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn moment(text: &str) -> String {
    let text = text.replace('T', " ");
    let text = text.trim_end_matches('Z');
    let text = text.strip_suffix("+00").unwrap_or(text);
    let text = if text.contains('.') { trim_zeroes(text) } else { text };
    // A day without a time is its midnight in a TIMESTAMP column.
    text.strip_suffix(" 00:00:00").unwrap_or(text).to_string()
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

fn different(message: String) -> Failure {
    Failure::Refused(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_equal_values() {
        let cases = [
            (ColumnKind::Integer, Value::Integer("-7".into()), "-7"),
            (ColumnKind::Boolean, Value::Integer("1".into()), "true"),
            (ColumnKind::Double, Value::Real(0.1), "0.1"),
            (ColumnKind::Double, Value::Integer("5".into()), "5.0"),
            (ColumnKind::Double, Value::Real(1e300), "1e+300"),
            (ColumnKind::Double, Value::Real(f64::INFINITY), "inf"),
            (ColumnKind::Decimal, Value::Real(1.5), "1.50"),
            (ColumnKind::Decimal, Value::Real(0.1 + 0.2), "0.300"),
            (ColumnKind::Huge, Value::Real(1e19), "10000000000000000000"),
            (ColumnKind::Blob, Value::Blob(vec![0, 255]), "00FF"),
            (ColumnKind::Moment, Value::Text("2013-01-02T03:04:05Z".into()), "2013-01-02 03:04:05"),
            (ColumnKind::Moment, Value::Text("2013-01-02".into()), "2013-01-02 00:00:00"),
            (ColumnKind::Text, Value::Text("it's".into()), "it's"),
        ];
        for (kind, sqlite, duckdb) in cases {
            let other = kind.duckdb_text(&Value::Text(duckdb.into())).unwrap();
            assert_eq!(kind.sqlite_text(&sqlite), other, "{kind:?} {sqlite:?}");
        }
    }

    #[test]
    fn a_value_of_another_type_differs() {
        let cases = [
            (ColumnKind::Text, Value::Integer("5".into()), "5"),
            (ColumnKind::Integer, Value::Text("5".into()), "5"),
            (ColumnKind::Blob, Value::Text("a".into()), "61"),
            (ColumnKind::Double, Value::Integer("9007199254740993".into()), "9007199254740992.0"),
            (ColumnKind::Double, Value::Real(0.1), "0.10000000000000002"),
            (ColumnKind::Double, Value::Real(-0.0), "0.0"),
        ];
        for (kind, sqlite, duckdb) in cases {
            let other = kind.duckdb_text(&Value::Text(duckdb.into())).unwrap();
            assert_ne!(kind.sqlite_text(&sqlite), other, "{kind:?} {sqlite:?}");
        }
    }
}
