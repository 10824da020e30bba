//! One adapter from "arguments in, rows out" to SQLite's virtual tables.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;

use maniac_base::Version;
use maniac_history::relations::{Field, Relation, Row, Rows, Type};
use maniac_store::time_text;
use rusqlite::types::Value;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
};
use rusqlite::{Connection, Result, ffi};

use crate::connection::with_database;
use crate::errors::{VfsError, VfsResult};
use crate::last_error::Newest;
use crate::vfs::Database;

/// A function that gives rows of the store that the connection works on.
pub trait TableFunction: 'static {
    const RELATION: Relation;
    /// Names of the arguments, and their types or nothing.
    const ARGUMENTS: &'static [(&'static str, &'static str)] = &[];
    /// Conditions on columns of a row that can save work when they are known: (column, operator). SQLite checks them
    /// again, so that only what can't hold needs to be left out.
    const FILTERS: &'static [(usize, IndexConstraintOp)] = &[];

    /// `arguments` has a value for each of ARGUMENTS, `None` where the caller gave none, and then one for each of FILTERS.
    fn rows(database: &mut Database, arguments: &[Option<Value>]) -> VfsResult<Rows>;
}

pub fn register_table<T: TableFunction>(connection: &Connection, newest: &Newest) -> Result<()> {
    let module = const { &Module::<Table<T>>::eponymous_only_module() };
    connection.create_module(T::RELATION.name, module, Some(newest.clone()))
}

/// `CREATE TABLE x(...)`: the columns of a row, then one HIDDEN column per argument.
fn declaration<T: TableFunction>() -> CString {
    let column = |(name, kind): &(&str, Type)| match kind {
        Type::Integer => format!("\"{name}\" INTEGER"),
        Type::Text | Type::Time => format!("\"{name}\" TEXT"),
    };
    let columns = T::RELATION.columns.iter().map(column);
    let arguments = T::ARGUMENTS.iter().map(|(name, kind)| format!("\"{name}\" {kind} HIDDEN"));
    let all = columns.chain(arguments).collect::<Vec<_>>().join(", ");
    CString::new(format!("CREATE TABLE x({all})")).expect("names without a zero")
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Integer(number) => Value::Integer(*number),
        Field::Text(text) => Value::Text(text.clone()),
        Field::Time(ms) => Value::Text(time_text(*ms)),
    }
}

#[repr(C)]
struct Table<T> {
    /// Must be first.
    base: ffi::sqlite3_vtab,
    db: *mut ffi::sqlite3,
    newest: Newest,
    function: PhantomData<T>,
}

// SAFETY: `repr(C)` with the base in front, as the trait asks.
unsafe impl<T: TableFunction> VTab<'_> for Table<T> {
    type Aux = Newest;
    type Cursor = Cursor<T>;

    fn connect(
        db: &mut VTabConnection,
        newest: Option<&Newest>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        // It only reads the store, so that views may use it, whoever wrote them.
        db.config(VTabConfig::Innocuous)?;
        // SAFETY: the handle is kept for as long as the table, which the connection outlives.
        let db = unsafe { db.handle() };
        let newest = newest.cloned().unwrap_or_default();
        Ok((
            Cow::Owned(declaration::<T>()),
            Table { base: ffi::sqlite3_vtab::default(), db, newest, function: PhantomData },
        ))
    }

    /// Takes `argument = value` for each hidden column that has it, and what FILTERS asks for; bit n of the plan stands
    /// for value n.
    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let mut chosen = vec![None; T::ARGUMENTS.len() + T::FILTERS.len()];
        for (at, constraint) in info.constraints().enumerate() {
            let column = constraint.column() as usize;
            let slot = match column.checked_sub(T::RELATION.columns.len()) {
                Some(argument) if constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => {
                    if !constraint.is_usable() {
                        return Ok(false);
                    }
                    Some(argument)
                }
                Some(_) => None,
                None => {
                    let known = T::FILTERS.iter().position(|filter| *filter == (column, constraint.operator()));
                    known.filter(|_| constraint.is_usable()).map(|n| T::ARGUMENTS.len() + n)
                }
            };
            if let Some(slot) = slot.and_then(|slot| chosen.get_mut(slot)) {
                *slot = Some(at);
            }
        }
        let (mut plan, mut used) = (0, 0);
        for (n, at) in chosen.iter().enumerate() {
            if let Some(at) = at {
                used += 1;
                plan |= 1 << n;
                let mut usage = info.constraint_usage(*at);
                usage.set_argv_index(used);
                usage.set_omit(n < T::ARGUMENTS.len());
            }
        }
        info.set_idx_num(plan);
        info.set_estimated_cost(1_000_000.0 / f64::from(used + 1));
        Ok(true)
    }

    fn open(&mut self) -> Result<Cursor<T>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            db: self.db,
            newest: self.newest.clone(),
            arguments: Vec::new(),
            rows: None,
            row: None,
            number: 0,
            function: PhantomData,
        })
    }
}

