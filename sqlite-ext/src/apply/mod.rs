//! `maniac_apply` and `maniac_merge`: changes go into a connection's database, all or none, through SQL on that same connection.

mod compile_check;
mod conflict;
mod engine;
mod foreign_keys;
mod guard;
mod merge;
mod objects;
mod qualify;
mod settings;
mod table;
mod temp_triggers;
mod transaction;
mod virtual_tables;

use maniac_changeset::{Item, Reader, Target};
use rusqlite::{Connection, ffi};

pub use conflict::{Conflict, Kind, Policy};
use engine::Engine;
use guard::Guard;
pub use merge::{Merged, merge};
use transaction::Atomic;

use crate::errors::{VfsError, VfsResult};

/// What came of it.
#[derive(Default)]
pub struct Applied {
    pub rows: u64,
    pub conflicts: Vec<Conflict>,
    /// Something stood in the way: the database is as it was.
    pub undone: bool,
}

impl Applied {
    /// The number of rows, or the error that sends the user to the list of conflicts.
    pub fn outcome(&self, ways_out: &str) -> VfsResult<u64> {
        if !self.undone {
            return Ok(self.rows);
        }
        let message = match self.conflicts.len() {
            1 => format!("1 conflict, nothing changed; SELECT * FROM maniac_conflicts shows it, {ways_out}"),
            n => format!("{n} conflicts, nothing changed; SELECT * FROM maniac_conflicts lists them, {ways_out}"),
        };
        Err(VfsError::new(ffi::SQLITE_CONSTRAINT, message))
    }
}

/// Applies a changeset to a database of the connection, all of it or nothing.
pub fn apply(db: &Connection, schema: &str, changeset: &[u8], policy: Policy) -> VfsResult<Applied> {
    // A changeset with a defect at its end is refused before its start is applied.
    for item in Reader::new(changeset) {
        item.map_err(VfsError::sql)?;
    }
    let guard = Guard::new(db)?;
    let mut atomic = Atomic::begin(db, false)?;
    atomic.hide_temp_triggers()?;
    let applied = apply_guarded(db, schema, changeset, policy, &guard)?;
    if !applied.undone {
        atomic.commit()?;
    }
    Ok(applied)
}

fn apply_guarded(
    db: &Connection,
    schema: &str,
    changeset: &[u8],
    policy: Policy,
    guard: &Guard<'_>,
) -> VfsResult<Applied> {
    let translated = virtual_tables::translate(db, schema, changeset)?;
    let indexes = virtual_tables::RawIndexes::before(db, schema, &translated);
    let changeset = &translated.changeset[..];
    let tables = changed_tables(changeset)?;
    let dangling = || foreign_keys::violations(db, schema, &tables);
    let earlier = if guard.foreign_keys() { dangling()? } else { Default::default() };
    let mut engine = Engine::new(db, schema, policy);
    engine.run(changeset)?;
    let (rows, mut conflicts) = (engine.rows, std::mem::take(&mut engine.conflicts));
    drop(engine);
    let torn = indexes.torn(&mut conflicts);
    let mut undone = policy == Policy::Abort && !conflicts.is_empty();
    if !undone {
        virtual_tables::finish(db, schema, &translated.indexes)?;
    }
    let refused = indexes.settle(&torn, undone)?;
    undone |= !refused.is_empty();
    conflicts.extend(refused);
    if guard.foreign_keys() && !undone {
        let broken: Vec<_> = dangling()?.into_iter().filter(|violation| !earlier.contains(violation)).collect();
        undone = !broken.is_empty();
        conflicts.extend(broken.into_iter().map(foreign_keys::conflict));
    }
    Ok(Applied { rows, conflicts, undone })
}

/// The tables that a changeset has changes of.
fn changed_tables(changeset: &[u8]) -> VfsResult<Vec<String>> {
    let mut tables = Vec::new();
    for item in Reader::new(changeset) {
        if let Item::Table(header) = item.map_err(VfsError::sql)? {
            tables.push(Target::of(&header).table.to_owned());
        }
    }
    Ok(tables)
}
