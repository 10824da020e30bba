//! Table functions whose columns follow from their arguments, that fill only the columns asked for, on several threads.
//!
//! ```text
//!   bind (arguments) ── ScanPlan: columns ── start (columns asked for) ── Scan ── a Producer per thread
//! ```

#![allow(unsafe_code)]

use std::sync::Arc;

use libduckdb_sys as ffi;
use parking_lot::Mutex;

use super::Session;
use super::exit::watch;
use super::table_function::{Args, Parameter, Registered, c_string, contain, destroy, register_with};
use super::vector::{Cell, ColumnVector, ShortTexts, Storage, storage_of, with_column_type};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::schema::{ColumnType, Fitted, Store};

/// A function that scans.
pub struct ScanFunction {
    pub name: &'static str,
    pub parameters: &'static [Parameter],
    pub bind: fn(&Arc<Instance>, &Args) -> Result<ScanPlan>,
}

/// What a call will give.
pub struct ScanPlan {
    pub columns: Vec<(String, ColumnType)>,
    /// Starts the scan of some of the columns, by their places. Called once per execution.
    pub start: Box<Start>,
}

type Start = dyn Fn(&[usize]) -> Result<Box<dyn Scan>> + Send + Sync;

/// A scan that runs.
pub trait Scan: Send + Sync {
    /// How many threads can share the work.
    fn threads(&self) -> usize;

    /// What one thread does. Producers take different rows each, all rows together.
    fn producer(&self) -> Box<dyn Producer>;
}

pub trait Producer: Send {
    /// Fills up to `limit` rows and returns how many; 0 is the end.
    fn fill(&mut self, limit: usize, columns: &mut Columns) -> Result<usize>;
}

/// The columns asked for, in the order asked for.
pub struct Columns(Vec<(usize, ColumnVector)>);

/// The cell at a column's place and a row.
pub struct Place<'c> {
    columns: &'c mut Columns,
    place: usize,
    row: usize,
}

impl<'a> Store<'a> for Place<'_> {
    type Stored = Result<()>;

    #[inline(always)]
    fn store(self, fitted: Fitted<'a>) -> Result<()> {
        self.columns.put(self.place, self.row, &fitted.cell())
    }
}

impl Columns {
    #[inline(always)]
    pub fn at(&mut self, place: usize, row: usize) -> Place<'_> {
        Place { columns: self, place, row }
    }

    /// Stores a cell in the `place`-th of the columns.
    #[inline(always)]
    pub fn put(&mut self, place: usize, row: usize, cell: &Cell<'_>) -> Result<()> {
        // SAFETY: `produce` makes the columns from a live chunk, and `row` is below the limit it gives.
        let written =
            self.0.get_mut(place).is_some_and(|(limit, column)| row < *limit && unsafe { column.write(row, cell) });
        if written { Ok(()) } else { Err(misplaced(place, row, &format!("{cell:?}"))) }
    }

    pub fn put_null(&mut self, place: usize, row: usize) -> Result<()> {
        self.put(place, row, &Cell::Null)
    }

    /// Rows of a column that stores 64-bit integers, to be written.
    pub fn integers(&mut self, place: usize, first: usize, rows: usize) -> Result<&mut [i64]> {
        self.elements(place, first, rows, Storage::I64)
    }

    /// Rows of a column of doubles, to be written.
    pub fn doubles(&mut self, place: usize, first: usize, rows: usize) -> Result<&mut [f64]> {
        self.elements(place, first, rows, Storage::F64)
    }

    /// Rows of a column of texts, to be written where they are short.
    pub fn short_texts(&mut self, place: usize, first: usize, rows: usize) -> Result<ShortTexts<'_>> {
        self.elements(place, first, rows, Storage::Text).map(ShortTexts)
    }

    /// Stores texts that are not short: `joined` has them one behind the other, `rows` their rows and lengths.
    pub fn put_joined(&mut self, place: usize, rows: &[(usize, usize)], joined: &[u8]) -> Result<()> {
        let Some((limit, column)) = self.0.get_mut(place) else { return Err(misplaced(place, 0, "texts")) };
        if rows.iter().any(|(row, _)| row >= limit) {
            return Err(misplaced(place, *limit, "a text"));
        }
        // SAFETY: the column is of a live chunk, and the rows are below its capacity.
        match unsafe { column.write_joined(rows, joined) } {
            true => Ok(()),
            false => Err(misplaced(place, 0, "texts that are short, or not what their lengths say")),
        }
    }

    fn elements<T>(&mut self, place: usize, first: usize, rows: usize, storage: Storage) -> Result<&mut [T]> {
        let fits = |limit: usize| first.checked_add(rows).is_some_and(|end| end <= limit);
        match self.0.get_mut(place) {
            // SAFETY: the column is of a live chunk, its storage is that of `T` by the callers above, and the rows are
            // below its capacity.
            Some((limit, column)) if fits(*limit) && column.storage() == storage => unsafe {
                Ok(column.elements(first, rows))
            },
            _ => Err(misplaced(place, first, &format!("{rows} values stored as {storage:?}"))),
        }
    }
}

/// A defect of the extension's own.
#[cold]
fn misplaced(place: usize, row: usize, what: &str) -> Error {
    Error::Database {
        message: format!("place {place} of a scan was given {what} in row {row}"),
        statement: "scan".to_string(),
    }
}

