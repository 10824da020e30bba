//! The three-way merge of the rows, in the shapes that their tables have after the merge.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use maniac_changeset::{
    Change, ChangesetError, Field, Item, NULL_KEY_PREFIX, Op, Reader, Record, TableHeader, Target, Writer, push_value,
};
use maniac_sqlite_format::{KeyForm, Table};

use super::key::folded;
use super::lines::Line;
use super::moves::{Moves, Of, Part};
use super::schema::Schemas;
use super::tables::{Decision, Merged, RowsFrom, is_virtual};
use super::virtual_tables::Replaced;
use super::{Contested, MergePlan};
use crate::{TableRow, columns, row};

pub struct Sides<'m> {
    pub schemas: &'m Schemas,
    pub lines: &'m [Line],
    pub decisions: &'m [Decision],
    /// The two differences.
    pub moves: &'m Moves,
    /// All rows of the tables that are taken over from the other branch whatever is here.
    pub whole: &'m [u8],
    pub replaced: &'m Replaced,
}

/// A row by its key in the merged table, in one spelling.
type RowKey = (Part, Vec<u8>);
/// A row has one change, or a DELETE and an INSERT where its key is spelled anew.
type Keyed<'c> = HashMap<RowKey, Vec<(TableHeader<'c>, Change<'c>)>>;

/// How rows of both sides go into a merged table.
#[derive(Clone)]
struct Shape {
    table: Arc<Table>,
    null_key: bool,
    /// As the header has it.
    name: String,
    key: Vec<u8>,
    defaults: Vec<u8>,
    ours: Vec<Option<usize>>,
    theirs: Vec<Option<usize>>,
    /// The rowid names the rows, and nothing else does.
    by_rowid: bool,
}

impl Shape {
    fn new(merged: &Merged, line: &Line, null_key: bool) -> Shape {
        let table = &merged.table;
        let by_rowid = null_key || table.key_form() == KeyForm::Rowid;
        let mut key: Vec<u8> = Vec::new();
        let mut defaults = Vec::new();
        for (i, column) in table.changeset_columns() {
            key.push(if by_rowid { 0 } else { table.key_position(i) });
            push_value(&mut defaults, &column.default_value());
        }
        if by_rowid {
            key.insert(0, 1);
            defaults.insert(0, NULL_VALUE);
        }
        let sources = |side: Option<&Table>, from: &[Option<usize>]| {
            let place = |column: usize| {
                let at = side?.changeset_columns().position(|(i, _)| i == column)?;
                Some(at + usize::from(by_rowid))
            };
            let columns = table.changeset_columns().map(|(i, _)| from[i].and_then(place));
            by_rowid.then_some(Some(0)).into_iter().chain(columns).collect()
        };
        let name = if null_key { format!("{NULL_KEY_PREFIX}{}", table.name) } else { table.name.clone() };
        Shape {
            table: table.clone(),
            null_key,
            name,
            key,
            defaults,
            ours: sources(line.ours.as_ref().map(|ours| &*ours.table), &merged.from_ours),
            theirs: sources(line.theirs.as_ref().map(|theirs| &*theirs.table), &merged.from_theirs),
            by_rowid,
        }
    }

    /// The same for a merge in the other direction.
    fn swapped(&self) -> Shape {
        Shape { ours: self.theirs.clone(), theirs: self.ours.clone(), ..self.clone() }
    }

