//! Three-way merge by row: what another branch changed since the common ancestor, for this branch to take over.
//!
//! ```text
//!             ancestor
//!      O ↙             ↘ T          O, T: differences
//!     ours               theirs
//! ```
//!
//! - `lines` says which table of one branch is which of the other.
//! - `tables` decides what becomes of each; `columns` merges two shapes of one.
//! - `schema` does the same for indexes, views and triggers, and writes the statements.
//! - `moves` finds rows without a key that have other rowids than in the ancestor.
//! - `rows` brings T's rows into the merged shapes. Where a row is in O too and not changed to the same, it is contested.

mod columns;
mod key;
mod lines;
mod moves;
mod rows;
mod schema;
mod settings;
mod tables;
mod virtual_tables;

use std::collections::HashSet;

use maniac_changeset::{ChangesetError, Item, Reader, Target};
use maniac_diff::whole_tables;
use maniac_sqlite_format::{Database, Encoding, Schema};
use maniac_store::Snapshot;
use tables::Edited;

pub use self::virtual_tables::{Index, IndexStep, Raw, Refusal, Translated, content_query, translate};

use crate::difference::schema_of;
use crate::{HistoryError, TableRow, difference};

/// The side that wins where both changed the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// That is for a person to decide.
    Neither,
    Ours,
    Theirs,
}

