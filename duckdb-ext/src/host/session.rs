//! One connection to the database: statements, text results, row counts.

#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use std::{mem, ptr, thread};

use libduckdb_sys as ffi;

use super::loans::{Loan, Loans};
use crate::error::{Error, Result};

/// A row of a text result; `None` is NULL.
pub type TextRow = Vec<Option<String>>;

/// Between two looks at a task that another thread does.
const TASK_PAUSE: Duration = Duration::from_micros(20);

/// A connection of the extension's own. Used by one thread at a time.
pub struct Session {
    connection: ffi::duckdb_connection,
    loans: Arc<Loans>,
}

// SAFETY: DuckDB's connections may move between threads; `Session` is not `Sync`, so that two never use one at once.
unsafe impl Send for Session {}

impl Session {
    /// # Safety
    /// `connection` must be open and owned by nobody else; the session closes it.
    pub unsafe fn adopt(connection: ffi::duckdb_connection, loans: Arc<Loans>) -> Session {
        Session { connection, loans }
    }

    /// Gives a thing a number for statements of this instance.
    pub fn lend(&self, thing: Arc<dyn Any + Send + Sync>) -> Loan {
        Loan::new(&self.loans, thing)
    }

    /// The loans of the session's instance.
    pub(super) fn loans(&self) -> &Arc<Loans> {
        &self.loans
    }

    /// The connection, for calls of this folder; valid as long as the session.
    pub(super) fn raw(&self) -> ffi::duckdb_connection {
        self.connection
    }

    /// Runs one statement and returns how many rows it changed.
    pub fn run(&self, sql: &str) -> Result<u64> {
        let mut result = self.execute(sql)?;
        // SAFETY: `execute` returned a valid result, destroyed by its guard.
        Ok(unsafe { ffi::duckdb_rows_changed(&mut result.0) })
    }

    /// Runs a query whose columns are all VARCHAR and returns its rows.
    pub fn query(&self, sql: &str) -> Result<Vec<TextRow>> {
        self.execute(sql)?.rows(sql)
    }

    /// The only value of a query; `None` if it has no row or the value is NULL.
    pub fn value(&self, sql: &str) -> Result<Option<String>> {
        self.query(sql).map(only_value)
    }

    /// Prepares a query for running it again and again, which costs half of preparing it each time.
    pub fn prepared(&self, sql: &'static str) -> Result<Prepared<'_>> {
        Ok(Prepared { statement: self.prepare(sql)?, sql, session: PhantomData })
    }

    /// Binds a statement and does not run it.
    pub fn bind(&self, sql: &str) -> Result<()> {
        self.prepare(sql).map(drop)
    }

    fn execute(&self, sql: &str) -> Result<ResultGuard> {
        self.start(sql)?.finish(sql)
    }

    /// Starts a statement, which DuckDB's workers may run already.
    pub(super) fn start(&self, sql: &str) -> Result<Pending> {
        let statement = self.prepare(sql)?;
        Ok(Pending { query: statement.start(sql)?, _statement: Some(statement) })
    }

    fn prepare(&self, sql: &str) -> Result<Statement> {
        let text = CString::new(sql).map_err(|_| failed(sql, "a statement holds a NUL byte"))?;
        let mut statement = Statement(ptr::null_mut());
        // SAFETY: the connection is open and the text ends with NUL; `statement` destroys what is made even when the call
        // failed.
        unsafe {
            if ffi::duckdb_prepare(self.connection, text.as_ptr(), &mut statement.0) != ffi::duckdb_state_DuckDBSuccess
            {
                return Err(failed(sql, &reason(ffi::duckdb_prepare_error(statement.0))));
            }
        }
        Ok(statement)
    }
}

/// A query that its session runs again and again.
pub struct Prepared<'s> {
    statement: Statement,
    sql: &'static str,
    session: PhantomData<&'s Session>,
}

impl Prepared<'_> {
    /// The only value; `None` if there is no row or the value is NULL.
    pub fn value(&self) -> Result<Option<String>> {
        let pending = Pending { query: self.statement.start(self.sql)?, _statement: None };
        pending.finish(self.sql)?.rows(self.sql).map(only_value)
    }
}

fn only_value(rows: Vec<TextRow>) -> Option<String> {
    rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten()
}

struct Statement(ffi::duckdb_prepared_statement);

impl Statement {
    fn start(&self, sql: &str) -> Result<Query> {
        let mut query = Query(ptr::null_mut());
        // SAFETY: the statement is valid; `query` destroys what is made even when the call failed.
        unsafe {
            if ffi::duckdb_pending_prepared(self.0, &mut query.0) != ffi::duckdb_state_DuckDBSuccess {
                return Err(failed(sql, &reason(ffi::duckdb_pending_error(query.0))));
            }
        }
        Ok(query)
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: null or the statement's own.
        unsafe { ffi::duckdb_destroy_prepare(&mut self.0) }
    }
}

struct Query(ffi::duckdb_pending_result);

