//! A whole table from the source at one version: the first copy, and the answer to what cannot be followed row by row.
//!
//! The rows are read and converted by DuckDB's own threads: `INSERT INTO the table FROM _maniac_copy(job)`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use maniac_base::Version;
use parking_lot::Mutex;

use super::rejects;
use crate::error::{Error, Result};
use crate::host::Session;
use crate::schema::{Census, MirrorTable, OnMismatch, show};
use crate::source::{BorrowedValue, Source, TableScan, Value};
use crate::target::INLINED_ROWS;
use crate::target::Target;
use crate::target::lake::inlining::is_for_file;
use crate::target::native::{compression, primary_key};

/// Rows that a census reads at once.
const ROWS_AT_ONCE: usize = 2048;

/// How far the copy of a table is, for those who watch it; they can end it.
#[derive(Debug, Default)]
pub struct Tally {
    rows: AtomicU64,
    ended: AtomicBool,
}

impl Tally {
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Makes the copy fail soon.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// A copy under way, as `_maniac_copy` sees it.
pub struct CopyJob {
    pub scan: Arc<dyn TableScan>,
    pub table: MirrorTable,
    pub output: CopyOutput,
    on_mismatch: OnMismatch,
    tally: Arc<Tally>,
    /// Values that were rounded.
    rounded: AtomicU64,
    /// Per column, whether it has met a value that it cannot hold.
    misfits: Vec<AtomicBool>,
    /// Why the copy was given up.
    refusal: Mutex<Option<Error>>,
}

/// What a copy gives.
pub enum CopyOutput {
    /// The table's rows, with NULL for what does not fit.
    Rows,
    /// What does not fit in some columns, by their places.
    Misfits(Vec<usize>),
}

impl CopyJob {
    fn new(
        scan: Arc<dyn TableScan>,
        table: &MirrorTable,
        output: CopyOutput,
        on_mismatch: OnMismatch,
        tally: Arc<Tally>,
    ) -> CopyJob {
        let misfits = table.columns.iter().map(|_| AtomicBool::new(false)).collect();
        let (rounded, refusal) = (AtomicU64::new(0), Mutex::default());
        CopyJob { scan, table: table.clone(), output, on_mismatch, tally, rounded, misfits, refusal }
    }

    /// What takes the place of a value that its column cannot hold: a rounded one, or NULL, which is noted or makes the copy
    /// give up.
    pub fn misfit<'v, K: Iterator<Item = BorrowedValue<'v>>>(
        &self,
        column: usize,
        value: &BorrowedValue<'_>,
        key: impl FnOnce() -> K,
    ) -> Result<Value> {
        if let Some(rounded) = self.on_mismatch.rounded(&self.table.columns[column], self.table.in_key(column), value) {
            self.rounded.fetch_add(1, Ordering::Relaxed);
            return Ok(rounded);
        }
        if self.on_mismatch != OnMismatch::Error {
            self.misfits[column].store(true, Ordering::Relaxed);
            return Ok(Value::Null);
        }
        self.give_up(misfit_error(&self.table, column, value, key()))
    }

    /// Counts rows that were copied, or gives the copy up if somebody wants its end.
    pub fn count(&self, rows: u64) -> Result<()> {
        self.tally.rows.fetch_add(rows, Ordering::Relaxed);
        match self.tally.ended.load(Ordering::Relaxed) {
            true => self.give_up(Error::input(format!(
                "the mirror was detached while table {} was copied: attach it again to start over",
                self.table.source
            ))),
            false => Ok(()),
        }
    }

    fn give_up<T>(&self, error: Error) -> Result<T> {
        // DuckDB keeps only an error's text, of one thread.
        let text = error.to_string();
        self.refusal.lock().get_or_insert(error);
        Err(Error::Source(text))
    }
}

/// The error of a mirror that does not take misfits.
pub fn misfit_error<'v>(
    table: &MirrorTable,
    column: usize,
    value: &BorrowedValue<'_>,
    key: impl IntoIterator<Item = BorrowedValue<'v>>,
) -> Error {
    let shape = &table.columns[column];
    Error::Misfit {
        table: table.source.clone(),
        column: shape.source.clone(),
        key: table.key_text(key),
        value: show(value),
        wanted: shape.column_type.to_string(),
    }
}

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Copied {
    pub rows: u64,
    /// Columns that were widened for it.
    pub widened: u64,
    /// Values that were rounded.
    pub rounded: u64,
    /// Values that were put aside.
    pub rejected: u64,
}

