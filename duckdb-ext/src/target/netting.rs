//! A batch of commits as one change per key and table, so that a row which changed a hundred times is written once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::source::{Commit, Row, RowChange, TableChanges, Value};

/// What is left of all changes of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Net {
    /// The key is new: nothing has to be deleted.
    Insert(Row),
    /// The key was there; the whole row is known.
    Replace(Row),
    /// The key was there; `None` is a value that stays as it is.
    Patch(Vec<Option<Value>>),
    Delete,
}

/// One table's share of a batch. Keys that are one integer come in its order, which is that of the source's pages and of
/// an index: neighbours are found together. Others come in the order in which they were first changed.
#[derive(Debug, Default, PartialEq)]
pub struct NetTable {
    pub changes: Vec<(Row, Net)>,
}

impl NetTable {
    /// How many rows of the table go, be it for other ones.
    pub fn deleted(&self) -> usize {
        self.changes.iter().filter(|(_, net)| !matches!(net, Net::Insert(_))).count()
    }

    /// How many rows the table has afterwards that come with the batch.
    pub fn inserted(&self) -> usize {
        self.changes.iter().filter(|(_, net)| !matches!(net, Net::Delete)).count()
    }

    /// About how many bytes the values of new rows have beyond a few each.
    pub fn bytes(&self) -> usize {
        let of = |net: &Net| match net {
            Net::Insert(row) | Net::Replace(row) => row.iter().map(Value::bytes).sum(),
            Net::Patch(values) => values.iter().flatten().map(Value::bytes).sum(),
            Net::Delete => 0,
        };
        self.changes.iter().map(|(_, net)| of(net)).sum::<usize>()
    }
}

/// What a batch does to each table, by its name in the source.
pub fn net(commits: &[Commit]) -> Vec<(String, NetTable)> {
    let mut nets = Nets::default();
    commits.iter().flat_map(|commit| &commit.tables).for_each(|changes| nets.add(changes));
    nets.finish()
}

/// The changes of a batch's tables, netted as they come.
#[derive(Default)]
pub struct Nets<'c> {
    /// With a number that follows the order in which they were first changed.
    tables: HashMap<&'c str, (usize, Netting)>,
    begun: usize,
}

impl<'c> Nets<'c> {
    pub fn add(&mut self, changes: &'c TableChanges) {
        let (_, netting) = self.tables.entry(&changes.table).or_insert_with(|| {
            self.begun += 1;
            (self.begun, Netting::default())
        });
        netting.add(changes);
    }

    /// Forgets the changes of a table.
    pub fn discard(&mut self, table: &str) {
        self.tables.remove(table);
    }

    pub fn finish(self) -> Vec<(String, NetTable)> {
        let mut tables: Vec<(&str, (usize, Netting))> = self.tables.into_iter().collect();
        tables.sort_unstable_by_key(|(_, (number, _))| *number);
        tables.into_iter().map(|(name, (_, netting))| (name.to_string(), netting.finish())).collect()
    }
}

#[derive(Default)]
struct Netting {
    places: HashMap<Key, usize>,
    /// `None` is a key that came and went within the batch.
    changes: Vec<Option<(Row, Net)>>,
}

impl Netting {
    fn add(&mut self, changes: &TableChanges) {
        for change in &changes.rows {
            let key_values: Row = match change {
                RowChange::Insert(row) => pick(&changes.key, |place| row.get(place)),
                RowChange::Delete(old) | RowChange::Update { old, .. } => {
                    pick(&changes.key, |place| old.get(place).and_then(Option::as_ref))
                }
            };
            let place = match self.places.entry(Key::of(&key_values)) {
                Entry::Occupied(occupied) => *occupied.get(),
                Entry::Vacant(vacant) => {
                    vacant.insert(self.changes.len());
                    self.changes.push(Some((key_values, first(change))));
                    continue;
                }
            };
            let earlier = self.changes[place].take().map(|(_, net)| net);
            self.changes[place] = next(earlier, change).map(|net| (key_values, net));
        }
    }

