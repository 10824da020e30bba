//! `_maniac_copy`, by which a mirror copies a table of its source on DuckDB's own threads: its rows, or the values among
//! them that do not fit.

use std::sync::Arc;

use super::fill::Filler;
use crate::apply::{CopyJob, CopyOutput};
use crate::error::{Error, Result};
use crate::host::{Args, Cell, Columns, Kind, Parameter, Producer, Scan, ScanFunction, ScanPlan};
use crate::instance::Instance;
use crate::schema::{ColumnType, class, fit, reason};
use crate::source::{BorrowedValue, Reader, RowsView};

pub static COPY: ScanFunction =
    ScanFunction { name: "_maniac_copy", parameters: &[Parameter::Positional(Kind::Integer)], bind: copy };

fn copy(instance: &Arc<Instance>, args: &Args) -> Result<ScanPlan> {
    let job = args.integer_at(0).and_then(|number| instance.loans.get::<CopyJob>(number));
    let job =
        job.ok_or_else(|| Error::input("_maniac_copy is the extension's own; to read a table, use maniac_scan"))?;
    let columns = match &job.output {
        CopyOutput::Rows => job.table.columns.iter().map(|column| (column.name.clone(), column.column_type)).collect(),
        CopyOutput::Misfits(_) => MISFIT_COLUMNS.iter().map(|(name, kind)| (name.to_string(), *kind)).collect(),
    };
    let start = move |places: &[usize]| -> Result<Box<dyn Scan>> {
        Ok(Box::new(Copying { job: job.clone(), places: places.to_vec() }))
    };
    Ok(ScanPlan { columns, start: Box::new(start) })
}

struct Copying {
    job: Arc<CopyJob>,
    places: Vec<usize>,
}

impl Scan for Copying {
    fn threads(&self) -> usize {
        self.job.scan.parts()
    }

    fn producer(&self) -> Box<dyn Producer> {
        let all: Vec<usize> = (0..self.job.table.columns.len()).collect();
        let (reader, job) = (self.job.scan.clone().reader(&all), self.job.clone());
        match &self.job.output {
            CopyOutput::Rows => Box::new(Rows { reader, job, places: self.places.clone(), filler: Filler::default() }),
            CopyOutput::Misfits(columns) => {
                Box::new(Misfits { reader, job, places: self.places.clone(), columns: columns.clone() })
            }
        }
    }
}

struct Rows {
    reader: Box<dyn Reader>,
    job: Arc<CopyJob>,
    /// The columns that are asked for.
    places: Vec<usize>,
    filler: Filler,
}

impl Producer for Rows {
    fn fill(&mut self, limit: usize, out: &mut Columns) -> Result<usize> {
        let (job, places) = (&self.job, &self.places);
        let copied = self.reader.read(limit, &mut |first, rows| {
            for (at, place) in places.iter().enumerate() {
                let column = job.table.columns[*place].column_type;
                let mut note = |row: usize, value: &BorrowedValue<'_>| {
                    job.misfit(*place, value, || job.table.key.iter().map(|key| rows.value(row, *key)))
                };
                self.filler.fill((rows, *place), column, (out, at, first), &mut note)?;
            }
            Ok(())
        })?;
        job.count(copied as u64)?;
        Ok(copied)
    }
}

/// A row per value that does not fit, as the rejects table has them behind version and table.
const MISFIT_COLUMNS: [(&str, ColumnType); 5] = [
    ("column_name", ColumnType::Varchar),
    ("key", ColumnType::Json),
    ("value", ColumnType::Varchar),
    ("value_type", ColumnType::Varchar),
    ("reason", ColumnType::Varchar),
];

struct Misfits {
    reader: Box<dyn Reader>,
    job: Arc<CopyJob>,
    places: Vec<usize>,
    /// The columns of the table that have misfits.
    columns: Vec<usize>,
}

impl Producer for Misfits {
    fn fill(&mut self, limit: usize, out: &mut Columns) -> Result<usize> {
        let mut found = 0;
        // Each row read may give a row for each of the columns.
        let at_once = (limit / self.columns.len().max(1)).max(1);
        loop {
            let rows = self.reader.read(at_once, &mut |_, rows| {
                for row in 0..rows.len() {
                    for column in &self.columns {
                        found += usize::from(put_misfit(&self.job, &self.places, *column, (rows, row), found, out)?);
                    }
                }
                Ok(())
            })?;
            if rows == 0 || found > 0 {
                return Ok(found);
            }
        }
    }
}

/// Writes the value of a row's column as the `to`-th of the output, if it does not fit. Returns whether it did.
fn put_misfit(
    job: &CopyJob,
    places: &[usize],
    column: usize,
    (rows, row): (&RowsView<'_>, usize),
    to: usize,
    out: &mut Columns,
) -> Result<bool> {
    let (value, shape) = (rows.value(row, column), &job.table.columns[column]);
    if fit(&value, shape.column_type).is_some() {
        return Ok(false);
    }
    let text = |text: &str, at: usize, out: &mut Columns| out.put(at, to, &Cell::Bytes(text.as_bytes()));
    for (at, place) in places.iter().enumerate() {
        match place {
            0 => text(&shape.name, at, out)?,
            1 => text(&job.table.key_text(job.table.key.iter().map(|key| rows.value(row, *key))), at, out)?,
            2 => {
                if let Some(fitted) = fit(&value, ColumnType::Varchar) {
                    out.put(at, to, &fitted.cell())?;
                }
            }
            3 => text(class(&value), at, out)?,
            _ => text(&reason(&value, shape.column_type), at, out)?,
        }
    }
    Ok(true)
}
