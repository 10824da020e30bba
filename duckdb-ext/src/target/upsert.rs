//! The netted changes of one table as statements: patched rows are completed, touched keys deleted, rows inserted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::key_filter::KeyFilter;
use super::lake::inlining;
use super::netting::{Net, NetTable};
use super::{INLINED_ROWS, Target};
use crate::error::{Error, Result};
use crate::host::{Cell, Session, TableWriter, columns};
use crate::schema::{ColumnType, Fitted, MirrorTable, Tables, fit, literal, quote, quote_text};
use crate::source::Value;

/// Up to here a list of the keys goes into the statement, where an index or the statistics of a table's parts answer it;
/// above, a condition that is tried on each row is faster, unless the table is large and has an index. DuckDB uses an index
/// for lists of up to 2,048 keys.
const LISTED_KEYS: usize = 2_000;
const LISTED_BYTES: usize = 1 << 20;

/// Temporary tables of the session, made anew for each use.
const KEYS: &str = "_maniac_keys";
const PATCHES: &str = "_maniac_patches";
const PATCHED: &str = "_maniac_patched";

/// What came of applying a table's changes.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Applied,
    /// These columns are to be widened. Nothing was written.
    Misfits(Vec<usize>),
    /// The mirror does not have the rows that it should: somebody changed it, or two keys of the source are one here.
    Diverged,
}

/// Applies a table's changes, all of which fit, inside the session's transaction. `by_index`: however many rows there are to
/// be found, the table's index finds them best. `in_files`: a lake puts all rows into files now.
pub fn apply(
    session: &Session,
    target: &Target,
    table: &MirrorTable,
    by_index: bool,
    in_files: bool,
    changes: &NetTable,
) -> Result<Outcome> {
    let gone: Vec<&[Value]> = changes
        .changes
        .iter()
        .filter(|(_, net)| !matches!(net, Net::Insert(_)))
        .map(|(key, _)| key.as_slice())
        .collect();
    let patches: Vec<&[Option<Value>]> = changes
        .changes
        .iter()
        .filter_map(|(_, net)| match net {
            Net::Patch(values) => Some(values.as_slice()),
            _ => None,
        })
        .collect();
    if !patches.is_empty() && complete(session, target, table, &patches)? != patches.len() as u64 {
        return Ok(Outcome::Diverged);
    }
    let part = match by_index {
        true => LISTED_KEYS,
        false => gone.len().max(1),
    };
    let mut found = 0;
    for keys in gone.chunks(part) {
        found += delete(session, target, table, keys)?;
    }
    if found != gone.len() as u64 {
        return Ok(Outcome::Diverged);
    }
    let rows = changes.changes.iter().filter_map(|(_, net)| match net {
        Net::Insert(row) | Net::Replace(row) => Some(row.as_slice()),
        Net::Patch(_) | Net::Delete => None,
    });
    insert(session, target, table, rows)?;
    if !patches.is_empty() {
        let move_to_files =
            target.lake && !in_files && inlining::completed_are_for_files(session, table, &temporary(PATCHED))?;
        if move_to_files {
            session.run(&Target::inline(0))?;
        }
        session.run(&format!("INSERT INTO {} FROM {}", target.table(&table.name), temporary(PATCHED)))?;
        if move_to_files {
            session.run(&Target::inline(INLINED_ROWS))?;
        }
    }
    Ok(Outcome::Applied)
}

fn insert<'a>(
    session: &Session,
    target: &Target,
    table: &MirrorTable,
    rows: impl Iterator<Item = &'a [Value]>,
) -> Result<()> {
    let types = table.types();
    let mut writer = None;
    for row in rows {
        let cells = fitted(table, row.iter().map(Some), &types)?;
        if writer.is_none() {
            writer = Some(TableWriter::open(session, &target.catalog, &target.schema, &table.name)?);
        }
        if let Some(writer) = &mut writer {
            writer.push(cells.iter().map(Fitted::cell))?;
        }
    }
    writer.map_or(Ok(()), TableWriter::finish)
}

/// Deletes the rows of the keys and returns how many there were.
fn delete(session: &Session, target: &Target, table: &MirrorTable, keys: &[&[Value]]) -> Result<u64> {
    let name = target.table(&table.name);
    let condition = listed(table, keys, "t.");
    if let (Some(condition), [_]) = (&condition, table.key.as_slice()) {
        return session.run(&format!("DELETE FROM {name} AS t WHERE {condition}"));
    }
    if let Some((filter, column)) = key_filter(session, table, keys) {
        return session.run(&format!("DELETE FROM {name} AS t WHERE {}", filter.condition(&format!("t.{column}"))));
    }
    write_keys(session, table, keys)?;
    let condition = condition.map_or(String::new(), |condition| format!(" AND {condition}"));
    let same = same_key(table, "k");
    session.run(&format!("DELETE FROM {name} AS t USING {} AS k WHERE {same}{condition}", temporary(KEYS)))
}

