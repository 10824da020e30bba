//! Rust functions that SQL calls as tables.
//!
//! A function names its parameters and its result fields, and `start`s into an iterator of rows. It starts when the
//! query runs, not when it is bound: PREPARE and EXPLAIN have no effects. A panic inside becomes the query's error.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libduckdb_sys as ffi;
use parking_lot::Mutex;

use super::Session;
use super::caller::hold_workers;
use super::exit::watch;
use crate::error::{Error, Result};
use crate::instance::Instance;

/// The type of a parameter or of a result column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    Integer,
    Double,
    Boolean,
    Timestamp,
    /// A list of texts; parameters only.
    Texts,
}

/// A value of a result row. `Timestamp` columns take microseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Null,
    Text(String),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    Texts(Vec<String>),
}

impl Field {
    pub fn text(value: impl Into<String>) -> Field {
        Field::Text(value.into())
    }

    pub fn optional(value: Option<impl Into<String>>) -> Field {
        value.map_or(Field::Null, Field::text)
    }
}

/// The rows of a call, made as the query asks for them.
pub type Rows = Box<dyn Iterator<Item = Result<Vec<Field>>> + Send>;

/// A parameter: positional ones by their place, others by `name := value`.
#[derive(Clone, Copy)]
pub enum Parameter {
    Positional(Kind),
    Named(&'static str, Kind),
}

/// A table function.
pub struct Function {
    pub name: &'static str,
    pub parameters: &'static [Parameter],
    pub columns: &'static [(&'static str, Kind)],
    /// Whether a call is likely to take long: it runs on its caller's thread then, which leaves DuckDB's workers to the
    /// queries that it makes or waits for.
    pub is_long: fn(&Arc<Instance>, &Args) -> bool,
    pub start: fn(&Arc<Instance>, &Args) -> Result<Rows>,
}

/// The arguments of one call.
#[derive(Debug, Default)]
pub struct Args {
    positional: Vec<Field>,
    named: Vec<(&'static str, Field)>,
}

impl Args {
    /// # Safety
    /// `info` is a valid bind info of a function with these parameters.
    pub(super) unsafe fn take(info: ffi::duckdb_bind_info, parameters: &[Parameter]) -> Args {
        let mut args = Args::default();
        for parameter in parameters {
            // SAFETY: by the caller; the values are owned by the callee of `take_value`.
            unsafe {
                match parameter {
                    Parameter::Positional(kind) => {
                        let place = args.positional.len() as u64;
                        args.positional.push(take_value(ffi::duckdb_bind_get_parameter(info, place), *kind));
                    }
                    Parameter::Named(name, kind) => {
                        let c_name = c_string(name);
                        let value = ffi::duckdb_bind_get_named_parameter(info, c_name.as_ptr());
                        args.named.push((name, take_value(value, *kind)));
                    }
                }
            }
        }
        args
    }

