//! The rows that a scan is at, written into a chunk column by column.
//!
//! Each frequent pair of a column's type and a value's has a loop of its own; whatever else a column holds is written value
//! by value.

use maniac_sqlite_format::{BlockColumn, BlockFields, Encoding};

use crate::error::Result;
use crate::host::Columns;
use crate::schema::{ColumnType, fit_into, is_exact, is_utf8, time};
use crate::source::{BorrowedValue, RowsView, Value};

/// Writes columns of rows, and keeps what that takes from one call to the next.
#[derive(Default)]
pub struct Filler {
    /// Rows, counted from the view's first, that a column's own loop has left.
    left: Vec<usize>,
    /// The texts of a column that do not lie in the vector itself: whose they are, how long, and one behind the other.
    long: Vec<(usize, usize)>,
    joined: Vec<u8>,
}

impl Filler {
    /// Writes the `from`-th column of `rows` as one of type `column` into the chunk's column `to`, from row `first` on.
    /// `misfit` is told of each value that the column cannot hold, with its row in the view, and says what is put in its place.
    pub fn fill(
        &mut self,
        (rows, from): (&RowsView<'_>, usize),
        column: ColumnType,
        (out, to, first): (&mut Columns, usize, usize),
        misfit: &mut dyn FnMut(usize, &BorrowedValue<'_>) -> Result<Value>,
    ) -> Result<()> {
        let source = rows.column(from);
        self.left.clear();
        match (source, column) {
            (BlockColumn::Rowids(rowids), ColumnType::BigInt) => {
                out.integers(to, first, rowids.len())?.copy_from_slice(rowids);
            }
            (BlockColumn::Fields(fields), ColumnType::BigInt) if !fields.real => {
                self.each(|row| fields.integer(row), out.integers(to, first, rows.len())?);
            }
            (BlockColumn::Fields(fields), ColumnType::Double) => {
                let real = |row| {
                    let integer = || fields.integer(row).filter(|value| fields.real || is_exact(*value));
                    let real = fields.get(row).and_then(|(serial, bytes)| serial.real(bytes));
                    real.or_else(|| integer().map(|value| value as f64))
                };
                self.each(real, out.doubles(to, first, rows.len())?);
            }
            (BlockColumn::Fields(fields), ColumnType::Timestamp) => {
                let timestamp = |row| text(&fields, row).and_then(time::plain_timestamp);
                self.each(timestamp, out.integers(to, first, rows.len())?);
            }
            (BlockColumn::Fields(fields), ColumnType::Varchar) => self.texts(&fields, rows.len(), (out, to, first))?,
            _ => self.left.extend(0..rows.len()),
        }
        for row in &self.left {
            let value = source.value(*row);
            match fit_into(&value, column, out.at(to, first + row)) {
                Some(stored) => stored?,
                None => {
                    let instead = misfit(*row, &value)?;
                    match fit_into(&instead, column, out.at(to, first + row)) {
                        Some(stored) => stored?,
                        None => out.put_null(to, first + row)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what `value` has for each row, and leaves the others.
    #[inline(always)]
    fn each<T>(&mut self, value: impl Fn(usize) -> Option<T>, out: &mut [T]) {
        for (row, place) in out.iter_mut().enumerate() {
            match value(row) {
                Some(value) => *place = value,
                None => self.left.push(row),
            }
        }
    }

    /// Writes the valid texts, short ones into the vector and the others all at once.
    fn texts(
        &mut self,
        fields: &BlockFields<'_>,
        rows: usize,
        (out, to, first): (&mut Columns, usize, usize),
    ) -> Result<()> {
        self.long.clear();
        self.joined.clear();
        let mut short = out.short_texts(to, first, rows)?;
        for row in 0..rows {
            match text(fields, row) {
                Some(text) if is_utf8(text) => {
                    if !short.put(row, text) {
                        self.long.push((first + row, text.len()));
                        self.joined.extend_from_slice(text);
                    }
                }
                _ => self.left.push(row),
            }
        }
        out.put_joined(to, &self.long, &self.joined)
    }
}

/// The bytes of a field that holds text in UTF-8, or what its writer took for it.
#[inline(always)]
fn text<'b>(fields: &BlockFields<'b>, row: usize) -> Option<&'b [u8]> {
    match fields.get(row) {
        Some((serial, bytes)) if serial.is_text() && fields.encoding == Encoding::Utf8 => Some(bytes),
        _ => None,
    }
}
