//! Virtual tables in a merge. The rows of their shadow tables can't be merged one by one: an index is right as a whole
//! or not at all. What is merged instead is what the index is made of.
//!
//! ```text
//! FTS with its own content   rows of _content        ── three ways, as rows of the virtual table
//! R-Tree                     cells of leaves          ── three ways, as rows of the virtual table
//! FTS of another table       that table's rows        ── merged anyway; then the index is made anew
//! the rest                   whatever the module does ── one side's whole, if only that side changed it
//! ```

mod apply;
mod content;
mod read;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use maniac_changeset::{Change, ChangesetError, Item, Reader, TableHeader, Target, Writer};
use maniac_sqlite_format::{Affinity, Collation, Column, Generated, KeyPart, Schema, SchemaRow, Table};
use maniac_store::Snapshot;

pub use self::apply::{Raw, Translated, translate};
pub use self::content::content_query;
use self::content::{Content, VirtualTable, virtual_tables};
use super::lines::Line;
use super::schema::{Schemas, quote};
use super::tables::{Decision, Merged, RowsFrom, identity};
use super::{MergePlan, tables_of};
use crate::{HistoryError, difference};

/// What is to be done for a virtual table when all rows are in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub table: String,
    pub step: IndexStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexStep {
    /// Rows are written through the virtual table: its module must be there.
    Write,
    /// Settings of FTS5 have changed in its shadow table `_config`.
    Configure,
    /// The index is made anew from the table that it is of.
    Rebuild,
    /// The shadow tables were written to, and what the module has in memory is stale.
    Reread,
}

/// A virtual table that can't be merged, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub table: String,
    pub reason: String,
}

/// What becomes of a shadow table's changes.
enum Fate {
    Dropped,
    /// They are changes of this virtual table's rows.
    Documents(String),
    /// Settings of FTS5: the version of its format is no setting.
    Settings,
}

/// Changes and whole rows that are made in place of those of shadow tables.
#[derive(Default)]
pub struct Replaced {
    fates: HashMap<String, Fate>,
    base_to_theirs: Vec<u8>,
    base_to_ours: Vec<u8>,
    whole: Vec<u8>,
    /// The lines of tables whose rows are documents.
    documents: HashSet<usize>,
    /// Those of them whose ids are another table's.
    pub keyed: HashSet<usize>,
}

impl Replaced {
    pub fn is_document(&self, line: usize) -> bool {
        self.documents.contains(&line)
    }

    pub fn base_to_theirs(&self, changeset: &[u8]) -> Result<Vec<u8>, ChangesetError> {
        self.rewritten(changeset, &self.base_to_theirs)
    }

    pub fn base_to_ours(&self, changeset: &[u8]) -> Result<Vec<u8>, ChangesetError> {
        self.rewritten(changeset, &self.base_to_ours)
    }

    pub fn whole(&self, changeset: &[u8]) -> Result<Vec<u8>, ChangesetError> {
        self.rewritten(changeset, &self.whole)
    }

    fn rewritten(&self, changeset: &[u8], added: &[u8]) -> Result<Vec<u8>, ChangesetError> {
        let mut out = rewritten(changeset, &self.fates)?;
        out.extend_from_slice(added);
        Ok(out)
    }
}

/// The three states, and what has been decided about their tables. Lines and decisions of virtual tables whose rows are
/// merged get the columns that these rows have.
pub struct Merge<'m> {
    pub schemas: &'m mut Schemas,
    pub base: &'m Snapshot,
    pub ours: &'m Snapshot,
    pub theirs: &'m Snapshot,
    pub changed_here: &'m HashSet<String>,
    pub changed_there: &'m HashSet<String>,
    pub lines: &'m mut [Line],
    pub decisions: &'m mut [Decision],
    pub plan: &'m mut MergePlan,
}

/// A virtual table on the three sides.
struct Trio<'t> {
    base: Option<&'t VirtualTable>,
    ours: Option<&'t VirtualTable>,
    theirs: Option<&'t VirtualTable>,
}

