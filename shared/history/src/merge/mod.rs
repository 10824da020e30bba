//! Three-way merge by row: what another branch changed since the common ancestor, for this branch to take over.
//!
//! ```text
//!             ancestor
//!      O ↙             ↘ T          O, T, D: differences of two snapshots each
//!     ours ─────D────→ theirs
//! ```
//!
//! The changes to make are those of D whose rows are in T. Where a row is in O too, both branches changed it, and not to
//! the same, or it wouldn't be in D: that row is contested. What is in D but not in T only this branch has changed.

mod key;
mod rows;
mod schema;

use std::collections::HashSet;

use maniac_changeset::{ChangesetError, Item, Reader, Target};
use maniac_diff::match_tables;
use maniac_store::Snapshot;

use crate::difference::schema_of;
use crate::{HistoryError, TableRow, difference};

/// What there is to do, and what stands in the way.
#[derive(Default)]
pub struct MergePlan {
    /// Drops, changes and creates tables; drops the rest.
    pub statements: Vec<String>,
    /// Indexes, views and triggers that shall be there in the end.
    pub objects: Vec<SchemaObject>,
    /// The names of those, or of tables, that both sides changed.
    pub schema_conflicts: Vec<SchemaObject>,
    /// Changeset of the rows that only they changed.
    pub changes: Vec<u8>,
    /// Changeset that makes the rows that both changed what they are on their side.
    pub contested: Vec<u8>,
    /// Inserts into tables without a key, whose rowid is taken here by another new row: any other one will do.
    pub appended: Vec<u8>,
    /// The contested rows in words.
    pub conflicts: Vec<Contested>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaObject {
    pub kind: String,
    pub name: String,
    pub sql: String,
}

/// A row that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// Their change since the ancestor.
    pub theirs: TableRow,
    /// What this side has where they differ; nothing if the row is gone here.
    pub ours: Option<String>,
}

impl MergePlan {
    pub fn is_empty(&self) -> bool {
        let schema = self.statements.is_empty() && self.objects.is_empty() && self.schema_conflicts.is_empty();
        schema && self.changes.is_empty() && self.contested.is_empty() && self.appended.is_empty()
    }
}

/// What it takes to bring into `ours` what `theirs` changed since `base`, the ancestor of both.
pub fn merge_plan(base: &Snapshot, ours: &Snapshot, theirs: &Snapshot) -> Result<MergePlan, HistoryError> {
    let their_changes = difference(base, theirs)?;
    let mut plan = MergePlan::default();
    if their_changes.changeset.is_empty() && their_changes.schema.is_empty() {
        return Ok(plan);
    }
    let our_changes = difference(base, ours)?;
    let forth = difference(ours, theirs)?;
    let schemas = schema::Schemas { base: schema_of(base)?, ours: schema_of(ours)?, theirs: schema_of(theirs)? };
    let version = ours.version();
    let edited = tables_of(&our_changes.changeset).map_err(|source| HistoryError::Changeset { version, source })?;
    let ours_edited = |table: &str| edited.contains(&table.to_ascii_lowercase());
    if !their_changes.schema.is_empty() {
        schema::plan(&schemas, &ours_edited, &mut plan);
    }
    // Tables whose shape this side changed keep that shape, which is that of the way back.
    let back = match our_changes.schema.is_empty() {
        true => Vec::new(),
        false => difference(theirs, ours)?.changeset,
    };
    let pairs = match_tables(&schemas.ours, &schemas.theirs);
    let sides = rows::Sides {
        schemas: &schemas,
        pairs: &pairs,
        base_to_theirs: &their_changes.changeset,
        base_to_ours: &our_changes.changeset,
        ours_to_theirs: &forth.changeset,
        theirs_to_ours: &back,
    };
    rows::plan(&sides, &mut plan).map_err(|source| HistoryError::Changeset { version: theirs.version(), source })?;
    Ok(plan)
}

/// The tables of a changeset, in lower case.
fn tables_of(changeset: &[u8]) -> Result<HashSet<String>, ChangesetError> {
    let mut tables = HashSet::new();
    for item in Reader::new(changeset) {
        if let Item::Table(header) = item? {
            tables.insert(Target::of(&header).table.to_ascii_lowercase());
        }
    }
    Ok(tables)
}
