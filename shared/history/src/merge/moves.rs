//! Rows without a key that have got another rowid. VACUUM numbers such rows anew, and so does copying
//! them into another table; nothing refers to them by their rowids, and what they hold is the same. As
//! a difference by rowid this reads as rows that are deleted, turned into their neighbours and added.
//!
//! ```text
//! rowid   ancestor   side     difference             is told as
//!   3        -       "c"      INSERT "c"
//!   4       "c"      "d"      UPDATE "c" to "d"      the row at 4 is at 3 there
//!   5       "d"      "new"    UPDATE "d" to "new"    the row at 5 is at 4 there, INSERT "new"
//! ```
//!
//! Where rows have moved, one that has changed too is found between the same neighbours, if half of its
//! columns at least are as they were.
//!
//! Where both sides changed such a table, the changes of both are told in the ancestor's rowids, and
//! new rows get rowids that nobody has. What is made of it in the end is told in the rowids of the
//! rows that it is for.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use maniac_base::Value;
use maniac_changeset::{
    Change, ChangesetError, Field, Item, Op, Reader, Record, TableHeader, Target, Writer, push_value,
};
use maniac_sqlite_format::{
    Database, FormatError, KeyForm, RecordFields, RowLayout, Selection, Table, TableKind, full_payload,
};
use maniac_store::Snapshot;

use super::lines::{Line, Present};
use crate::HistoryError;

/// The index of a line, and whether it is about the rows whose declared key holds NULL.
pub type Part = (usize, bool);

/// Where rows of the ancestor are now, by their rowids.
type Moved = HashMap<i64, i64>;

/// The moves of both sides, and the changes without them.
pub struct Moves {
    pub base_to_ours: Vec<u8>,
    pub base_to_theirs: Vec<u8>,
    /// Of the tables in which rows have moved on one side at least.
    ours: HashMap<Part, Moved>,
    theirs: HashMap<Part, Moved>,
    /// A rowid from which on all are free.
    free: HashMap<Part, i64>,
}

/// Whose rows a table has when changes are made of it.
#[derive(Clone, Copy)]
pub enum Of {
    Ours,
    Theirs,
}

/// One side of the merge.
struct Side<'m> {
    snapshot: &'m Snapshot,
    changeset: Vec<u8>,
    present: fn(&Line) -> Option<&Present>,
}

/// Rows by their rowids, as records without them.
type Rows = BTreeMap<i64, Vec<u8>>;

/// Changes of one table by rowid.
type Changes<'c> = BTreeMap<i64, Change<'c>>;

/// What a side did to a table, without its moves. Rows are records without their rowid.
#[derive(Default)]
struct Told {
    moved: Moved,
    columns: usize,
    updates: Vec<(i64, Vec<u8>, Vec<u8>)>,
    deletes: Vec<(i64, Vec<u8>)>,
    inserts: Rows,
}

/// Takes the moves out of both sides' changes.
pub fn taken_out(
    lines: &[Line],
    (ours, base_to_ours): (&Snapshot, Vec<u8>),
    (theirs, base_to_theirs): (&Snapshot, Vec<u8>),
) -> Result<Moves, HistoryError> {
    let here = Side { snapshot: ours, changeset: base_to_ours, present: |line| line.ours.as_ref() };
    let there = Side { snapshot: theirs, changeset: base_to_theirs, present: |line| line.theirs.as_ref() };
    let (mut moved_here, mut moved_there, mut free) = (HashMap::new(), HashMap::new(), HashMap::new());
    let (mut our_parts, mut their_parts) = (HashMap::new(), HashMap::new());
    let changed_there = there.changes(lines)?;
    for (part, our_changes) in here.changes(lines)? {
        let (line, Some(their_changes)) = (&lines[part.0], changed_there.get(&part)) else { continue };
        if !can_move(&our_changes) && !can_move(their_changes) {
            continue;
        }
        let (mut one, mut other) = (here.told(line, &our_changes)?, there.told(line, their_changes)?);
        if one.moved.is_empty() && other.moved.is_empty() {
            continue;
        }
        let known = our_changes.keys().chain(their_changes.keys()).copied().max();
        let last = known.max(here.last_rowid(line)?).max(there.last_rowid(line)?).unwrap_or_default();
        let count = i64::try_from(our_changes.len() + their_changes.len()).unwrap_or(i64::MAX);
        if last.checked_add(count).and_then(|last| last.checked_add(count)).is_none() {
            continue;
        }
        if here.names(line) == there.names(line) {
            // Added on both sides in the same place: the same row.
            one.inserts.retain(|rowid, row| match other.inserts.get(rowid) == Some(row) {
                true => other.inserts.remove(rowid).is_none(),
                false => true,
            });
        }
        let mut next = last + 1;
        our_parts.insert(part, one.written(&mut next));
        their_parts.insert(part, other.written(&mut next));
        moved_here.insert(part, one.moved);
        moved_there.insert(part, other.moved);
        free.insert(part, next);
    }
    drop(changed_there);
    Ok(Moves {
        base_to_ours: here.rewritten(lines, &our_parts)?,
        base_to_theirs: there.rewritten(lines, &their_parts)?,
        ours: moved_here,
        theirs: moved_there,
        free,
    })
}

