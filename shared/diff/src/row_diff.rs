//! Compares the rows of one table.
//!
//! Both sides come in key order, so equal rows meet and cancel out by their stored bytes, without being decoded. Where
//! the key of a change is the rowid, rows that differ meet too. Where it is a declared key, a row can have moved to
//! another rowid, and what is left of both sides is paired by key in the end.

use std::borrow::Cow;
use std::cmp::Ordering;

use maniac_base::Value;
use maniac_changeset::{NULL_KEY_PREFIX, Op, Record, push_value};
use maniac_sqlite_format::{Cell, Database, FieldSource, FormatError, KeyForm, RecordFields, RowLayout};
use maniac_sqlite_format::{Selection, Table, TreePage, full_payload};

use crate::DiffError;
use crate::encode::RowEncoder;
use crate::order::KeyOrder;
use crate::output::Output;
use crate::overflow::Chains;
use crate::schema_match::TableMatch;
use crate::segments::Cells;
use crate::tree_diff::TreeDiff;
use crate::trim::same_cells;

/// How the rows of a table are read on both sides, and told apart.
#[derive(Debug)]
pub(crate) struct TableShape {
    name: String,
    /// The changeset header's key bytes.
    key: Vec<u8>,
    old: RowLayout,
    new: RowLayout,
    /// Changes are keyed by the rowid, as a column of its own or not.
    by_rowid: bool,
    rowid_first: bool,
    /// Columns of the changeset of which none may be NULL for the key to name a row. Empty where none can be.
    nullable_key: Vec<usize>,
    order: Option<KeyOrder>,
    /// Equal stored bytes mean equal rows.
    pub raw_comparable: bool,
}

impl TableShape {
    /// The shape of a table that is there after the change.
    pub fn new(
        pair: &TableMatch,
        table: &Table,
        selection: Selection,
        (old, new): (Option<&Database<'_>>, Option<&Database<'_>>),
    ) -> TableShape {
        let encoding = |db: Option<&Database<'_>>| db.map(|db| db.header().encoding).unwrap_or_default();
        let new_layout = RowLayout::new(table, encoding(new), selection);
        let mut old_layout = RowLayout { encoding: encoding(old), sources: Vec::new() };
        for (i, column) in table.selected_columns(selection) {
            old_layout.sources.push(match (&pair.old, pair.columns[i]) {
                (Some(before), Some(old)) => RowLayout::source(before, old),
                _ => FieldSource::Constant(column.default_value()),
            });
        }
        let stored = pair.old.as_ref().map_or(0, |before| before.stored.len());
        let raw_comparable = old_layout.encoding == new_layout.encoding
            && old_layout.sources.iter().zip(&new_layout.sources).all(|sources| match sources {
                (FieldSource::Constant(value), FieldSource::Field { index, default, .. }) => {
                    *index >= stored && value == default
                }
                (old, new) => old == new,
            });
        let rowid_first = table.key_form() == KeyForm::Rowid;
        let mut key: Vec<u8> = table.selected_columns(selection).map(|(i, _)| table.key_position(i)).collect();
        let is_key = key.iter().enumerate().filter(|(_, position)| **position != 0).map(|(i, _)| i).collect();
        if rowid_first {
            key.insert(0, 1);
        }
        TableShape {
            name: table.name.clone(),
            key,
            old: old_layout,
            new: new_layout,
            by_rowid: rowid_first || table.rowid_alias.is_some(),
            rowid_first,
            nullable_key: if table.key_form() == (KeyForm::Declared { nullable: true }) { is_key } else { Vec::new() },
            order: table.without_rowid.then(|| KeyOrder::new(table, encoding(new))),
            raw_comparable,
        }
    }

    /// The shape of `sqlite_schema` itself: its five columns, keyed by rowid.
    pub fn of_schema(old: Option<&Database<'_>>, new: Option<&Database<'_>>) -> TableShape {
        let layout = |db: Option<&Database<'_>>| RowLayout {
            encoding: db.map(|db| db.header().encoding).unwrap_or_default(),
            sources: (0..5).map(|index| FieldSource::Field { index, real: false, default: Value::Null }).collect(),
        };
        TableShape {
            name: "sqlite_schema".into(),
            key: vec![1, 0, 0, 0, 0, 0],
            old: layout(old),
            new: layout(new),
            by_rowid: true,
            rowid_first: true,
            nullable_key: Vec::new(),
            order: None,
            raw_comparable: true,
        }
    }

    /// Whether the key of a record that this crate has written holds NULL.
    fn has_null_key(&self, record: &[u8]) -> bool {
        let Ok(record) = Record::parse(record, self.key.len()) else { return false };
        record.fields().enumerate().any(|(column, field)| field.is_null() && self.nullable_key.contains(&column))
    }
}

