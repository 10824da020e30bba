//! A table that changes are applied to, and the statements that do it.

use std::collections::HashMap;

use maniac_base::Value;
use maniac_changeset::{Record, TableHeader, Target, push_value};
use maniac_history::JsonObject;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

use crate::errors::{VfsError, VfsResult};

/// Statements by their text, prepared once.
pub struct Statements<'c> {
    pub db: &'c Connection,
    known: HashMap<String, Statement<'c>>,
}

impl<'c> Statements<'c> {
    pub fn new(db: &'c Connection) -> Statements<'c> {
        Statements { db, known: HashMap::new() }
    }

    fn bound<'s, 'v>(
        &'s mut self,
        sql: &str,
        values: impl IntoIterator<Item = Value<'v>>,
    ) -> rusqlite::Result<&'s mut Statement<'c>> {
        if !self.known.contains_key(sql) {
            self.known.insert(sql.to_owned(), self.db.prepare(sql)?);
        }
        let statement = self.known.get_mut(sql).expect("inserted above");
        for (n, value) in values.into_iter().enumerate() {
            statement.raw_bind_parameter(n + 1, sql_value(&value))?;
        }
        Ok(statement)
    }

    /// Runs a statement and says how many rows it changed.
    pub fn run<'v>(&mut self, sql: &str, values: impl IntoIterator<Item = Value<'v>>) -> rusqlite::Result<usize> {
        self.bound(sql, values)?.raw_execute()
    }

    /// The first row of a query, as a changeset's record.
    fn record<'v>(
        &mut self,
        sql: &str,
        values: impl IntoIterator<Item = Value<'v>>,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let statement = self.bound(sql, values)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else { return Ok(None) };
        let mut record = Vec::new();
        for n in 0..columns {
            push_value(&mut record, &base_value(row.get_ref(n)?));
        }
        Ok(Some(record))
    }
}

fn sql_value<'v>(value: &'v Value<'_>) -> ToSqlOutput<'v> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(value) => ValueRef::Integer(*value),
        Value::Real(value) => ValueRef::Real(*value),
        Value::Text(bytes) => ValueRef::Text(bytes),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

fn base_value(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(bytes.into()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.into()),
    }
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The values of a record that are defined.
pub fn defined<'c>(record: Record<'c>) -> impl Iterator<Item = (usize, Value<'c>)> {
    record.values().enumerate().filter_map(|(n, value)| Some((n, value?)))
}

fn is_virtual(db: &Connection, schema: &str, table: &str) -> VfsResult<bool> {
    let sought =
        "SELECT count(*) FROM {}.sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND rootpage = 0";
    let found = db.query_row(&sought.replace("{}", &quote(schema)), [table], |row| row.get::<_, u32>(0));
    found.map(|count| count > 0).map_err(VfsError::sql)
}

pub struct TargetTable {
    pub name: String,
    /// With its schema, quoted.
    quoted: String,
    /// The changeset's columns as SQL, and as they are called in JSON.
    columns: Vec<String>,
    names: Vec<String>,
    key: Vec<usize>,
    /// A name of the rowid that no column has taken; none of a WITHOUT ROWID table.
    rowid: Option<String>,
    /// For rows whose declared key holds NULL: the columns of that key.
    pub null_key: Option<Vec<usize>>,
}

