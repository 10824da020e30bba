//! `maniac_scan`: a table at any version, read straight from the store's pages.

use std::sync::Arc;

use super::fill::Filler;
use crate::error::{Error, Result};
use crate::host::{Args, Columns, Kind, Parameter, Producer, Scan, ScanFunction, ScanPlan};
use crate::instance::Instance;
use crate::schema::{ColumnType, Names, show};
use crate::source::{self, BorrowedValue, Reader, TableScan};

pub static SCAN: ScanFunction = ScanFunction {
    name: "maniac_scan",
    parameters: &[
        Parameter::Positional(Kind::Text),
        Parameter::Positional(Kind::Text),
        Parameter::Named("branch", Kind::Text),
        Parameter::Named("keyfile", Kind::Text),
        Parameter::Named("at", Kind::Text),
        Parameter::Named("all_varchar", Kind::Boolean),
    ],
    bind: scan,
};

fn scan(instance: &Arc<Instance>, args: &Args) -> Result<ScanPlan> {
    let location = args.text_at(0, "the store to read")?;
    let name = args.text_at(1, "the table to read")?;
    let branch = args.text("branch").unwrap_or_else(|| "main".to_string());
    let source = source::open(&location, &branch, args.text("keyfile").as_deref())?;
    instance.keep_open(&source);
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
        let shape = Shape { table: table.name.clone(), columns };
        Ok(Box::new(Running {
            scan: source.scan(version, &table.name)?,
            places: places.to_vec(),
            shape: Arc::new(shape),
        }))
    };
    Ok(ScanPlan { columns, start: Box::new(start) })
}

struct Running {
    scan: Arc<dyn TableScan>,
    places: Vec<usize>,
    shape: Arc<Shape>,
}

/// The columns asked for, and whose they are.
struct Shape {
    table: String,
    columns: Vec<(String, ColumnType)>,
}

impl Scan for Running {
    fn threads(&self) -> usize {
        self.scan.parts()
    }

    fn producer(&self) -> Box<dyn Producer> {
        let reader = self.scan.clone().reader(&self.places);
        Box::new(Rows { reader, shape: self.shape.clone(), filler: Filler::default() })
    }
}

struct Rows {
    reader: Box<dyn Reader>,
    shape: Arc<Shape>,
    filler: Filler,
}

impl Producer for Rows {
    fn fill(&mut self, limit: usize, out: &mut Columns) -> Result<usize> {
        let Shape { table, columns } = &*self.shape;
        self.reader.read(limit, &mut |first, rows| {
            for (place, (name, column)) in columns.iter().enumerate() {
                let mut refuse = |_: usize, value: &BorrowedValue<'_>| Err(misfit(table, name, *column, value));
                self.filler.fill((rows, place), *column, (out, place, first), &mut refuse)?;
            }
            Ok(())
        })
    }
}

#[cold]
fn misfit(table: &str, name: &str, column: ColumnType, value: &BorrowedValue<'_>) -> Error {
    Error::input(format!(
        "column {name} of table {table} holds {}, which is not a {column}: read it as text with all_varchar := true",
        show(value)
    ))
}
