//! Typed rows into a table: data chunks filled in place and handed to the appender, its fastest way in.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr;

use libduckdb_sys as ffi;

use super::Session;
use crate::error::{Error, Result};

/// One value in the form that its column stores.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    /// BIGINT; microseconds of TIME and TIMESTAMP; days of DATE; a DECIMAL's unscaled value.
    Integer(i64),
    /// A wide DECIMAL's unscaled value, or a UUID's 128 bits.
    Wide(i128),
    Double(f64),
    /// VARCHAR and JSON (valid UTF-8), BLOB.
    Bytes(&'a [u8]),
}

/// How a column's vector stores its values.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Storage {
    Bool,
    I16,
    I32,
    I64,
    I128,
    Uuid,
    F64,
    Text,
}

/// Appends rows to one table. Nothing is in the table before `finish`; dropping it unfinished loses the rest.
pub struct TableWriter {
    appender: ffi::duckdb_appender,
    chunk: ffi::duckdb_data_chunk,
    storages: Vec<Storage>,
    vectors: Vec<ffi::duckdb_vector>,
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
            let Some(storage) = self.storages.get(column).copied() else { return Err(self.arity(column + 1)) };
            // SAFETY: `filled` is below the chunk's capacity, and `storage` is what the column's type stores.
            if !unsafe { write(self.vectors[column], self.filled, storage, &cell) } {
                let message = format!("column {column} stores {storage:?}, and was given {cell:?}");
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
            self.vectors =
                (0..self.storages.len() as u64).map(|i| ffi::duckdb_data_chunk_get_vector(self.chunk, i)).collect();
            for vector in &self.vectors {
                ffi::duckdb_vector_ensure_validity_writable(*vector);
            }
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

/// # Safety
/// `logical` is a live logical type.
unsafe fn storage_of(logical: ffi::duckdb_logical_type) -> Option<Storage> {
    // SAFETY: by the caller.
    let id = unsafe { ffi::duckdb_get_type_id(logical) };
    Some(match id {
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN => Storage::Bool,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_INTEGER | ffi::DUCKDB_TYPE_DUCKDB_TYPE_DATE => Storage::I32,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT
        | ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIME
        | ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP => Storage::I64,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE => Storage::F64,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR | ffi::DUCKDB_TYPE_DUCKDB_TYPE_BLOB => Storage::Text,
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_UUID => Storage::Uuid,
        // SAFETY: the type is a DECIMAL, which has a width.
        ffi::DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL => match unsafe { ffi::duckdb_decimal_width(logical) } {
            0..=4 => Storage::I16,
            5..=9 => Storage::I32,
            10..=18 => Storage::I64,
            _ => Storage::I128,
        },
        _ => return None,
    })
}

/// Writes one cell; false if the cell is not of the column's form.
///
/// # Safety
/// `row` is within the capacity of `vector`, whose elements are stored as `storage` and whose validity is writable.
unsafe fn write(vector: ffi::duckdb_vector, row: usize, storage: Storage, cell: &Cell<'_>) -> bool {
    // SAFETY: by the caller: each arm writes an element of the size that its storage has.
    unsafe {
        let data = || ffi::duckdb_vector_get_data(vector);
        match (storage, cell) {
            (_, Cell::Null) => {
                ffi::duckdb_validity_set_row_invalid(ffi::duckdb_vector_get_validity(vector), row as u64);
            }
            (Storage::Bool, Cell::Bool(value)) => data().cast::<bool>().add(row).write(*value),
            (Storage::I64, Cell::Integer(value)) => data().cast::<i64>().add(row).write(*value),
            (Storage::F64, Cell::Double(value)) => data().cast::<f64>().add(row).write(*value),
            (Storage::I32, Cell::Integer(value)) => match i32::try_from(*value) {
                Ok(value) => data().cast::<i32>().add(row).write(value),
                Err(_) => return false,
            },
            (Storage::I16, Cell::Integer(value)) => match i16::try_from(*value) {
                Ok(value) => data().cast::<i16>().add(row).write(value),
                Err(_) => return false,
            },
            (Storage::I128, Cell::Wide(value)) => data().cast::<i128>().add(row).write_unaligned(*value),
            // DuckDB keeps a UUID with its top bit flipped, so that signed comparison sorts it as text does.
            (Storage::Uuid, Cell::Wide(value)) => {
                data().cast::<i128>().add(row).write_unaligned(*value ^ i128::MIN);
            }
            (Storage::Text, Cell::Bytes(bytes)) => ffi::duckdb_vector_assign_string_element_len(
                vector,
                row as u64,
                bytes.as_ptr().cast(),
                bytes.len() as u64,
            ),
            _ => return false,
        }
    }
    true
}
