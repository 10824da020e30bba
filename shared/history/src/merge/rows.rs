//! The three-way merge of the rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use maniac_changeset::{Change, ChangesetError, Group, Item, Op, Reader, TableHeader, Target, Writer, invert};
use maniac_diff::TableMatch;
use maniac_sqlite_format::{KeyForm, Table};

use super::key::folded;
use super::schema::Schemas;
use super::{Contested, MergePlan, SchemaObject};
use crate::{TableRow, columns, row};

pub struct Sides<'m> {
    pub schemas: &'m Schemas,
    /// Our tables and theirs.
    pub pairs: &'m [TableMatch],
    pub base_to_theirs: &'m [u8],
    pub base_to_ours: &'m [u8],
    pub ours_to_theirs: &'m [u8],
    pub theirs_to_ours: &'m [u8],
}

/// A row by its table, as they call it, the form of its key, and the key in one spelling.
type RowKey = (String, bool, Vec<u8>);
/// A row has one change, or a DELETE and an INSERT where its key is spelled anew.
type Keyed<'c> = HashMap<RowKey, Vec<(TableHeader<'c>, Change<'c>)>>;

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

impl Sides<'_> {
    fn keyed<'c>(&self, changeset: &'c [u8], ours: bool) -> Result<Keyed<'c>, ChangesetError> {
        let mut keyed: Keyed<'c> = HashMap::new();
        each(changeset, &mut |header, change| {
            keyed.entry(self.key(&header, &change, ours)).or_default().push((header, change));
        })?;
        Ok(keyed)
    }

    fn key(&self, header: &TableHeader<'_>, change: &Change<'_>, ours: bool) -> RowKey {
        let target = Target::of(header);
        let pair = self.pair(target.table, ours);
        let theirs = pair.and_then(|pair| pair.new.as_ref());
        let name = theirs.filter(|_| ours).map_or(target.table, |table| &table.name);
        let table = theirs.or(pair.and_then(|pair| pair.old.as_ref())).filter(|_| !target.null_key);
        (name.to_ascii_lowercase(), target.null_key, folded(header, change, table.map(|table| &**table)))
    }

    fn pair(&self, name: &str, ours: bool) -> Option<&TableMatch> {
        let side = |pair: &TableMatch| if ours { pair.old.clone() } else { pair.new.clone() };
        self.pairs.iter().find(|pair| side(pair).is_some_and(|table| table.name.eq_ignore_ascii_case(name)))
    }

    /// Their changes of one row in words.
    fn tell(&self, changes: &[(TableHeader<'_>, Change<'_>)]) -> TableRow {
        let mut told = changes.iter().map(|(header, change)| {
            row(Target::of(header).table, &columns(&self.schemas.theirs, header), header, change)
        });
        let first = told.next().expect("a row is here for its change");
        told.fold(first, |one, other| {
            let (old, new) = if one.op == Op::Delete { (one, other) } else { (other, one) };
            TableRow { op: Op::Update, new: new.new, ..old }
        })
    }

    /// Whether a table, as they call it, has a shape that only this side changed.
    fn keeps_our_shape(&self, name: &str) -> bool {
        let Some(TableMatch { old: Some(ours), new: Some(theirs), .. }) = self.pair(name, false) else { return false };
        let base = self.schemas.base.table(&theirs.name);
        ours.sql != theirs.sql && base.is_some_and(|base| base.sql == theirs.sql)
    }
}

fn each<'c>(changeset: &'c [u8], call: &mut dyn FnMut(TableHeader<'c>, Change<'c>)) -> Result<(), ChangesetError> {
    let mut table = None;
    for item in Reader::new(changeset) {
        match (item?, table) {
            (Item::Table(header), _) => table = Some(header),
            (Item::Change(change), Some(header)) => call(header, change),
            (Item::Change(_), None) => {}
        }
    }
    Ok(())
}

/// Fills in the changes and the rows that are contested.
pub fn plan(sides: &Sides<'_>, plan: &mut MergePlan) -> Result<(), ChangesetError> {
    let theirs = sides.keyed(sides.base_to_theirs, false)?;
    let ours = sides.keyed(sides.base_to_ours, true)?;
    // Turned round, the way back leads forth, in our shapes; the group puts deletes first again.
    let mut group = Group::new();
    group.add(&invert(sides.theirs_to_ours)?)?;
    let back = group.finish();
    let (mut changes, mut contested, mut appended) = (Out::default(), Out::default(), Out::default());
    let mut conflicts = Vec::new();
    let mut told = HashMap::new();
    for (way, is_back) in [(sides.ours_to_theirs, false), (&back[..], true)] {
        each(way, &mut |header, change| {
            let key = sides.key(&header, &change, is_back);
            if sides.keeps_our_shape(&key.0) != is_back {
                return;
            }
            let Some(their_changes) = theirs.get(&key) else { return };
            let Some(our_changes) = ours.get(&key) else { return changes.add(&header, &change) };
            let named_by_rowid = key.1 || sides.pair(&key.0, false).is_some_and(|pair| has_no_key(pair.new.as_deref()));
            if let ([(their_header, new)], [(_, our_new)], true, false) =
                (&their_changes[..], &our_changes[..], named_by_rowid, is_back)
                && (new.op, our_new.op) == (Op::Insert, Op::Insert)
            {
                return appended.add(their_header, new);
            }
            contested.add(&header, &change);
            let here = if is_back { &sides.schemas.ours } else { &sides.schemas.theirs };
            let ours = row(Target::of(&header).table, &columns(here, &header), &header, &change).old;
            match told.entry(key) {
                // The other half of a key that is spelled anew.
                Entry::Occupied(at) => {
                    let conflict: &mut Contested = &mut conflicts[*at.get()];
                    conflict.ours = conflict.ours.take().or(ours);
                }
                Entry::Vacant(entry) => {
                    entry.insert(conflicts.len());
                    conflicts.push(Contested { theirs: sides.tell(their_changes), ours });
                }
            }
        })?;
    }
    for (name, null_key, _) in theirs.keys() {
        // They changed rows of a table that was dropped here.
        let here = sides.pair(name, false).is_some_and(|pair| pair.old.is_some());
        if let (false, false, Some(table)) = (here, *null_key, sides.schemas.base.table(name)) {
            let conflict = SchemaObject { kind: "table".into(), name: table.name.clone(), sql: table.sql.clone() };
            if sides.schemas.theirs.table(name).is_some() && !plan.schema_conflicts.contains(&conflict) {
                plan.schema_conflicts.push(conflict);
            }
        }
    }
    (plan.changes, plan.contested) = (changes.writer.take(), contested.writer.take());
    (plan.appended, plan.conflicts) = (appended.writer.take(), conflicts);
    Ok(())
}

fn has_no_key(table: Option<&Table>) -> bool {
    table.is_some_and(|table| table.key_form() == KeyForm::Rowid)
}