impl<'t> Trio<'t> {
    fn each(&self) -> impl Iterator<Item = &'t VirtualTable> {
        [self.base, self.ours, self.theirs].into_iter().flatten()
    }

    /// Whether a side changed rows of its storage.
    fn touched(&self, changed: &HashSet<String>) -> bool {
        let mut storage = self.each().flat_map(|table| &table.storage);
        storage.any(|table| changed.contains(&table.name.to_ascii_lowercase()))
    }
}

impl Merge<'_> {
    /// Decides what becomes of each virtual table. The schema's part of the plan has been made.
    pub fn run(mut self) -> Result<Replaced, HistoryError> {
        let base = virtual_tables(&self.schemas.base);
        let (ours, theirs) = (virtual_tables(&self.schemas.ours), virtual_tables(&self.schemas.theirs));
        let mut replaced = Replaced::default();
        for n in 0..self.lines.len() {
            let line = &self.lines[n];
            let side = |present: &Option<super::lines::Present>| {
                present.as_ref().map(|present| present.table.name.to_ascii_lowercase())
            };
            let trio = Trio {
                base: line.base.as_ref().and_then(|table| base.get(&table.name.to_ascii_lowercase())),
                ours: side(&line.ours).and_then(|name| ours.get(&name)),
                theirs: side(&line.theirs).and_then(|name| theirs.get(&name)),
            };
            if trio.each().next().is_some() {
                self.decide(n, &trio, &mut replaced)?;
            }
        }
        Ok(replaced)
    }

    fn refuse(&mut self, table: &VirtualTable, reason: &str) {
        let reason =
            format!("{reason}; to merge the rest, drop this table on both branches and make it anew afterwards");
        self.plan.refusals.push(Refusal { table: table.table.name.clone(), reason });
    }

    fn then(&mut self, table: &VirtualTable, step: IndexStep) {
        self.plan.indexes.push(Index { table: table.table.name.clone(), step });
    }

    fn decide(&mut self, n: usize, trio: &Trio<'_>, replaced: &mut Replaced) -> Result<(), HistoryError> {
        if trio.each().all(|table| table.known) {
            for table in trio.each().flat_map(|table| &table.storage) {
                replaced.fates.insert(table.name.to_ascii_lowercase(), Fate::Dropped);
            }
        }
        let Decision { make, drop, rows, .. } = self.decisions[n];
        match (trio.ours, trio.theirs) {
            (_, Some(theirs)) if make => self.take_over(n, theirs, replaced),
            (Some(ours), Some(theirs)) if rows == RowsFrom::Both || !ours.known => {
                self.both_have_it(n, trio, ours, theirs, replaced)
            }
            (Some(ours), theirs) if !drop => self.index_of_other_table(ours, theirs, false),
            _ => Ok(()),
        }
    }

    /// The content comes from the source as a whole, into a table that has just been made.
    fn take_over(&mut self, n: usize, theirs: &VirtualTable, replaced: &mut Replaced) -> Result<(), HistoryError> {
        let name = &theirs.table.name;
        let mut out = Writer::new();
        let mut has_settings = true;
        match &theirs.content {
            Content::Documents { columns } => {
                self.give_rows(n, columns, false);
                if let Some(stored) = theirs.shadow("content") {
                    read::inserts(self.theirs, stored, name, &mut out)?;
                }
                self.then(theirs, IndexStep::Write);
            }
            Content::Entries { columns, .. } => {
                self.give_rows(n, columns, true);
                let entries = read::entries(self.theirs, theirs)?;
                read::changes(name, columns.len(), &Default::default(), &entries, &mut out);
                self.then(theirs, IndexStep::Write);
            }
            Content::Elsewhere { .. } if self.is_complete(theirs, self.theirs)? => {
                self.then(theirs, IndexStep::Rebuild);
            }
            Content::Elsewhere { table, .. } if self.changed_here.contains(&table.to_ascii_lowercase()) => {
                self.refuse(theirs, "it indexes some of the rows of a table that changed here");
                return Ok(());
            }
            Content::Elsewhere { .. } | Content::Opaque => {
                has_settings = false;
                // An unknown module's tables come as tables of their own.
                if theirs.known {
                    for table in &theirs.storage {
                        self.plan.push("table", &table.name, format!("DELETE FROM {}", quote(&table.name)));
                        replaced.fates.remove(&table.name.to_ascii_lowercase());
                        self.whole_from_source(&table.name);
                    }
                    self.then(theirs, IndexStep::Reread);
                }
            }
        }
        replaced.whole.append(&mut out.take());
        if let Some(settings) = theirs.shadow("config").filter(|_| has_settings) {
            replaced.fates.insert(settings.name.to_ascii_lowercase(), Fate::Settings);
            self.whole_from_source(&settings.name);
            self.then(theirs, IndexStep::Configure);
        }
        Ok(())
    }

    /// All rows of this table of theirs are to come.
    fn whole_from_source(&mut self, name: &str) {
        let named = |line: &Line| line.theirs.as_ref().is_some_and(|side| side.table.name.eq_ignore_ascii_case(name));
        let decision = self.lines.iter().zip(&mut *self.decisions).find(|(line, _)| named(line));
        if let Some((line, decision)) = decision {
            let theirs = line.theirs.as_ref().map(|theirs| Merged {
                from_ours: vec![None; theirs.table.columns.len()],
                from_theirs: identity(&theirs.table),
                table: theirs.table.clone(),
            });
            (decision.merged, decision.rows) = (theirs, RowsFrom::Theirs);
        }
    }

    /// From here on the virtual table is one with these columns, of which the first is the key, or which has none.
    fn give_rows(&mut self, n: usize, columns: &[String], has_key: bool) {
        let with_rows = |table: &Arc<Table>| {
            let column = |name: &String| Column {
                name: name.clone(),
                declared_type: String::new(),
                affinity: Affinity::Blob,
                not_null: has_key,
                default: None,
                default_sql: None,
                collation: Collation::Binary,
                generated: Generated::No,
            };
            let key = KeyPart { column: 0, collation: Collation::Binary, descending: false };
            Arc::new(Table {
                columns: columns.iter().map(column).collect(),
                key: has_key.then_some(key).into_iter().collect(),
                ..(**table).clone()
            })
        };
        let line = &mut self.lines[n];
        if let Some(theirs) = &line.theirs {
            let mut schema: Schema = (*self.schemas.theirs).clone();
            for table in schema.tables.iter_mut().filter(|table| table.name == theirs.table.name) {
                *table = with_rows(table);
            }
            self.schemas.theirs = Arc::new(schema);
        }
        line.base = line.base.as_ref().map(with_rows);
        for present in [&mut line.ours, &mut line.theirs].into_iter().flatten() {
            present.table = with_rows(&present.table);
        }
        let decision = &mut self.decisions[n];
        if decision.make {
            decision.rows = RowsFrom::Theirs;
        }
        let merged = decision.merged.take().map(|merged| with_rows(&merged.table));
        decision.merged = merged.map(|table| {
            let same = identity(&table);
            Merged { table, from_ours: same.clone(), from_theirs: same }
        });
    }

    fn both_have_it(
        &mut self,
        n: usize,
        trio: &Trio<'_>,
        ours: &VirtualTable,
        theirs: &VirtualTable,
        replaced: &mut Replaced,
    ) -> Result<(), HistoryError> {
        let name = &ours.table.name;
        let (here, there) = (trio.touched(self.changed_here), trio.touched(self.changed_there));
        if !there {
            return self.index_of_other_table(ours, Some(theirs), false);
        }
        if let Some(settings) = ours.shadow("config")
            && ours.content != Content::Opaque
            && self.changed_there.contains(&settings.name.to_ascii_lowercase())
        {
            replaced.fates.insert(settings.name.to_ascii_lowercase(), Fate::Settings);
            self.then(ours, IndexStep::Configure);
        }
        match &ours.content {
            Content::Documents { columns } => {
                self.give_rows(n, columns, false);
                for table in trio.each() {
                    let content = table.shadow("content").map(|table| table.name.to_ascii_lowercase());
                    replaced.fates.extend(content.map(|content| (content, Fate::Documents(name.clone()))));
                }
                // A trigger that writes to it gives it another table's ids.
                let keyed = [&self.schemas.ours, &self.schemas.theirs].into_iter().any(|schema| {
                    let mut triggers = schema.rows.iter().filter(|row| row.kind == "trigger");
                    triggers.any(|row| row.sql.as_deref().is_some_and(|sql| mentions(sql, name)))
                });
                replaced.documents.insert(n);
                replaced.keyed.extend(keyed.then_some(n));
                self.then(ours, IndexStep::Write);
            }
            Content::Entries { columns, .. } => {
                self.give_rows(n, columns, true);
                // One that both made anew has none of the ancestor's entries.
                let base = trio.base.filter(|base| base.content == ours.content);
                let before = base.map(|table| read::entries(self.base, table)).transpose()?.unwrap_or_default();
                let (one, other) = (read::entries(self.ours, ours)?, read::entries(self.theirs, theirs)?);
                for (added, after) in [(&mut replaced.base_to_ours, &one), (&mut replaced.base_to_theirs, &other)] {
                    let mut out = Writer::new();
                    read::changes(name, columns.len(), &before, after, &mut out);
                    added.append(&mut out.take());
                }
                self.then(ours, IndexStep::Write);
            }
            Content::Elsewhere { table, .. } => {
                let content_changed = self.changed_here.contains(&table.to_ascii_lowercase());
                if !here && !content_changed && !self.is_view(table) {
                    self.take_rows(ours, theirs, replaced);
                } else {
                    self.index_of_other_table(ours, Some(theirs), true)?;
                }
            }
            Content::Opaque if !here => self.take_rows(ours, theirs, replaced),
            Content::Opaque => {
                // Both may have come to the same.
                let version = self.theirs.version();
                let differing = tables_of(&difference(self.ours, self.theirs)?.changeset);
                let differing = differing.map_err(|source| HistoryError::Changeset { version, source })?;
                if trio.touched(&differing) {
                    self.refuse(ours, "both branches changed it, and its content can't be merged");
                }
            }
        }
        Ok(())
    }

    /// Only the source has changed it: its rows come over as they are.
    fn take_rows(&mut self, ours: &VirtualTable, theirs: &VirtualTable, replaced: &mut Replaced) {
        for table in ours.storage.iter().chain(&theirs.storage) {
            replaced.fates.remove(&table.name.to_ascii_lowercase());
        }
        self.plan.indexes.retain(|index| index.table != ours.table.name);
        self.then(ours, IndexStep::Reread);
    }

    /// An index that both sides have, or this one alone, of a table that is merged by itself. `there`: the source has
    /// changed the index.
    fn index_of_other_table(
        &mut self,
        ours: &VirtualTable,
        theirs: Option<&VirtualTable>,
        there: bool,
    ) -> Result<(), HistoryError> {
        let Content::Elsewhere { table, .. } = &ours.content else { return Ok(()) };
        let content_changed = self.is_view(table) || self.changed_there.contains(&table.to_ascii_lowercase());
        if !there && !content_changed {
            return Ok(());
        }
        let complete = self.is_complete(ours, self.ours)?
            && theirs.map(|theirs| self.is_complete(theirs, self.theirs)).transpose()?.unwrap_or(true);
        if complete {
            self.then(ours, IndexStep::Rebuild);
        } else if there {
            self.refuse(ours, "both branches changed it, and it indexes some of another table's rows");
        }
        Ok(())
    }

    /// A view changes with any table.
    fn is_view(&self, name: &str) -> bool {
        let is_it = |row: &Arc<SchemaRow>| row.kind == "view" && row.name.eq_ignore_ascii_case(name);
        self.schemas.ours.rows.iter().any(is_it)
    }

    /// Whether an index of another table has all its rows, as far as that can be told.
    fn is_complete(&self, index: &VirtualTable, at: &Snapshot) -> Result<bool, HistoryError> {
        let Content::Elsewhere { table, rowid } = &index.content else { return Ok(true) };
        let schema = crate::schema_of(at)?;
        let (Some(table), Some(sizes)) = (schema.table(table), index.shadow("docsize")) else { return Ok(true) };
        let alias = table.rowid_alias.map(|column| table.columns[column].name.as_str());
        let by_rowid = rowid.as_deref().is_none_or(|name| {
            let names = alias.into_iter().chain(["rowid", "_rowid_", "oid"]);
            names.into_iter().any(|known| known.eq_ignore_ascii_case(name))
        });
        if !table.is_tracked() || table.without_rowid || !by_rowid {
            return Ok(true);
        }
        Ok(read::rowids(at, table)? == read::rowids(at, sizes)?)
    }
}