    fn header(&self) -> TableHeader<'_> {
        TableHeader { name: &self.name, key: &self.key }
    }

    /// A row of one side: columns that it doesn't have are undefined.
    fn fields<'c>(&self, sources: &[Option<usize>], record: Record<'c>) -> Vec<Field<'c>> {
        let fields: Vec<Field<'c>> = record.fields().collect();
        sources.iter().map(|from| from.and_then(|at| fields.get(at).copied()).unwrap_or(Field::UNDEFINED)).collect()
    }

    /// A row of one side: columns that it doesn't have hold their default.
    fn whole<'c>(&'c self, sources: &[Option<usize>], record: Record<'c>) -> Vec<Field<'c>> {
        let mut fields = self.fields(sources, record);
        let defaults = Record::parse(&self.defaults, self.key.len()).into_iter().flat_map(|record| record.fields());
        for (field, default) in fields.iter_mut().zip(defaults) {
            if !field.is_defined() {
                *field = default;
            }
        }
        fields
    }

    fn key_of(&self, sources: &[Option<usize>], change: &Change<'_>) -> Vec<u8> {
        let table = (!self.null_key).then_some(&*self.table);
        folded(&self.header(), &self.fields(sources, change.keyed()), table)
    }

    /// A row of one side before and after its changes. Columns that did not change are undefined in the second, and may
    /// be in the first. Nothing if the changes are not those of one row.
    fn step<'c>(&'c self, side: &[Option<usize>], changes: &[(TableHeader<'c>, Change<'c>)]) -> Option<Step<'c>> {
        let (_, first) = changes.first()?;
        let (old, new) = match changes {
            [_] => (first.old, first.new),
            [_, (_, second)] if first.op == Op::Delete && second.op == Op::Insert => (first.old, second.new),
            [_, (_, second)] if first.op == Op::Insert && second.op == Op::Delete => (second.old, first.new),
            _ => return None,
        };
        let row = |record: Record<'c>| match changes.len() == 1 && first.op == Op::Update {
            true => self.fields(side, record),
            false => self.whole(side, record),
        };
        let (old, mut new) = (old.map(row), new.map(row));
        if let (Some(old), Some(new)) = (&old, &mut new) {
            let same = old.iter().zip(new).filter(|(old, new)| old == new);
            same.for_each(|(_, new)| *new = Field::UNDEFINED);
        }
        Some(Step { old, new })
    }
}

struct Step<'c> {
    old: Option<Vec<Field<'c>>>,
    new: Option<Vec<Field<'c>>>,
}

/// The type byte of NULL, a value in itself.
const NULL_VALUE: u8 = 5;

/// Copies changes, with a header before the first of each table.
#[derive(Default)]
struct Out {
    writer: Writer,
    part: Option<Part>,
}

impl Out {
    fn header(&mut self, part: Part, shape: &Shape) {
        if self.part.replace(part) != Some(part) {
            self.writer.table(&shape.header());
        }
    }

    fn whole(&mut self, part: Part, shape: &Shape, op: Op, fields: &[Field<'_>]) {
        self.header(part, shape);
        self.writer.whole_row(op, &bytes(fields));
    }

    /// The update of the columns where both are defined and differ, if there are any.
    fn update(&mut self, part: Part, shape: &Shape, old: &[Field<'_>], new: &[Field<'_>]) {
        let (old, new) = update(&shape.header(), old, new);
        let (Ok(old), Ok(new)) = (Record::parse(&old, shape.key.len()), Record::parse(&new, shape.key.len())) else {
            return;
        };
        if new.fields().any(|field| field.is_defined()) {
            self.header(part, shape);
            self.writer.change(&Change { op: Op::Update, indirect: false, old: Some(old), new: Some(new) });
        }
    }

    /// What leads from one row to the other. A key that is spelled anew takes a DELETE and an INSERT. Gives what differs
    /// of the first.
    fn lead(&mut self, part: Part, shape: &Shape, old: &[Field<'_>], new: &[Field<'_>]) -> (Op, Vec<u8>) {
        let header = shape.header();
        if (0..old.len()).any(|n| header.is_key(n) && old[n] != new[n]) {
            self.whole(part, shape, Op::Delete, old);
            self.whole(part, shape, Op::Insert, new);
            return (Op::Delete, bytes(old));
        }
        self.update(part, shape, old, new);
        (Op::Update, update(&header, old, new).0)
    }
}

fn bytes(fields: &[Field<'_>]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.bytes()).copied().collect()
}

/// The two records of an update.
fn update(header: &TableHeader<'_>, old: &[Field<'_>], new: &[Field<'_>]) -> (Vec<u8>, Vec<u8>) {
    let mut records = (Vec::new(), Vec::new());
    for (n, (old, new)) in old.iter().zip(new).enumerate() {
        let differs = !header.is_key(n) && old.is_defined() && new.is_defined() && old != new;
        let kept = |field: &Field<'_>, keep: bool| {
            if keep { field.bytes().to_vec() } else { Field::UNDEFINED.bytes().to_vec() }
        };
        records.0.extend(kept(old, differs || header.is_key(n)));
        records.1.extend(kept(new, differs));
    }
    records
}

fn overlaid<'c>(below: &[Field<'c>], above: &[Field<'c>]) -> Vec<Field<'c>> {
    below.iter().zip(above).map(|(below, above)| if above.is_defined() { *above } else { *below }).collect()
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
    Rows::new(sides).plan(plan)
}

struct Rows<'m> {
    sides: &'m Sides<'m>,
    shapes: HashMap<Part, Shape>,
    ours_by_name: HashMap<String, usize>,
    theirs_by_name: HashMap<String, usize>,
}