impl Moves {
    /// Changes of merged tables, by the names of their headers, in the rowids of the rows that they are made of. Rows that
    /// are to come back get free ones.
    pub fn placed(
        &self,
        changeset: Vec<u8>,
        of: Of,
        names: &HashMap<&str, Part>,
        come_back: bool,
    ) -> Result<Vec<u8>, ChangesetError> {
        let moved = match of {
            Of::Ours => &self.ours,
            Of::Theirs => &self.theirs,
        };
        if moved.is_empty() {
            return Ok(changeset);
        }
        let (mut out, mut free) = (Writer::new(), self.free.clone());
        let mut at = None;
        for item in Reader::new(&changeset) {
            match item? {
                Item::Table(header) => {
                    at = names.get(header.name).and_then(|part| Some((part, moved.get(part)?)));
                    out.table(&header);
                }
                Item::Change(change) => match (at, rowid(&change)) {
                    (Some((part, _)), _) if change.op == Op::Insert && come_back => {
                        let next = free.entry(*part).or_default();
                        let record = with_rowid(*next, change.keyed());
                        *next += 1;
                        out.whole_row(Op::Insert, &record);
                    }
                    (Some((_, moved)), Some(before)) if change.op != Op::Insert && moved.contains_key(&before) => {
                        let old = with_rowid(moved[&before], change.keyed());
                        let old = Record::parse(&old, change.keyed().fields().count()).ok();
                        out.change(&Change { old, ..change });
                    }
                    _ => out.change(&change),
                },
            }
        }
        Ok(out.take())
    }
}

fn rowid(change: &Change<'_>) -> Option<i64> {
    change.keyed().values().next().flatten().and_then(|value| value.as_integer())
}

/// A record with another rowid in front.
fn with_rowid(rowid: i64, record: Record<'_>) -> Vec<u8> {
    record_of(rowid, &content(record.fields()))
}

fn record_of(rowid: i64, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(content.len() + 9);
    push_value(&mut record, &Value::Integer(rowid));
    record.extend_from_slice(content);
    record
}

/// What is behind the rowid.
fn content<'c>(fields: impl Iterator<Item = Field<'c>>) -> Vec<u8> {
    fields.skip(1).flat_map(|field| field.bytes()).copied().collect()
}

/// Whether there are rows that are gone, and rows that are new.
fn can_move(changes: &Changes<'_>) -> bool {
    changes.values().any(|change| change.old.is_some()) && changes.values().any(|change| change.new.is_some())
}

/// Where rows are that hold what they held.
fn moves(before: &Rows, after: &Rows) -> Moved {
    let mut places: HashMap<&[u8], VecDeque<i64>> = HashMap::new();
    before.iter().for_each(|(rowid, row)| places.entry(row).or_default().push_back(*rowid));
    let mut from = |row: &[u8]| places.get_mut(row).and_then(VecDeque::pop_front);
    after.iter().filter_map(|(rowid, row)| Some((from(row)?, *rowid))).collect()
}

