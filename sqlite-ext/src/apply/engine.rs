//! Applies a changeset's changes one by one.
//!
//! ```text
//! change ── row as it is ── as expected? ── yes ── write ── refused by a constraint ── later, all together
//!                                └── no ── conflict: listed, and by policy replaced, omitted, or all undone
//! ```
//!
//! What a constraint refuses may be right once the changes behind it are made, such as two rows that swap a unique value.

use std::rc::Rc;

use maniac_changeset::{Change, Item, Op, Reader, Record, TableHeader};
use maniac_history::row;
use rusqlite::{Connection, ErrorCode, ffi};

use super::conflict::{Conflict, Kind, Policy, Resolution};
use super::table::{Statements, TargetTable, quote};
use crate::errors::{VfsError, VfsResult};

pub struct Engine<'c> {
    statements: Statements<'c>,
    schema: &'c str,
    policy: Policy,
    stuck: Vec<Step<'c>>,
    pub rows: u64,
    pub conflicts: Vec<Conflict>,
    /// Tables whose rows were copied into another shape: a value that its new column holds in another form is no conflict.
    pub reshaped: Vec<String>,
    /// Unique indexes that are dropped if they refuse a row. They are made again when all rows are there.
    pub young: &'c [String],
}

/// A change and where it goes.
#[derive(Clone)]
struct Step<'c> {
    table: Rc<TargetTable>,
    header: TableHeader<'c>,
    change: Change<'c>,
}

/// Whether a row was refused.
pub fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