#[repr(C)]
struct Cursor<T> {
    /// Must be first.
    base: ffi::sqlite3_vtab_cursor,
    db: *mut ffi::sqlite3,
    newest: Newest,
    arguments: Vec<Option<Value>>,
    rows: Option<Rows>,
    row: Option<Row>,
    number: i64,
    function: PhantomData<T>,
}

// SAFETY: `repr(C)` with the base in front, as the trait asks.
unsafe impl<T: TableFunction> VTabCursor for Cursor<T> {
    fn filter(&mut self, plan: c_int, _: Option<&str>, values: &Filters<'_>) -> Result<()> {
        let mut values = values.iter();
        self.arguments = (0..T::ARGUMENTS.len() + T::FILTERS.len())
            .map(|n| if plan & 1 << n != 0 { values.next().map(Value::try_from).transpose() } else { Ok(None) })
            .collect::<Result<_, _>>()
            .map_err(|error| rusqlite::Error::ModuleError(error.to_string()))?;
        // SAFETY: the table's connection, which is running this query.
        let rows = unsafe { with_database(self.db, |database| T::rows(database, &self.arguments)) };
        self.rows = Some(rows.map_err(|error| self.failed(error))?);
        self.number = 0;
        self.next()
    }

    fn next(&mut self) -> Result<()> {
        let row = self.rows.as_mut().and_then(Iterator::next).transpose();
        self.row = row.map_err(|error| self.failed(error.into()))?;
        self.number += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, context: &mut Context, n: c_int) -> Result<()> {
        let (n, columns) = (n as usize, T::RELATION.columns.len());
        match n.checked_sub(columns) {
            None => context.set_result(&self.row.as_ref().and_then(|row| row.get(n)).map_or(Value::Null, value)),
            Some(n) => context.set_result(self.arguments.get(n).and_then(Option::as_ref).unwrap_or(&Value::Null)),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.number)
    }
}

impl<T> Cursor<T> {
    fn failed(&self, error: VfsError) -> rusqlite::Error {
        rusqlite::Error::ModuleError(self.newest.keep(error))
    }
}

/// The FILTERS of a relation whose first column is the version.
pub const VERSION_FILTERS: [(usize, IndexConstraintOp); 5] = [
    (0, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ),
    (0, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE),
    (0, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT),
    (0, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE),
    (0, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT),
];

/// The versions that the values for VERSION_FILTERS leave: those after the first, up to and including the second.
pub fn versions_within(filters: &[Option<Value>]) -> (Option<Version>, Option<Version>) {
    let bound = |n: usize| match filters[n] {
        Some(Value::Integer(version)) => Some(Version(version.max(0) as u64)),
        _ => None,
    };
    let before = |version: Version| Version(version.0.saturating_sub(1));
    let after = [bound(0).map(before), bound(1).map(before), bound(2)];
    let up_to = [bound(0), bound(3), bound(4).map(before)];
    (after.into_iter().flatten().max(), up_to.into_iter().flatten().min())
}

/// An argument that is a whole number; nothing where it was left out or NULL.
pub fn integer_argument(argument: &Option<Value>, name: &str) -> VfsResult<Option<i64>> {
    match argument {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Integer(number)) => Ok(Some(*number)),
        Some(other) => Err(wrong(name, "a whole number", other)),
    }
}

/// An argument that is a text; nothing where it was left out or NULL.
pub fn text_argument(argument: &Option<Value>, name: &str) -> VfsResult<Option<String>> {
    match argument {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(name, "a text", other)),
    }
}

fn wrong(name: &str, wanted: &str, found: &Value) -> VfsError {
    VfsError::new(ffi::SQLITE_ERROR, format!("the argument {name} must be {wanted}, not a {}", found.data_type()))
}
