//! The changes of one changeset, row by row, with the names of their columns.

use std::sync::Arc;

use maniac_base::Value;
use maniac_changeset::{
    Change, ChangesetError, Item, NULL_KEY_PREFIX, Op, ROWID_COLUMN, Reader, Record, TableHeader, Target,
};
use maniac_sqlite_format::{KeyForm, Schema, TableKind};

use crate::JsonObject;

/// One changed row. `key`, `old` and `new` are JSON objects by column name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    pub table: String,
    pub op: Op,
    /// The primary key's columns, or `_rowid_`.
    pub key: String,
    /// The row of a DELETE; what the changed columns of an UPDATE held.
    pub old: Option<String>,
    /// The row of an INSERT; what the changed columns of an UPDATE hold now.
    pub new: Option<String>,
    /// The virtual table that keeps its index in this one, as FTS5 and R-Tree do.
    pub shadow_of: Option<String>,
}

/// Reads a changeset as it is asked for, one row at a time.
pub struct TableRows {
    changeset: Vec<u8>,
    /// The schema that the changeset was written under.
    schema: Arc<Schema>,
    /// The one table that is asked for.
    only: Option<String>,
    at: usize,
    table: Option<AtTable>,
}

/// Where the reader is.
struct AtTable {
    header: usize,
    name: String,
    columns: Vec<String>,
    shadow_of: Option<String>,
    wanted: bool,
}

impl TableRows {
    pub fn new(changeset: Vec<u8>, schema: Arc<Schema>, only: Option<String>) -> TableRows {
        TableRows { changeset, schema, only, at: 0, table: None }
    }

    fn read(&mut self) -> Result<Option<TableRow>, ChangesetError> {
        let header = self.table.as_ref().map(|table| table.header);
        let mut reader = Reader::resume(&self.changeset, header, self.at)?;
        loop {
            let start = reader.offset();
            let Some(item) = reader.next().transpose()? else { return Ok(None) };
            match item {
                Item::Table(header) => {
                    let name = Target::of(&header).table;
                    self.table = Some(AtTable {
                        header: start,
                        name: name.to_owned(),
                        columns: columns(&self.schema, &header),
                        shadow_of: shadow_of(&self.schema, name),
                        wanted: self.only.as_ref().is_none_or(|only| only.eq_ignore_ascii_case(name)),
                    });
                }
                Item::Change(change) => {
                    let (Some(table), Some(header)) = (&self.table, reader.table()) else { continue };
                    if table.wanted {
                        self.at = reader.offset();
                        let shadow_of = table.shadow_of.clone();
                        return Ok(Some(TableRow { shadow_of, ..row(&table.name, &table.columns, &header, &change) }));
                    }
                }
            }
        }
    }
}

impl Iterator for TableRows {
    type Item = Result<TableRow, ChangesetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.read();
        if !matches!(row, Ok(Some(_))) {
            self.changeset.clear();
            (self.at, self.table) = (0, None);
        }
        row.transpose()
    }
}

/// The names of a changeset's columns.
pub fn columns(schema: &Schema, header: &TableHeader<'_>) -> Vec<String> {
    let target = Target::of(header);
    let mut names: Vec<String> = if header.name == "sqlite_schema" {
        [ROWID_COLUMN, "type", "name", "tbl_name", "rootpage", "sql"].map(str::to_owned).into()
    } else {
        let table = schema.table(target.table);
        let by_rowid = target.null_key || table.is_some_and(|table| matches!(table.key_form(), KeyForm::Rowid));
        let rowid = by_rowid.then(|| ROWID_COLUMN.to_owned());
        let declared = table.iter().flat_map(|table| table.changeset_columns()).map(|(_, column)| column.name.clone());
        rowid.into_iter().chain(declared).collect()
    };
    (names.len()..header.columns()).for_each(|n| names.push(format!("column {}", n + 1)));
    names
}

fn shadow_of(schema: &Schema, table: &str) -> Option<String> {
    match &schema.table(table)?.kind {
        TableKind::Shadow { of } => Some(of.clone()),
        _ => None,
    }
}

/// One change in words; whether its table is the shadow of another the schema would have to say.
pub fn row(table: &str, columns: &[String], header: &TableHeader<'_>, change: &Change<'_>) -> TableRow {
    debug_assert!(!table.starts_with(NULL_KEY_PREFIX), "the table, not the header's name for it");
    let object = |record: Record<'_>, wanted: &dyn Fn(usize) -> bool| {
        let mut object = JsonObject::default();
        for (n, value) in record.values().enumerate() {
            let value: Option<Value<'_>> = value;
            if let (Some(value), true) = (value, wanted(n)) {
                object.add(&columns[n], &value);
            }
        }
        object.finish()
    };
    let all = change.op != Op::Update;
    let side = |record: Option<Record<'_>>| record.map(|record| object(record, &|n| all || !header.is_key(n)));
    TableRow {
        table: table.to_owned(),
        op: change.op,
        key: object(change.keyed(), &|n| header.is_key(n)),
        old: side(change.old),
        new: side(change.new),
        shadow_of: None,
    }
}