impl<'c> Engine<'c> {
    pub fn new(db: &'c Connection, schema: &'c str, policy: Policy) -> Engine<'c> {
        let statements = Statements::new(db);
        Engine {
            statements,
            schema,
            policy,
            stuck: Vec::new(),
            rows: 0,
            conflicts: Vec::new(),
            reshaped: Vec::new(),
            young: &[],
        }
    }

    pub fn run(&mut self, changeset: &'c [u8]) -> VfsResult<()> {
        let mut at = None;
        for item in Reader::new(changeset) {
            match item.map_err(VfsError::sql)? {
                Item::Table(header) => {
                    let table = TargetTable::find(self.statements.db, self.schema, &header)?;
                    at = Some((Rc::new(table), header));
                }
                Item::Change(change) => {
                    let Some((table, header)) = at.clone() else { continue };
                    let refused = |error| VfsError::new(ffi::SQLITE_ERROR, format!("table {}: {error}", table.name));
                    self.step(Step { table: table.clone(), header, change }).map_err(refused)?;
                }
            }
        }
        self.settle().map_err(VfsError::sql)
    }

    /// Inserts rows of tables without a key under rowids that are free.
    pub fn append(&mut self, changeset: &'c [u8]) -> VfsResult<()> {
        let mut table = None;
        for item in Reader::new(changeset) {
            match (item.map_err(VfsError::sql)?, &table) {
                (Item::Table(header), _) => {
                    table = Some(TargetTable::find(self.statements.db, self.schema, &header)?);
                }
                (Item::Change(Change { new: Some(new), .. }), Some(table)) => {
                    table.append(&mut self.statements, new).map_err(VfsError::sql)?;
                    self.rows += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step<'c>) -> rusqlite::Result<()> {
        let mut current = step.table.current(&mut self.statements, step.change.keyed())?;
        if let (Some(declared), Some(record)) = (&step.table.null_key, &current) {
            // By its rowid this may be a row with a whole key, which is none of these.
            let record = Record::parse(record, step.header.columns()).unwrap_or(step.change.keyed());
            if !record.fields().enumerate().any(|(n, field)| declared.contains(&n) && field.is_null()) {
                if step.change.op == Op::Insert {
                    step.table.move_away(&mut self.statements, step.change.keyed())?;
                }
                current = None;
            }
        }
        let kind = match (step.change.op, &current) {
            (Op::Insert, None) => None,
            (Op::Insert, Some(_)) => Some(Kind::Conflict),
            (_, None) => Some(Kind::NotFound),
            (_, Some(_)) if self.reshaped.contains(&step.table.name) => None,
            (_, Some(now)) => (!step.expects(now)).then_some(Kind::Data),
        };
        if let Some(kind) = kind {
            let possible = kind != Kind::NotFound;
            let resolution = match self.policy {
                Policy::Abort => Resolution::Aborted,
                Policy::Replace if possible => Resolution::Replaced,
                Policy::Replace | Policy::Omit => Resolution::Omitted,
            };
            self.report(&step, kind, current.as_deref(), resolution);
            if resolution != Resolution::Replaced {
                return Ok(());
            }
            if kind == Kind::Conflict {
                step.table.delete(&mut self.statements, step.change.keyed())?;
            }
        }
        self.write_or_wait(step)
    }

    fn write_or_wait(&mut self, step: Step<'c>) -> rusqlite::Result<()> {
        match self.write(&step, false) {
            Err(error) if is_constraint(&error) => self.stuck.push(step),
            other => other?,
        }
        Ok(())
    }

    fn write(&mut self, step: &Step<'c>, or_replace: bool) -> rusqlite::Result<()> {
        let (table, statements) = (&step.table, &mut self.statements);
        match (step.change.old, step.change.new) {
            (Some(old), Some(new)) => table.update(statements, old, new, or_replace)?,
            (None, Some(new)) => table.insert(statements, new, or_replace)?,
            (old, None) => table.delete(statements, old.unwrap_or(step.change.keyed()))?,
        };
        self.rows += 1;
        Ok(())
    }

    /// What a constraint refused: again one by one as long as that helps, then all at once.
    fn settle(&mut self) -> rusqlite::Result<()> {
        loop {
            let waiting = std::mem::take(&mut self.stuck);
            let before = waiting.len();
            for step in waiting {
                self.write_or_wait(step)?;
            }
            if self.stuck.is_empty() {
                return Ok(());
            }
            if self.stuck.len() == before {
                break;
            }
        }
        let stuck = std::mem::take(&mut self.stuck);
        let db = self.statements.db;
        db.execute_batch("SAVEPOINT maniac_settle")?;
        let together = self.together(&stuck);
        let refused = together.as_ref().is_err_and(is_constraint);
        if together.is_err() {
            db.execute_batch("ROLLBACK TO maniac_settle")?;
        }
        db.execute_batch("RELEASE maniac_settle")?;
        if !refused {
            return together;
        }
        if !self.young.is_empty() {
            for index in std::mem::take(&mut self.young) {
                db.execute_batch(&format!("DROP INDEX IF EXISTS {}.{}", quote(self.schema), quote(index)))?;
            }
            self.stuck = stuck;
            return self.settle();
        }
        for step in stuck {
            let current = step.table.current(&mut self.statements, step.change.keyed())?;
            let resolution = match self.policy {
                Policy::Abort => Resolution::Aborted,
                Policy::Omit => Resolution::Omitted,
                Policy::Replace => match self.write(&step, true) {
                    Ok(()) => Resolution::Replaced,
                    Err(error) if is_constraint(&error) => Resolution::Omitted,
                    Err(error) => return Err(error),
                },
            };
            self.report(&step, Kind::Constraint, current.as_deref(), resolution);
        }
        Ok(())
    }

    /// Takes out all rows that the steps change, then puts all in as they shall be.
    fn together(&mut self, steps: &[Step<'c>]) -> rusqlite::Result<()> {
        let mut rows = Vec::new();
        for step in steps {
            let Some(new) = step.change.new else { continue };
            let (table, statements) = (&step.table, &mut self.statements);
            let taken = match step.change.old {
                None => (new.bytes().to_vec(), None),
                Some(old) => {
                    let current = table.current(statements, old)?.unwrap_or_default();
                    (step.overlaid(&current, new), table.take_out(statements, old)?)
                }
            };
            rows.push((step, taken));
        }
        for (step, (record, rowid)) in &rows {
            if let Ok(record) = Record::parse(record, step.header.columns()) {
                step.table.put_back(&mut self.statements, rowid.as_deref(), record)?;
            }
        }
        self.rows += rows.len() as u64;
        Ok(())
    }

    fn report(&mut self, step: &Step<'c>, kind: Kind, current: Option<&[u8]>, resolution: Resolution) {
        let told = row(&step.table.name, step.table.names(), &step.header, &step.change);
        self.conflicts.push(Conflict {
            table: told.table,
            op: Some(told.op),
            kind,
            key: told.key,
            old: told.old,
            new: told.new,
            current: current.map(|record| step.table.json(record)),
            resolution,
            reason: None,
        });
    }
}

impl Step<'_> {
    /// Whether a row holds, bit by bit, what the change says that it does.
    fn expects(&self, current: &[u8]) -> bool {
        let (Some(old), Ok(now)) = (self.change.old, Record::parse(current, self.header.columns())) else {
            return false;
        };
        old.fields().zip(now.fields()).all(|(old, now)| !old.is_defined() || old == now)
    }

    /// The row with the change's values in it.
    fn overlaid(&self, current: &[u8], new: Record<'_>) -> Vec<u8> {
        let Ok(current) = Record::parse(current, self.header.columns()) else { return new.bytes().to_vec() };
        let fields = current.fields().zip(new.fields());
        let chosen = fields.map(|(now, new)| if new.is_defined() { new.bytes() } else { now.bytes() });
        chosen.flatten().copied().collect()
    }
}
