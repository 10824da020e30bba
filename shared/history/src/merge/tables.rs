//! What becomes of each table.
//!
//! | one side | other side | the table |
//! |---|---|---|
//! | as it was | anything | as on the other side |
//! | dropped | dropped | is gone |
//! | changed, still the same table | changed, still the same table | both shapes merged, rows one by one |
//! | made anew | made anew with the same text | the rows of both |
//! | any other change | any other change | a conflict |

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use maniac_sqlite_format::{Encoding, Table, TableKind, same_statement};

use super::lines::{Line, Present};
use super::{Prefer, SchemaConflict, columns};

/// A table after the merge, and which columns of both sides its columns are.
#[derive(Clone, Debug)]
pub struct Merged {
    pub table: Arc<Table>,
    pub from_ours: Vec<Option<usize>>,
    pub from_theirs: Vec<Option<usize>>,
}

/// Where the rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsFrom {
    /// Ours, whatever the other branch has.
    Ours,
    /// Ours with the changes that the other branch made.
    Both,
    /// The other branch's changes are all the rows there are.
    Changes,
    /// The other branch's, whatever is here.
    Theirs,
    /// The other branch's, with the changes that were made here made again.
    TheirsAndOurs,
}

impl RowsFrom {
    /// Whether all of the other branch's rows are needed.
    pub fn is_whole(self) -> bool {
        matches!(self, RowsFrom::Theirs | RowsFrom::TheirsAndOurs)
    }
}

/// What there is to do about a table.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The table goes: dropped, or to make room for the other branch's.
    pub drop: bool,
    /// The table is made as `merged` says, of the rows that are here if it wasn't dropped.
    pub make: bool,
    pub merged: Option<Merged>,
    pub rows: RowsFrom,
    /// Both sides changed it, and one was preferred.
    pub settled: bool,
}

impl Decision {
    fn ours(line: &Line) -> Decision {
        let merged = line.ours.as_ref().map(|ours| Merged {
            table: ours.table.clone(),
            from_ours: identity(&ours.table),
            from_theirs: vec![None; ours.table.columns.len()],
        });
        Decision { drop: false, make: false, merged, rows: RowsFrom::Ours, settled: false }
    }

    fn theirs(line: &Line, rows: RowsFrom) -> Decision {
        let merged = line.theirs.as_ref().map(|theirs| Merged {
            table: theirs.table.clone(),
            from_ours: vec![None; theirs.table.columns.len()],
            from_theirs: identity(&theirs.table),
        });
        Decision { drop: line.ours.is_some(), make: merged.is_some(), merged, rows, settled: false }
    }

    fn theirs_and_ours(line: &Line, merged: Merged) -> Decision {
        Decision { merged: Some(merged), ..Decision::theirs(line, RowsFrom::TheirsAndOurs) }
    }

    fn both(merged: Merged, make: bool) -> Decision {
        Decision { drop: false, make, merged: Some(merged), rows: RowsFrom::Both, settled: false }
    }
}

pub fn is_virtual(table: &Table) -> bool {
    matches!(table.kind, TableKind::Virtual { .. })
}

pub fn identity(table: &Table) -> Vec<Option<usize>> {
    (0..table.columns.len()).map(Some).collect()
}

/// The names of tables with changed rows, in lower case.
pub struct Edited {
    pub here: HashSet<String>,
    pub there: HashSet<String>,
}

fn changed(line: &Line, side: Option<&Present>, edited: &HashSet<String>) -> bool {
    match (&line.base, side) {
        (None, side) => side.is_some(),
        (Some(base), Some(Present { table, columns: Some(_) })) => {
            edited.contains(&table.name.to_ascii_lowercase()) || table.name != base.name || table.sql != base.sql
        }
        (Some(_), _) => true,
    }
}