/// Whether the mirror's table is there, with the columns that the mirror gave it.
pub fn is_intact(session: &Session, target: &Target, table: &MirrorTable) -> bool {
    let found = columns(session, &target.catalog, &target.schema, &table.name).unwrap_or_default();
    let expected = table.columns.iter().map(|column| (column.name.as_str(), Some(column.column_type)));
    found.iter().map(|(name, column_type)| (name.as_str(), *column_type)).eq(expected)
}

/// The source's names of the tables that are not intact. Looks into all databases, which for many tables costs less than
/// asking for each.
pub fn damaged(session: &Session, target: &Target, tables: &Tables) -> Result<HashSet<String>> {
    let columns = session.query(&format!(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE lower(database_name) = lower({}) \
         AND lower(schema_name) = lower({}) ORDER BY table_name, column_index",
        quote_text(&target.catalog),
        quote_text(&target.schema)
    ))?;
    let mut found: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for row in &columns {
        if let [Some(table), Some(column), Some(data_type)] = row.as_slice() {
            found.entry(table).or_default().push((column, data_type));
        }
    }
    let intact = |table: &&Arc<MirrorTable>| {
        let types: Vec<String> = table.types().iter().map(ColumnType::to_string).collect();
        let names = table.columns.iter().map(|column| column.name.as_str());
        let expected = names.zip(types.iter().map(String::as_str));
        found.get(table.name.as_str()).is_some_and(|columns| expected.eq(columns.iter().copied()))
    };
    Ok(tables.iter().filter(|table| !intact(table)).map(|table| table.source.clone()).collect())
}

/// How many of the keys the mirror's table has.
pub fn count(session: &Session, target: &Target, table: &MirrorTable, keys: &[&[Value]]) -> Result<u64> {
    let name = target.table(&table.name);
    let filter = key_filter(session, table, keys);
    let rows = match (listed(table, keys, "").filter(|_| table.key.len() == 1), &filter) {
        (Some(condition), _) => format!("{name} WHERE {condition}"),
        (None, Some((filter, column))) => format!("{name} WHERE {}", filter.condition(column)),
        (None, None) => {
            write_keys(session, table, keys)?;
            format!("{name} AS t JOIN {} AS k ON {}", temporary(KEYS), same_key(table, "k"))
        }
    };
    let count = session.value(&format!("SELECT count(*)::VARCHAR FROM {rows}"))?;
    Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// Puts keys into the temporary table `KEYS`.
fn write_keys(session: &Session, table: &MirrorTable, keys: &[&[Value]]) -> Result<()> {
    let columns: Vec<String> = table
        .key
        .iter()
        .map(|place| format!("{} {}", value_alias(*place), table.columns[*place].column_type))
        .collect();
    session.run(&format!("CREATE OR REPLACE TEMP TABLE {} ({})", quote(KEYS), columns.join(", ")))?;
    let types: Vec<ColumnType> = table.key.iter().map(|place| table.columns[*place].column_type).collect();
    let mut writer = TableWriter::open(session, "temp", "main", KEYS)?;
    for key in keys {
        let cells = fitted(table, key.iter().map(Some), &types)?;
        writer.push(cells.iter().map(Fitted::cell))?;
    }
    writer.finish()
}

/// Puts the whole new rows of partly changed ones into the table `PATCHED`: what changed from the changes, the rest from
/// the mirror. Returns how many of the rows the mirror has.
fn complete(session: &Session, target: &Target, table: &MirrorTable, patches: &[&[Option<Value>]]) -> Result<u64> {
    let patched: Vec<usize> = (0..table.columns.len())
        .filter(|place| !table.key.contains(place))
        .filter(|place| patches.iter().any(|values| values.get(*place).is_some_and(Option::is_some)))
        .collect();
    // A column that is given in all rows needs no flag that tells whether it is.
    let partial = |place: &usize| patches.iter().any(|values| values.get(*place).is_none_or(Option::is_none));
    let flagged: Vec<usize> = patched.iter().copied().filter(partial).collect();
    let valued: Vec<usize> = table.key.iter().chain(&patched).copied().collect();
    let mut columns: Vec<String> =
        valued.iter().map(|place| format!("{} {}", value_alias(*place), table.columns[*place].column_type)).collect();
    columns.extend(flagged.iter().map(|place| format!("f{place} BOOLEAN")));
    session.run(&format!("CREATE OR REPLACE TEMP TABLE {} ({})", quote(PATCHES), columns.join(", ")))?;

    let types: Vec<ColumnType> = valued.iter().map(|place| table.columns[*place].column_type).collect();
    let mut writer = TableWriter::open(session, "temp", "main", PATCHES)?;
    for values in patches {
        let cells = fitted(table, valued.iter().map(|place| values.get(*place).and_then(Option::as_ref)), &types)?;
        let flags = flagged.iter().map(|place| Cell::Bool(values.get(*place).is_some_and(Option::is_some)));
        writer.push(cells.iter().map(Fitted::cell).chain(flags))?;
    }
    writer.finish()?;

    let selected = table.columns.iter().enumerate().map(|(place, column)| {
        let old = format!("t.{}", quote(&column.name));
        let value = match (patched.contains(&place), flagged.contains(&place)) {
            (true, true) => format!("CASE WHEN p.f{place} THEN p.{} ELSE {old} END", value_alias(place)),
            (true, false) => format!("p.{}", value_alias(place)),
            (false, _) => old,
        };
        format!("{value} AS c{place}")
    });
    let selected = selected.collect::<Vec<_>>().join(", ");
    let keys: Option<Vec<Vec<Value>>> = patches
        .iter()
        .map(|values| table.key.iter().map(|place| values.get(*place).cloned().flatten()).collect())
        .collect();
    let keys =
        keys.ok_or_else(|| Error::source(format!("a change of table {} comes without its key", table.source)))?;
    let keys: Vec<&[Value]> = keys.iter().map(Vec::as_slice).collect();
    let name = target.table(&table.name);
    // The list, in a subquery of its own, keeps the index scan that a join would not use.
    let from = match listed(table, &keys, "") {
        Some(condition) => format!("(FROM {name} WHERE {condition})"),
        None => name,
    };
    session.run(&format!(
        "CREATE OR REPLACE TEMP TABLE {} AS SELECT {selected} FROM {from} AS t JOIN {} AS p ON {}",
        quote(PATCHED),
        temporary(PATCHES),
        same_key(table, "p")
    ))?;
    let count = session.value(&format!("SELECT count(*)::VARCHAR FROM {}", temporary(PATCHED)))?;
    Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// The values in the forms that columns of the types store; fails for one that does not fit.
pub fn fitted<'a>(
    table: &MirrorTable,
    values: impl Iterator<Item = Option<&'a Value>>,
    types: &[ColumnType],
) -> Result<Vec<Fitted<'a>>> {
    values
        .zip(types)
        .map(|(value, column)| match value {
            None => Ok(Fitted::Cell(Cell::Null)),
            Some(value) => fit(value, *column).ok_or_else(|| {
                Error::source(format!("table {}: {} is no {column}", table.source, crate::schema::show(value)))
            }),
        })
        .collect()
}

