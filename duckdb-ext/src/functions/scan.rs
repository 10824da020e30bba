//! `maniac_scan`: a table at any version, read straight from the store's pages; and `_maniac_copy`, by which the first
//! copy of a mirror reads in the same way.

use std::sync::Arc;

use crate::apply::{CopyJob, copy_job};
use crate::error::{Error, Result};
use crate::host::{Args, Columns, Kind, Parameter, Producer, Scan, ScanFunction, ScanPlan};
use crate::instance::Instance;
use crate::schema::{ColumnType, Names, fit, show};
use crate::source::{self, Reader, TableScan};

pub static SCAN: ScanFunction = ScanFunction {
    name: "maniac_scan",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Positional(Kind::Text),
        Parameter::Named("branch", Kind::Text),
        Parameter::Named("at", Kind::Text),
        Parameter::Named("all_varchar", Kind::Boolean),
    ],
    bind: scan,
};

pub static COPY: ScanFunction =
    ScanFunction { name: "_maniac_copy", parameters: &[Parameter::Positional(Kind::Integer)], bind: copy };

fn scan(_: &Arc<Instance>, args: &Args) -> Result<ScanPlan> {
    let location = args.text_at(0, "the store to read")?;
    let name = args.text_at(1, "the table to read")?;
    let branch = args.text("branch").unwrap_or_else(|| "main".to_string());
    let source = source::open(&location, &branch)?;
    let at = args.text("at").map(|moment| source.resolve(&moment)).transpose()?;
    let version = at.map_or_else(|| source.head(), Ok)?;
    let tables = source.tables(version)?;
    let Some(table) = tables.iter().find(|table| table.name.eq_ignore_ascii_case(&name)).cloned() else {
        let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
        return Err(Error::input(format!("{location} has no table {name} at version {version} (tables: {known})")));
    };
    let all_varchar = args.flag("all_varchar");
    let mut names = Names::default();
    let columns: Vec<(String, ColumnType)> = table
        .columns
        .iter()
        .map(|column| {
            let column_type = if all_varchar { ColumnType::Varchar } else { ColumnType::of_declared(&column.declared) };
            (names.claim(&column.name), column_type)
        })
        .collect();
    let described: Arc<[(String, ColumnType)]> = columns.clone().into();
    let start = move |places: &[usize]| -> Result<Box<dyn Scan>> {
        // Without a version, a statement that was prepared long ago still reads what is there now.
        let version = at.map_or_else(|| source.head(), Ok)?;
        if at.is_none() && source.tables(version)?.iter().find(|now| now.name == table.name) != Some(&table) {
            return Err(Error::input(format!("table {} has changed since the query was prepared", table.name)));
        }
        let columns = places.iter().map(|place| described[*place].clone()).collect();
        let sink = Sink::Query { table: table.name.clone(), columns };
        Ok(Box::new(Running {
            scan: source.scan(version, &table.name)?,
            places: places.to_vec(),
            sink: Arc::new(sink),
        }))
    };
    Ok(ScanPlan { columns, start: Box::new(start) })
}

fn copy(_: &Arc<Instance>, args: &Args) -> Result<ScanPlan> {
    let job = args.integer_at(0).and_then(copy_job);
    let job =
        job.ok_or_else(|| Error::input("_maniac_copy is the extension's own; to read a table, use maniac_scan"))?;
    let columns = job.columns.clone();
    let start = move |places: &[usize]| -> Result<Box<dyn Scan>> {
        let sink = Sink::Copy { job: job.clone(), places: places.to_vec() };
        Ok(Box::new(Running { scan: job.scan.clone(), places: places.to_vec(), sink: Arc::new(sink) }))
    };
    Ok(ScanPlan { columns, start: Box::new(start) })
}

struct Running {
    scan: Arc<dyn TableScan>,
    places: Vec<usize>,
    sink: Arc<Sink>,
}

impl Scan for Running {
    fn threads(&self) -> usize {
        self.scan.parts()
    }

    fn producer(&self) -> Box<dyn Producer> {
        Box::new(Filler { reader: self.scan.clone().reader(&self.places), sink: self.sink.clone() })
    }
}

/// What becomes of a value that its column cannot hold: the query fails, or the copy learns of it and is made anew.
enum Sink {
    Query { table: String, columns: Vec<(String, ColumnType)> },
    Copy { job: Arc<CopyJob>, places: Vec<usize> },
}

struct Filler {
    reader: Box<dyn Reader>,
    sink: Arc<Sink>,
}

impl Producer for Filler {
    fn fill(&mut self, limit: usize, out: &mut Columns) -> Result<usize> {
        match &*self.sink {
            Sink::Query { table, columns } => self.reader.read(limit, &mut |row, place, value| {
                let (name, column) = &columns[place];
                match fit(value, *column) {
                    Some(fitted) => out.put(place, row, &fitted.cell()),
                    None => Err(Error::input(format!(
                        "column {name} of table {table} holds {}, which is no {column}: read it as text with \
                         all_varchar := true",
                        show(value)
                    ))),
                }
            }),
            Sink::Copy { job, places } => {
                let rows = self.reader.read(limit, &mut |row, place, value| {
                    let column = places[place];
                    match fit(value, job.columns[column].1) {
                        Some(fitted) => out.put(place, row, &fitted.cell()),
                        None => {
                            job.misfit(column);
                            out.put(place, row, &crate::host::Cell::Null)
                        }
                    }
                })?;
                job.count(rows as u64);
                Ok(rows)
            }
        }
    }
}