/// Whether a trigger's text writes to a table, or might.
fn mentions(sql: &str, name: &str) -> bool {
    let (sql, name) = (sql.to_ascii_lowercase(), name.to_ascii_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if !name.chars().all(is_word) {
        return sql.contains(&name);
    }
    let words: Vec<&str> = sql.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let before = ["into", "update", "from", "ignore", "replace", "abort", "fail", "rollback"];
    words.windows(2).any(|pair| before.contains(&pair[0]) && pair[1] == name)
}

/// Copies changes, with a header before the first of each table.
#[derive(Default)]
struct Out {
    writer: Writer,
    table: Option<String>,
}

impl Out {
    fn add(&mut self, header: &TableHeader<'_>, change: &Change<'_>) {
        if self.table.as_deref() != Some(header.name) {
            self.writer.table(header);
            self.table = Some(header.name.to_owned());
        }
        self.writer.change(change);
    }
}

/// A changeset in which shadow tables have met their fates.
fn rewritten(changeset: &[u8], fates: &HashMap<String, Fate>) -> Result<Vec<u8>, ChangesetError> {
    if fates.is_empty() {
        return Ok(changeset.to_vec());
    }
    let mut out = Out::default();
    let mut at: Option<(TableHeader<'_>, Option<&Fate>)> = None;
    for item in Reader::new(changeset) {
        match (item?, &at) {
            (Item::Table(header), _) => {
                at = Some((header, fates.get(&Target::of(&header).table.to_ascii_lowercase())));
            }
            (Item::Change(change), Some((header, fate))) => match fate {
                None => out.add(header, &change),
                Some(Fate::Documents(name)) => out.add(&TableHeader { name, key: header.key }, &change),
                Some(Fate::Settings) if !is_version(&change) => out.add(header, &change),
                Some(Fate::Settings | Fate::Dropped) => {}
            },
            (Item::Change(_), None) => {}
        }
    }
    Ok(out.writer.take())
}

fn is_version(change: &Change<'_>) -> bool {
    change.keyed().values().next().flatten().is_some_and(|key| key.as_str() == Some("version"))
}

#[cfg(test)]
mod tests {
    use super::mentions;

    #[test]
    fn a_trigger_that_writes_to_a_table_is_told() {
        let trigger = "CREATE TRIGGER a AFTER UPDATE ON t BEGIN INSERT INTO \"Docs\"(rowid) VALUES (old.id); END";
        assert!(mentions(trigger, "docs"));
        assert!(!mentions(trigger, "old"));
        assert!(!mentions(trigger, "t"));
        assert!(mentions("BEGIN UPDATE OR IGNORE docs SET a = 1; END", "docs"));
        assert!(mentions("BEGIN DELETE FROM [my docs]; END", "my docs"));
    }
}
