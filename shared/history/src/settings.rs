//! What an application keeps in a database beside its rows: how far its AUTOINCREMENT keys have come, and its own numbers
//! in the header.

use std::collections::BTreeMap;

use maniac_base::{PageNo, PageSource, Value};
use maniac_changeset::{Item, Op, Reader};
use maniac_diff::whole_table;
use maniac_sqlite_format::FormatError;
use maniac_store::Snapshot;

use crate::{HistoryError, JsonObject, TableRow};

/// The table that stands for the header where rows are told.
pub const HEADER_TABLE: &str = "sqlite_header";
const SEQUENCE_TABLE: &str = "sqlite_sequence";

/// Numbers of the header that SQLite leaves to applications: the name of the pragma, and where it lies on page 1.
const NUMBERS: [(&str, usize); 2] = [("user_version", 60), ("application_id", 68)];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By the name of the pragma that sets it.
    pub header: BTreeMap<&'static str, i32>,
    /// The largest key that each table has given, by its name as it is written.
    pub sequences: BTreeMap<String, i64>,
}

impl Settings {
    pub fn read(snapshot: &Snapshot) -> Result<Settings, HistoryError> {
        let version = snapshot.version();
        let mut settings = Settings::default();
        for (name, offset) in NUMBERS {
            let mut bytes = [0; 4];
            if snapshot.page_count() > 0 {
                let read = snapshot.read(PageNo(1), offset, &mut bytes);
                read.map_err(|error| HistoryError::Schema { version, source: FormatError::from(error) })?;
            }
            settings.header.insert(name, i32::from_be_bytes(bytes));
        }
        let rows = whole_table(snapshot, SEQUENCE_TABLE).map_err(|source| HistoryError::Diff { version, source })?;
        for item in Reader::new(&rows) {
            let item = item.map_err(|source| HistoryError::Changeset { version, source })?;
            let Item::Change(change) = item else { continue };
            // Behind the rowid the table's name and its counter; whatever else a user may have written there says nothing.
            let values: Vec<Value<'_>> = change.keyed().values().flatten().skip(1).collect();
            if let [Value::Text(name), Value::Integer(counter)] = &values[..] {
                let known = settings.sequences.entry(String::from_utf8_lossy(name).into_owned()).or_insert(*counter);
                *known = (*known).max(*counter);
            }
        }
        Ok(settings)
    }

    /// What leads from these to others, as rows.
    pub fn differences(&self, to: &Settings) -> Vec<TableRow> {
        let mut rows = Vec::new();
        for (name, old) in &self.header {
            let new = to.header.get(name).copied().unwrap_or_default();
            if *old != new {
                rows.push(number(name, *old, new));
            }
        }
        let names = self.sequences.keys().chain(to.sequences.keys().filter(|name| !self.sequences.contains_key(*name)));
        for name in names {
            let (old, new) = (self.sequences.get(name), to.sequences.get(name));
            if old == new {
                continue;
            }
            let op = match (old, new) {
                (None, _) => Op::Insert,
                (_, None) => Op::Delete,
                _ => Op::Update,
            };
            let side = |counter: Option<&i64>| {
                counter.map(|counter| {
                    let named = (op != Op::Update).then_some(("name", Value::text(name)));
                    object(named.into_iter().chain([("seq", Value::Integer(*counter))]))
                })
            };
            rows.push(row(SEQUENCE_TABLE, op, name, side(old), side(new)));
        }
        rows
    }
}

/// The change of a number of the header, as a row.
pub fn number(name: &str, old: i32, new: i32) -> TableRow {
    row(HEADER_TABLE, Op::Update, name, Some(number_value(old)), Some(number_value(new)))
}

pub fn number_value(number: i32) -> String {
    object([("value", Value::Integer(number.into()))].into_iter())
}

fn row(table: &str, op: Op, name: &str, old: Option<String>, new: Option<String>) -> TableRow {
    let key = object([("name", Value::text(name))].into_iter());
    TableRow { table: table.to_owned(), op, key, old, new, shadow_of: None }
}

fn object<'v>(fields: impl Iterator<Item = (&'static str, Value<'v>)>) -> String {
    let mut object = JsonObject::default();
    fields.for_each(|(name, value)| object.add(name, &value));
    object.finish()
}
