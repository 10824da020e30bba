//! The values that their columns cannot hold, where the mirror keeps them aside: `_maniac_rejects`, in the mirror's
//! schema and in the transactions of its data.
//!
//! It has what the mirror lacks now, not what it ever lacked: a value is there for as long as its row has it, so that the
//! mirror and the rejects together are the source. Whatever the mirror's policy is today, rows that an earlier one left
//! are kept true.

use std::collections::HashSet;

use maniac_base::Version;

use super::copy::misfit_error;
use crate::error::Result;
use crate::host::{Cell, Session, TableWriter};
use crate::schema::{
    ColumnType, MirrorTable, OnMismatch, REJECTS_TABLE, Tables, class, fit, quote, quote_text, reason,
};
use crate::source::{BorrowedValue, RowChange, TableChanges, Value};
use crate::target::Target;
use crate::target::netting::{Net, NetTable};
use crate::target::state;

/// Rows and columns whose rejects go, in a temporary table of the session.
const SETTLED: &str = "_maniac_settled";

/// The tables, by their names in the mirror, that may have rejects: a table without any costs no statement. A name stays
/// when its rejects go, since the transaction that removes them may not be the last word.
#[derive(Debug, Default)]
pub struct Rejects {
    tables: HashSet<String>,
}

/// What becomes of the misfits of some changes.
pub enum Settled {
    /// All values fit now. How many of them were rounded, and how many that did not fit are aside.
    Fitting { rounded: u64, rejected: u64 },
    /// These columns have to be widened; nothing was done.
    Widen(Vec<usize>),
}

impl Rejects {
    /// Makes the table.
    pub fn create(session: &Session, target: &Target) -> Result<()> {
        session.run(&format!(
            "CREATE TABLE {} (version BIGINT, table_name VARCHAR, column_name VARCHAR, key JSON, value VARCHAR, \
             value_type VARCHAR, reason VARCHAR)",
            target.table(REJECTS_TABLE)
        ))?;
        Ok(())
    }

    /// Learns what is in the table.
    pub fn open(session: &Session, target: &Target) -> Result<Rejects> {
        let names = session.query(&format!("SELECT DISTINCT table_name FROM {}", target.table(REJECTS_TABLE)));
        let names = names.map_err(|error| state::unreadable(session, target, &error))?;
        Ok(Rejects { tables: names.into_iter().flatten().flatten().collect() })
    }

    pub fn may_have(&self, table: &str) -> bool {
        self.tables.contains(table)
    }

    /// Notes that a copy has put values of a table aside.
    pub fn note(&mut self, table: &str) {
        self.tables.insert(table.to_string());
    }

    /// Removes what is there of a table, which is dropped or copied anew.
    pub fn forget(&self, session: &Session, target: &Target, table: &str) -> Result<()> {
        if self.may_have(table) {
            let name = quote_text(table);
            session.run(&format!("DELETE FROM {} WHERE table_name = {name}", target.table(REJECTS_TABLE)))?;
        }
        Ok(())
    }

    /// Rounds the changes' values that do not fit or takes them out, as the policy wants it, and the rejects of rows that
    /// changed out of the table.
    pub fn settle(
        &mut self,
        session: &Session,
        target: &Target,
        table: &MirrorTable,
        changes: &mut NetTable,
        on_mismatch: OnMismatch,
        at: Version,
    ) -> Result<Settled> {
        let rounded = round(table, changes, on_mismatch);
        let misfits = misfits(table, changes);
        if let (OnMismatch::Error, Some((change, column))) = (on_mismatch, misfits.first()) {
            let (key, net) = &changes.changes[*change];
            return Err(misfit_error(table, *column, value_of(net, *column), key.iter().cloned()));
        }
        let mut widened: Vec<usize> = misfits.iter().map(|(_, column)| *column).collect();
        widened.retain(|column| !on_mismatch.rejects(table.in_key(*column)));
        widened.sort_unstable();
        widened.dedup();
        if !widened.is_empty() {
            return Ok(Settled::Widen(widened));
        }
        if self.may_have(&table.name) {
            remove(session, target, table, changes)?;
        }
        if !misfits.is_empty() {
            add(session, target, table, changes, &misfits, at)?;
            self.note(&table.name);
        }
        Ok(Settled::Fitting { rounded, rejected: misfits.len() as u64 })
    }
}

/// The statement that puts a table's misfits, as `from` gives them, into the rejects.
pub fn fill(target: &Target, table: &MirrorTable, at: Version, from: &str) -> String {
    format!("INSERT INTO {} SELECT {at}, {}, * FROM {from}", target.table(REJECTS_TABLE), quote_text(&table.name))
}

/// Whether a commit's changes of a table have a value that its column in the mirror cannot hold.
pub fn has_misfit(tables: &Tables, changes: &TableChanges) -> bool {
    let Some(table) = tables.place(&changes.table).map(|place| &tables[place]) else { return false };
    changes.rows.iter().any(|change| match change {
        RowChange::Insert(row) => row.iter().enumerate().any(|(place, value)| is_misfit(table, place, value)),
        RowChange::Update { new, .. } => new
            .iter()
            .enumerate()
            .any(|(place, value)| value.as_ref().is_some_and(|value| is_misfit(table, place, value))),
        RowChange::Delete(_) => false,
    })
}

