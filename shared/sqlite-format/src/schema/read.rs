//! Reads `sqlite_schema`, the table whose b-tree starts at page 1.

use std::collections::HashMap;
use std::sync::Arc;

use maniac_base::{PageNo, PageSource, Value};

use super::create_table::virtual_module;
use super::{Table, TableKind};
use crate::{Cell, Database, Encoding, FieldSource, FormatError, RecordFields, RowLayout, TreeWalk, full_payload};

/// A row of `sqlite_schema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRow {
    pub rowid: i64,
    /// `table`, `index`, `view` or `trigger`.
    pub kind: String,
    pub name: String,
    /// The table that an index or trigger belongs to; the name itself for the others.
    pub table_name: String,
    /// The root page, 0 for views, triggers and virtual tables.
    pub root: u32,
    /// Nothing for the indexes that SQLite makes for constraints.
    pub sql: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// Everything in `sqlite_schema`, in its order.
    pub rows: Vec<SchemaRow>,
    /// The tables among them.
    pub tables: Vec<Arc<Table>>,
}

/// The names that the modules of SQLite give to their shadow tables, after the virtual table's own name.
fn shadow_names(module: &str) -> &'static [&'static str] {
    match module.to_ascii_lowercase().as_str() {
        "fts3" | "fts4" => &["content", "segments", "segdir", "docsize", "stat"],
        "fts5" => &["data", "idx", "content", "docsize", "config"],
        "rtree" | "rtree_i32" | "geopoly" => &["node", "rowid", "parent"],
        _ => &[],
    }
}

impl Schema {
    /// Reads the schema of a database; an empty database has an empty one.
    pub fn read(source: &dyn PageSource) -> Result<Schema, FormatError> {
        match Database::open(source)? {
            Some(db) => Schema::read_from(&db),
            None => Ok(Schema::default()),
        }
    }

    pub fn read_from(db: &Database<'_>) -> Result<Schema, FormatError> {
        let layout = schema_layout(db);
        let mut fields = RecordFields::default();
        let mut rows = Vec::new();
        let mut walk = TreeWalk::new(db, PageNo(1))?;
        while let Some(cell) = walk.next()? {
            rows.push(schema_row(db, &layout, &cell, &mut fields)?);
        }
        Schema::from_rows(rows, layout.encoding)
    }

    /// Understands rows of `sqlite_schema`, wherever they were read. The database's encoding is in what some defaults are.
    pub fn from_rows(rows: Vec<SchemaRow>, encoding: Encoding) -> Result<Schema, FormatError> {
        let mut virtual_tables: HashMap<String, String> = HashMap::new();
        for row in &rows {
            if row.kind == "table"
                && let Some(module) = row.sql.as_deref().and_then(virtual_module)
            {
                virtual_tables.insert(row.name.to_ascii_lowercase(), module);
            }
        }
        let mut tables = Vec::new();
        for row in rows.iter().filter(|row| row.kind == "table") {
            let kind = table_kind(&row.name, &virtual_tables);
            let table = Table::from_row(row, kind, encoding);
            let table = table.map_err(|reason| FormatError::Schema { table: row.name.clone(), reason })?;
            tables.push(Arc::new(table));
        }
        Ok(Schema { rows, tables })
    }

    /// A table by its name, which SQLite compares without case.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// The root pages of all b-trees but that of `sqlite_schema` itself.
    pub fn roots(&self) -> impl Iterator<Item = PageNo> + '_ {
        self.rows.iter().filter(|row| row.root != 0).map(|row| PageNo(row.root))
    }
}

fn table_kind(name: &str, virtual_tables: &HashMap<String, String>) -> TableKind {
    let lower = name.to_ascii_lowercase();
    if let Some(module) = virtual_tables.get(&lower) {
        return TableKind::Virtual { module: module.clone() };
    }
    if lower.starts_with("sqlite_") {
        return TableKind::Internal;
    }
    // The owner's name may hold underscores itself.
    let owner = lower.match_indices('_').find_map(|(i, _)| {
        let module = virtual_tables.get(&lower[..i])?;
        shadow_names(module).contains(&&lower[i + 1..]).then(|| name[..i].to_string())
    });
    owner.map_or(TableKind::Ordinary, |of| TableKind::Shadow { of })
}

/// The columns type, name, tbl_name, rootpage and sql.
fn schema_layout(db: &Database<'_>) -> RowLayout {
    let field = |index| FieldSource::Field { index, real: false, default: Value::Null };
    RowLayout { encoding: db.header().encoding, sources: (0..5).map(field).collect() }
}

fn schema_row(
    db: &Database<'_>,
    layout: &RowLayout,
    cell: &Cell<'_>,
    fields: &mut RecordFields,
) -> Result<SchemaRow, FormatError> {
    let malformed = |what| FormatError::malformed(cell.page, cell.offset, what);
    let payload = full_payload(db, cell)?;
    fields.parse(&payload).map_err(malformed)?;
    let text = |i| match layout.value(i, cell.rowid, &payload, fields) {
        Value::Text(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    let required = |i| text(i).ok_or_else(|| malformed("a row of sqlite_schema lacks its type or name"));
    let root = match layout.value(3, cell.rowid, &payload, fields) {
        Value::Null => 0,
        Value::Integer(root) => u32::try_from(root).map_err(|_| malformed("a root page is out of range"))?,
        _ => return Err(malformed("a root page is not a number")),
    };
    Ok(SchemaRow {
        rowid: cell.rowid,
        kind: required(0)?,
        name: required(1)?,
        table_name: required(2)?,
        root,
        sql: text(4),
    })
}