/// A condition in the statement's own text that all rows of the keys meet, if that is the better way: each column of the
/// key is one of the values that the keys have there. With one column no other row meets it. `row` names the table, or
/// is empty.
fn listed(table: &MirrorTable, keys: &[&[Value]], row: &str) -> Option<String> {
    if keys.len() > LISTED_KEYS {
        return None;
    }
    let columns: Option<Vec<String>> = table
        .key
        .iter()
        .enumerate()
        .map(|(at, place)| {
            let column = &table.columns[*place];
            let values = keys.iter().map(|key| listed_value(key.get(at)?, column.column_type));
            let values = values.collect::<Option<Vec<String>>>()?.join(",");
            Some(format!("{row}{} IN ({values})", quote(&column.name)))
        })
        .collect();
    let condition = columns?.join(" AND ");
    (condition.len() <= LISTED_BYTES).then_some(condition)
}

/// The keys as a condition that reads the column of every row, if they are integers in one column, which is given too.
fn key_filter(session: &Session, table: &MirrorTable, keys: &[&[Value]]) -> Option<(KeyFilter, String)> {
    let [place] = table.key.as_slice() else { return None };
    let column = &table.columns[*place];
    (column.column_type == ColumnType::BigInt).then(|| Some((KeyFilter::new(session, keys)?, quote(&column.name))))?
}

/// The value in a list; `None` for one that a list does not find, that a statement does not hold, or of a type that DuckDB
/// may read differently from text.
fn listed_value(value: &Value, column: ColumnType) -> Option<String> {
    match (value, column) {
        (Value::Integer(number), ColumnType::BigInt) => Some(number.to_string()),
        (Value::Null, _) => None,
        (value, ColumnType::Varchar) => literal(value, column).filter(|literal| !literal.contains('\0')),
        _ => None,
    }
}

/// The condition that a row `t` of the mirror has the key of a row of a temporary table. Keys may hold NULL in SQLite,
/// unless they are rowids.
fn same_key(table: &MirrorTable, other: &str) -> String {
    let equals = if table.key_is_rowid { "=" } else { "IS NOT DISTINCT FROM" };
    let conditions = table
        .key
        .iter()
        .map(|place| format!("t.{} {equals} {other}.{}", quote(&table.columns[*place].name), value_alias(*place)));
    conditions.collect::<Vec<_>>().join(" AND ")
}

fn value_alias(place: usize) -> String {
    format!("v{place}")
}

fn temporary(name: &str) -> String {
    format!("temp.main.{}", quote(name))
}