/// Decides for every line. The tables in `theirs_first`, by their names after the merge, aren't filled with the rows that
/// are here.
pub fn decide(
    lines: &[Line],
    edited: &Edited,
    prefer: Prefer,
    theirs_first: &HashSet<String>,
    encoding: Encoding,
    conflicts: &mut Vec<SchemaConflict>,
) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = Vec::new();
    let virtual_tables = lines.iter().filter(|line| line.is_virtual());
    let owners: HashSet<String> =
        virtual_tables.flat_map(Line::tables).map(|table| table.name.to_ascii_lowercase()).collect();
    for line in lines {
        let (ours, theirs) = (line.ours.as_ref(), line.theirs.as_ref());
        let (here, there) = (changed(line, ours, &edited.here), changed(line, theirs, &edited.there));
        let decided = match (here, there) {
            (_, false) => Ok(Decision::ours(line)),
            (false, true) => Ok(taken_over(line)),
            (true, true) => both(line, encoding),
        };
        decisions.push(decided.unwrap_or_else(|reason| {
            // Their virtual table's conflict says it all.
            if !line.owner().is_some_and(|owner| owners.contains(&owner)) || same_rows(line) {
                conflicts.push(conflict(line, reason, prefer));
            }
            settle(line, prefer)
        }));
    }
    for (line, decision) in lines.iter().zip(&mut decisions) {
        let Decision { drop: false, make: true, rows: RowsFrom::Both, settled, merged: Some(merged) } = &decision
        else {
            continue;
        };
        if theirs_first.contains(&merged.table.name) {
            *decision = Decision { settled: *settled, ..Decision::theirs_and_ours(line, merged.clone()) };
        }
    }
    shadows(lines, &mut decisions);
    decisions
}

/// Only the other side changed it.
fn taken_over(line: &Line) -> Decision {
    match (&line.ours, &line.theirs) {
        (Some(ours), Some(theirs)) if same_rows(line) => {
            // A shadow table is made by its module, which writes the same text another way when it is renamed.
            if ours.table.sql == theirs.table.sql || line.is_shadow() {
                return Decision::both(kept_shape(ours, theirs), false);
            }
            let copied = line.base.as_ref().is_some_and(|base| columns::only_names_and_columns(base, theirs));
            if copied {
                return Decision::both(their_shape(ours, theirs), true);
            }
            // The rows that are here need not be what the other branch's table takes, before they are changed as there.
            Decision::theirs(line, RowsFrom::Theirs)
        }
        _ => Decision::theirs(line, RowsFrom::Changes),
    }
}

/// Whether both sides have the ancestor's rows, and tell them apart as it does. What a virtual table is follows from its
/// whole text.
fn same_rows(line: &Line) -> bool {
    let text = |side: &Option<Present>| side.as_ref().map(|present| present.table.sql.clone());
    if line.is_virtual()
        && !matches!((text(&line.ours), text(&line.theirs)), (Some(ours), Some(theirs)) if same_statement(&ours, &theirs))
    {
        return false;
    }
    let same = |side: &Option<Present>| side.as_ref().is_some_and(|present| present.columns.is_some());
    line.base.is_some() && same(&line.ours) && same(&line.theirs)
}

/// Both sides changed it.
fn both(line: &Line, encoding: Encoding) -> Result<Decision, String> {
    let (ours, theirs) = match (&line.ours, &line.theirs) {
        (None, None) => return Ok(Decision::ours(line)),
        (Some(ours), Some(theirs)) => (ours, theirs),
        (None, Some(_)) if line.base.is_some() => return Err("dropped on this branch, changed on the other".into()),
        (Some(_), None) if line.base.is_some() => return Err("changed on this branch, dropped on the other".into()),
        _ => return Ok(taken_over(line)),
    };
    let alike = same_statement(&ours.table.sql, &theirs.table.sql);
    if !same_rows(line) {
        return match (&line.base, alike) {
            (_, true) if ours.columns.is_none() && theirs.columns.is_none() => {
                Ok(Decision::both(side_by_side(ours), false))
            }
            (None, _) => Err("created differently on both branches".into()),
            (Some(_), _) if line.is_virtual() => Err("changed on both branches, and its definition on one".into()),
            (Some(_), _) => Err("changed on both branches, and its key on one".into()),
        };
    }
    let Some(base) = &line.base else { return Ok(Decision::ours(line)) };
    if alike {
        return Ok(Decision::both(side_by_side(ours), false));
    }
    let (here, there) = (&ours.table.sql, &theirs.table.sql);
    if *there == base.sql || (same_statement(there, &base.sql) && *here != base.sql) || line.is_shadow() {
        return Ok(Decision::both(kept_shape(ours, theirs), false));
    }
    if same_statement(here, &base.sql) {
        return Ok(Decision::both(their_shape(ours, theirs), true));
    }
    if line.is_virtual() {
        return Err("changed differently on both branches".into());
    }
    let merged = columns::merge(base, ours, theirs, encoding)?;
    if same_statement(&merged.table.sql, here) {
        return Ok(Decision::both(Merged { table: ours.table.clone(), ..merged }, false));
    }
    Ok(Decision::both(merged, true))
}