    /// The text at a place; it must not be NULL.
    pub fn text_at(&self, place: usize, what: &str) -> Result<String> {
        match self.positional.get(place) {
            Some(Field::Text(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(Error::input(format!("{what} must be given and not be empty"))),
        }
    }

    /// A named text; `None` when left out or NULL.
    pub fn text(&self, name: &str) -> Option<String> {
        self.named.iter().find_map(|(key, field)| match field {
            Field::Text(text) if *key == name => Some(text.clone()),
            _ => None,
        })
    }

    /// The integer at a place, if it was given.
    pub fn integer_at(&self, place: usize) -> Option<i64> {
        match self.positional.get(place) {
            Some(Field::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    /// A named truth value; `None` when left out or NULL.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.named.iter().find_map(|(key, field)| match field {
            Field::Boolean(value) if *key == name => Some(*value),
            _ => None,
        })
    }

    /// A named truth value; false when left out or NULL.
    pub fn flag(&self, name: &str) -> bool {
        self.boolean(name).unwrap_or(false)
    }

    /// A named list of texts; empty when left out or NULL.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let found = self.named.iter().find_map(|(key, field)| match field {
            Field::Texts(texts) if *key == name => Some(texts.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.named.iter().find_map(|(key, field)| match field {
            Field::Integer(value) if *key == name => Some(*value),
            _ => None,
        })
    }
}

/// What DuckDB keeps with a registered function.
pub(super) struct Registered<F: 'static> {
    pub function: &'static F,
    pub instance: Arc<Instance>,
}

/// Registers a function. DuckDB's C API knows neither optional positional parameters nor overloads of table functions (a
/// second one of a name is dropped without a word), so that what is optional is named.
pub fn register(session: &Session, function: &'static Function, instance: &Arc<Instance>) -> Result<()> {
    let registered = Registered { function, instance: instance.clone() };
    // SAFETY: the callbacks take the extra info for what is given here.
    unsafe {
        register_with(session, function.name, function.parameters, registered, |table_function| {
            ffi::duckdb_table_function_set_bind(table_function, Some(bind));
            ffi::duckdb_table_function_set_init(table_function, Some(init));
            ffi::duckdb_table_function_set_function(table_function, Some(produce));
        })
    }
}

/// Registers a function whose callbacks `set_callbacks` sets.
///
/// # Safety
/// The callbacks take the extra info for a `Registered<F>`.
pub(super) unsafe fn register_with<F>(
    session: &Session,
    name: &str,
    parameters: &[Parameter],
    registered: Registered<F>,
    set_callbacks: impl FnOnce(ffi::duckdb_table_function),
) -> Result<()> {
    // SAFETY: the session's connection is open; DuckDB copies names and types, and owns the extra info from
    // `set_extra_info` on, which it frees by the given function.
    unsafe {
        let mut table_function = ffi::duckdb_create_table_function();
        let text = c_string(name);
        ffi::duckdb_table_function_set_name(table_function, text.as_ptr());
        add_parameters(table_function, parameters);
        ffi::duckdb_table_function_set_extra_info(
            table_function,
            Box::into_raw(Box::new(registered)).cast(),
            Some(destroy::<Registered<F>>),
        );
        set_callbacks(table_function);
        let state = ffi::duckdb_register_table_function(session.raw(), table_function);
        ffi::duckdb_destroy_table_function(&mut table_function);
        match state {
            ffi::duckdb_state_DuckDBSuccess => Ok(()),
            _ => Err(Error::input(format!("DuckDB refused the function {name}"))),
        }
    }
}

/// # Safety
/// `table_function` is one that is being made.
unsafe fn add_parameters(table_function: ffi::duckdb_table_function, parameters: &[Parameter]) {
    for parameter in parameters {
        // SAFETY: by the caller; DuckDB copies names and types.
        unsafe {
            match parameter {
                Parameter::Positional(kind) => {
                    with_type(*kind, |t| ffi::duckdb_table_function_add_parameter(table_function, t));
                }
                Parameter::Named(name, kind) => {
                    let name = c_string(name);
                    with_type(*kind, |t| {
                        ffi::duckdb_table_function_add_named_parameter(table_function, name.as_ptr(), t)
                    });
                }
            }
        }
    }
}

/// The state of one running call.
enum Call {
    Ready,
    Running(Rows),
    Done,
}

unsafe extern "C" fn bind(info: ffi::duckdb_bind_info) {
    // SAFETY: DuckDB passes a valid bind info, whose extra info is the `Registered` given at registration; bind data
    // and result columns are handed over as the API asks.
    contain(
        || unsafe {
            let registered = &*ffi::duckdb_bind_get_extra_info(info).cast::<Registered<Function>>();
            let args = Args::take(info, registered.function.parameters);
            for (name, kind) in registered.function.columns {
                let c_name = c_string(name);
                with_type(*kind, |t| ffi::duckdb_bind_add_result_column(info, c_name.as_ptr(), t));
            }
            if (registered.function.is_long)(&registered.instance, &args) {
                // A call that cannot have this is only slower.
                registered.instance.set_hold(hold_workers(&registered.instance).ok());
            }
            ffi::duckdb_bind_set_bind_data(info, Box::into_raw(Box::new(args)).cast(), Some(destroy::<Args>));
            Ok(())
        },
        // SAFETY: as above; DuckDB copies the message.
        |message| unsafe { ffi::duckdb_bind_set_error(info, message) },
    );
}

unsafe extern "C" fn init(info: ffi::duckdb_init_info) {
    let call = Box::new(Mutex::new(Call::Ready));
    // SAFETY: DuckDB owns the state from here on and frees it by the given function. One thread at a time produces rows.
    unsafe {
        ffi::duckdb_init_set_init_data(info, Box::into_raw(call).cast(), Some(destroy::<Mutex<Call>>));
        ffi::duckdb_init_set_max_threads(info, 1);
    }
}

unsafe extern "C" fn produce(info: ffi::duckdb_function_info, output: ffi::duckdb_data_chunk) {
    watch();
    contain(
        // SAFETY: extra info, bind data and init data are what registration, `bind` and `init` left there, alive as
        // long as the call; the chunk has the columns that `bind` added and room for `duckdb_vector_size` rows.
        || unsafe {
            let registered = &*ffi::duckdb_function_get_extra_info(info).cast::<Registered<Function>>();
            let args = &*ffi::duckdb_function_get_bind_data(info).cast::<Args>();
            let call = &*ffi::duckdb_function_get_init_data(info).cast::<Mutex<Call>>();
            let mut call = call.lock();
            if matches!(*call, Call::Ready) {
                // A call that fails or panics must not be started again.
                *call = Call::Done;
                registered.instance.set_hold(None);
                *call = Call::Running((registered.function.start)(&registered.instance, args)?);
            }
            let Call::Running(rows) = &mut *call else {
                ffi::duckdb_data_chunk_set_size(output, 0);
                return Ok(());
            };
            let limit = ffi::duckdb_vector_size() as usize;
            let mut filled = 0;
            while filled < limit {
                let Some(row) = rows.next() else { break };
                for (column, field) in row?.iter().enumerate() {
                    put(ffi::duckdb_data_chunk_get_vector(output, column as u64), filled, field);
                }
                filled += 1;
            }
            if filled == 0 {
                *call = Call::Done;
            }
            ffi::duckdb_data_chunk_set_size(output, filled as u64);
            Ok(())
        },
        // SAFETY: as above; DuckDB copies the message.
        |message| unsafe { ffi::duckdb_function_set_error(info, message) },
    );
}

/// # Safety
/// `row` is within the vector's capacity, and the vector's type is the one declared for the field.
unsafe fn put(vector: ffi::duckdb_vector, row: usize, field: &Field) {
    // SAFETY: by the caller.
    unsafe {
        match field {
            Field::Null => {
                ffi::duckdb_vector_ensure_validity_writable(vector);
                ffi::duckdb_validity_set_row_invalid(ffi::duckdb_vector_get_validity(vector), row as u64);
            }
            Field::Integer(value) => ffi::duckdb_vector_get_data(vector).cast::<i64>().add(row).write(*value),
            Field::Double(value) => ffi::duckdb_vector_get_data(vector).cast::<f64>().add(row).write(*value),
            Field::Boolean(value) => ffi::duckdb_vector_get_data(vector).cast::<bool>().add(row).write(*value),
            Field::Texts(_) => debug_assert!(false, "no function returns lists"),
            Field::Text(text) => ffi::duckdb_vector_assign_string_element_len(
                vector,
                row as u64,
                text.as_ptr().cast(),
                text.len() as u64,
            ),
        }
    }
}

/// # Safety
/// `value` is null or a value that the caller owns.
pub(super) unsafe fn take_value(mut value: ffi::duckdb_value, kind: Kind) -> Field {
    if value.is_null() {
        return Field::Null;
    }
    // SAFETY: by the caller; the text that DuckDB allocates is copied and freed.
    unsafe {
        let field = match kind {
            _ if ffi::duckdb_is_null_value(value) => Field::Null,
            Kind::Integer | Kind::Timestamp => Field::Integer(ffi::duckdb_get_int64(value)),
            Kind::Double => Field::Double(ffi::duckdb_get_double(value)),
            Kind::Boolean => Field::Boolean(ffi::duckdb_get_bool(value)),
            Kind::Texts => {
                let items = (0..ffi::duckdb_get_list_size(value))
                    .map(|at| take_value(ffi::duckdb_get_list_child(value, at), Kind::Text));
                // NULL is the name of nothing, as an empty text is.
                let texts = items.map(|item| match item {
                    Field::Text(text) => text,
                    _ => String::new(),
                });
                Field::Texts(texts.collect())
            }
            Kind::Text => {
                let text = ffi::duckdb_get_varchar(value);
                let copy = match text.is_null() {
                    true => Field::Null,
                    false => Field::Text(CStr::from_ptr(text).to_string_lossy().into_owned()),
                };
                ffi::duckdb_free(text.cast());
                copy
            }
        };
        ffi::duckdb_destroy_value(&mut value);
        field
    }
}

/// # Safety
/// `use_type` does not keep the type.
pub(super) unsafe fn with_type(kind: Kind, use_type: impl FnOnce(ffi::duckdb_logical_type)) {
    let id = match kind {
        Kind::Text | Kind::Texts => ffi::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR,
        Kind::Integer => ffi::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT,
        Kind::Double => ffi::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE,
        Kind::Boolean => ffi::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN,
        Kind::Timestamp => ffi::DUCKDB_TYPE_DUCKDB_TYPE_TIMESTAMP,
    };
    // SAFETY: the type is created and destroyed here; DuckDB copies it in between.
    unsafe {
        let mut logical = ffi::duckdb_create_logical_type(id);
        if kind == Kind::Texts {
            let mut item = logical;
            logical = ffi::duckdb_create_list_type(item);
            ffi::duckdb_destroy_logical_type(&mut item);
        }
        use_type(logical);
        ffi::duckdb_destroy_logical_type(&mut logical);
    }
}

/// Runs a callback; a failure or a panic in it becomes the query's error.
pub(super) fn contain(callback: impl FnOnce() -> Result<()>, set_error: impl FnOnce(*const c_char)) {
    let message = match catch_unwind(AssertUnwindSafe(callback)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => {
            let reason = panic.downcast_ref::<&str>().map(|s| s.to_string());
            let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            format!("maniac panicked; this is a defect: {reason}")
        }
    };
    set_error(c_string(&message).as_ptr());
}

pub(super) unsafe extern "C" fn destroy<T>(data: *mut c_void) {
    // SAFETY: DuckDB calls this once for what `Box::into_raw` of a `Box<T>` gave it. A panic of a destructor stays here.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(unsafe { Box::from_raw(data.cast::<T>()) })));
}

pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
