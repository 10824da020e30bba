//! What columns a table has, asked of the catalog: for a fraction of what a statement costs.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr;

use libduckdb_sys as ffi;

use super::Session;
use super::vector::column_type_of;
use crate::schema::ColumnType;

/// The columns' names and types in order, as the session's transaction sees them; a type is `None` if mirrors have none like
/// it. `None` if the table isn't there.
pub fn columns(
    session: &Session,
    catalog: &str,
    schema: &str,
    table: &str,
) -> Option<Vec<(String, Option<ColumnType>)>> {
    let [catalog, schema, table] = [catalog, schema, table].map(|name| CString::new(name).ok());
    let (catalog, schema, table) = (catalog?, schema?, table?);
    let names = (catalog.as_c_str(), schema.as_c_str(), table.as_c_str());
    let description = Description::new(session, names)?;
    let appender = Appender::new(session, names)?;
    let count = appender.column_count();
    (0..count).map(|column| Some((description.column_name(column)?, appender.column_type(column)))).collect()
}

struct Description(ffi::duckdb_table_description);

impl Description {
    fn new(session: &Session, (catalog, schema, table): (&CStr, &CStr, &CStr)) -> Option<Description> {
        let mut description = Description(ptr::null_mut());
        // SAFETY: the session's connection is open and the names end with NUL. What is created, also on failure, is destroyed
        // with the description.
        let state = unsafe {
            let names = (catalog.as_ptr(), schema.as_ptr(), table.as_ptr());
            ffi::duckdb_table_description_create_ext(session.raw(), names.0, names.1, names.2, &mut description.0)
        };
        (state == ffi::duckdb_state_DuckDBSuccess).then_some(description)
    }

    fn column_name(&self, column: u64) -> Option<String> {
        // SAFETY: the description is alive; DuckDB gives a text of ours to free, or null where there is no such column.
        unsafe {
            let name = ffi::duckdb_table_description_get_column_name(self.0, column);
            if name.is_null() {
                return None;
            }
            let text = CStr::from_ptr(name).to_string_lossy().into_owned();
            ffi::duckdb_free(name.cast());
            Some(text)
        }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it is the description's own; DuckDB accepts null.
        unsafe { ffi::duckdb_table_description_destroy(&mut self.0) }
    }
}

/// An appender to which nothing is given: a description tells no types in the stable API.
struct Appender(ffi::duckdb_appender);

impl Appender {
    fn new(session: &Session, (catalog, schema, table): (&CStr, &CStr, &CStr)) -> Option<Appender> {
        let mut appender = Appender(ptr::null_mut());
        // SAFETY: as for a description.
        let state = unsafe {
            let names = (catalog.as_ptr(), schema.as_ptr(), table.as_ptr());
            ffi::duckdb_appender_create_ext(session.raw(), names.0, names.1, names.2, &mut appender.0)
        };
        (state == ffi::duckdb_state_DuckDBSuccess).then_some(appender)
    }

    fn column_count(&self) -> u64 {
        // SAFETY: the appender is alive.
        unsafe { ffi::duckdb_appender_column_count(self.0) }
    }

    fn column_type(&self, column: u64) -> Option<ColumnType> {
        // SAFETY: the appender is alive and has the column; the type is destroyed here.
        unsafe {
            let mut logical = ffi::duckdb_appender_column_type(self.0, column);
            let found = column_type_of(logical);
            ffi::duckdb_destroy_logical_type(&mut logical);
            found
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        // SAFETY: it is the appender's own; DuckDB accepts null.
        unsafe { ffi::duckdb_appender_destroy(&mut self.0) };
    }
}