/// Both sides have columns in the same order.
fn side_by_side(ours: &Present) -> Merged {
    let same = identity(&ours.table);
    Merged { table: ours.table.clone(), from_ours: same.clone(), from_theirs: same }
}

fn kept_shape(ours: &Present, theirs: &Present) -> Merged {
    Merged { table: ours.table.clone(), from_ours: identity(&ours.table), from_theirs: across(ours, theirs) }
}

fn their_shape(ours: &Present, theirs: &Present) -> Merged {
    Merged { table: theirs.table.clone(), from_ours: across(theirs, ours), from_theirs: identity(&theirs.table) }
}

/// For each column of one side, the other side's column that is the same one in the ancestor.
fn across(one: &Present, other: &Present) -> Vec<Option<usize>> {
    let (Some(one), Some(other)) = (&one.columns, &other.columns) else { return vec![None; one.table.columns.len()] };
    one.iter().map(|base| base.and_then(|base| other.iter().position(|known| *known == Some(base)))).collect()
}

fn conflict(line: &Line, reason: String, prefer: Prefer) -> SchemaConflict {
    let sql = |present: &Option<Present>| present.as_ref().map(|present| present.table.sql.clone());
    SchemaConflict {
        kind: "table".into(),
        name: line.name().to_owned(),
        reason,
        base: line.base.as_ref().map(|table| table.sql.clone()),
        ours: sql(&line.ours),
        theirs: sql(&line.theirs),
        can_be_settled: true,
        settled: prefer != Prefer::Neither,
    }
}

/// A table that both sides changed in ways that do not go together becomes what it is on the side that is preferred. Where
/// it is one table still that is its shape, and its rows are merged as ever; otherwise it is the table with its rows.
fn settle(line: &Line, prefer: Prefer) -> Decision {
    let decision = match (prefer, &line.ours, &line.theirs) {
        (Prefer::Theirs, Some(ours), Some(theirs)) if same_rows(line) => {
            let merged = their_shape(ours, theirs);
            // What was in a column that was dropped here, their rows alone can tell.
            let lost = |(n, base): (usize, &Option<usize>)| base.is_some() && merged.from_ours[n].is_none();
            match theirs.columns.iter().flatten().enumerate().any(lost) {
                true => Decision::theirs_and_ours(line, merged),
                false => Decision::both(merged, true),
            }
        }
        (Prefer::Theirs, ..) => Decision::theirs(line, RowsFrom::Theirs),
        (_, Some(ours), Some(theirs)) if same_rows(line) => Decision::both(kept_shape(ours, theirs), false),
        _ => Decision::ours(line),
    };
    Decision { settled: true, ..decision }
}

/// Shadow tables share the fate of their virtual table where that was made, dropped or settled.
fn shadows(lines: &[Line], decisions: &mut [Decision]) {
    let mut owners: HashMap<String, Decision> = HashMap::new();
    for (line, decision) in lines.iter().zip(&*decisions) {
        if line.is_virtual() && (decision.drop || decision.make || decision.settled) {
            owners.extend(line.called().map(|name| (name, decision.clone())));
        }
    }
    for (line, decision) in lines.iter().zip(decisions) {
        let Some(owner) = line.owner().and_then(|owner| owners.get(&owner)) else { continue };
        *decision = if owner.drop || owner.make {
            let drop = owner.drop && line.ours.is_some();
            Decision { drop, settled: owner.settled, ..Decision::theirs(line, owner.rows) }
        } else {
            Decision { settled: true, ..Decision::ours(line) }
        };
    }
}