impl TargetTable {
    pub fn find(db: &Connection, schema: &str, header: &TableHeader<'_>) -> VfsResult<TargetTable> {
        let target = Target::of(header);
        let refuse =
            |why: &str| Err(VfsError::new(rusqlite::ffi::SQLITE_SCHEMA, format!("table {}: {why}", target.table)));
        if target.table.to_ascii_lowercase().starts_with("sqlite_") {
            return refuse("its rows are SQLite's own, and are not applied");
        }
        let mut found = db
            .prepare("SELECT name, pk FROM main.pragma_table_xinfo(?1, ?2) WHERE hidden = 0 ORDER BY cid")
            .map_err(VfsError::sql)?;
        let rows = found.query_map((target.table, schema), |row| Ok((row.get::<_, String>(0)?, row.get::<_, u8>(1)?)));
        let mut columns: Vec<(String, u8)> = rows.and_then(Iterator::collect).map_err(VfsError::sql)?;
        if columns.is_empty() {
            return refuse("there is no such table here");
        }
        let free = |name: &&str| !columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
        let rowid = ["_rowid_", "rowid", "oid"].into_iter().find(free).map(str::to_owned);
        let quoted = format!("{}.{}", quote(schema), quote(target.table));
        let has_rowid = |name: &String| db.prepare(&format!("SELECT {name} FROM {quoted}")).is_ok();
        let rowid = rowid.filter(has_rowid);
        let declared: Vec<usize> = (0..columns.len()).filter(|&n| columns[n].1 != 0).collect();
        let null_key = target.null_key.then(|| declared.iter().map(|n| n + 1).collect());
        if declared.is_empty() && header.columns() == columns.len() && is_virtual(db, schema, target.table)? {
            // The first column of an R-Tree is its key, though it doesn't say so.
            columns[0].1 = 1;
        } else if declared.is_empty() || target.null_key {
            let Some(rowid) = &rowid else { return refuse("its rowid has no name that SQL could use") };
            columns.iter_mut().for_each(|(_, position)| *position = 0);
            columns.insert(0, (rowid.clone(), 1));
        }
        // Columns that this table has beyond those of the changes take their defaults.
        let same_key = header.columns() <= columns.len()
            && columns.iter().enumerate().all(|(n, (_, position))| header.key.get(n).unwrap_or(&0) == position);
        if !same_key {
            return refuse("its columns or its key are not those of the changes");
        }
        columns.truncate(header.columns());
        Ok(TargetTable {
            name: target.table.to_owned(),
            quoted,
            key: (0..columns.len()).filter(|&n| columns[n].1 != 0).collect(),
            columns: columns.iter().map(|(name, _)| quote(name)).collect(),
            names: columns.into_iter().map(|(name, _)| name).collect(),
            rowid,
            null_key,
        })
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// ` WHERE` the row has the key; its values are parameters from `first` on.
    fn by_key(&self, first: usize) -> String {
        let parts =
            self.key.iter().enumerate().map(|(n, &column)| format!("{} = ?{}", self.columns[column], first + n));
        format!(" WHERE {}", parts.collect::<Vec<_>>().join(" AND "))
    }

    fn key_values<'c>(&self, record: Record<'c>) -> impl Iterator<Item = Value<'c>> {
        defined(record).filter(|(n, _)| self.key.contains(n)).map(|(_, value)| value)
    }

    /// The row with this record's key, as it is.
    pub fn current(&self, statements: &mut Statements<'_>, keyed: Record<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = format!("SELECT {} FROM {}{}", self.columns.join(", "), self.quoted, self.by_key(1));
        statements.record(&sql, self.key_values(keyed))
    }

    pub fn delete(&self, statements: &mut Statements<'_>, keyed: Record<'_>) -> rusqlite::Result<usize> {
        statements.run(&format!("DELETE FROM {}{}", self.quoted, self.by_key(1)), self.key_values(keyed))
    }

    /// `or_replace` removes the rows whose unique values stand in the way.
    pub fn insert(
        &self,
        statements: &mut Statements<'_>,
        new: Record<'_>,
        or_replace: bool,
    ) -> rusqlite::Result<usize> {
        let verb = if or_replace { "INSERT OR REPLACE" } else { "INSERT" };
        let marks: Vec<String> = (1..=self.columns.len()).map(|n| format!("?{n}")).collect();
        let sql = format!("{verb} INTO {}({}) VALUES({})", self.quoted, self.columns.join(", "), marks.join(", "));
        statements.run(&sql, new.values().map(Option::unwrap_or_default))
    }

    /// Inserts a row whose first column, the rowid, is left to SQLite.
    pub fn append(&self, statements: &mut Statements<'_>, new: Record<'_>) -> rusqlite::Result<usize> {
        let marks: Vec<String> = (1..self.columns.len()).map(|n| format!("?{n}")).collect();
        let columns = self.columns[1..].join(", ");
        let sql = format!("INSERT INTO {}({columns}) VALUES({})", self.quoted, marks.join(", "));
        statements.run(&sql, new.values().skip(1).map(Option::unwrap_or_default))
    }

    pub fn update(
        &self,
        statements: &mut Statements<'_>,
        old: Record<'_>,
        new: Record<'_>,
        or_replace: bool,
    ) -> rusqlite::Result<usize> {
        let verb = if or_replace { "UPDATE OR REPLACE" } else { "UPDATE" };
        let (mut sets, mut values) = (Vec::new(), Vec::new());
        for (n, value) in defined(new) {
            values.push(value);
            sets.push(format!("{} = ?{}", self.columns[n], values.len()));
        }
        let sql = format!("{verb} {} SET {}{}", self.quoted, sets.join(", "), self.by_key(values.len() + 1));
        values.extend(self.key_values(old));
        statements.run(&sql, values)
    }

    /// Takes a row out, to be put back by [`TargetTable::put_back`]; gives its rowid.
    pub fn take_out(&self, statements: &mut Statements<'_>, keyed: Record<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
        let rowid = match &self.rowid {
            Some(rowid) => {
                let sql = format!("SELECT {rowid} FROM {}{}", self.quoted, self.by_key(1));
                statements.record(&sql, self.key_values(keyed))?
            }
            None => None,
        };
        self.delete(statements, keyed)?;
        Ok(rowid)
    }

    pub fn put_back(
        &self,
        statements: &mut Statements<'_>,
        rowid: Option<&[u8]>,
        new: Record<'_>,
    ) -> rusqlite::Result<usize> {
        let rowid = rowid.and_then(|bytes| Record::parse(bytes, 1).ok()).and_then(|record| record.values().next()?);
        let (Some(name), Some(rowid), None) =
            (&self.rowid, rowid, self.names.iter().find(|n| Some(*n) == self.rowid.as_ref()))
        else {
            return self.insert(statements, new, false);
        };
        let marks: Vec<String> = (1..=self.columns.len() + 1).map(|n| format!("?{n}")).collect();
        let columns = self.columns.join(", ");
        let sql = format!("INSERT INTO {}({columns}, {name}) VALUES({})", self.quoted, marks.join(", "));
        statements.run(&sql, new.values().map(Option::unwrap_or_default).chain([rowid]))
    }

    /// Gives the row at a rowid another one: it has a key of its own, so nothing refers to it by rowid.
    pub fn move_away(&self, statements: &mut Statements<'_>, keyed: Record<'_>) -> rusqlite::Result<usize> {
        let (table, rowid) = (&self.quoted, &self.columns[0]);
        let sql = format!("UPDATE {table} SET {rowid} = (SELECT max({rowid}) + 1 FROM {table}) WHERE {rowid} = ?1");
        statements.run(&sql, self.key_values(keyed))
    }

    pub fn json(&self, record: &[u8]) -> String {
        let mut object = JsonObject::default();
        if let Ok(record) = Record::parse(record, self.columns.len()) {
            defined(record).for_each(|(n, value)| object.add(&self.names[n], &value));
        }
        object.finish()
    }
}
