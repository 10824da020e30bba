//! What a merge does to the header and to the counters of AUTOINCREMENT.

use maniac_history::MergePlan;
use rusqlite::Connection;

use super::conflict::Policy;

/// When all rows are in place.
pub fn finish(db: &Connection, plan: &MergePlan, policy: Policy) -> rusqlite::Result<()> {
    let contested = if policy == Policy::Replace { &plan.contested_numbers[..] } else { &[] };
    for (name, number) in plan.numbers.iter().chain(contested) {
        db.execute_batch(&format!("PRAGMA main.{name} = {number}"))?;
    }
    for (table, least) in &plan.counters {
        let known = "UPDATE main.sqlite_sequence SET seq = max(ifnull(seq, 0), ?2) WHERE name = ?1";
        if db.execute(known, (table, least))? == 0 {
            db.execute("INSERT INTO main.sqlite_sequence(name, seq) VALUES (?1, ?2)", (table, least))?;
        }
    }
    Ok(())
}
