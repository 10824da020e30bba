//! Applies a captured changeset to a copy.

use maniac_base::Value;
use maniac_changeset::{Change, Item, Op, Reader, Target, Writer};
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;

use crate::dump::{columns, quote};
use crate::session;

/// Applies with stock SQLite what stock SQLite understands, and with SQL the rows whose declared key holds NULL. Those
/// come first: they bring their rowid, the others take what is free.
///
/// Returns the kinds of the conflicts that stock SQLite met; a copy of the older snapshot has none.
#[must_use]
pub fn apply(db: &Connection, changeset: &[u8]) -> Vec<i32> {
    let mut stock = Writer::new();
    let mut target = None;
    for item in Reader::new(changeset) {
        match item.expect("a well-formed changeset") {
            Item::Table(header) => {
                target = Some(Target::of(&header)).filter(|target| target.null_key);
                if target.is_none() {
                    stock.table(&header);
                }
            }
            Item::Change(change) => match target {
                Some(target) => apply_by_rowid(db, target.table, &change),
                None => stock.change(&change),
            },
        }
    }
    session::apply(db, &stock.take())
}

fn sql_value(value: &Value<'_>) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Integer(value) => SqlValue::Integer(*value),
        Value::Real(value) => SqlValue::Real(*value),
        Value::Text(bytes) => SqlValue::Text(String::from_utf8(bytes.to_vec()).unwrap()),
        Value::Blob(bytes) => SqlValue::Blob(bytes.to_vec()),
    }
}

fn apply_by_rowid(db: &Connection, table: &str, change: &Change<'_>) {
    let mut names = vec!["_rowid_".to_string()];
    names.extend(columns(db, table).iter().filter(|column| column.hidden == 0).map(|column| quote(&column.name)));
    let rowid = change.keyed().values().next().flatten().and_then(|value| value.as_integer()).unwrap();
    let changed: Vec<(&String, SqlValue)> = names
        .iter()
        .zip(change.new.iter().flat_map(|record| record.values()))
        .filter_map(|(name, value)| value.map(|value| (name, sql_value(&value))))
        .collect();
    let values = changed.iter().map(|(_, value)| value);
    let table = quote(table);
    let done = match change.op {
        Op::Delete => db.execute(&format!("DELETE FROM {table} WHERE _rowid_ = {rowid}"), []),
        Op::Insert => {
            // A row with a key of its own may sit there by now: its rowid means nothing, so it moves.
            let free = format!("(SELECT max(_rowid_) + 1 FROM {table})");
            db.execute(&format!("UPDATE {table} SET _rowid_ = {free} WHERE _rowid_ = {rowid}"), []).unwrap();
            let names: Vec<&str> = changed.iter().map(|(name, _)| name.as_str()).collect();
            let marks = vec!["?"; names.len()].join(", ");
            let sql = format!("INSERT INTO {table}({}) VALUES({marks})", names.join(", "));
            db.execute(&sql, rusqlite::params_from_iter(values))
        }
        Op::Update => {
            let sets: Vec<String> = changed.iter().map(|(name, _)| format!("{name} = ?")).collect();
            let sql = format!("UPDATE {table} SET {} WHERE _rowid_ = {rowid}", sets.join(", "));
            db.execute(&sql, rusqlite::params_from_iter(values))
        }
    };
    assert_eq!(done.unwrap(), 1, "a change by rowid finds its row");
}
