//! The tables that a database has, as SQLite tells.

use super::literal;
use crate::session::{Failure, Session};
use crate::value::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub name: String,
    pub without_rowid: bool,
    pub strict: bool,
    pub columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub declared: String,
    /// Its place in the declared primary key, from 1 on.
    pub key: Option<usize>,
    pub generated: bool,
    /// Generated when it is read.
    pub is_virtual: bool,
}

impl Shape {
    pub fn has_key(&self) -> bool {
        self.columns.iter().any(|column| column.key.is_some())
    }

    /// A name under which SQLite gives the rowid, if a column doesn't hide all of them.
    pub fn rowid(&self) -> Option<&'static str> {
        let hidden = |alias: &str| self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(alias));
        ["_rowid_", "rowid", "oid"].into_iter().find(|alias| !self.without_rowid && !hidden(alias))
    }

    /// The column that is the rowid by another name.
    pub fn rowid_column(&self) -> Option<&Column> {
        let mut keys = self.columns.iter().filter(|column| column.key.is_some());
        let only = keys.next().filter(|_| keys.next().is_none() && !self.without_rowid)?;
        only.declared.eq_ignore_ascii_case("INTEGER").then_some(only)
    }
}

/// The ordinary tables, by name.
pub fn shapes(session: &mut Session) -> Result<Vec<Shape>, Failure> {
    let rows = session.run(
        "SELECT t.name, t.wr, t.strict, c.name, c.type, c.pk, c.hidden FROM pragma_table_list AS t \
         JOIN pragma_table_xinfo(t.name) AS c WHERE t.schema = 'main' AND t.type = 'table' \
         AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid",
    )?;
    let mut shapes: Vec<Shape> = Vec::new();
    for row in rows {
        let [Value::Text(table), without_rowid, strict, Value::Text(name), Value::Text(declared), key, hidden] =
            row.as_slice()
        else {
            return Err(Failure::Usage(format!("no column of a table: {row:?}")));
        };
        if shapes.last().is_none_or(|shape| shape.name != *table) {
            let (without_rowid, strict) = (number(without_rowid) == 1, number(strict) == 1);
            shapes.push(Shape { name: table.clone(), without_rowid, strict, columns: Vec::new() });
        }
        let key = usize::try_from(number(key)).ok().filter(|place| *place > 0);
        let (generated, is_virtual) = (number(hidden) >= 2, number(hidden) == 2);
        if let Some(shape) = shapes.last_mut() {
            shape.columns.push(Column { name: name.clone(), declared: declared.clone(), key, generated, is_virtual });
        }
    }
    Ok(shapes)
}

/// The statement that made a table.
pub fn definition(session: &mut Session, table: &str) -> Result<String, Failure> {
    let rows =
        session.run(&format!("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = {}", literal(table)))?;
    match rows.into_iter().flatten().next() {
        Some(Value::Text(sql)) => Ok(sql),
        other => Err(Failure::Usage(format!("no definition of {table}: {other:?}"))),
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Integer(digits) => digits.parse().unwrap_or(0),
        _ => 0,
    }
}
