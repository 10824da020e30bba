//! Writers on several branches and a reader are killed, again and again. Every acknowledged transaction is there, none in
//! part, and no reader has ever seen one in part.
//!
//! `MANIAC_ROUNDS` sets the number of rounds; `make torture` asks for a thousand.

use std::time::Duration;

use maniac_sql_tests::dice::Dice;
use maniac_torture::crash::{Acknowledged, Round, check_all};
use maniac_torture::engine::scratch;
use maniac_torture::ledger::prepare;

/// Rounds on one store, before the checks take too long.
const ROUNDS_PER_STORE: u64 = 10;

fn rounds() -> u64 {
    std::env::var("MANIAC_ROUNDS").map_or(50, |rounds| rounds.parse().expect("MANIAC_ROUNDS is a number"))
}

#[test]
fn acknowledged_commits_survive_on_every_branch() {
    let mut dice = Dice::new("crash", 7);
    let (mut begun, mut batches) = (0, 0);
    let mut acknowledged_in_all = 0;
    while begun < rounds() {
        let directory = scratch();
        let store = directory.path().join("bank.maniac");
        prepare(&store).unwrap();
        let mut acknowledged = Acknowledged::new();
        let mut found = 0;
        for _ in 0..ROUNDS_PER_STORE.min(rounds() - begun) {
            // What a killed process may lose does not depend on the level of durability: nothing.
            let round = Round {
                store: &store,
                number: begun as i64,
                wrapper: &[],
                synchronous: ["FULL", "NORMAL", "OFF"][dice.below(3) as usize],
                large: 60,
                longest: Duration::from_millis(180),
            };
            acknowledged.extend(round.run(&mut dice));
            if dice.below(6) == 0 {
                std::fs::remove_file(store.join("HEAD")).unwrap();
            }
            found = check_all(&store, &acknowledged, &format!("round {begun}"));
            begun += 1;
        }
        batches += found;
        acknowledged_in_all += acknowledged.len();
    }
    println!("{begun} rounds, {acknowledged_in_all} transactions acknowledged, {batches} found");
    assert!(acknowledged_in_all as u64 > begun, "writers that write");
}