impl Drop for Query {
    fn drop(&mut self) {
        // SAFETY: null or the query's own.
        unsafe { ffi::duckdb_destroy_pending(&mut self.0) }
    }
}

fn failed(sql: &str, message: &str) -> Error {
    Error::Database { message: message.to_string(), statement: shorten(sql) }
}

/// # Safety
/// `message` is null or a text that ends with NUL.
unsafe fn reason(message: *const c_char) -> String {
    match message.is_null() {
        true => "DuckDB gave no reason".to_string(),
        // SAFETY: by the caller.
        false => unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned(),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the session owns the connection.
        unsafe { ffi::duckdb_disconnect(&mut self.connection) }
    }
}

/// A statement that was started. One that is not finished keeps its transaction open until the next one of its connection.
pub(super) struct Pending {
    query: Query,
    /// Behind the query, which goes first.
    _statement: Option<Statement>,
}

// SAFETY: DuckDB locks the connection for each call on its queries, and they may come from any thread.
unsafe impl Send for Pending {}

impl Pending {
    /// Takes part in running it, and waits for its end.
    pub fn finish(self, sql: &str) -> Result<ResultGuard> {
        // SAFETY: the query is `self`'s, and the result is destroyed by its guard even when the statement failed.
        unsafe {
            loop {
                let state = ffi::duckdb_pending_execute_task(self.query.0);
                if state == ffi::duckdb_pending_state_DUCKDB_PENDING_ERROR {
                    return Err(failed(sql, &reason(ffi::duckdb_pending_error(self.query.0))));
                }
                if ffi::duckdb_pending_execution_is_finished(state) {
                    break;
                }
                // Another thread of DuckDB's has taken the task that is left. DuckDB's own loop asks without end meanwhile,
                // which keeps that thread from its work where there are few processors.
                if state == ffi::duckdb_pending_state_DUCKDB_PENDING_NO_TASKS_AVAILABLE {
                    thread::sleep(TASK_PAUSE);
                }
            }
            let mut result = ResultGuard(mem::zeroed());
            if ffi::duckdb_execute_pending(self.query.0, &mut result.0) != ffi::duckdb_state_DuckDBSuccess {
                return Err(failed(sql, &reason(ffi::duckdb_result_error(&mut result.0))));
            }
            Ok(result)
        }
    }
}

pub(super) struct ResultGuard(ffi::duckdb_result);

impl ResultGuard {
    /// The rows of a result whose columns are all VARCHAR.
    fn rows(mut self, sql: &str) -> Result<Vec<TextRow>> {
        let mut rows = Vec::new();
        // SAFETY: the result is valid; chunks and vectors are read within their sizes and before the chunk is
        // destroyed; the type check makes the vector's elements `duckdb_string_t`.
        unsafe {
            let columns = ffi::duckdb_column_count(&mut self.0);
            for column in 0..columns {
                if ffi::duckdb_column_type(&mut self.0, column) != ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR {
                    let message = format!("column {column} of an internal query is not VARCHAR");
                    return Err(Error::Database { message, statement: shorten(sql) });
                }
            }
            loop {
                let mut chunk = ffi::duckdb_fetch_chunk(self.0);
                if chunk.is_null() {
                    return Ok(rows);
                }
                let size = ffi::duckdb_data_chunk_get_size(chunk);
                let start = rows.len();
                rows.resize_with(start + size as usize, || Vec::with_capacity(columns as usize));
                for column in 0..columns {
                    let vector = ffi::duckdb_data_chunk_get_vector(chunk, column);
                    let data = ffi::duckdb_vector_get_data(vector).cast::<ffi::duckdb_string_t>();
                    let validity = ffi::duckdb_vector_get_validity(vector);
                    for row in 0..size {
                        let valid = validity.is_null() || ffi::duckdb_validity_row_is_valid(validity, row);
                        let text = valid.then(|| text_of(data.add(row as usize)));
                        rows[start + row as usize].push(text);
                    }
                }
                ffi::duckdb_destroy_data_chunk(&mut chunk);
            }
        }
    }
}

impl Drop for ResultGuard {
    fn drop(&mut self) {
        // SAFETY: the guard owns the result, which DuckDB filled or which is still zeroed.
        unsafe { ffi::duckdb_destroy_result(&mut self.0) }
    }
}

/// # Safety
/// `string` points to a string of a chunk that is alive.
unsafe fn text_of(string: *mut ffi::duckdb_string_t) -> String {
    // SAFETY: by the caller; data and length describe the bytes of the string.
    unsafe {
        let length = ffi::duckdb_string_t_length(*string) as usize;
        let data = ffi::duckdb_string_t_data(string).cast::<u8>();
        String::from_utf8_lossy(std::slice::from_raw_parts(data, length)).into_owned()
    }
}

/// The start of a statement, enough to recognise it in a message.
pub(super) fn shorten(sql: &str) -> String {
    const LIMIT: usize = 120;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}