pub(crate) struct RowDiffer<'a, 's> {
    shape: &'a TableShape,
    old_db: Option<&'a Database<'s>>,
    new_db: Option<&'a Database<'s>>,
    chains: &'a Chains,
    old: RowEncoder<'a>,
    new: RowEncoder<'a>,
    rows: Output<'a>,
    /// Rows whose declared key holds NULL. Few tables have any.
    null_rows: Option<Output<'a>>,
    scratch: (Vec<u8>, Vec<u8>),
    fields: (RecordFields, RecordFields),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Skip,
    Old,
    New,
    Both,
    Done,
}

impl Step {
    fn passes_old(self) -> bool {
        matches!(self, Step::Old | Step::Both | Step::Skip)
    }

    fn passes_new(self) -> bool {
        matches!(self, Step::New | Step::Both | Step::Skip)
    }
}

impl<'a, 's> RowDiffer<'a, 's> {
    pub fn new(
        shape: &'a TableShape,
        old_db: Option<&'a Database<'s>>,
        new_db: Option<&'a Database<'s>>,
        chains: &'a Chains,
    ) -> Self {
        RowDiffer {
            shape,
            old_db,
            new_db,
            chains,
            old: RowEncoder::new(&shape.old, shape.rowid_first),
            new: RowEncoder::new(&shape.new, shape.rowid_first),
            rows: Output::new(Cow::Borrowed(&shape.name), Cow::Borrowed(&shape.key)),
            null_rows: None,
            scratch: Default::default(),
            fields: Default::default(),
        }
    }

    /// Compares the rows of a tree's segments and appends what changed to a changeset.
    pub fn run(mut self, diff: &TreeDiff, changeset: &mut Vec<u8>) -> Result<(), DiffError> {
        let mut old = Cells::new(self.old_db, &diff.old).map_err(DiffError::Old)?;
        let mut new = Cells::new(self.new_db, &diff.new).map_err(DiffError::New)?;
        if self.shape.raw_comparable && self.chains.untouched {
            old.skip_same(&mut new).map_err(DiffError::New)?;
        }
        loop {
            let step = self.compare(
                old.current().map_err(DiffError::Old)?.as_ref(),
                new.current().map_err(DiffError::New)?.as_ref(),
            )?;
            if step == Step::Done {
                break;
            }
            if step.passes_old() {
                old.advance().map_err(DiffError::Old)?;
            }
            if step.passes_new() {
                new.advance().map_err(DiffError::New)?;
            }
        }
        self.finish(changeset);
        Ok(())
    }

    /// Compares one leaf of a tree before and after. From byte `reach` on the two are known to be equal.
    pub fn compare_leaf(&mut self, old: &TreePage<'_>, new: &TreePage<'_>, reach: usize) -> Result<(), DiffError> {
        let may_skip = self.shape.raw_comparable && self.chains.untouched;
        let (front, back) = if may_skip { same_cells(old, new, reach) } else { (0, 0) };
        let (mut at_old, mut at_new) = (front, front);
        let (end_old, end_new) = (old.cell_count() - back, new.cell_count() - back);
        loop {
            let before = (at_old < end_old).then(|| old.cell(at_old)).transpose().map_err(DiffError::Old)?;
            let after = (at_new < end_new).then(|| new.cell(at_new)).transpose().map_err(DiffError::New)?;
            let step = self.compare(before.as_ref(), after.as_ref())?;
            if step == Step::Done {
                return Ok(());
            }
            at_old += usize::from(step.passes_old());
            at_new += usize::from(step.passes_new());
        }
    }

    /// Takes down how the rows that both sides are at differ, and says which side goes on.
    #[inline]
    fn compare(&mut self, before: Option<&Cell<'_>>, after: Option<&Cell<'_>>) -> Result<Step, DiffError> {
        let step = self.step(before, after)?;
        match (step, before, after) {
            (Step::Old, Some(cell), _) => self.put(Op::Delete, cell)?,
            (Step::New, _, Some(cell)) => self.put(Op::Insert, cell)?,
            (Step::Both, Some(before), Some(after)) => self.both(before, after)?,
            _ => {}
        }
        Ok(step)
    }