/// Adds the rows that have moved and changed.
fn add_changed(moved: &mut Moved, before: &Rows, after: &Rows, columns: usize) {
    let (mut left, mut neighbour) = (HashMap::<_, VecDeque<i64>>::new(), None);
    let taken: HashSet<i64> = moved.values().copied().collect();
    for rowid in after.keys() {
        match taken.contains(rowid) {
            true => neighbour = Some(*rowid),
            false => left.entry(neighbour).or_default().push_back(*rowid),
        }
    }
    neighbour = None;
    for (rowid, row) in before {
        if let Some(now) = moved.get(rowid) {
            neighbour = Some(*now);
            continue;
        }
        let Some(candidates) = left.get_mut(&neighbour) else { continue };
        if let Some(at) = candidates.iter().position(|candidate| alike(row, &after[candidate], columns)) {
            moved.insert(*rowid, candidates[at]);
            candidates.drain(..=at);
        }
    }
}

fn alike(one: &[u8], other: &[u8], columns: usize) -> bool {
    let (Ok(one), Ok(other)) = (Record::parse(one, columns), Record::parse(other, columns)) else { return false };
    one.fields().zip(other.fields()).filter(|(one, other)| one == other).count() * 2 >= columns
}

impl Told {
    /// The changes, with new rows at rowids from `next` on.
    fn written(&self, next: &mut i64) -> Vec<u8> {
        let mut out = Writer::new();
        self.deletes.iter().for_each(|(rowid, row)| out.whole_row(Op::Delete, &record_of(*rowid, row)));
        let mut key = vec![0; self.columns + 1];
        key[0] = 1;
        let header = TableHeader { name: "", key: &key };
        for (rowid, old, new) in &self.updates {
            let (old, new) = (record_of(*rowid, old), record_of(*rowid, new));
            if let (Ok(old), Ok(new)) = (Record::parse(&old, key.len()), Record::parse(&new, key.len())) {
                out.update(&header, old, new);
            }
        }
        for row in self.inserts.values() {
            out.whole_row(Op::Insert, &record_of(*next, row));
            *next += 1;
        }
        out.take()
    }
}