    fn finish(self) -> NetTable {
        let mut changes: Vec<(Row, Net)> = self.changes.into_iter().flatten().collect();
        let number = |(key, _): &(Row, Net)| key.first().and_then(Value::as_integer);
        if changes.iter().all(|change| change.0.len() == 1 && number(change).is_some()) {
            changes.sort_by_key(number);
        }
        NetTable { changes }
    }
}

fn pick<'a>(key: &[usize], value: impl Fn(usize) -> Option<&'a Value>) -> Row {
    key.iter().map(|place| value(*place).cloned().unwrap_or(Value::Null)).collect()
}

fn first(change: &RowChange) -> Net {
    match change {
        RowChange::Insert(row) => Net::Insert(row.clone()),
        RowChange::Update { new, .. } => whole_or_patch(new.clone()),
        RowChange::Delete(_) => Net::Delete,
    }
}

/// The net of what was and a further change; `earlier` is `None` when the key was not there before the batch and is not
/// there now.
fn next(earlier: Option<Net>, change: &RowChange) -> Option<Net> {
    match (earlier, change) {
        (None, RowChange::Insert(row)) => Some(Net::Insert(row.clone())),
        (None | Some(Net::Insert(_)), RowChange::Delete(_)) => None,
        (Some(_), RowChange::Delete(_)) => Some(Net::Delete),
        (Some(Net::Delete), RowChange::Insert(row)) => Some(Net::Replace(row.clone())),
        // An insert of a key that is there already replaces it: the later state is the one that counts.
        (Some(Net::Insert(_)), RowChange::Insert(row)) => Some(Net::Insert(row.clone())),
        (Some(_), RowChange::Insert(row)) => Some(Net::Replace(row.clone())),
        (Some(Net::Insert(row)), RowChange::Update { new, .. }) => Some(Net::Insert(overlay(row, new))),
        (Some(Net::Replace(row)), RowChange::Update { new, .. }) => Some(Net::Replace(overlay(row, new))),
        (Some(Net::Patch(values)), RowChange::Update { new, .. }) => {
            let merged = values.into_iter().zip(new).map(|(value, new)| new.clone().or(value)).collect();
            Some(whole_or_patch(merged))
        }
        (None | Some(Net::Delete), RowChange::Update { new, .. }) => Some(whole_or_patch(new.clone())),
    }
}

fn overlay(row: Row, new: &[Option<Value>]) -> Row {
    row.into_iter().zip(new).map(|(value, new)| new.clone().unwrap_or(value)).collect()
}

fn whole_or_patch(values: Vec<Option<Value>>) -> Net {
    match values.iter().all(Option::is_some) {
        true => Net::Replace(values.into_iter().flatten().collect()),
        false => Net::Patch(values),
    }
}

/// A key that hashes. One integer, by far the most frequent key, needs no allocation.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Integer(i64),
    Bytes(Vec<u8>),
}

impl Key {
    fn of(values: &[Value]) -> Key {
        if let [Value::Integer(number)] = values {
            return Key::Integer(*number);
        }
        let mut bytes = Vec::new();
        for value in values {
            // A tag per class, and a length before bytes, so that no two keys have one form.
            match value {
                Value::Null => bytes.push(0),
                Value::Integer(number) => {
                    bytes.push(1);
                    bytes.extend(number.to_le_bytes());
                }
                Value::Real(number) => {
                    bytes.push(2);
                    bytes.extend(number.to_bits().to_le_bytes());
                }
                Value::Text(text) => {
                    bytes.push(3);
                    bytes.extend((text.len() as u64).to_le_bytes());
                    bytes.extend(text.iter());
                }
                Value::Blob(blob) => {
                    bytes.push(4);
                    bytes.extend((blob.len() as u64).to_le_bytes());
                    bytes.extend(blob.iter());
                }
            }
        }
        Key::Bytes(bytes)
    }
}

#[cfg(test)]
#[path = "netting_tests.rs"]
mod tests;
