//! A whole table from the source at one version: the first copy, and the answer to what cannot be followed row by row.

use maniac_base::Version;

use super::Target;
use crate::error::{Error, Result};
use crate::host::{Session, TableWriter};
use crate::schema::{ColumnType, Fitted, MirrorTable, fit};
use crate::source::{BorrowedValue, Source};

/// Makes the table and fills it, inside the session's transaction. Columns that cannot hold a value of theirs are
/// widened in `table`. `progress` is told the number of rows now and then. Returns the number of rows.
pub fn copy_table(
    session: &Session,
    target: &Target,
    source: &dyn Source,
    at: Version,
    table: &mut MirrorTable,
    progress: &dyn Fn(u64),
) -> Result<u64> {
    loop {
        session.run(&target.create_table(table))?;
        match fill(session, target, source, at, table, progress)? {
            Filled::Whole(rows) => return Ok(rows),
            Filled::Misfits(columns) => {
                for column in columns {
                    table.columns[column].column_type = ColumnType::Varchar;
                }
                // Each round widens at least one column for good, so that the rounds end.
                session.run(&format!("DROP TABLE {}", target.table(&table.name)))?;
            }
        }
    }
}

enum Filled {
    Whole(u64),
    Misfits(Vec<usize>),
}

fn fill(
    session: &Session,
    target: &Target,
    source: &dyn Source,
    at: Version,
    table: &MirrorTable,
    progress: &dyn Fn(u64),
) -> Result<Filled> {
    const PROGRESS_EVERY: u64 = 10_000;
    let types = table.types();
    let mut writer = Some(TableWriter::open(session, &target.catalog, &target.schema, &table.name)?);
    let mut misfits: Vec<usize> = Vec::new();
    let mut count = 0;
    source.scan(at, &table.source, &mut |row| {
        if row.len() != types.len() {
            return Err(Error::source(format!(
                "table {} has rows of {} values and {} columns at version {at}",
                table.source,
                row.len(),
                types.len()
            )));
        }
        match fit_row(row, &types) {
            Ok(cells) => {
                if let Some(writer) = &mut writer {
                    writer.push(cells.iter().map(Fitted::cell))?;
                }
            }
            Err(columns) => {
                // The table will be made again: go on only to learn which other columns misfit.
                writer = None;
                for column in columns {
                    if !misfits.contains(&column) {
                        misfits.push(column);
                    }
                }
            }
        }
        count += 1;
        if count % PROGRESS_EVERY == 0 {
            progress(count);
        }
        Ok(())
    })?;
    progress(count);
    match writer {
        Some(writer) => writer.finish().map(|()| Filled::Whole(count)),
        None => Ok(Filled::Misfits(misfits)),
    }
}

/// The row's cells, or the columns whose value does not fit.
fn fit_row<'a>(row: &'a [BorrowedValue<'_>], types: &[ColumnType]) -> std::result::Result<Vec<Fitted<'a>>, Vec<usize>> {
    let mut cells = Vec::with_capacity(row.len());
    for (value, column) in row.iter().zip(types) {
        match fit(value, *column) {
            Some(cell) => cells.push(cell),
            None => {
                let misfits = row.iter().zip(types).enumerate();
                return Err(misfits.filter(|(_, (v, t))| fit(v, **t).is_none()).map(|(at, _)| at).collect());
            }
        }
    }
    Ok(cells)
}