impl Side<'_> {
    fn damaged(&self, source: ChangesetError) -> HistoryError {
        HistoryError::Changeset { version: self.snapshot.version(), source }
    }

    fn unreadable(&self, source: FormatError) -> HistoryError {
        HistoryError::Schema { version: self.snapshot.version(), source }
    }

    fn table<'l>(&self, line: &'l Line) -> Option<&'l Table> {
        (self.present)(line).map(|present| &*present.table)
    }

    fn names<'l>(&self, line: &'l Line) -> Vec<&'l str> {
        let columns = self.table(line).into_iter().flat_map(|table| table.changeset_columns());
        columns.map(|(_, column)| column.name.as_str()).collect()
    }

    /// The part that a header announces, if its rows have nothing but their rowids.
    fn part(&self, lines: &[Line], header: &TableHeader<'_>) -> Option<Part> {
        let target = Target::of(header);
        let named = |line: &Line| self.table(line).is_some_and(|table| table.name.eq_ignore_ascii_case(target.table));
        let n = lines.iter().position(named)?;
        let table = self.table(&lines[n])?;
        let by_rowid = target.null_key || table.key_form() == KeyForm::Rowid;
        let is_known = (self.present)(&lines[n]).is_some_and(|present| present.columns.is_some());
        (by_rowid && is_known && table.kind == TableKind::Ordinary).then_some((n, target.null_key))
    }

    fn changes(&self, lines: &[Line]) -> Result<HashMap<Part, Changes<'_>>, HistoryError> {
        let (mut found, mut at): (HashMap<Part, Changes<'_>>, _) = (HashMap::new(), None);
        for item in Reader::new(&self.changeset) {
            match (item.map_err(|source| self.damaged(source))?, at) {
                (Item::Table(header), _) => at = self.part(lines, &header),
                (Item::Change(change), Some(part)) => {
                    let changes = found.entry(part).or_default();
                    changes.extend(rowid(&change).map(|rowid| (rowid, change)));
                }
                (Item::Change(_), None) => {}
            }
        }
        Ok(found)
    }

    fn last_rowid(&self, line: &Line) -> Result<Option<i64>, HistoryError> {
        let Some(table) = self.table(line) else { return Ok(None) };
        let database = Database::open(self.snapshot).map_err(|source| self.unreadable(source))?;
        let last = database.map(|database| database.last_rowid(table.root)).transpose();
        last.map(Option::flatten).map_err(|source| self.unreadable(source))
    }

    fn told(&self, line: &Line, changes: &Changes<'_>) -> Result<Told, HistoryError> {
        let (mut before, mut after) = (Rows::new(), Rows::new());
        let columns = self.names(line).len();
        let now = self.rows(line, changes).map_err(|source| self.unreadable(source))?;
        for (&rowid, change) in changes {
            let (mut old, mut new) = (change.old, change.new);
            let row = now.get(&rowid).and_then(|row| Record::parse(row, columns + 1).ok());
            if change.op == Op::Update {
                // What an update leaves out is as it is now.
                new = row;
                old = old.filter(|_| row.is_some());
            }
            let whole = |record: Record<'_>| {
                let below = row.unwrap_or(record);
                content(
                    record.fields().zip(below.fields()).map(|(one, below)| if one.is_defined() { one } else { below }),
                )
            };
            before.extend(old.map(|old| (rowid, whole(old))));
            after.extend(new.map(|new| (rowid, whole(new))));
        }
        let mut moved = moves(&before, &after);
        if !moved.is_empty() {
            add_changed(&mut moved, &before, &after, columns);
        }
        let taken: HashSet<i64> = moved.values().copied().collect();
        let mut told = Told { columns, ..Told::default() };
        for (rowid, old) in before {
            let at = moved.get(&rowid).copied();
            let at = at.or_else(|| (!taken.contains(&rowid) && after.contains_key(&rowid)).then_some(rowid));
            match at.and_then(|at| after.remove(&at)) {
                Some(new) => told.updates.extend((old != new).then_some((rowid, old, new))),
                None => told.deletes.push((rowid, old)),
            }
        }
        told.inserts = after;
        told.moved = moved;
        Ok(told)
    }

    /// Rows that were updated, as they are now: records with their rowids.
    fn rows(&self, line: &Line, changes: &Changes<'_>) -> Result<HashMap<i64, Vec<u8>>, FormatError> {
        let mut rows = HashMap::new();
        let (Some(table), Some(database)) = (self.table(line), Database::open(self.snapshot)?) else { return Ok(rows) };
        let layout = RowLayout::new(table, database.header().encoding, Selection::Changeset);
        let mut fields = RecordFields::default();
        for &rowid in changes.iter().filter(|(_, change)| change.op == Op::Update).map(|(rowid, _)| rowid) {
            let Some((page, place)) = database.seek(table.root, rowid)? else { continue };
            let cell = page.cell(place)?;
            let payload = full_payload(&database, &cell)?;
            fields.parse(&payload).map_err(|what| FormatError::malformed(cell.page, cell.offset, what))?;
            let mut record = Vec::new();
            push_value(&mut record, &Value::Integer(rowid));
            layout.row(rowid, &payload, &fields).values().for_each(|value| push_value(&mut record, &value));
            rows.insert(rowid, record);
        }
        Ok(rows)
    }

    /// The changeset with these changes of some parts in place of its own.
    fn rewritten(self, lines: &[Line], parts: &HashMap<Part, Vec<u8>>) -> Result<Vec<u8>, HistoryError> {
        if parts.is_empty() {
            return Ok(self.changeset);
        }
        let mut out = Vec::new();
        let mut replaced = false;
        for item in Reader::new(&self.changeset) {
            let mut copied = Writer::new();
            match item.map_err(|source| self.damaged(source))? {
                Item::Table(header) => {
                    copied.table(&header);
                    out.append(&mut copied.take());
                    let changes = self.part(lines, &header).and_then(|part| parts.get(&part));
                    replaced = changes.is_some();
                    out.extend(changes.into_iter().flatten());
                }
                Item::Change(change) if !replaced => {
                    copied.change(&change);
                    out.append(&mut copied.take());
                }
                Item::Change(_) => {}
            }
        }
        Ok(out)
    }
}