struct Running {
    scan: Box<dyn Scan>,
    /// For each column of the chunk, whether it is one of the table's: DuckDB asks for one of its own to count rows.
    known: Vec<bool>,
}

type Local = Mutex<Option<Box<dyn Producer>>>;

/// Registers a scan.
pub fn register_scan(session: &Session, function: &'static ScanFunction, instance: &Arc<Instance>) -> Result<()> {
    let registered = Registered { function, instance: instance.clone() };
    // SAFETY: the callbacks take the extra info for what is given here.
    unsafe {
        register_with(session, function.name, function.parameters, registered, |table_function| {
            ffi::duckdb_table_function_set_bind(table_function, Some(bind));
            ffi::duckdb_table_function_set_init(table_function, Some(init));
            ffi::duckdb_table_function_set_local_init(table_function, Some(local_init));
            ffi::duckdb_table_function_set_function(table_function, Some(produce));
            ffi::duckdb_table_function_supports_projection_pushdown(table_function, true);
        })
    }
}

unsafe extern "C" fn bind(info: ffi::duckdb_bind_info) {
    contain(
        // SAFETY: DuckDB passes a valid bind info, whose extra info is the `Registered` given at registration; bind
        // data and result columns are handed over as the API asks.
        || unsafe {
            let registered = &*ffi::duckdb_bind_get_extra_info(info).cast::<Registered<ScanFunction>>();
            let args = Args::take(info, registered.function.parameters);
            let plan = (registered.function.bind)(&registered.instance, &args)?;
            for (name, column) in &plan.columns {
                let name = c_string(name);
                with_column_type(*column, |t| ffi::duckdb_bind_add_result_column(info, name.as_ptr(), t));
            }
            ffi::duckdb_bind_set_bind_data(info, Box::into_raw(Box::new(plan)).cast(), Some(destroy::<ScanPlan>));
            Ok(())
        },
        // SAFETY: as above; DuckDB copies the message.
        |message| unsafe { ffi::duckdb_bind_set_error(info, message) },
    );
}

unsafe extern "C" fn init(info: ffi::duckdb_init_info) {
    contain(
        // SAFETY: the bind data is what `bind` left; DuckDB owns the init data from here on and frees it by the given
        // function.
        || unsafe {
            let plan = &*ffi::duckdb_init_get_bind_data(info).cast::<ScanPlan>();
            let asked: Vec<usize> = (0..ffi::duckdb_init_get_column_count(info))
                .map(|at| usize::try_from(ffi::duckdb_init_get_column_index(info, at)).unwrap_or(usize::MAX))
                .collect();
            let known: Vec<bool> = asked.iter().map(|place| *place < plan.columns.len()).collect();
            let wanted: Vec<usize> = asked.into_iter().filter(|place| *place < plan.columns.len()).collect();
            let scan = (plan.start)(&wanted)?;
            ffi::duckdb_init_set_max_threads(info, scan.threads().max(1) as u64);
            let running = Box::new(Running { scan, known });
            ffi::duckdb_init_set_init_data(info, Box::into_raw(running).cast(), Some(destroy::<Running>));
            Ok(())
        },
        // SAFETY: as above; DuckDB copies the message.
        |message| unsafe { ffi::duckdb_init_set_error(info, message) },
    );
}

unsafe extern "C" fn local_init(info: ffi::duckdb_init_info) {
    // The scan is out of reach here: the producer is made when the thread produces first.
    let local: Box<Local> = Box::default();
    // SAFETY: DuckDB owns the state from here on and frees it by the given function.
    unsafe { ffi::duckdb_init_set_init_data(info, Box::into_raw(local).cast(), Some(destroy::<Local>)) };
}

unsafe extern "C" fn produce(info: ffi::duckdb_function_info, output: ffi::duckdb_data_chunk) {
    watch();
    contain(
        // SAFETY: init data and local init data are what `init` and `local_init` left there, alive as long as the call;
        // the chunk has the columns that were asked for and room for `duckdb_vector_size` rows, and its types are read
        // from itself.
        || unsafe {
            let running = &*ffi::duckdb_function_get_init_data(info).cast::<Running>();
            let local = &*ffi::duckdb_function_get_local_init_data(info).cast::<Local>();
            let mut local = local.lock();
            let producer = local.get_or_insert_with(|| running.scan.producer());
            let limit = ffi::duckdb_vector_size() as usize;
            let mut columns = Vec::with_capacity(running.known.len());
            for (at, _) in running.known.iter().enumerate().filter(|(_, known)| **known) {
                let vector = ffi::duckdb_data_chunk_get_vector(output, at as u64);
                let mut logical = ffi::duckdb_vector_get_column_type(vector);
                let storage = storage_of(logical);
                ffi::duckdb_destroy_logical_type(&mut logical);
                let storage = storage.ok_or_else(|| Error::input("a scan has a column of a type that it never has"))?;
                columns.push((limit, ColumnVector::new(vector, storage)));
            }
            let filled = producer.fill(limit, &mut Columns(columns))?;
            ffi::duckdb_data_chunk_set_size(output, filled as u64);
            Ok(())
        },
        // SAFETY: as above; DuckDB copies the message.
        |message| unsafe { ffi::duckdb_function_set_error(info, message) },
    );
}
