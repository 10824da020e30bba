//! Which rows a lake had better have in files, however few they are, rather than in its catalog.
//!
//! DuckLake writes rows into its catalog as the text of a statement. Large values make that slow. And DuckDB 1.5 reads a
//! number such as 0.41000000000000003 in a statement as a DECIMAL, and rounds it twice on its way to a DOUBLE.

use maniac_base::Version;

use crate::error::Result;
use crate::host::Session;
use crate::schema::{ColumnType, MirrorTable, SHOWN, has_short_text};
use crate::source::{BorrowedValue, Source};
use crate::target::netting::{Net, NetTable};
use crate::target::{INLINED_BYTES, INLINED_ROWS};

/// From here on no rounding is seen: of 17 digits so few are behind the point then that both roundings together are less than
/// half of a double's last bit.
const LEAST_EXACT: f64 = 2.0;

/// Whether the changes' rows had better be in files.
pub fn is_for_files(table: &MirrorTable, changes: &NetTable) -> bool {
    let doubles: Vec<usize> = doubles(table);
    let is_rounded = |net: &Net| match net {
        Net::Insert(row) | Net::Replace(row) => doubles.iter().any(|place| row.get(*place).is_some_and(is_rounded)),
        // `completed_are_for_files` looks at whole rows.
        Net::Patch(_) | Net::Delete => false,
    };
    changes.bytes() > INLINED_BYTES || !doubles.is_empty() && changes.changes.iter().any(|(_, net)| is_rounded(net))
}

/// Whether rows had better be in files that are in a temporary table, with the columns `c0`, `c1` and so on.
pub fn completed_are_for_files(session: &Session, table: &MirrorTable, completed: &str) -> Result<bool> {
    let long = doubles(table).into_iter().map(|place| {
        let (column, most) = (format!("c{place}"), SHOWN - 1);
        format!("abs({column}) < {LEAST_EXACT} AND printf('%.{most}e', {column})::DOUBLE <> {column}")
    });
    let condition = long.collect::<Vec<_>>().join(" OR ");
    Ok(!condition.is_empty()
        && session.value(&format!("SELECT 'a row' FROM {completed} WHERE {condition} LIMIT 1"))?.is_some())
}

/// Whether a lake would take a whole table's rows into its catalog though they had better be in a file.
pub fn is_for_file(source: &dyn Source, at: Version, table: &MirrorTable) -> Result<bool> {
    let (places, doubles): (Vec<usize>, Vec<usize>) = ((0..table.columns.len()).collect(), doubles(table));
    let mut reader = source.scan(at, &table.source)?.reader(&places);
    let (mut rows, mut bytes, mut rounded) = (0, 0, false);
    while rows <= INLINED_ROWS && bytes <= INLINED_BYTES {
        let read = reader.read(INLINED_ROWS + 1 - rows, &mut |_, rows| {
            for row in 0..rows.len() {
                bytes += places.iter().map(|place| rows.value(row, *place).bytes()).sum::<usize>();
                rounded |= doubles.iter().any(|place| is_rounded(&rows.value(row, *place)));
            }
            Ok(())
        })?;
        if read == 0 {
            break;
        }
        rows += read;
    }
    Ok(bytes > INLINED_BYTES || rounded && rows <= INLINED_ROWS)
}

fn doubles(table: &MirrorTable) -> Vec<usize> {
    let columns = table.columns.iter().enumerate();
    columns.filter(|(_, column)| column.column_type == ColumnType::Double).map(|(place, _)| place).collect()
}

/// Whether a DOUBLE may not come through a statement's text as it is.
fn is_rounded(value: &BorrowedValue<'_>) -> bool {
    matches!(value, BorrowedValue::Real(number) if number.abs() < LEAST_EXACT && !has_short_text(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_fractions_are_rounded() {
        for exact in [0.0, -0.0, 0.5, 0.1, 12.34, 1e-5, 2.0000000000000004, 1234567.1 + 0.1 + 0.2, f64::INFINITY] {
            assert!(!is_rounded(&BorrowedValue::Real(exact)), "{exact}");
        }
        for long in [0.1 + 0.2, 0.41000000000000003, -0.44184399999999996, 1.9865164771474537, 0.9999999999999999] {
            assert!(is_rounded(&BorrowedValue::Real(long)), "{long}");
        }
    }
}
