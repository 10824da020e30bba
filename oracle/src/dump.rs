//! What SQL says is in a database.

use std::collections::BTreeMap;

use maniac_base::Value;
use maniac_changeset::push_value;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// A column as `PRAGMA table_xinfo` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    pub name: String,
    pub declared_type: String,
    pub not_null: bool,
    pub default: Option<String>,
    pub key: u8,
    /// 0 ordinary, 2 virtual, 3 stored.
    pub hidden: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDump {
    pub columns: Vec<ColumnInfo>,
    pub without_rowid: bool,
    /// Rowid (none in WITHOUT ROWID tables) and the values of all columns that aren't generated, each encoded.
    pub rows: Vec<(Option<i64>, Vec<Vec<u8>>)>,
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn encode(value: ValueRef<'_>) -> Vec<u8> {
    let value = match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(bytes.into()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.into()),
    };
    let mut out = Vec::new();
    push_value(&mut out, &value);
    out
}

/// The names of all tables that have rows of their own, SQLite's own ones left out.
pub fn table_names(db: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' \
               ESCAPE '\\' ORDER BY rowid";
    let mut statement = db.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

pub fn columns(db: &Connection, table: &str) -> Vec<ColumnInfo> {
    let mut statement = db.prepare(&format!("PRAGMA table_xinfo({})", quote(table))).unwrap();
    let columns = statement.query_map([], |row| {
        Ok(ColumnInfo {
            name: row.get(1)?,
            declared_type: row.get(2)?,
            not_null: row.get(3)?,
            default: row.get(4)?,
            key: row.get(5)?,
            hidden: row.get(6)?,
        })
    });
    columns.unwrap().map(Result::unwrap).collect()
}

pub fn table(db: &Connection, table: &str) -> TableDump {
    let columns = columns(db, table);
    let without_rowid: bool = db
        .query_row("SELECT wr FROM pragma_table_list WHERE name = ?1 AND schema = 'main'", [table], |row| row.get(0))
        .unwrap();
    let names: Vec<String> =
        columns.iter().filter(|column| column.hidden == 0).map(|column| quote(&column.name)).collect();
    let rowid = if without_rowid { "NULL" } else { "_rowid_" };
    let mut statement =
        db.prepare(&format!("SELECT {rowid}, {} FROM {} NOT INDEXED", names.join(", "), quote(table))).unwrap();
    let mut rows = Vec::new();
    let mut cursor = statement.query([]).unwrap();
    while let Some(row) = cursor.next().unwrap() {
        let values = (1..=names.len()).map(|i| encode(row.get_ref(i).unwrap())).collect();
        rows.push((row.get(0).unwrap(), values));
    }
    TableDump { columns, without_rowid, rows }
}

pub fn database(db: &Connection) -> BTreeMap<String, TableDump> {
    table_names(db).into_iter().map(|name| (name.clone(), table(db, &name))).collect()
}

impl TableDump {
    pub fn is_keyed(&self) -> bool {
        self.columns.iter().any(|column| column.key > 0)
    }

    /// The rows in an order of their own. Where a declared key names rows, the rowid is not part of what they hold.
    pub fn content(&self) -> Vec<(Option<i64>, Vec<Vec<u8>>)> {
        let keyed = self.is_keyed();
        let mut rows: Vec<_> =
            self.rows.iter().map(|(rowid, values)| (rowid.filter(|_| !keyed), values.clone())).collect();
        rows.sort();
        rows
    }
}
