//! Reads `sqlite_schema`, the table whose b-tree starts at page 1.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use maniac_base::{PageNo, PageSource, Value};

use super::create_table::virtual_module;
use super::{Table, TableKind};
use crate::{Cell, Database, Encoding, FieldSource, FormatError, RecordFields, RowLayout, TreeWalk, full_payload};

/// The root page of `sqlite_schema`.
const ROOT: PageNo = PageNo(1);

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

impl SchemaRow {
    fn is_table(&self) -> bool {
        self.kind == "table"
    }

    /// The module of a virtual table.
    fn module(&self) -> Option<String> {
        self.sql.as_deref().filter(|_| self.is_table()).and_then(virtual_module)
    }
}

/// A row of `sqlite_schema` that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsoundRow {
    pub rowid: i64,
    /// Empty where there is none.
    pub name: String,
    /// It is a table, or may be one.
    pub is_table: bool,
    /// 0 where it names no page.
    pub root: u32,
    pub reason: String,
}

/// The modules of virtual tables by the tables' names in lower case.
type Modules = HashMap<String, String>;

fn modules_of(rows: &[Arc<SchemaRow>]) -> Modules {
    rows.iter().filter_map(|row| Some((row.name.to_ascii_lowercase(), row.module()?))).collect()
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// Everything in `sqlite_schema`, in its order, which is that of the rowids.
    pub rows: Vec<Arc<SchemaRow>>,
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
        let mut walk = TreeWalk::new(db, ROOT)?;
        while let Some(cell) = walk.next()? {
            rows.push(Arc::new(schema_row(db, &layout, &cell, &mut fields)?));
        }
        Schema::of(rows, layout.encoding)
    }

    /// Tables by their names, without case, as the whole schema has them, and no others. Statements of other tables are not
    /// parsed, so that this costs little in a database of many tables.
    pub fn read_tables<'n>(db: &Database<'_>, names: impl IntoIterator<Item = &'n str>) -> Result<Schema, FormatError> {
        let names: HashSet<String> = names.into_iter().map(str::to_ascii_lowercase).collect();
        let is_wanted = |name: &str| names.contains(&name.to_ascii_lowercase());
        let layout = schema_layout(db);
        let mut fields = RecordFields::default();
        let mut rows = Vec::new();
        let mut walk = TreeWalk::new(db, ROOT)?;
        while let Some(cell) = walk.next()? {
            let payload = full_payload(db, &cell)?;
            fields.parse(&payload).map_err(|what| FormatError::malformed(cell.page, cell.offset, what))?;
            let value = |column| layout.value(column, cell.rowid, &payload, &fields);
            let is_table = matches!(value(0), Value::Text(kind) if *kind == *b"table");
            // Virtual tables have no root page; they say which tables are their shadows.
            let is_virtual = || matches!(value(3), Value::Null | Value::Integer(0));
            let is_named = || matches!(value(1), Value::Text(name) if is_wanted(&String::from_utf8_lossy(&name)));
            if is_table && (is_named() || is_virtual()) {
                rows.push(Arc::new(schema_row(db, &layout, &cell, &mut fields)?));
            }
        }
        let modules = modules_of(&rows);
        rows.retain(|row| is_wanted(&row.name));
        let tables = rows.iter().map(|row| table(row, &modules, layout.encoding)).collect::<Result<_, _>>()?;
        Ok(Schema { rows, tables })
    }

    /// The part of a database's schema that can be understood, and the rows of `sqlite_schema` that can't be.
    pub fn read_sound(db: &Database<'_>) -> Result<(Schema, Vec<UnsoundRow>), FormatError> {
        let layout = schema_layout(db);
        let mut fields = RecordFields::default();
        let (mut rows, mut unsound) = (Vec::new(), Vec::new());
        let mut walk = TreeWalk::new(db, ROOT)?;
        while let Some(cell) = walk.next()? {
            match read_row(db, &layout, &cell, &mut fields)? {
                Ok(row) => rows.push(Arc::new(row)),
                Err(row) => unsound.push(row),
            }
        }
        let modules = modules_of(&rows);
        let mut tables = Vec::new();
        rows.retain(|row| {
            let read = row.is_table().then(|| table(row, &modules, layout.encoding)).transpose();
            match read {
                Ok(read) => tables.extend(read),
                Err(error) => {
                    let (name, is_table, root) = (row.name.clone(), true, row.root);
                    unsound.push(UnsoundRow { rowid: row.rowid, name, is_table, root, reason: error.to_string() });
                    return false;
                }
            }
            true
        });
        Ok((Schema { rows, tables }, unsound))
    }

    /// Has in common with another schema what is the same in both, which tells the two apart at the cost of what differs.
    pub fn share(&mut self, other: &Schema) {
        fn share<T: PartialEq>(list: &mut [Arc<T>], other: &[Arc<T>], number: fn(&T) -> i64) {
            let others: HashMap<i64, &Arc<T>> = other.iter().map(|one| (number(one), one)).collect();
            for one in list {
                if let Some(other) = others.get(&number(one)).filter(|other| other == &&one) {
                    *one = (*other).clone();
                }
            }
        }
        share(&mut self.rows, &other.rows, |row| row.rowid);
        share(&mut self.tables, &other.tables, |table| table.schema_rowid);
    }

    /// Understands rows of `sqlite_schema`, wherever they were read. The database's encoding is in what some defaults are.
    pub fn from_rows(rows: Vec<SchemaRow>, encoding: Encoding) -> Result<Schema, FormatError> {
        Schema::of(rows.into_iter().map(Arc::new).collect(), encoding)
    }

    fn of(rows: Vec<Arc<SchemaRow>>, encoding: Encoding) -> Result<Schema, FormatError> {
        let modules = modules_of(&rows);
        let tables = rows.iter().filter(|row| row.is_table()).map(|row| table(row, &modules, encoding));
        Ok(Schema { tables: tables.collect::<Result<_, _>>()?, rows })
    }

    /// The schema that `db` has, in which no rows of `sqlite_schema` differ from this one but those of some rowids. What
    /// stayed is neither read nor understood again.
    pub fn with_changes(&self, db: &Database<'_>, rowids: &[i64]) -> Result<Schema, FormatError> {
        let layout = schema_layout(db);
        let mut fields = RecordFields::default();
        let mut schema = self.clone();
        let mut changed = Vec::new();
        for &rowid in rowids {
            let row = match db.seek(ROOT, rowid)? {
                Some((page, place)) => Some(Arc::new(schema_row(db, &layout, &page.cell(place)?, &mut fields)?)),
                None => None,
            };
            let place = schema.rows.binary_search_by_key(&rowid, |row| row.rowid);
            let before = put(&mut schema.rows, place, row.clone());
            changed.push((rowid, before, row));
        }
        let concerned = || changed.iter().flat_map(|(_, before, after)| [before, after]).flatten();
        if concerned().any(|row| row.module().is_some()) {
            // It may make other tables its shadows, or leave them.
            return Schema::of(schema.rows, layout.encoding);
        }
        let modules = match concerned().any(|row| row.is_table()) {
            true => self.modules(),
            false => Modules::new(),
        };
        for (rowid, _, row) in &changed {
            let after = row.as_ref().filter(|row| row.is_table());
            let after = after.map(|row| table(row, &modules, layout.encoding)).transpose()?;
            let place = schema.tables.binary_search_by_key(rowid, |table| table.schema_rowid);
            put(&mut schema.tables, place, after);
        }
        Ok(schema)
    }

    fn modules(&self) -> Modules {
        let module = |table: &Arc<Table>| match &table.kind {
            TableKind::Virtual { module } => Some((table.name.to_ascii_lowercase(), module.clone())),
            _ => None,
        };
        self.tables.iter().filter_map(module).collect()
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

/// Puts an element, or none, where one was found or belongs; gives the one that was there.
fn put<T>(list: &mut Vec<T>, place: Result<usize, usize>, element: Option<T>) -> Option<T> {
    match (place, element) {
        (Ok(place), Some(element)) => Some(std::mem::replace(&mut list[place], element)),
        (Ok(place), None) => Some(list.remove(place)),
        (Err(place), Some(element)) => {
            list.insert(place, element);
            None
        }
        (Err(_), None) => None,
    }
}

fn table(row: &SchemaRow, modules: &Modules, encoding: Encoding) -> Result<Arc<Table>, FormatError> {
    let table = Table::from_row(row, table_kind(&row.name, modules), encoding);
    table.map(Arc::new).map_err(|reason| FormatError::Schema { table: row.name.clone(), reason })
}

fn table_kind(name: &str, modules: &Modules) -> TableKind {
    let lower = name.to_ascii_lowercase();
    if let Some(module) = modules.get(&lower) {
        return TableKind::Virtual { module: module.clone() };
    }
    if lower.starts_with("sqlite_") {
        return TableKind::Internal;
    }
    // The owner's name may hold underscores itself.
    let owner = lower.match_indices('_').find_map(|(i, _)| {
        let module = modules.get(&lower[..i])?;
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
    read_row(db, layout, cell, fields)?.map_err(|row| FormatError::Schema { table: row.name, reason: row.reason })
}

/// Fails where the page is damaged; what SQL can have written is a row, sound or not.
fn read_row(
    db: &Database<'_>,
    layout: &RowLayout,
    cell: &Cell<'_>,
    fields: &mut RecordFields,
) -> Result<Result<SchemaRow, UnsoundRow>, FormatError> {
    let payload = full_payload(db, cell)?;
    fields.parse(&payload).map_err(|what| FormatError::malformed(cell.page, cell.offset, what))?;
    let text = |i| match layout.value(i, cell.rowid, &payload, fields) {
        Value::Text(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    let root = match layout.value(3, cell.rowid, &payload, fields) {
        Value::Null => Ok(0),
        Value::Integer(root) => u32::try_from(root).map_err(|_| "its root page is out of range"),
        _ => Err("its root page is not a number"),
    };
    let (kind, name, table_name) = (text(0), text(1), text(2));
    let reason = match (&kind, &name, &table_name) {
        (Some(_), Some(_), Some(_)) => root.err(),
        _ => Some("its row of sqlite_schema lacks a type or name"),
    };
    let root = root.unwrap_or_default();
    if let Some(reason) = reason {
        let is_table = !["index", "view", "trigger"].contains(&kind.as_deref().unwrap_or_default());
        let (rowid, name, reason) = (cell.rowid, name.unwrap_or_default(), reason.to_owned());
        return Ok(Err(UnsoundRow { rowid, name, is_table, root, reason }));
    }
    let named = |text: Option<String>| text.unwrap_or_default();
    let (kind, name, table_name) = (named(kind), named(name), named(table_name));
    Ok(Ok(SchemaRow { rowid: cell.rowid, kind, name, table_name, root, sql: text(4) }))
}