/// Changesets as they are made.
#[derive(Default)]
struct Made {
    changes: Out,
    contested: Out,
    appended: Out,
    conflicts: Vec<Contested>,
    /// The keys of rows that both sides added.
    added_twice: HashSet<Vec<u8>>,
}

impl Made {
    /// Whether a document that both sides added under one id is the same one: where the id is another table's.
    fn same_row(&self, part: Part, shape: &Shape, replaced: &Replaced, new: &[Field<'_>]) -> bool {
        let id = folded(&shape.header(), new, None);
        replaced.keyed.contains(&part.0) || replaced.is_document(part.0) && self.added_twice.contains(&id)
    }
}

impl<'m> Rows<'m> {
    fn new(sides: &'m Sides<'m>) -> Rows<'m> {
        let mut rows =
            Rows { sides, shapes: HashMap::new(), ours_by_name: HashMap::new(), theirs_by_name: HashMap::new() };
        for (n, (line, decision)) in sides.lines.iter().zip(sides.decisions).enumerate() {
            let Some(merged) = &decision.merged else { continue };
            let table = &merged.table;
            if !(table.is_tracked() || is_virtual(table) && !table.columns.is_empty()) {
                continue;
            }
            for null_key in [false, true] {
                rows.shapes.insert((n, null_key), Shape::new(merged, line, null_key));
            }
            let name = |table: &Table| (table.name.to_ascii_lowercase(), n);
            rows.ours_by_name.extend(line.ours.as_ref().map(|present| name(&present.table)));
            rows.theirs_by_name.extend(line.theirs.as_ref().map(|present| name(&present.table)));
        }
        rows
    }

    /// The part that a side's header announces, and its shape.
    fn part(&self, by_name: &HashMap<String, usize>, header: &TableHeader<'_>) -> Option<(Part, &Shape)> {
        let target = Target::of(header);
        let part = (*by_name.get(&target.table.to_ascii_lowercase())?, target.null_key);
        self.shapes.get(&part).map(|shape| (part, shape))
    }

    fn rows_from(&self, part: Part) -> RowsFrom {
        self.sides.decisions.get(part.0).map_or(RowsFrom::Ours, |decision| decision.rows)
    }

