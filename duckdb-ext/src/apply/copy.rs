//! A whole table from the source at one version: the first copy, and the answer to what cannot be followed row by row.
//!
//! The rows are read and converted by DuckDB's own threads: `INSERT INTO the table FROM _maniac_copy(job)`.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use maniac_base::Version;
use parking_lot::Mutex;

use super::Target;
use crate::error::Result;
use crate::host::Session;
use crate::schema::{ColumnType, MirrorTable};
use crate::source::{Source, TableScan};

/// A copy under way, as `_maniac_copy` sees it.
pub struct CopyJob {
    pub scan: Arc<dyn TableScan>,
    pub columns: Vec<(String, ColumnType)>,
    rows: Arc<AtomicU64>,
    misfits: Mutex<BTreeSet<usize>>,
}

impl CopyJob {
    /// Notes that a column cannot hold a value of its own. The table is made again then; the rows so far are of no use.
    pub fn misfit(&self, column: usize) {
        self.misfits.lock().insert(column);
    }

    pub fn count(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Jobs by number. Numbers are of the process and never used twice, so that instances do not see each other's.
static JOBS: Mutex<Option<HashMap<i64, Arc<CopyJob>>>> = Mutex::new(None);

/// A job's place in `JOBS`, for as long as it runs.
struct Listed(i64);

impl Listed {
    fn new(job: &Arc<CopyJob>) -> Listed {
        static NUMBER: AtomicI64 = AtomicI64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        JOBS.lock().get_or_insert_default().insert(number, job.clone());
        Listed(number)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(jobs) = &mut *JOBS.lock() {
            jobs.remove(&self.0);
        }
    }
}

/// The job of a number, while it runs.
pub fn copy_job(number: i64) -> Option<Arc<CopyJob>> {
    JOBS.lock().as_ref()?.get(&number).cloned()
}

/// Makes the table and fills it, inside the session's transaction. Columns that cannot hold a value of theirs are
/// widened in `table`. `progress` is given the counter of rows at the start. Returns the number of rows.
pub fn copy_table(
    session: &Session,
    target: &Target,
    source: &dyn Source,
    at: Version,
    table: &mut MirrorTable,
    progress: &dyn Fn(Arc<AtomicU64>),
) -> Result<u64> {
    loop {
        session.run(&target.create_table(table))?;
        let rows = Arc::new(AtomicU64::new(0));
        progress(rows.clone());
        let columns = table.columns.iter().map(|column| (column.name.clone(), column.column_type)).collect();
        let scan = source.scan(at, &table.source)?;
        let job = Arc::new(CopyJob { scan, columns, rows: rows.clone(), misfits: Mutex::default() });
        let listed = Listed::new(&job);
        // The pages are read in any order, by all of DuckDB's threads, only if rows need not stay in order.
        session.run("SET SESSION preserve_insertion_order = false")?;
        session.run(&format!("INSERT INTO {} FROM _maniac_copy({})", target.table(&table.name), listed.0))?;
        let misfits = std::mem::take(&mut *job.misfits.lock());
        if misfits.is_empty() {
            if let Some(statement) = target.add_key(table) {
                session.run(&statement)?;
            }
            return Ok(rows.load(Ordering::Relaxed));
        }
        for column in misfits {
            table.columns[column].column_type = ColumnType::Varchar;
        }
        // Each round widens at least one column for good, so that the rounds end.
        session.run(&format!("DROP TABLE {}", target.table(&table.name)))?;
    }
}
