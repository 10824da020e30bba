//! The machine stops while writers are at work: of what no fsync has covered, some is lost. Every transaction that was
//! acknowledged with `synchronous=FULL` is there, on all its branches; no transaction is there in part; and the store
//! opens, and takes new ones.
//!
//! `MANIAC_ROUNDS` sets the number of rounds.

use std::path::Path;
use std::time::Duration;

use maniac_sql_tests::dice::Dice;
use maniac_torture::crash::{Acknowledged, Round, check_all};
use maniac_torture::engine::scratch;
use maniac_torture::faults::Faults;
use maniac_torture::ledger::prepare;
use maniac_torture::machine_stop::stop;

const ROUNDS_PER_STORE: u64 = 6;

fn rounds() -> u64 {
    std::env::var("MANIAC_ROUNDS").map_or(30, |rounds| rounds.parse().expect("MANIAC_ROUNDS is a number"))
}

/// Rounds with one level of durability; gives what was acknowledged and what was lost.
fn stop_again_and_again(synchronous: &str, seed: u64) -> (usize, usize) {
    let mut dice = Dice::new("lost_writes", seed);
    let (mut begun, mut in_all, mut lost) = (0, 0, 0);
    while begun < rounds() {
        let directory = scratch();
        let store = directory.path().join("bank.maniac");
        prepare(&store).unwrap();
        let mut acknowledged = Acknowledged::new();
        for _ in 0..ROUNDS_PER_STORE.min(rounds() - begun) {
            let faults = Faults::new(directory.path(), "bank.maniac").taking_notes(directory.path());
            let round = Round {
                store: &store,
                number: begun as i64,
                wrapper: &faults.wrapper(),
                synchronous,
                large: 12,
                longest: Duration::from_millis(300),
            };
            let now = round.run(&mut dice);
            in_all += now.len();
            lost += stop(&store, faults.notes(), &mut dice).lost;
            std::fs::remove_file(faults.notes()).unwrap();
            if synchronous == "FULL" {
                acknowledged.extend(now);
            }
            check_all(&store, &acknowledged, &format!("round {begun}, {synchronous}"));
            nothing_is_left_over(&store);
            begun += 1;
        }
    }
    println!("{begun} rounds with {synchronous}: {in_all} transactions acknowledged, {lost} pieces lost");
    (in_all, lost)
}

/// What a large transaction had begun to write into a segment of its own is gone.
fn nothing_is_left_over(store: &Path) {
    for file in std::fs::read_dir(store.join("log")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".wals"), "{name} was left over");
    }
}

#[test]
fn what_was_acknowledged_with_full_survives_the_machine() {
    let (acknowledged, lost) = stop_again_and_again("FULL", 11);
    assert!(acknowledged > 0 && lost > 0, "a machine that loses nothing proves nothing");
}

#[test]
fn with_normal_and_off_what_is_left_is_whole() {
    for (synchronous, seed) in [("NORMAL", 12), ("OFF", 13)] {
        let (_, lost) = stop_again_and_again(synchronous, seed);
        assert!(lost > 0, "a machine that loses nothing proves nothing");
    }
}