/// Gives columns that cannot hold a value the types that hold all their values.
pub fn widen(
    target: &Target,
    source: &dyn Source,
    at: Version,
    table: &mut MirrorTable,
    columns: &[usize],
    on_mismatch: OnMismatch,
) -> Result<()> {
    let mut reader = source.scan(at, &table.source)?.reader(columns);
    let census = |place: &usize| {
        let column = &table.columns[*place];
        Census::of(column.column_type, on_mismatch.rounds(column, table.in_key(*place)))
    };
    let mut censuses: Vec<Census> = columns.iter().map(census).collect();
    while !censuses.iter().all(Census::is_decided) {
        let read = reader.read(ROWS_AT_ONCE, &mut |_, rows| {
            for (column, census) in censuses.iter_mut().enumerate().filter(|(_, census)| !census.is_decided()) {
                (0..rows.len()).for_each(|row| census.count(&rows.value(row, column)));
            }
            Ok(())
        })?;
        if read == 0 {
            break;
        }
    }
    for (place, census) in columns.iter().zip(censuses) {
        let column = &mut table.columns[*place];
        // Parquet files have DOUBLEs for HUGEINTs.
        let wider = census.next_type(column, !target.lake);
        column.widen(wider);
    }
    Ok(())
}

/// Makes the table and fills it, inside the session's transaction; the rejects must have nothing of it. Columns that are
/// widened are so in `table`. `progress` is given the tally of rows at the start.
pub fn copy_table(
    session: &Session,
    target: &Target,
    source: &dyn Source,
    at: Version,
    table: &mut MirrorTable,
    on_mismatch: OnMismatch,
    progress: &dyn Fn(Arc<Tally>),
) -> Result<Copied> {
    let mut copied = Copied::default();
    let mut scan = source.scan(at, &table.source)?;
    let unrepeated = compression::fsst_columns(session, target, table, &scan)?;
    loop {
        session.run(&target.create_table(table, &unrepeated))?;
        let tally = Arc::new(Tally::default());
        progress(tally.clone());
        let job = Arc::new(CopyJob::new(scan, table, CopyOutput::Rows, on_mismatch, tally.clone()));
        let lent = session.lend(job.clone());
        // The pages are read in any order, by all of DuckDB's threads, only if rows need not stay in order.
        session.run("SET SESSION preserve_insertion_order = false")?;
        let in_files = target.lake && is_for_file(source, at, table)?;
        if in_files {
            session.run(&Target::inline(0))?;
        }
        let filled =
            session.run(&format!("INSERT INTO {} FROM _maniac_copy({})", target.table(&table.name), lent.number));
        if let Some(refusal) = job.refusal.lock().take() {
            return Err(refusal);
        }
        filled?;
        if in_files {
            session.run(&Target::inline(INLINED_ROWS))?;
        }
        let misfits = job.misfits.iter().enumerate().filter(|(_, met)| met.load(Ordering::Relaxed));
        let (rejected, widened): (Vec<usize>, Vec<usize>) =
            misfits.map(|(place, _)| place).partition(|place| on_mismatch.rejects(table.in_key(*place)));
        if widened.is_empty() {
            copied.rows = tally.rows();
            copied.rounded = job.rounded.load(Ordering::Relaxed);
            if let Some(statement) = target.add_key(table).filter(|_| primary_key::with_the_copy(copied.rows)) {
                session.run(&statement)?;
            }
            if !rejected.is_empty() {
                let scan = source.scan(at, &table.source)?;
                let output = CopyOutput::Misfits(rejected);
                let job = CopyJob::new(scan, table, output, on_mismatch, Arc::default());
                let lent = session.lend(Arc::new(job));
                let from = format!("_maniac_copy({})", lent.number);
                copied.rejected = session.run(&rejects::fill(target, table, at, &from))?;
            }
            return Ok(copied);
        }
        copied.widened += widened.len() as u64;
        widen(target, source, at, table, &widened, on_mismatch)?;
        // All values fit now.
        session.run(&format!("DROP TABLE {}", target.table(&table.name)))?;
        scan = source.scan(at, &table.source)?;
    }
}