fn is_misfit(table: &MirrorTable, place: usize, value: &BorrowedValue<'_>) -> bool {
    table.columns.get(place).is_some_and(|column| fit(value, column.column_type).is_none())
}

/// Rounds the values that do not fit, where the policy wants it, and returns how many there were.
fn round(table: &MirrorTable, changes: &mut NetTable, on_mismatch: OnMismatch) -> u64 {
    let rounds = |place: &usize| on_mismatch.rounds(&table.columns[*place], table.in_key(*place)).is_some();
    let places: Vec<usize> = (0..table.columns.len()).filter(rounds).collect();
    let mut count = 0;
    for (_, net) in &mut changes.changes {
        for place in &places {
            let column = &table.columns[*place];
            let value = value_in(net, *place).filter(|value| fit(value, column.column_type).is_none());
            let Some(value) = value else { continue };
            if let Some(rounded) = on_mismatch.rounded(column, false, value) {
                *value = rounded;
                count += 1;
            }
        }
    }
    count
}

/// The values that do not fit, by the change's place and the column's.
fn misfits(table: &MirrorTable, changes: &NetTable) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (change, (_, net)) in changes.changes.iter().enumerate() {
        let mut check = |place: usize, value: &Value| {
            if is_misfit(table, place, value) {
                found.push((change, place));
            }
        };
        match net {
            Net::Insert(row) | Net::Replace(row) => row.iter().enumerate().for_each(|(at, value)| check(at, value)),
            Net::Patch(values) => {
                values.iter().enumerate().for_each(|(at, value)| value.iter().for_each(|value| check(at, value)));
            }
            Net::Delete => {}
        }
    }
    found
}

fn value_of(net: &Net, column: usize) -> &Value {
    const NULL: &Value = &Value::Null;
    match net {
        Net::Insert(row) | Net::Replace(row) => row.get(column).unwrap_or(NULL),
        Net::Patch(values) => values.get(column).and_then(Option::as_ref).unwrap_or(NULL),
        Net::Delete => NULL,
    }
}

fn value_in(net: &mut Net, column: usize) -> Option<&mut Value> {
    match net {
        Net::Insert(row) | Net::Replace(row) => row.get_mut(column),
        Net::Patch(values) => values.get_mut(column).and_then(Option::as_mut),
        Net::Delete => None,
    }
}

/// Removes the rejects of rows that are gone or known anew, and of values that were patched.
fn remove(session: &Session, target: &Target, table: &MirrorTable, changes: &NetTable) -> Result<()> {
    session.run(&format!("CREATE OR REPLACE TEMP TABLE {} (key VARCHAR, column_name VARCHAR)", quote(SETTLED)))?;
    let mut writer = TableWriter::open(session, "temp", "main", SETTLED)?;
    for (key, net) in &changes.changes {
        let key = table.key_text(key.iter().cloned());
        let key = || Cell::Bytes(key.as_bytes());
        match net {
            Net::Insert(_) => {}
            Net::Replace(_) | Net::Delete => writer.push([key(), Cell::Null])?,
            Net::Patch(values) => {
                for (column, _) in table.columns.iter().zip(values).filter(|(_, value)| value.is_some()) {
                    writer.push([key(), Cell::Bytes(column.name.as_bytes())])?;
                }
            }
        }
    }
    writer.finish()?;
    session.run(&format!(
        "DELETE FROM {} AS r USING temp.main.{} AS s WHERE r.table_name = {} AND r.key::VARCHAR = s.key AND \
         (s.column_name IS NULL OR s.column_name = r.column_name)",
        target.table(REJECTS_TABLE),
        quote(SETTLED),
        quote_text(&table.name)
    ))?;
    Ok(())
}

/// Moves the misfits from the changes to the rejects.
fn add(
    session: &Session,
    target: &Target,
    table: &MirrorTable,
    changes: &mut NetTable,
    misfits: &[(usize, usize)],
    at: Version,
) -> Result<()> {
    let mut writer = TableWriter::open(session, &target.catalog, &target.schema, REJECTS_TABLE)?;
    for (change, column) in misfits {
        let (key, net) = &mut changes.changes[*change];
        let shape = &table.columns[*column];
        let Some(place) = value_in(net, *column) else { continue };
        let value = std::mem::take(place);
        let (key, reason) = (table.key_text(key.iter().cloned()), reason(&value, shape.column_type));
        let text = fit(&value, ColumnType::Varchar);
        writer.push([
            Cell::Integer(at.0 as i64),
            Cell::Bytes(table.name.as_bytes()),
            Cell::Bytes(shape.name.as_bytes()),
            Cell::Bytes(key.as_bytes()),
            text.as_ref().map_or(Cell::Null, |text| text.cell()),
            Cell::Bytes(class(&value).as_bytes()),
            Cell::Bytes(reason.as_bytes()),
        ])?;
    }
    writer.finish()
}
