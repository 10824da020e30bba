//! Typed rows into a table: data chunks filled in place and handed to the appender, its fastest way in.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr;

use libduckdb_sys as ffi;

use super::Session;
use super::vector::{Cell, ColumnVector, Storage, storage_of};
use crate::error::{Error, Result};

/// Appends rows to one table. Nothing is in the table before `finish`; dropping it unfinished loses the rest.
pub struct TableWriter {
    appender: ffi::duckdb_appender,
    chunk: ffi::duckdb_data_chunk,
    storages: Vec<Storage>,
    vectors: Vec<ColumnVector>,
    filled: usize,
    capacity: usize,
    name: String,
}

impl TableWriter {
    /// Opens the table for appending. The session must not be used by another thread while the writer lives.
    pub fn open(session: &Session, catalog: &str, schema: &str, table: &str) -> Result<TableWriter> {
        let name = format!("append to {catalog}.{schema}.{table}");
        let fail = |message: &str| Error::Database { message: message.to_string(), statement: name.clone() };
        let c_string = |text: &str| CString::new(text).map_err(|_| fail("a name holds a NUL byte"));
        let (c_catalog, c_schema, c_table) = (c_string(catalog)?, c_string(schema)?, c_string(table)?);
        let mut writer = TableWriter {
            appender: ptr::null_mut(),
            chunk: ptr::null_mut(),
            storages: Vec::new(),
            vectors: Vec::new(),
            filled: 0,
            capacity: 0,
            name: name.clone(),
        };
        // SAFETY: the session's connection is open and the names end with NUL. What is created is owned by `writer`,
        // whose drop destroys it on every path. Logical types are destroyed once the chunk has copied them.
        unsafe {
            let state = ffi::duckdb_appender_create_ext(
                session.raw(),
                c_catalog.as_ptr(),
                c_schema.as_ptr(),
                c_table.as_ptr(),
                &mut writer.appender,
            );
            if state != ffi::duckdb_state_DuckDBSuccess {
                return Err(writer.error());
            }
            let columns = ffi::duckdb_appender_column_count(writer.appender);
            let mut types = Vec::with_capacity(columns as usize);
            for column in 0..columns {
                types.push(ffi::duckdb_appender_column_type(writer.appender, column));
            }
            let storages: Option<Vec<Storage>> = types.iter().map(|logical| storage_of(*logical)).collect();
            writer.chunk = ffi::duckdb_create_data_chunk(types.as_mut_ptr(), columns);
            for logical in &mut types {
                ffi::duckdb_destroy_logical_type(logical);
            }
            writer.storages =
                storages.ok_or_else(|| fail("the table has a column of a type that a mirror never has"))?;
            writer.capacity = ffi::duckdb_vector_size() as usize;
            writer.refresh_vectors();
        }
        Ok(writer)
    }

    /// Adds a row: one cell per column, in the form that its column stores.
    pub fn push<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) -> Result<()> {
        let mut column = 0;
        for cell in cells {
            let Some(vector) = self.vectors.get_mut(column) else { return Err(self.arity(column + 1)) };
            // SAFETY: `filled` is below the chunk's capacity, and the chunk is alive.
            if !unsafe { vector.write(self.filled, &cell) } {
                let message = format!("column {column} stores {:?}, and was given {cell:?}", vector.storage());
                return Err(Error::Database { message, statement: self.name.clone() });
            }
            column += 1;
        }
        if column != self.storages.len() {
            return Err(self.arity(column));
        }
        self.filled += 1;
        match self.filled == self.capacity {
            true => self.append(),
            false => Ok(()),
        }
    }

    /// Hands everything to the table. It becomes durable with the transaction of the session.
    pub fn finish(mut self) -> Result<()> {
        if self.filled > 0 {
            self.append()?;
        }
        // SAFETY: the appender is open; closing flushes it, and drop destroys it.
        match unsafe { ffi::duckdb_appender_close(self.appender) } {
            ffi::duckdb_state_DuckDBSuccess => Ok(()),
            _ => Err(self.error()),
        }
    }

    fn append(&mut self) -> Result<()> {
        // SAFETY: chunk and appender are alive and of the same column types; resetting allows the next rows, for which
        // the vectors are looked up again because a reset may move their buffers.
        unsafe {
            ffi::duckdb_data_chunk_set_size(self.chunk, self.filled as u64);
            if ffi::duckdb_append_data_chunk(self.appender, self.chunk) != ffi::duckdb_state_DuckDBSuccess {
                return Err(self.error());
            }
            ffi::duckdb_data_chunk_reset(self.chunk);
            self.refresh_vectors();
        }
        self.filled = 0;
        Ok(())
    }

    /// # Safety
    /// The chunk is alive.
    unsafe fn refresh_vectors(&mut self) {
        // SAFETY: by the caller; the chunk has one vector per storage.
        unsafe {
            let chunk = self.chunk;
            let column = |(i, storage): (usize, &Storage)| {
                ColumnVector::new(ffi::duckdb_data_chunk_get_vector(chunk, i as u64), *storage)
            };
            self.vectors = self.storages.iter().enumerate().map(column).collect();
        }
    }

    fn arity(&self, given: usize) -> Error {
        let message = format!("the table has {} columns, and a row of {given} was given", self.storages.len());
        Error::Database { message, statement: self.name.clone() }
    }

    fn error(&self) -> Error {
        // SAFETY: a failed appender can still be asked for its reason, which is copied at once.
        let message = unsafe {
            let text = match self.appender.is_null() {
                true => ptr::null(),
                false => ffi::duckdb_appender_error(self.appender),
            };
            match text.is_null() {
                true => "DuckDB gave no reason".to_string(),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            }
        };
        Error::Database { message, statement: self.name.clone() }
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        // SAFETY: both are owned by the writer; DuckDB accepts null.
        unsafe {
            ffi::duckdb_appender_destroy(&mut self.appender);
            ffi::duckdb_destroy_data_chunk(&mut self.chunk);
        }
    }
}
