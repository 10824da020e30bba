//! `maniac_tables`: a row per column of a branch's ordinary tables, as their rows are in changesets and mirrors.

use maniac_changeset::ROWID_COLUMN;
use maniac_sqlite_format::{Column, Generated, KeyForm, Schema, Selection, Table, TableKind};

use super::{Field, Relation, Row, Rows, Type};

pub const TABLES: Relation = Relation {
    name: "maniac_tables",
    columns: &[
        ("table", Type::Text),
        ("column", Type::Text),
        ("position", Type::Integer),
        ("declared_type", Type::Text),
        ("key_position", Type::Integer),
    ],
};

/// What stands behind the declared type of a generated column.
pub const GENERATED: &str = "GENERATED ALWAYS";

/// A generated column of the same name and type as an ordinary one is another column.
pub fn declared(column: &Column) -> String {
    match column.generated {
        Generated::No => column.declared_type.clone(),
        Generated::Stored | Generated::Virtual => format!("{} {GENERATED}", column.declared_type).trim().to_string(),
    }
}

/// VIRTUAL columns, which have no values in a store, come last in their table and have no position.
pub fn tables(schema: &Schema) -> Rows {
    let tables = schema.tables.iter().filter(|table| matches!(table.kind, TableKind::Ordinary));
    let rows: Vec<Row> = tables.flat_map(|table| columns(table)).collect();
    Box::new(rows.into_iter().map(Ok))
}

fn columns(table: &Table) -> Vec<Row> {
    let row = |column: &str, position: Field, declared: String, key: Field| {
        vec![Field::text(&table.name), Field::text(column), position, Field::Text(declared), key]
    };
    let by_rowid = matches!(table.key_form(), KeyForm::Rowid);
    let mut rows = Vec::new();
    if by_rowid {
        rows.push(row(ROWID_COLUMN, Field::Integer(0), "INTEGER".into(), Field::Integer(1)));
    }
    for (place, column) in table.selected_columns(Selection::Stored) {
        let key = if by_rowid { 0 } else { table.key_position(place) };
        let position = Field::Integer(rows.len() as i64);
        rows.push(row(&column.name, position, declared(column), Field::count(key)));
    }
    let without_values = table.columns.iter().filter(|column| column.generated == Generated::Virtual);
    rows.extend(without_values.map(|column| row(&column.name, Field::Null, declared(column), Field::Null)));
    rows
}