    /// Appends what changed to a changeset.
    pub fn finish(self, changeset: &mut Vec<u8>) {
        self.rows.finish(changeset);
        if let Some(null_rows) = self.null_rows {
            null_rows.finish(changeset);
        }
    }

    /// What to do with the rows that both sides are at. Cells are equal by their bytes, unless an overflow chain says
    /// otherwise.
    fn step(&mut self, old: Option<&Cell<'_>>, new: Option<&Cell<'_>>) -> Result<Step, DiffError> {
        let (old, new) = match (old, new) {
            (None, None) => return Ok(Step::Done),
            (Some(_), None) => return Ok(Step::Old),
            (None, Some(_)) => return Ok(Step::New),
            (Some(old), Some(new)) => (old, new),
        };
        let same_cell = old.rowid == new.rowid
            && old.len == new.len
            && old.overflow == new.overflow
            && old.local == new.local
            && self.shape.raw_comparable;
        if same_cell {
            let differs = match self.new_db {
                Some(db) if new.overflow.is_some() => self.chains.may_differ(db, new).map_err(DiffError::New)?,
                _ => false,
            };
            return Ok(if differs { Step::Both } else { Step::Skip });
        }
        let order = match &self.shape.order {
            None => old.rowid.cmp(&new.rowid),
            Some(order) => {
                let before = payload(self.old_db, old, &mut self.fields.0).map_err(DiffError::Old)?;
                let after = payload(self.new_db, new, &mut self.fields.1).map_err(DiffError::New)?;
                order.compare((&before, &self.fields.0), (&after, &self.fields.1))
            }
        };
        Ok(match order {
            Ordering::Less => Step::Old,
            Ordering::Greater => Step::New,
            Ordering::Equal => Step::Both,
        })
    }

    /// A row that is on one side only, as far as the order of the tree tells.
    fn put(&mut self, op: Op, cell: &Cell<'_>) -> Result<(), DiffError> {
        let (db, encoder) = if op == Op::Delete { (self.old_db, self.old) } else { (self.new_db, self.new) };
        let error = |error| if op == Op::Delete { DiffError::Old(error) } else { DiffError::New(error) };
        let (buffer, start) = self.rows.start(op);
        let record = buffer.len();
        encode(db, encoder, cell, buffer).map_err(error)?;
        if self.shape.nullable_key.is_empty() || !self.shape.has_null_key(&buffer[record..]) {
            self.rows.end(op, start, self.shape.by_rowid);
            return Ok(());
        }
        let record = self.rows.take_back(op, start);
        let null_rows = self.null_rows.get_or_insert_with(|| {
            let mut key = vec![0; self.shape.key.len() + 1];
            key[0] = 1;
            Output::new(format!("{NULL_KEY_PREFIX}{}", self.shape.name).into(), key.into())
        });
        let (buffer, start) = null_rows.start(op);
        push_value(buffer, &Value::Integer(cell.rowid));
        buffer.extend(record);
        null_rows.end(op, start, false);
        Ok(())
    }

    /// Two rows at the same place in the tree, which may still be equal once they are decoded.
    fn both(&mut self, old: &Cell<'_>, new: &Cell<'_>) -> Result<(), DiffError> {
        let (before, after) = (&mut self.scratch.0, &mut self.scratch.1);
        before.clear();
        after.clear();
        encode(self.old_db, self.old, old, before).map_err(DiffError::Old)?;
        encode(self.new_db, self.new, new, after).map_err(DiffError::New)?;
        if before == after {
            return Ok(());
        }
        if self.shape.by_rowid {
            self.rows.update(before, after);
            return Ok(());
        }
        self.put(Op::Delete, old)?;
        self.put(Op::Insert, new)
    }
}

fn payload<'p>(
    db: Option<&Database<'_>>,
    cell: &Cell<'p>,
    fields: &mut RecordFields,
) -> Result<Cow<'p, [u8]>, FormatError> {
    let payload = match db {
        Some(db) => full_payload(db, cell)?,
        None => Cow::Borrowed(cell.local),
    };
    fields.parse(&payload).map_err(|what| FormatError::malformed(cell.page, cell.offset, what))?;
    Ok(payload)
}

fn encode(
    db: Option<&Database<'_>>,
    encoder: RowEncoder<'_>,
    cell: &Cell<'_>,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let payload = match db {
        Some(db) if cell.overflow.is_some() => full_payload(db, cell)?,
        _ => Cow::Borrowed(cell.local),
    };
    encoder.encode(cell.rowid, &payload, out).map_err(|what| FormatError::malformed(cell.page, cell.offset, what))
}