    fn ours(&self) -> Result<Keyed<'m>, ChangesetError> {
        let mut keyed: Keyed<'m> = HashMap::new();
        each(&self.sides.moves.base_to_ours, &mut |header, change| {
            let Some((part, shape)) = self.part(&self.ours_by_name, &header) else { return };
            if matches!(self.rows_from(part), RowsFrom::Both | RowsFrom::TheirsAndOurs) {
                let key = (part, shape.key_of(&shape.ours, &change));
                keyed.entry(key).or_default().push((header, change));
            }
        })?;
        Ok(keyed)
    }

    /// The tables that changes are made of in a shape that is not the changes' own: one has a column that the other
    /// branch dropped, or its rows have been through another branch's table.
    fn not_told_whole(&self) -> impl Iterator<Item = String> {
        let told = |(line, decision): (&Line, &'m Decision)| {
            let (merged, ours) = (decision.merged.as_ref()?, line.ours.as_ref()?.columns.as_ref()?);
            let mut both = merged.from_ours.iter().zip(&merged.from_theirs);
            let dropped = both.any(|(here, there)| there.is_none() && here.is_some_and(|here| ours[here].is_some()));
            let not_whole = match decision.rows {
                RowsFrom::Both => dropped,
                RowsFrom::TheirsAndOurs => true,
                RowsFrom::Ours | RowsFrom::Theirs | RowsFrom::Changes => false,
            };
            not_whole.then(|| merged.table.name.clone())
        };
        self.sides.lines.iter().zip(self.sides.decisions).filter_map(told)
    }

    fn plan(&self, plan: &mut MergePlan) -> Result<(), ChangesetError> {
        let ours = self.ours()?;
        plan.reshaped.extend(self.not_told_whole());
        let (mut made, mut replayed) = (Made::default(), Made::default());
        // Those that both sides changed, in the order in which they come.
        let (mut order, mut twice): (Vec<RowKey>, Keyed<'_>) = (Vec::new(), HashMap::new());
        each(&self.sides.moves.base_to_theirs, &mut |header, change| {
            let Some((part, shape)) = self.part(&self.theirs_by_name, &header) else { return };
            match self.rows_from(part) {
                RowsFrom::Ours | RowsFrom::Theirs => {}
                RowsFrom::Changes => take(part, shape, &shape.theirs, &change, &mut made.changes),
                from @ (RowsFrom::Both | RowsFrom::TheirsAndOurs) => {
                    let key = (part, shape.key_of(&shape.theirs, &change));
                    if !ours.contains_key(&key) {
                        if from == RowsFrom::Both {
                            take(part, shape, &shape.theirs, &change, &mut made.changes);
                        }
                        return;
                    }
                    let changes = twice.entry(key.clone()).or_default();
                    if changes.is_empty() {
                        order.push(key);
                    }
                    changes.push((header, change));
                }
            }
        })?;
        for (part, key) in &order {
            let added = |changes: Option<&Vec<(_, Change<'_>)>>| {
                changes.is_some_and(|changes| changes.iter().all(|(_, change)| change.op == Op::Insert))
            };
            let row = (*part, key.clone());
            if !self.sides.replaced.is_document(part.0) && added(twice.get(&row)) && added(ours.get(&row)) {
                made.added_twice.insert(row.1);
            }
        }
        each(self.sides.whole, &mut |header, change| {
            let Some((part, shape)) = self.part(&self.theirs_by_name, &header) else { return };
            if self.rows_from(part).is_whole() {
                take(part, shape, &shape.theirs, &change, &mut made.changes);
            }
        })?;
        for key in &order {
            let (Some(theirs), Some(ours), Some(shape)) = (twice.get(key), ours.get(key), self.shapes.get(&key.0))
            else {
                continue;
            };
            match self.rows_from(key.0) {
                RowsFrom::TheirsAndOurs => self.again(key.0, shape, theirs, ours, &mut made, &mut replayed),
                _ => self.both(key.0, shape, theirs, ours, &mut made),
            }
        }
        each(&self.sides.moves.base_to_ours, &mut |header, change| {
            let Some((part, shape)) = self.part(&self.ours_by_name, &header) else { return };
            let alone = || !twice.contains_key(&(part, shape.key_of(&shape.ours, &change)));
            if self.rows_from(part) == RowsFrom::TheirsAndOurs && alone() {
                take(part, shape, &shape.ours, &change, &mut replayed.changes);
            }
        })?;
        let names: HashMap<&str, Part> = self.shapes.iter().map(|(part, shape)| (&shape.name[..], *part)).collect();
        let placed = |mut made: Out, of, come_back| self.sides.moves.placed(made.writer.take(), of, &names, come_back);
        plan.changes = placed(made.changes, Of::Ours, false)?;
        plan.contested = placed(made.contested, Of::Ours, true)?;
        plan.replayed = placed(replayed.changes, Of::Theirs, false)?;
        plan.contested_replayed = placed(replayed.contested, Of::Theirs, true)?;
        plan.appended = made.appended.writer.take();
        plan.appended.append(&mut replayed.appended.writer.take());
        plan.conflicts = made.conflicts;
        Ok(())
    }

    /// A row that both sides changed, of a table that is filled with the other branch's rows: there it is our change that
    /// is to be made.
    fn again(
        &self,
        part: Part,
        shape: &Shape,
        theirs: &[(TableHeader<'_>, Change<'_>)],
        ours: &[(TableHeader<'_>, Change<'_>)],
        made: &mut Made,
        replayed: &mut Made,
    ) {
        let mut told = Made::default();
        self.both(part, shape, theirs, ours, &mut told);
        made.conflicts.append(&mut told.conflicts);
        self.both(part, &shape.swapped(), ours, theirs, replayed);
    }

    /// A row that both sides changed.
    fn both(
        &self,
        part: Part,
        shape: &Shape,
        theirs: &[(TableHeader<'_>, Change<'_>)],
        ours: &[(TableHeader<'_>, Change<'_>)],
        made: &mut Made,
    ) {
        let (Some(Step { old: their_old, new: their_new }), Some(Step { old: our_old, new: our_new })) =
            (shape.step(&shape.theirs, theirs), shape.step(&shape.ours, ours))
        else {
            // Several rows whose keys the merged table takes for one.
            theirs.iter().for_each(|(_, change)| take(part, shape, &shape.theirs, change, &mut made.contested));
            made.conflicts.push(Contested { theirs: self.tell(theirs), ours: None });
            return;
        };
        // What this side has, as a record, where the two differ.
        let here = match (their_old, their_new, our_old, our_new) {
            (Some(_), None, Some(_), None) => return,
            (None, Some(new), None, Some(here)) => {
                if here == new {
                    return;
                }
                if shape.by_rowid && !made.same_row(part, shape, self.sides.replaced, &new) {
                    return made.appended.whole(part, shape, Op::Insert, &new);
                }
                Some(made.contested.lead(part, shape, &here, &new))
            }
            (Some(their_old), Some(their_new), Some(our_old), Some(our_new)) => {
                let before = overlaid(&their_old, &our_old);
                let old = overlaid(&before, &our_new);
                let shared = |n: usize| shape.ours[n].is_some() && shape.theirs[n].is_some();
                let touched = |fields: &[Field<'_>]| (0..fields.len()).any(|n| shared(n) && fields[n].is_defined());
                let contested = touched(&their_new) && touched(&our_new);
                // A column that one side alone has is that side's.
                let with_theirs: Vec<Field<'_>> = (0..old.len())
                    .map(|n| if !shared(n) && their_new[n].is_defined() { their_new[n] } else { old[n] })
                    .collect();
                // One that both have becomes theirs with the whole row, or, where one side left all of those alone, if
                // they changed it.
                let theirs_at = |n: usize| match (shared(n) && contested, their_new[n].is_defined()) {
                    (true, false) => before[n],
                    (_, true) => their_new[n],
                    (false, false) => old[n],
                };
                let new: Vec<Field<'_>> = (0..old.len()).map(theirs_at).collect();
                if !contested || !(0..old.len()).any(|n| shared(n) && old[n] != new[n]) {
                    made.changes.lead(part, shape, &old, &new);
                    return;
                }
                made.changes.update(part, shape, &old, &with_theirs);
                Some(made.contested.lead(part, shape, &with_theirs, &new))
            }
            (Some(before), None, Some(_), Some(our_new)) => {
                let old = overlaid(&before, &our_new);
                made.contested.whole(part, shape, Op::Delete, &old);
                Some((Op::Delete, bytes(&old)))
            }
            (Some(_), Some(their_new), Some(before), None) => {
                made.contested.whole(part, shape, Op::Insert, &overlaid(&before, &their_new));
                None
            }
            // The ancestor has the row for one side, and hasn't for the other: not the same row.
            _ => {
                let taken = |(_, change): &(_, Change<'_>)| take(part, shape, &shape.theirs, change, &mut made.changes);
                return theirs.iter().for_each(taken);
            }
        };
        let ours = here.and_then(|(op, record)| self.our_values(part, shape, op, &record));
        made.conflicts.push(Contested { theirs: self.tell(theirs), ours });
    }

    /// Their changes of one row in words.
    fn tell(&self, changes: &[(TableHeader<'_>, Change<'_>)]) -> TableRow {
        let mut told = changes.iter().map(|(header, change)| {
            row(Target::of(header).table, &columns(&self.sides.schemas.theirs, header), header, change)
        });
        let first = told.next().expect("a row is here for its change");
        told.fold(first, |one, other| {
            let (old, new) = if one.op == Op::Delete { (one, other) } else { (other, one) };
            TableRow { op: Op::Update, new: new.new, ..old }
        })
    }

    /// What this side has of a contested row, where the two differ.
    fn our_values(&self, part: Part, shape: &Shape, op: Op, record: &[u8]) -> Option<String> {
        let merged = self.sides.decisions.get(part.0)?.merged.as_ref()?;
        let old = Record::parse(record, shape.key.len()).ok()?;
        let rowid = shape.by_rowid.then(|| maniac_changeset::ROWID_COLUMN.to_owned());
        let declared = merged.table.changeset_columns().map(|(_, column)| column.name.clone());
        let names: Vec<String> = rowid.into_iter().chain(declared).collect();
        let header = shape.header();
        row(Target::of(&header).table, &names, &header, &Change { op, indirect: false, old: Some(old), new: None }).old
    }
}

/// A change of one side as it is.
fn take(part: Part, shape: &Shape, side: &[Option<usize>], change: &Change<'_>, out: &mut Out) {
    match (change.old, change.new) {
        (Some(old), Some(new)) => out.update(part, shape, &shape.fields(side, old), &shape.fields(side, new)),
        (None, Some(new)) => out.whole(part, shape, Op::Insert, &shape.whole(side, new)),
        (Some(old), None) => out.whole(part, shape, Op::Delete, &shape.whole(side, old)),
        (None, None) => {}
    }
}
