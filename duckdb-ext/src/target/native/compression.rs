//! How the texts of a large native table are to be stored, found out from a sample before it is copied.
//!
//! DuckDB tries every method on every value of a column and keeps the best. For texts the dearest of them looks for
//! repetition, and where texts hardly repeat that is a sixth to a fifth of a copy, spent in vain. `USING COMPRESSION fsst`
//! names what DuckDB would choose for such a column itself.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Result;
use crate::host::Session;
use crate::schema::{ColumnType, MirrorTable, quote_text};
use crate::source::{BorrowedValue, TableScan};
use crate::target::Target;

/// Smaller tables are copied in no time.
const FROM_PARTS: usize = 64;
const ROWS: usize = 20_000;
/// A sample of fewer texts tells nothing.
const FROM_TEXTS: usize = 1_000;
/// One of so many texts may be there already.
const REPEATED: usize = 10;
/// Shorter texts have little to gain.
const FROM_BYTES: usize = 12;
/// The storage versions with this method; later ones have another one for all texts.
const WITH_FSST: [&str; 3] = ["v1.0.0+", "v1.1.0+", "v1.2.0+"];

/// The columns of a table whose texts hardly repeat, where the target has the method for them.
pub fn fsst_columns(
    session: &Session,
    target: &Target,
    table: &MirrorTable,
    scan: &Arc<dyn TableScan>,
) -> Result<Vec<usize>> {
    let texts = table.columns.iter().enumerate().filter(|(_, column)| column.column_type == ColumnType::Varchar);
    let places: Vec<usize> = texts.map(|(place, _)| place).collect();
    if target.lake || places.is_empty() || scan.parts() < FROM_PARTS {
        return Ok(Vec::new());
    }
    let stored = session.value(&format!(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = {}",
        quote_text(&target.catalog)
    ))?;
    if !stored.is_some_and(|version| WITH_FSST.contains(&version.as_str())) {
        return Ok(Vec::new());
    }
    let mut samples = vec![Sample::default(); places.len()];
    let mut reader = scan.sample().reader(&places);
    let mut rows = 0;
    while rows < ROWS {
        let read = reader.read(ROWS - rows, &mut |_, rows| {
            for (place, sample) in samples.iter_mut().enumerate() {
                (0..rows.len()).for_each(|row| sample.add(&rows.value(row, place)));
            }
            Ok(())
        })?;
        if read == 0 {
            break;
        }
        rows += read;
    }
    Ok(places.into_iter().zip(&samples).filter(|(_, sample)| sample.hardly_repeats()).map(|(place, _)| place).collect())
}

#[derive(Clone, Default)]
struct Sample {
    texts: usize,
    bytes: usize,
    distinct: HashSet<Box<[u8]>>,
}

impl Sample {
    fn add(&mut self, value: &BorrowedValue<'_>) {
        if let BorrowedValue::Text(text) = value {
            self.texts += 1;
            self.bytes += text.len();
            self.distinct.insert(text.as_ref().into());
        }
    }

    fn hardly_repeats(&self) -> bool {
        self.texts >= FROM_TEXTS
            && self.bytes > self.texts * FROM_BYTES
            && (self.texts - self.distinct.len()) * REPEATED <= self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardly_repeats(texts: impl Iterator<Item = String>) -> bool {
        let mut sample = Sample::default();
        texts.for_each(|text| sample.add(&BorrowedValue::text(&text)));
        sample.add(&BorrowedValue::Null);
        sample.hardly_repeats()
    }

    #[test]
    fn texts_that_repeat_are_left_to_duckdb() {
        assert!(hardly_repeats((0..1000).map(|i| format!("the note of row {i}"))));
        assert!(hardly_repeats((0..1000).map(|i| format!("the note of row {}", i % 900))));
        assert!(!hardly_repeats((0..1000).map(|i| format!("the note of row {}", i % 899))));
        assert!(!hardly_repeats((0..1000).map(|i| format!("row {i}"))), "short");
        assert!(!hardly_repeats((0..999).map(|i| format!("the note of row {i}"))), "too few to tell");
    }
}
