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
    for (table, counter) in &plan.counters {
        let Some(counter) = counter else {
            db.execute("DELETE FROM main.sqlite_sequence WHERE name = ?1", [table])?;
            continue;
        };
        let update = "UPDATE main.sqlite_sequence SET seq = ?2 WHERE name = ?1 AND seq IS NOT ?2";
        db.execute(update, (table, counter))?;
        let insert = "INSERT INTO main.sqlite_sequence(name, seq) SELECT ?1, ?2 \
                      WHERE NOT EXISTS (SELECT 1 FROM main.sqlite_sequence WHERE name = ?1)";
        db.execute(insert, (table, counter))?;
    }
    Ok(())
}
