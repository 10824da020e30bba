//! What became of values. Each text that a world writes says which column, row and branch it is of:
//! `c:r1:base`. So the values of both sides tell what must be there after a merge.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::state::{rows, tables};

/// Who wins where both sides changed the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    Neither,
    Left,
    Right,
}

/// Values by their text.
#[derive(Clone, Debug, Default)]
pub struct Values(BTreeSet<String>);

fn part(value: &str, n: usize) -> &str {
    value.split(':').nth(n).unwrap_or_default()
}

impl Values {
    pub fn read(db: &Connection) -> Values {
        let mut values = BTreeSet::new();
        for (table, _) in tables(db) {
            let cells = rows(db, &table).unwrap().into_iter().flatten().map(|(_, value)| value);
            values.extend(cells.filter(|cell| cell.split(':').count() == 3 && !cell.ends_with('!')));
        }
        Values(values)
    }

    fn has_column(&self, of: &str) -> bool {
        self.0.iter().any(|value| part(value, 0) == part(of, 0))
    }

    /// The values of the row that this one is in.
    fn row<'v>(&'v self, of: &str) -> BTreeSet<&'v str> {
        self.0.iter().filter(|value| part(value, 1) == part(of, 1)).map(String::as_str).collect()
    }
}

/// One side of a merge.
pub struct Side<'m> {
    pub values: &'m Values,
    /// It has made a table anew, or dropped it.
    pub replaces: bool,
}

/// What is missing of the values that one side added and the other did not touch, and what is back
/// although one side removed it.
pub fn faults(base: &Values, left: &Side<'_>, right: &Side<'_>, winner: Winner, merged: &Values) -> Vec<String> {
    let mut faults = Vec::new();
    for (side, other, wins) in [(left, right, winner == Winner::Left), (right, left, winner == Winner::Right)] {
        let settled = winner != Winner::Neither && !wins;
        let replaced = left.replaces || right.replaces;
        for value in side.values.0.difference(&base.0).filter(|value| !merged.0.contains(*value)) {
            let touched = base.row(value) != other.values.row(value);
            let dropped = base.has_column(value) && !other.values.has_column(value);
            // A column that both sides added, each in its own way, is the winner's.
            let new_column = !base.has_column(value) && !base.row(value).is_empty();
            // What was written to a column that the other side dropped goes with it.
            if !dropped && !(settled && (touched || replaced || new_column)) {
                faults.push(format!("lost: {value}"));
            }
        }
        for value in base.0.difference(&side.values.0).filter(|value| merged.0.contains(*value)) {
            let touched = base.row(value) != other.values.row(value);
            let dropped = base.has_column(value) && !side.values.has_column(value);
            if !(settled && (touched || dropped || replaced)) {
                faults.push(format!("back: {value}"));
            }
        }
    }
    let kept = |value: &&String| left.values.0.contains(*value) && right.values.0.contains(*value);
    faults.extend(
        base.0.iter().filter(kept).filter(|value| !merged.0.contains(*value)).map(|value| format!("gone: {value}")),
    );
    let unknown = |value: &&String| !left.values.0.contains(*value) && !right.values.0.contains(*value);
    faults.extend(merged.0.iter().filter(unknown).map(|value| format!("from nowhere: {value}")));
    faults
}
