//! What `catalog_writer` needs to know of a lake's catalog, read from its tables.

use std::collections::BTreeMap;

use super::column_stats::ColumnStats;
use crate::error::Result;
use crate::host::{Session, TextRow};
use crate::schema::{MirrorColumn, STATE_TABLE, Tables, quote, quote_text};
use crate::target::Target;

/// The format of catalogs that are written directly, and the versions of DuckDB whose DuckLake was seen to write it so.
pub const FORMAT: &str = "1.0";
const DUCKDB: &str = "v1.5.";

/// Where the catalog's tables are.
pub struct Place {
    pub catalog: String,
    pub schema: String,
}

impl Place {
    pub fn table(&self, name: &str) -> String {
        format!("{}.{}.{name}", quote(&self.catalog), quote(&self.schema))
    }

    /// The query for the catalog's format.
    fn format(&self) -> String {
        format!("SELECT value FROM {} WHERE key = 'version' AND scope IS NULL", self.table("ducklake_metadata"))
    }
}

/// The catalog as it is after a snapshot.
#[derive(Clone)]
pub struct Plan {
    pub snapshot: i64,
    pub schema_version: i64,
    pub next_catalog: i64,
    pub next_file: i64,
    pub tables: Vec<Inlined>,
}

/// A table of the mirror in the catalog.
#[derive(Clone)]
pub struct Inlined {
    pub name: String,
    pub id: i64,
    /// The catalog's table with its rows.
    pub holder: String,
    /// So many rows at once were put inline.
    pub most: usize,
    pub rows: i64,
    pub next_row: i64,
    pub bounds: Vec<ColumnStats>,
}

/// The catalog, if it is in a DuckDB file, of the format that is known, and under the name that DuckLake gives it; else why
/// it is not written.
pub fn find(session: &Session, target: &Target) -> std::result::Result<Place, String> {
    let asked = |sql: &str| session.value(sql).map(Option::unwrap_or_default).map_err(|error| error.to_string());
    let lake = quote_text(&target.catalog);
    let kind = asked(&format!("SELECT catalog_type::VARCHAR FROM ducklake_settings({lake})"))?;
    if kind != "duckdb" {
        return Err(format!("the catalog is in {kind}, not in a DuckDB file"));
    }
    let duckdb = asked("SELECT version()")?;
    if !duckdb.starts_with(DUCKDB) {
        return Err(format!("DuckDB is {duckdb}, not {DUCKDB}x"));
    }
    let place = Place { catalog: format!("__ducklake_metadata_{}", target.catalog), schema: "main".to_string() };
    // Fails for a catalog that was attached under another name or is in another schema: DuckDB does not list it, so that
    // there is no asking.
    let format = asked(&format!("SELECT ({})", place.format())).map_err(|_| {
        "the catalog is attached under another name than DuckLake's own, or is in a schema of its own".to_string()
    })?;
    match format == FORMAT {
        true => Ok(place),
        false => Err(format!("the catalog has version {format}, not {FORMAT}")),
    }
}

/// What DuckLake was seen to do with a batch of new rows.
pub struct Seen {
    /// The one that the batch made.
    pub snapshot: i64,
    /// Its rows by table of the mirror.
    pub rows: Vec<(String, usize)>,
}

/// What came of `learn`.
pub enum Learnt {
    Plan(Plan),
    /// The newest snapshot is somebody else's.
    Others,
    /// The batch that was seen has not gone inline.
    Elsewhere,
}

