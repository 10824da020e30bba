//! A table and its columns.

use maniac_base::{PageNo, Value};

use super::create_table::{parse, strict_affinity};
use super::default::constant;
use super::{Affinity, SchemaRow};
use crate::{Encoding, Selection};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    Ordinary,
    /// A table that a virtual table keeps its content in; changes of it are rows like any other.
    Shadow {
        of: String,
    },
    /// One of SQLite's own: `sqlite_sequence`, `sqlite_stat1` and the like. Its rows stay out of the row stream.
    Internal,
    /// No b-tree of its own.
    Virtual {
        module: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    No,
    /// In the record, like any column.
    Stored,
    /// Computed when read: not in the record.
    Virtual,
}

/// How text compares in a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collation {
    /// As the column says.
    Unset,
    Binary,
    NoCase,
    Rtrim,
    /// One that the application brings.
    Other(String),
}

impl Collation {
    pub(super) fn named(name: &str) -> Collation {
        match name.to_ascii_lowercase().as_str() {
            "binary" => Collation::Binary,
            "nocase" => Collation::NoCase,
            "rtrim" => Collation::Rtrim,
            _ => Collation::Other(name.to_string()),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// As written, without quotes; empty where there is none.
    pub declared_type: String,
    pub affinity: Affinity,
    pub not_null: bool,
    /// The value of a constant default, as the column stores it.
    pub default: Option<Value<'static>>,
    /// The default as written.
    pub default_sql: Option<String>,
    pub collation: Collation,
    pub generated: Generated,
}

impl Column {
    /// What a row has that was written before the column was added.
    pub fn default_value(&self) -> Value<'static> {
        self.default.clone().unwrap_or_default()
    }
}

/// A column of the primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// Index into the table's columns.
    pub column: usize,
    pub collation: Collation,
    pub descending: bool,
}

/// What tells one row of a table from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// No declared primary key: the rowid.
    Rowid,
    /// The declared primary key. `nullable` where SQLite lets it hold NULL, in rowid tables without NOT NULL; a row whose
    /// key does is told by its rowid.
    Declared { nullable: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: String,
    /// The rowid of its row in `sqlite_schema`, which stays when the table is renamed.
    pub schema_rowid: i64,
    /// 0 for a virtual table.
    pub root: PageNo,
    pub kind: TableKind,
    pub columns: Vec<Column>,
    /// The declared primary key in its own order. Empty without one, and for virtual tables.
    pub key: Vec<KeyPart>,
    /// The INTEGER PRIMARY KEY column of a rowid table.
    pub rowid_alias: Option<usize>,
    pub without_rowid: bool,
    pub strict: bool,
    /// The column of each field of a record. A column may be there twice: a WITHOUT ROWID key can name it with two
    /// collations.
    pub stored: Vec<usize>,
    pub sql: String,
}

impl Table {
    /// Understands the CREATE TABLE text of a row of `sqlite_schema` of a database of that encoding.
    pub fn from_row(row: &SchemaRow, kind: TableKind, encoding: Encoding) -> Result<Table, String> {
        let sql = row.sql.as_deref().unwrap_or_default();
        let mut table = Table {
            name: row.name.clone(),
            schema_rowid: row.rowid,
            root: PageNo(row.root),
            kind,
            columns: Vec::new(),
            key: Vec::new(),
            rowid_alias: None,
            without_rowid: false,
            strict: false,
            stored: Vec::new(),
            sql: sql.to_string(),
        };
        if matches!(table.kind, TableKind::Virtual { .. }) {
            return Ok(table);
        }
        let definition = parse(sql)?;
        table.columns = definition.columns;
        table.strict = definition.strict;
        table.without_rowid = definition.without_rowid;
        table.rowid_alias = definition.rowid_alias.filter(|_| !definition.without_rowid);
        if table.without_rowid && !definition.has_key {
            return Err("WITHOUT ROWID without a primary key".into());
        }
        for part in definition.key {
            let collation = match part.collation {
                Collation::Unset => table.columns[part.column].collation.clone(),
                named => named,
            };
            table.key.push(KeyPart { collation, ..part });
        }
        if table.strict {
            for column in &mut table.columns {
                column.affinity = strict_affinity(column);
            }
        }
        for column in &mut table.columns {
            column.default = column.default_sql.as_deref().and_then(|sql| constant(sql, column.affinity, encoding));
        }
        if table.strict || table.without_rowid {
            for part in &table.key {
                table.columns[part.column].not_null |= table.rowid_alias != Some(part.column);
            }
        }
        table.lay_out();
        Ok(table)
    }

    /// Which column each field of a record holds: in the table's order, or key first in a WITHOUT ROWID table.
    fn lay_out(&mut self) {
        let mut parts: Vec<KeyPart> = Vec::new();
        if self.without_rowid {
            for part in &self.key {
                let twin = |seen: &KeyPart| seen.column == part.column && seen.collation == part.collation;
                if !parts.iter().any(twin) {
                    parts.push(part.clone());
                }
            }
            self.stored = parts.iter().map(|part| part.column).collect();
        }
        for (i, column) in self.columns.iter().enumerate() {
            if column.generated != Generated::Virtual && !parts.iter().any(|part| part.column == i) {
                self.stored.push(i);
            }
        }
        if self.without_rowid {
            self.key = parts;
        }
    }

    pub fn key_form(&self) -> KeyForm {
        if self.key.is_empty() {
            return KeyForm::Rowid;
        }
        let can_be_null = |part: &KeyPart| !self.columns[part.column].not_null;
        let nullable = self.rowid_alias.is_none() && !self.without_rowid && self.key.iter().any(can_be_null);
        KeyForm::Declared { nullable }
    }

    /// Whether its rows belong into the row stream.
    pub fn is_tracked(&self) -> bool {
        matches!(self.kind, TableKind::Ordinary | TableKind::Shadow { .. })
    }

    /// The columns that a changeset has of this table: all that are not generated, in order.
    pub fn changeset_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.selected_columns(Selection::Changeset)
    }

    /// The columns of a selection, in order.
    pub fn selected_columns(&self, selection: Selection) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(move |(_, column)| selection.has(column))
    }

    /// The place of a column in the declared primary key, counted from 1; 0 for the others. This is what a changeset's
    /// table header holds.
    pub fn key_position(&self, column: usize) -> u8 {
        let position = self.key.iter().position(|part| part.column == column);
        position.map_or(0, |i| u8::try_from(i + 1).unwrap_or(u8::MAX))
    }
}
