//! What `direct` needs to know of a lake's catalog, read from its tables.

use super::Target;
use super::bounds::Bounds;
use crate::error::Result;
use crate::host::{Session, TextRow};
use crate::schema::{MirrorTable, quote, quote_text};

/// The format of catalogs that are written directly.
const FORMAT: &str = "1.0";

/// Where the catalog's tables are.
pub struct Place {
    pub catalog: String,
    pub schema: String,
}

impl Place {
    pub fn table(&self, name: &str) -> String {
        format!("{}.{}.{name}", quote(&self.catalog), quote(&self.schema))
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
    pub bounds: Vec<Bounds>,
}

/// The catalog, if it is in a DuckDB file, of the format that is known, and under the name that DuckLake gives it.
pub fn find(session: &Session, target: &Target) -> Result<Option<Place>> {
    let lake = quote_text(&target.catalog);
    let kind = session.value(&format!("SELECT catalog_type::VARCHAR FROM ducklake_settings({lake})"))?;
    if kind.as_deref() != Some("duckdb") {
        return Ok(None);
    }
    let place = Place { catalog: format!("__ducklake_metadata_{}", target.catalog), schema: "main".to_string() };
    let metadata = place.table("ducklake_metadata");
    // Fails for a catalog that was attached under another name or is in another schema: DuckDB does not list it, so that
    // there is no asking.
    let format = session.value(&format!("SELECT value FROM {metadata} WHERE key = 'version' AND scope IS NULL"));
    Ok(format.is_ok_and(|format| format.as_deref() == Some(FORMAT)).then_some(place))
}

/// What is known after the snapshot `base`, if it is the newest, and DuckLake put so many rows of the tables inline in the
/// snapshot `seen`.
pub fn learn(
    session: &Session,
    target: &Target,
    place: &Place,
    tables: &[MirrorTable],
    rows: &[(String, usize)],
    seen: i64,
    base: i64,
) -> Result<Option<Plan>> {
    let snapshots = place.table("ducklake_snapshot");
    let newest = session.query(&format!(
        "SELECT schema_version::VARCHAR, next_catalog_id::VARCHAR, next_file_id::VARCHAR, changes_made \
         FROM {snapshots}, {} AS made WHERE made.snapshot_id = {seen} AND {snapshots}.snapshot_id = {base} \
         AND (SELECT max(snapshot_id) FROM {snapshots}) = {base}",
        place.table("ducklake_snapshot_changes"),
    ))?;
    let [newest] = newest.as_slice() else { return Ok(None) };
    let [Some(schema_version), Some(next_catalog), Some(next_file)] = numbers(newest)[..] else { return Ok(None) };
    let made = newest.get(3).cloned().flatten().unwrap_or_default();
    let mut plan = Plan { snapshot: base, schema_version, next_catalog, next_file, tables: Vec::new() };
    for (name, most) in rows {
        let Some(table) = tables.iter().find(|table| table.name == *name) else { return Ok(None) };
        let Some(inlined) = learn_table(session, target, place, table, *most)? else { return Ok(None) };
        // Elsewhere: in a file of its own, or in both.
        let change = |kind: &str| made.split(',').any(|change| change == format!("{kind}:{}", inlined.id));
        if !change("inlined_insert") || change("inserted_into_table") {
            return Ok(None);
        }
        plan.tables.push(inlined);
    }
    Ok(Some(plan))
}

fn learn_table(
    session: &Session,
    target: &Target,
    place: &Place,
    table: &MirrorTable,
    most: usize,
) -> Result<Option<Inlined>> {
    let found = session.query(&format!(
        "SELECT t.table_id::VARCHAR, record_count::VARCHAR, next_row_id::VARCHAR, \
         arg_max(i.table_name, i.schema_version) \
         FROM {} AS t JOIN {} AS s USING (schema_id) JOIN {} AS n USING (table_id) JOIN {} AS i USING (table_id) \
         WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL AND lower(schema_name) = lower({}) \
         AND t.table_name = {} GROUP BY ALL",
        place.table("ducklake_table"),
        place.table("ducklake_schema"),
        place.table("ducklake_table_stats"),
        place.table("ducklake_inlined_data_tables"),
        quote_text(&target.schema),
        quote_text(&table.name)
    ))?;
    let [found] = found.as_slice() else { return Ok(None) };
    let [Some(id), Some(rows), Some(next_row)] = numbers(found)[..] else { return Ok(None) };
    let Some(holder) = found.get(3).cloned().flatten() else { return Ok(None) };
    // Statistics of other kinds, and columns that must not be NULL, are DuckLake's to deal with.
    let columns = session.query(&format!(
        "SELECT column_id::VARCHAR, column_name, contains_null::VARCHAR, min_value, max_value, \
         (nulls_allowed AND s.column_id IS NOT NULL AND contains_nan IS NULL AND extra_stats IS NULL)::VARCHAR \
         FROM {} AS c LEFT JOIN {} AS s USING (table_id, column_id) \
         WHERE table_id = {id} AND end_snapshot IS NULL AND parent_column IS NULL ORDER BY column_order",
        place.table("ducklake_column"),
        place.table("ducklake_table_column_stats"),
    ))?;
    if columns.len() != table.columns.len() {
        return Ok(None);
    }
    let mut bounds = Vec::with_capacity(columns.len());
    for (row, column) in columns.iter().zip(&table.columns) {
        let [Some(id), Some(name), has_null, least, greatest, Some(usual)] = row.as_slice() else { return Ok(None) };
        let has_null = has_null.as_ref().map(|has_null| has_null == "true");
        let Ok(id) = id.parse() else { return Ok(None) };
        let (least, greatest) = (least.clone(), greatest.clone());
        let known = Bounds { column: id, column_type: column.column_type, has_null, least, greatest };
        if usual != "true" || *name != column.name || !known.are_known() {
            return Ok(None);
        }
        bounds.push(known);
    }
    Ok(Some(Inlined { name: table.name.clone(), id, holder, most, rows, next_row, bounds }))
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
        let changed: Vec<&Bounds> = self
            .bounds
            .iter()
            .zip(&before.bounds)
            .filter(|(after, before)| after != before)
            .map(|(after, _)| after)
            .collect();
        if !changed.is_empty() {
            let text = |text: &Option<String>| text.as_deref().map_or("NULL".to_string(), quote_text);
            let assignment = |name: &str, value: &dyn Fn(&Bounds) -> String| {
                let cases = changed.iter().map(|bounds| format!("WHEN {} THEN {}", bounds.column, value(bounds)));
                format!("{name} = CASE column_id {} END", cases.collect::<Vec<_>>().join(" "))
            };
            let has_null =
                |bounds: &Bounds| bounds.has_null.map_or("NULL".to_string(), |has_null| has_null.to_string());
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