/// What is known after the snapshot `base` of the tables in `most`, which has the rows that can go inline at once.
pub fn learn(
    session: &Session,
    target: &Target,
    place: &Place,
    tables: &Tables,
    most: &BTreeMap<String, usize>,
    seen: &Seen,
    base: i64,
) -> Result<Learnt> {
    let snapshots = place.table("ducklake_snapshot");
    let newest = session.query(&format!(
        "SELECT schema_version::VARCHAR, next_catalog_id::VARCHAR, next_file_id::VARCHAR, changes_made \
         FROM {snapshots} AS s, {} AS made WHERE made.snapshot_id = {} AND s.snapshot_id = {base} \
         AND (SELECT max(snapshot_id) FROM {snapshots}) = {base}",
        place.table("ducklake_snapshot_changes"),
        seen.snapshot,
    ))?;
    let [newest] = newest.as_slice() else { return Ok(Learnt::Others) };
    // A lake that was detached and attached again may have been migrated meanwhile.
    if session.value(&format!("SELECT ({})", place.format()))?.as_deref() != Some(FORMAT) {
        return Ok(Learnt::Elsewhere);
    }
    let [Some(schema_version), Some(next_catalog), Some(next_file)] = numbers(newest)[..] else {
        return Ok(Learnt::Elsewhere);
    };
    let made = newest.get(3).cloned().flatten().unwrap_or_default();
    let mut inlined = learn_tables(session, target, place, most)?;
    for (name, _) in &seen.rows {
        let Some(table) = inlined.iter().find(|table| table.name == *name) else { return Ok(Learnt::Elsewhere) };
        let has = |kind: &str| made.split(',').any(|change| change == format!("{kind}:{}", table.id));
        if !has("inlined_insert") || has("inserted_into_table") {
            return Ok(Learnt::Elsewhere);
        }
    }
    learn_columns(session, place, tables, &mut inlined)?;
    Ok(Learnt::Plan(Plan { snapshot: base, schema_version, next_catalog, next_file, tables: inlined }))
}

/// The schema version of the snapshot `base`, its next numbers for tables and files, the number of the mirror's state table,
/// and the time; `None` if it is not the newest snapshot, or the catalog was migrated meanwhile.
pub fn newest(session: &Session, target: &Target, place: &Place, base: i64) -> Result<Option<[i64; 5]>> {
    let snapshots = place.table("ducklake_snapshot");
    let rows = session.query(&format!(
        "SELECT schema_version::VARCHAR, next_catalog_id::VARCHAR, next_file_id::VARCHAR, table_id::VARCHAR, \
         epoch_us(now())::VARCHAR FROM {snapshots}, {} AS t JOIN {} AS s USING (schema_id) \
         WHERE snapshot_id = {base} AND (SELECT max(snapshot_id) FROM {snapshots}) = {base} AND table_name = {} \
         AND lower(schema_name) = lower({}) AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL \
         AND ({}) = '{FORMAT}'",
        place.table("ducklake_table"),
        place.table("ducklake_schema"),
        quote_text(STATE_TABLE),
        quote_text(&target.schema),
        place.format(),
    ))?;
    let numbers = rows.iter().flatten().map(|text| text.as_ref()?.parse().ok()).collect::<Option<Vec<i64>>>();
    Ok(numbers.and_then(|numbers| numbers.try_into().ok()))
}

fn learn_tables(
    session: &Session,
    target: &Target,
    place: &Place,
    most: &BTreeMap<String, usize>,
) -> Result<Vec<Inlined>> {
    let names = most.keys().map(|name| quote_text(name)).collect::<Vec<_>>().join(", ");
    let found = session.query(&format!(
        "SELECT t.table_id::VARCHAR, record_count::VARCHAR, next_row_id::VARCHAR, t.table_name, \
         arg_max(i.table_name, i.schema_version) \
         FROM {} AS t JOIN {} AS s USING (schema_id) JOIN {} AS n USING (table_id) JOIN {} AS i USING (table_id) \
         WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND lower(schema_name) = lower({}) \
         AND t.table_name IN ({names}) GROUP BY ALL",
        place.table("ducklake_table"),
        place.table("ducklake_schema"),
        place.table("ducklake_table_stats"),
        place.table("ducklake_inlined_data_tables"),
        quote_text(&target.schema),
    ))?;
    let tables = found.iter().filter_map(|row| {
        let [Some(id), Some(rows), Some(next_row)] = numbers(row)[..] else { return None };
        let [_, _, _, Some(name), Some(holder)] = row.as_slice() else { return None };
        let (name, holder, most) = (name.clone(), holder.clone(), *most.get(name)?);
        Some(Inlined { name, id, holder, most, rows, next_row, bounds: Vec::new() })
    });
    Ok(tables.collect())
}

