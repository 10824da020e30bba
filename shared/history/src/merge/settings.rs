//! The three-way merge of counters and of the numbers in the header.

use maniac_sqlite_format::has_keyword;
use maniac_store::Snapshot;

use super::tables::Decision;
use super::{Contested, Line, MergePlan};
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

    /// A key that either side has given is not given again: the larger counter is right for both.
    pub fn counters(&self, lines: &[Line], decisions: &[Decision], plan: &mut MergePlan) {
        for (line, decision) in lines.iter().zip(decisions) {
            let Some(merged) =
                decision.merged.as_ref().filter(|merged| has_keyword(&merged.table.sql, "autoincrement"))
            else {
                continue;
            };
            let counter = |settings: &Settings, side: &Option<super::lines::Present>| {
                side.as_ref().and_then(|side| settings.sequences.get(&side.table.name).copied())
            };
            let (here, there) = (counter(&self.ours, &line.ours), counter(&self.theirs, &line.theirs));
            let copied = decision.make || decision.drop;
            if let Some(largest) = here.max(there).filter(|largest| copied || Some(*largest) > here) {
                plan.counters.push((merged.table.name.clone(), largest));
            }
        }
    }
}