/// What there is to do, and what stands in the way.
#[derive(Default)]
pub struct MergePlan {
    /// The other branch differs from the ancestor.
    pub source_changed: bool,
    /// Drops, changes and creates tables; drops the rest.
    pub statements: Vec<Statement>,
    /// Indexes, views and triggers that shall be there in the end.
    pub objects: Vec<SchemaObject>,
    /// Unique indexes that this side alone has: rows that they refuse contradict the index, as they do where it is the other
    /// side's and is made when the rows are there.
    pub young: Vec<String>,
    /// Everything with a text in the schemas of both sides, in their order.
    pub ours: Vec<SchemaObject>,
    pub theirs: Vec<SchemaObject>,
    /// What both sides changed, each in its own way.
    pub schema_conflicts: Vec<SchemaConflict>,
    /// Tables whose rows changes can't tell whole: they are filled by copying or with the source's rows, and values may
    /// have taken another form on the way, or they have columns that the source dropped.
    pub reshaped: Vec<String>,
    /// Changeset of the rows that only they changed.
    pub changes: Vec<u8>,
    /// Changeset that makes the rows that both changed what they are on their side.
    pub contested: Vec<u8>,
    /// Changeset of our changes of the tables that are filled with the other branch's rows. It comes after `changes`.
    pub replayed: Vec<u8>,
    /// Changeset that makes the contested rows of these tables what they are here.
    pub contested_replayed: Vec<u8>,
    /// Inserts into tables without a key, whose rowid is taken here by another new row: any other one will do.
    pub appended: Vec<u8>,
    /// The contested rows in words.
    pub conflicts: Vec<Contested>,
    /// Numbers of the header, by the pragma that sets each.
    pub numbers: Vec<(&'static str, i32)>,
    /// Those that both sides changed, as they are on their side.
    pub contested_numbers: Vec<(&'static str, i32)>,
    /// What the counters of tables with AUTOINCREMENT are in the end; nothing for one that has none.
    pub counters: Vec<(String, Option<i64>)>,
    /// What is left to do for virtual tables when all of this is done.
    pub indexes: Vec<Index>,
    /// The virtual tables that can't be merged.
    pub refusals: Vec<Refusal>,
}

/// A step on the way to the merged schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    /// The table, index, view or trigger that it is about.
    pub kind: &'static str,
    pub name: String,
    /// Fills a table with rows that it may refuse.
    pub fills: bool,
    /// What does the same where SQLite refuses the statement: it can't rename a table that a TEMP table shadows.
    pub otherwise: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaObject {
    pub kind: String,
    pub name: String,
    pub sql: String,
}

/// A table, index, view or trigger that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaConflict {
    pub kind: String,
    pub name: String,
    pub reason: String,
    /// The text in the ancestor and on both sides; nothing where it is not there.
    pub base: Option<String>,
    pub ours: Option<String>,
    pub theirs: Option<String>,
    /// Either side could have its way.
    pub can_be_settled: bool,
    /// The side that is preferred has its way.
    pub settled: bool,
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
    pub fn changes_schema(&self) -> bool {
        !self.statements.is_empty() || !self.objects.is_empty()
    }
}

/// What it takes to bring into `ours` what `theirs` changed since `base`, the ancestor of both. A table of another shape is
/// filled with the rows of `ours`, but for those in `theirs_first`: the rows of `ours` need not be what its constraints take
/// before they are changed as in `theirs`.
pub fn merge_plan(
    base: &Snapshot,
    ours: &Snapshot,
    theirs: &Snapshot,
    prefer: Prefer,
    theirs_first: &HashSet<String>,
) -> Result<MergePlan, HistoryError> {
    let their_changes = difference(base, theirs)?;
    let mut plan = MergePlan::default();
    let settings = settings::Sides::read(base, ours, theirs)?;
    if their_changes.changeset.is_empty() && their_changes.schema.is_empty() && !settings.changed_there() {
        return Ok(plan);
    }
    plan.source_changed = true;
    let our_changes = difference(base, ours)?;
    let mut schemas = schema::Schemas { base: schema_of(base)?, ours: schema_of(ours)?, theirs: schema_of(theirs)? };
    let edited = Edited {
        here: edited(&our_changes.changeset, &schemas.ours, ours)?,
        there: edited(&their_changes.changeset, &schemas.theirs, theirs)?,
    };
    let mut lines = lines::lines(&schemas);
    let mut decisions =
        tables::decide(&lines, &edited, prefer, theirs_first, encoding(ours)?, &mut plan.schema_conflicts);
    if !edited.there.is_empty() {
        plan.young = schema::unique_here_alone(&schemas);
    }
    if !their_changes.schema.is_empty() || !plan.schema_conflicts.is_empty() || !plan.young.is_empty() {
        schema::plan(&schemas, &lines, &decisions, prefer, &mut plan);
    }
    let merge = virtual_tables::Merge {
        schemas: &mut schemas,
        base,
        ours,
        theirs,
        changed_here: &edited.here,
        changed_there: &edited.there,
        lines: &mut lines,
        decisions: &mut decisions,
        plan: &mut plan,
    };
    let replaced = merge.run()?;
    let theirs_whole = |name: &str| {
        let named = |table: &maniac_sqlite_format::Table| table.name.eq_ignore_ascii_case(name);
        let line = lines.iter().position(|line| line.theirs.as_ref().is_some_and(|side| named(&side.table)));
        line.is_some_and(|n| decisions[n].rows.is_whole())
    };
    let version = theirs.version();
    let whole = match decisions.iter().any(|decision| decision.rows.is_whole()) {
        true => whole_tables(theirs, &|table| table.is_tracked() && theirs_whole(&table.name))
            .map_err(|source| HistoryError::Diff { version, source })?,
        false => Vec::new(),
    };
    let changeset = |source| HistoryError::Changeset { version, source };
    let whole = replaced.whole(&whole).map_err(changeset)?;
    let base_to_theirs = replaced.base_to_theirs(&their_changes.changeset).map_err(changeset)?;
    let base_to_ours = replaced.base_to_ours(&our_changes.changeset).map_err(changeset)?;
    let moves = moves::taken_out(&lines, (ours, base_to_ours), (theirs, base_to_theirs))?;
    let sides = rows::Sides {
        schemas: &schemas,
        lines: &lines,
        decisions: &decisions,
        moves: &moves,
        whole: &whole,
        replaced: &replaced,
    };
    rows::plan(&sides, &mut plan).map_err(changeset)?;
    settings.numbers(&mut plan);
    settings.counters(&lines, &decisions, &mut plan);
    Ok(plan)
}

fn encoding(snapshot: &Snapshot) -> Result<Encoding, HistoryError> {
    let version = snapshot.version();
    let database = Database::open(snapshot).map_err(|source| HistoryError::Schema { version, source })?;
    Ok(database.map(|database| database.header().encoding).unwrap_or_default())
}

/// The tables with changed rows; a virtual table has those of its shadow tables.
fn edited(changeset: &[u8], schema: &Schema, snapshot: &Snapshot) -> Result<HashSet<String>, HistoryError> {
    let version = snapshot.version();
    let mut edited = tables_of(changeset).map_err(|source| HistoryError::Changeset { version, source })?;
    for table in &schema.tables {
        if let maniac_sqlite_format::TableKind::Shadow { of } = &table.kind
            && edited.contains(&table.name.to_ascii_lowercase())
        {
            edited.insert(of.to_ascii_lowercase());
        }
    }
    Ok(edited)
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
