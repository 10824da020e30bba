//! The rows of a table, in key order, as values.

use std::borrow::Cow;

use maniac_base::{PageNo, Value};

use crate::payload::append_payload;
use crate::{Affinity, Cell, Column, Database, Encoding, FormatError, Generated, RecordFields, Table, TreeWalk};

/// Which columns of a table to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those that a changeset has: all but generated ones.
    #[default]
    Changeset,
    /// Those that a record has: stored generated ones too, virtual ones not.
    Stored,
}

impl Selection {
    pub fn has(self, column: &Column) -> bool {
        match self {
            Selection::Changeset => column.generated == Generated::No,
            Selection::Stored => column.generated != Generated::Virtual,
        }
    }
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldSource {
    /// The row's key in its b-tree.
    Rowid,
    /// A field of the record; `default` is for rows that were written before the column was added.
    Field { index: usize, real: bool, default: Value<'static> },
    /// The same for every row.
    Constant(Value<'static>),
}

/// How to read a table's records.
#[derive(Clone, Debug)]
pub struct RowLayout {
    pub encoding: Encoding,
    /// One for each column that is read.
    pub sources: Vec<FieldSource>,
}

impl RowLayout {
    pub fn new(table: &Table, encoding: Encoding, selection: Selection) -> RowLayout {
        let sources = table.selected_columns(selection).map(|(i, _)| RowLayout::source(table, i));
        RowLayout { encoding, sources: sources.collect() }
    }

    /// Where the value of a table's column comes from. A virtual column has none in the file.
    pub fn source(table: &Table, column: usize) -> FieldSource {
        if table.rowid_alias == Some(column) {
            return FieldSource::Rowid;
        }
        let definition = &table.columns[column];
        match table.stored.iter().position(|&stored| stored == column) {
            Some(index) => {
                let real = definition.affinity == Affinity::Real;
                FieldSource::Field { index, real, default: definition.default_value() }
            }
            None => FieldSource::Constant(Value::Null),
        }
    }

    /// The row whose record was parsed into `fields`.
    pub fn row<'r>(&'r self, rowid: i64, payload: &'r [u8], fields: &'r RecordFields) -> Row<'r> {
        Row { rowid, layout: self, fields, payload }
    }

    /// The value of the `i`-th column of a row whose record was parsed into `fields`.
    #[inline(always)]
    pub fn value<'p>(&'p self, i: usize, rowid: i64, payload: &'p [u8], fields: &RecordFields) -> Value<'p> {
        match &self.sources[i] {
            FieldSource::Rowid => Value::Integer(rowid),
            FieldSource::Field { index, real, default } => match fields.get(*index, payload) {
                Some((serial, bytes)) => serial.value(bytes, self.encoding, *real),
                None => borrow(default),
            },
            FieldSource::Constant(value) => borrow(value),
        }
    }
}

pub(crate) fn borrow<'v>(value: &'v Value<'static>) -> Value<'v> {
    match value {
        Value::Text(bytes) => Value::Text(Cow::Borrowed(bytes)),
        Value::Blob(bytes) => Value::Blob(Cow::Borrowed(bytes)),
        other => other.clone(),
    }
}

/// An iterator over rows that allocates nothing per row, except for text of UTF-16 databases.
pub struct Rows<'s> {
    db: Database<'s>,
    walk: Option<TreeWalk<'s>>,
    layout: RowLayout,
    fields: RecordFields,
    /// The payload of a row that doesn't fit its page.
    spilled: Vec<u8>,
}

/// One row, as long as its page is at hand.
pub struct Row<'r> {
    pub rowid: i64,
    layout: &'r RowLayout,
    fields: &'r RecordFields,
    payload: &'r [u8],
}

impl<'r> Row<'r> {
    /// Columns of the selection.
    pub fn len(&self) -> usize {
        self.layout.sources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.layout.sources.is_empty()
    }

    #[inline(always)]
    pub fn value(&self, i: usize) -> Value<'r> {
        self.layout.value(i, self.rowid, self.payload, self.fields)
    }

    pub fn values(&self) -> impl Iterator<Item = Value<'r>> + '_ {
        (0..self.len()).map(|i| self.value(i))
    }
}

impl<'s> Rows<'s> {
    /// All rows of a table. A virtual table has none of its own.
    pub fn new(db: &Database<'s>, table: &Table, selection: Selection) -> Result<Rows<'s>, FormatError> {
        Rows::below(db, table, table.root, selection)
    }

    /// The rows below one page of a table's b-tree, as [`Database::subtrees`] gives them.
    pub fn below(
        db: &Database<'s>,
        table: &Table,
        page: PageNo,
        selection: Selection,
    ) -> Result<Rows<'s>, FormatError> {
        let walk = if page.0 == 0 { None } else { Some(TreeWalk::new(db, page)?) };
        let layout = RowLayout::new(table, db.header().encoding, selection);
        Ok(Rows { db: *db, walk, layout, fields: RecordFields::default(), spilled: Vec::new() })
    }

    #[allow(clippy::should_implement_trait, reason = "the row borrows from the iterator")]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, FormatError> {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        let Some(cell) = walk.next()? else { return Ok(None) };
        let payload = if cell.overflow.is_some() {
            self.spilled.clear();
            append_payload(&self.db, &cell, &mut self.spilled)?;
            &self.spilled[..]
        } else {
            cell.local
        };
        self.fields.parse(payload).map_err(|what| malformed(&cell, what))?;
        Ok(Some(Row { rowid: cell.rowid, layout: &self.layout, fields: &self.fields, payload }))
    }
}

fn malformed(cell: &Cell<'_>, what: &'static str) -> FormatError {
    FormatError::malformed(cell.page, cell.offset, what)
}
