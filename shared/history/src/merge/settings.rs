//! The three-way merge of counters and of the numbers in the header.

use maniac_sqlite_format::{Table, has_keyword};
use maniac_store::Snapshot;

use super::lines::{Line, Present};
use super::tables::Decision;
use super::{Contested, MergePlan};
use crate::HistoryError;
use crate::settings::{Settings, number, number_value};

pub struct Sides {
    base: Settings,
    ours: Settings,
    theirs: Settings,
}

impl Sides {
    pub fn read(base: &Snapshot, ours: &Snapshot, theirs: &Snapshot) -> Result<Sides, HistoryError> {
        Ok(Sides { base: Settings::read(base)?, ours: Settings::read(ours)?, theirs: Settings::read(theirs)? })
    }

    /// Whether the other side has changed any of it.
    pub fn changed_there(&self) -> bool {
        self.base != self.theirs
    }

    /// Numbers that one side changed are that side's.
    pub fn numbers(&self, plan: &mut MergePlan) {
        for (&name, &theirs) in &self.theirs.header {
            let number_of = |settings: &Settings| settings.header.get(name).copied().unwrap_or_default();
            let (base, ours) = (number_of(&self.base), number_of(&self.ours));
            if theirs == base || theirs == ours {
                continue;
            }
            if ours == base {
                plan.numbers.push((name, theirs));
            } else {
                plan.contested_numbers.push((name, theirs));
                let ours = Some(number_value(ours));
                plan.conflicts.push(Contested { theirs: number(name, base, theirs), ours });
            }
        }
    }

    /// A counter that one side changed is that side's. Where both did, the larger one is right for both: no key is given
    /// twice.
    pub fn counters(&self, lines: &[Line], decisions: &[Decision], plan: &mut MergePlan) {
        for (line, decision) in lines.iter().zip(decisions) {
            let Some(merged) =
                decision.merged.as_ref().filter(|merged| has_keyword(&merged.table.sql, "autoincrement"))
            else {
                continue;
            };
            let counter = |settings: &Settings, table: Option<&Table>| {
                table.and_then(|table| settings.sequences.get(&table.name).copied())
            };
            let of_side = |settings: &Settings, side: &Option<Present>| {
                counter(settings, side.as_ref().map(|present| &*present.table))
            };
            let base = counter(&self.base, line.base.as_deref());
            let (here, there) = (of_side(&self.ours, &line.ours), of_side(&self.theirs, &line.theirs));
            let merged_counter = match (here == base, there == base) {
                (_, true) => here,
                (true, false) => there,
                (false, false) => here.max(there),
            };
            plan.counters.push((merged.table.name.clone(), merged_counter));
        }
    }
}