/// Fills in what the catalog says of the tables' columns. Tables that have something out of the ordinary go: they are
/// DuckLake's to deal with.
fn learn_columns(session: &Session, place: &Place, tables: &Tables, inlined: &mut Vec<Inlined>) -> Result<()> {
    let ids = inlined.iter().map(|table| table.id.to_string()).collect::<Vec<_>>().join(", ");
    let columns = session.query(&format!(
        "SELECT table_id::VARCHAR, column_id::VARCHAR, column_name, contains_null::VARCHAR, min_value, max_value, \
         (nulls_allowed AND contains_nan IS NULL AND extra_stats IS NULL)::VARCHAR, \
         (s.column_id IS NOT NULL)::VARCHAR \
         FROM {} AS c LEFT JOIN {} AS s USING (table_id, column_id) \
         WHERE table_id IN ({ids}) AND end_snapshot IS NULL AND parent_column IS NULL ORDER BY table_id, column_order",
        place.table("ducklake_column"),
        place.table("ducklake_table_column_stats"),
    ))?;
    inlined.retain_mut(|known| {
        let id = Some(known.id.to_string());
        let rows: Vec<&TextRow> = columns.iter().filter(|row| row.first() == Some(&id)).collect();
        let Some(table) = tables.iter().find(|table| table.name == known.name) else { return false };
        let bounds = rows.iter().zip(&table.columns).map(|(row, column)| bounds_of(row, column));
        known.bounds = bounds.collect::<Option<Vec<_>>>().unwrap_or_default();
        rows.len() == table.columns.len() && known.bounds.len() == rows.len()
    });
    Ok(())
}

fn bounds_of(row: &TextRow, column: &MirrorColumn) -> Option<ColumnStats> {
    let [_, Some(id), Some(name), has_null, least, greatest, Some(usual), Some(kept)] = row.as_slice() else {
        return None;
    };
    let bounds = ColumnStats {
        column: id.parse().ok()?,
        column_type: column.column_type,
        has_null: has_null.as_ref().map(|has_null| has_null == "true"),
        least: least.clone(),
        greatest: greatest.clone(),
        // Not of columns that were added to a table with rows.
        kept: kept == "true",
    };
    (usual == "true" && *name == column.name && bounds.are_known()).then_some(bounds)
}

/// The first three columns.
fn numbers(row: &TextRow) -> Vec<Option<i64>> {
    row.iter().take(3).map(|text| text.as_ref()?.parse().ok()).collect()
}

impl Inlined {
    /// The statements that change the table's statistics into these.
    pub fn statistics_since(&self, place: &Place, before: &Inlined) -> Vec<String> {
        let mut statements = vec![format!(
            "UPDATE {} SET record_count = {}, next_row_id = {} WHERE table_id = {}",
            place.table("ducklake_table_stats"),
            self.rows,
            self.next_row,
            self.id
        )];
        let changed: Vec<&ColumnStats> = self
            .bounds
            .iter()
            .zip(&before.bounds)
            .filter(|(after, before)| after != before)
            .map(|(after, _)| after)
            .collect();
        if !changed.is_empty() {
            let text = |text: &Option<String>| text.as_deref().map_or("NULL".to_string(), quote_text);
            let assignment = |name: &str, value: &dyn Fn(&ColumnStats) -> String| {
                let cases = changed.iter().map(|bounds| format!("WHEN {} THEN {}", bounds.column, value(bounds)));
                format!("{name} = CASE column_id {} END", cases.collect::<Vec<_>>().join(" "))
            };
            let has_null =
                |bounds: &ColumnStats| bounds.has_null.map_or("NULL".to_string(), |has_null| has_null.to_string());
            let columns = changed.iter().map(|bounds| bounds.column.to_string()).collect::<Vec<_>>();
            statements.push(format!(
                "UPDATE {} SET {}, {}, {} WHERE table_id = {} AND column_id IN ({})",
                place.table("ducklake_table_column_stats"),
                assignment("contains_null", &has_null),
                assignment("min_value", &|bounds| text(&bounds.least)),
                assignment("max_value", &|bounds| text(&bounds.greatest)),
                self.id,
                columns.join(", ")
            ));
        }
        statements
    }
}
