//! Joins changesets into one that has the same effect, each row once: what `sqlite3changegroup` does.
//!
//! | first | second | together |
//! |---|---|---|
//! | INSERT | UPDATE | INSERT |
//! | INSERT | DELETE | nothing |
//! | UPDATE | UPDATE | UPDATE, or nothing if the row is as it was |
//! | UPDATE | DELETE | DELETE |
//! | DELETE | INSERT | UPDATE, or nothing if the row is as it was |
//! | any other | | can't follow; the second is dropped, as SQLite does |

use std::collections::HashMap;

use crate::record::{Field, Record};
use crate::{Change, ChangesetError, Item, Op, Reader, TableHeader, Writer};

struct Entry {
    op: Op,
    indirect: bool,
    /// Empty where the op has none.
    old: Vec<u8>,
    new: Vec<u8>,
}

struct TableGroup {
    name: String,
    key: Vec<u8>,
    /// In the order in which the rows were first seen; nothing where changes cancelled out.
    entries: Vec<Option<Entry>>,
    by_key: HashMap<Vec<u8>, usize>,
}

/// Collects changesets in the order in which they were made.
#[derive(Default)]
pub struct Group {
    tables: Vec<TableGroup>,
}

impl Group {
    pub fn new() -> Group {
        Group::default()
    }

    /// Adds a changeset that happened after all that were added before. After an error the group must not be used on: a
    /// part of the changeset may be in it.
    pub fn add(&mut self, changeset: &[u8]) -> Result<(), ChangesetError> {
        let mut table = None;
        for item in Reader::new(changeset) {
            match item? {
                Item::Table(header) => table = Some((self.table(&header)?, header)),
                Item::Change(change) => {
                    if let Some((table, header)) = &table {
                        self.tables[*table].add(header, &change);
                    }
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, header: &TableHeader<'_>) -> Result<usize, ChangesetError> {
        let known = self.tables.iter().position(|table| table.name.eq_ignore_ascii_case(header.name));
        if let Some(i) = known {
            if self.tables[i].key != header.key {
                return Err(ChangesetError::ShapeChanged { table: header.name.to_string() });
            }
            return Ok(i);
        }
        self.tables.push(TableGroup {
            name: header.name.to_string(),
            key: header.key.to_vec(),
            entries: Vec::new(),
            by_key: HashMap::new(),
        });
        Ok(self.tables.len() - 1)
    }

    /// The changeset of everything that was added. Within a table deletes come first, then updates, then inserts, so
    /// that a row may take a unique value that another one gave up.
    pub fn finish(self) -> Vec<u8> {
        let mut writer = Writer::new();
        for table in &self.tables {
            if table.entries.iter().all(Option::is_none) {
                continue;
            }
            writer.table(&TableHeader { name: &table.name, key: &table.key });
            for op in [Op::Delete, Op::Update, Op::Insert] {
                for entry in table.entries.iter().flatten().filter(|entry| entry.op == op) {
                    writer.raw(entry.op, entry.indirect, &[&entry.old, &entry.new]);
                }
            }
        }
        writer.take()
    }
}

impl TableGroup {
    fn add(&mut self, header: &TableHeader<'_>, change: &Change<'_>) {
        let bytes = |record: Option<Record<'_>>| record.map_or_else(Vec::new, |record| record.bytes().to_vec());
        let fresh = Entry { op: change.op, indirect: change.indirect, old: bytes(change.old), new: bytes(change.new) };
        let key = change.key(header);
        match self.by_key.get(&key) {
            None => {
                self.by_key.insert(key, self.entries.len());
                self.entries.push(Some(fresh));
            }
            Some(&i) => {
                self.entries[i] = match self.entries[i].take() {
                    None => Some(fresh),
                    Some(known) => known.then(fresh, header),
                }
            }
        }
    }
}

impl Entry {
    fn then(self, next: Entry, header: &TableHeader<'_>) -> Option<Entry> {
        let indirect = self.indirect && next.indirect;
        let columns = header.columns();
        match (self.op, next.op) {
            (Op::Insert, Op::Update) => {
                let new = overlay(columns, &self.new, &next.new);
                Some(Entry { op: Op::Insert, indirect, old: Vec::new(), new })
            }
            (Op::Insert, Op::Delete) => None,
            (Op::Update, Op::Delete) => {
                let old = overlay(columns, &next.old, &self.old);
                Some(Entry { op: Op::Delete, indirect, old, new: Vec::new() })
            }
            (Op::Update, Op::Update) => {
                let old = overlay(columns, &next.old, &self.old);
                let new = overlay(columns, &self.new, &next.new);
                update(header, indirect, &old, &new)
            }
            (Op::Delete, Op::Insert) => update(header, indirect, &self.old, &next.new),
            _ => Some(self),
        }
    }
}

fn fields(columns: usize, bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    Record::parse(bytes, columns).unwrap_or(Record::EMPTY).fields()
}

/// The fields of `below` with the defined ones of `above` in their place.
fn overlay(columns: usize, below: &[u8], above: &[u8]) -> Vec<u8> {
    let pairs = fields(columns, below).zip(fields(columns, above));
    let kept = pairs.map(|(below, above)| if above.is_defined() { above } else { below });
    kept.flat_map(|field| field.bytes()).copied().collect()
}

fn update(header: &TableHeader<'_>, indirect: bool, old: &[u8], new: &[u8]) -> Option<Entry> {
    let mut entry = Entry { op: Op::Update, indirect, old: Vec::new(), new: Vec::new() };
    let mut changed = false;
    let pairs = fields(header.columns(), old).zip(fields(header.columns(), new));
    for (i, (old, new)) in pairs.enumerate() {
        let differs = old != new;
        let is_key = header.is_key(i);
        changed |= differs && !is_key;
        let undefined = Field::UNDEFINED;
        entry.old.extend_from_slice(if differs || is_key { old.bytes() } else { undefined.bytes() });
        entry.new.extend_from_slice(if differs && !is_key { new.bytes() } else { undefined.bytes() });
    }
    changed.then_some(entry)
}
