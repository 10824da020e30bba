//! Random histories. A failure names its seed; `MANIAC_SEED=n cargo test --test random` runs that one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use maniac_oracle::history::History;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn run(seed: u64, steps: u64) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut history = History::new(seed, directory.path());
        (0..steps).for_each(|_| history.step());
        history.changes
    }));
    outcome.unwrap_or_else(|_| panic!("seed {seed} failed: MANIAC_SEED={seed} runs it alone"))
}

#[test]
fn what_is_captured_is_what_sqlite_says() {
    let steps = number("MANIAC_STEPS").unwrap_or(30);
    let seeds = match number("MANIAC_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("MANIAC_FIRST_SEED").unwrap_or(1);
            first..first + number("MANIAC_SEEDS").unwrap_or(100)
        }
    };
    println!("seeds {seeds:?}, {steps} transactions each");
    let changes: usize = seeds.map(|seed| run(seed, steps)).sum();
    println!("{changes} changes");
    assert!(changes > 0);
}
