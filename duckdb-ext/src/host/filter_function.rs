//! Scalar functions that tell of whole numbers whether they are in a set, which is given by its own number. DuckDB takes
//! such a condition into a scan, which then reads the other columns of the rows that meet it alone.

#![allow(unsafe_code)]

use std::sync::Arc;

use libduckdb_sys as ffi;

use super::Session;
use super::exit::watch;
use super::loans::Loans;
use super::table_function::{Kind, c_string, contain, destroy, with_type};
use crate::error::{Error, Result};

/// `name(number, set)`.
pub struct FilterFunction {
    pub name: &'static str,
    /// The set of that number among the instance's loans. What it has must not change.
    pub set: fn(&Loans, i64) -> Option<Arc<dyn NumberSet>>,
}

/// What DuckDB keeps with a registered filter.
struct Registered {
    function: &'static FilterFunction,
    loans: Arc<Loans>,
}

pub trait NumberSet: Send + Sync {
    /// Sets the marks of those numbers that are in the set. There is a mark for each number, and none is set before.
    fn mark(&self, numbers: &[i64], marks: &mut [bool]);
}

/// Registers a filter.
pub fn register_filter(session: &Session, function: &'static FilterFunction) -> Result<()> {
    // SAFETY: the session's connection is open; DuckDB copies name and types, and owns the extra info from `set_extra_info`
    // on, which it frees by the given function; the callback takes it for what is given here.
    let state = unsafe {
        let mut scalar = ffi::duckdb_create_scalar_function();
        let text = c_string(function.name);
        ffi::duckdb_scalar_function_set_name(scalar, text.as_ptr());
        for _ in 0..2 {
            with_type(Kind::Integer, |t| ffi::duckdb_scalar_function_add_parameter(scalar, t));
        }
        with_type(Kind::Boolean, |t| ffi::duckdb_scalar_function_set_return_type(scalar, t));
        let extra = Box::into_raw(Box::new(Registered { function, loans: session.loans().clone() })).cast();
        ffi::duckdb_scalar_function_set_extra_info(scalar, extra, Some(destroy::<Registered>));
        ffi::duckdb_scalar_function_set_function(scalar, Some(decide));
        let state = ffi::duckdb_register_scalar_function(session.raw(), scalar);
        ffi::duckdb_destroy_scalar_function(&mut scalar);
        state
    };
    match state {
        ffi::duckdb_state_DuckDBSuccess => Ok(()),
        _ => Err(Error::input(format!("DuckDB refused the function {}", function.name))),
    }
}

unsafe extern "C" fn decide(
    info: ffi::duckdb_function_info,
    input: ffi::duckdb_data_chunk,
    output: ffi::duckdb_vector,
) {
    watch();
    contain(
        // SAFETY: the extra info is what registration left; DuckDB passes a chunk of two flat BIGINT vectors, and a BOOLEAN
        // vector with room for as many rows as the chunk has. Both are alive during the call, and nobody else writes to
        // them; the output's bytes are truth values once they are zeroes.
        || unsafe {
            let Registered { function, loans } =
                &*ffi::duckdb_scalar_function_get_extra_info(info).cast::<Registered>();
            let rows = ffi::duckdb_data_chunk_get_size(input) as usize;
            if rows == 0 {
                return Ok(());
            }
            let numbers = |place| {
                let data = ffi::duckdb_vector_get_data(ffi::duckdb_data_chunk_get_vector(input, place));
                std::slice::from_raw_parts(data.cast::<i64>(), rows)
            };
            let set = (function.set)(loans, numbers(1)[0])
                .ok_or_else(|| Error::input(format!("{} is the extension's own", function.name)))?;
            let marks = ffi::duckdb_vector_get_data(output).cast::<bool>();
            std::ptr::write_bytes(marks, 0, rows);
            set.mark(numbers(0), std::slice::from_raw_parts_mut(marks, rows));
            Ok(())
        },
        // SAFETY: as above; DuckDB copies the message.
        |message| unsafe { ffi::duckdb_scalar_function_set_error(info, message) },
    );
}
