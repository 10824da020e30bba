//! Random histories. A failure names its seed; `MANIAC_SEED=n cargo test --test random` runs that one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

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
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mine = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        mine.take_while(|seed| seeds.contains(seed)).map(|seed| run(seed, steps)).sum::<usize>()
    };
    let changes: usize = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("the message above names the seed")).sum()
    });
    println!("{changes} changes in {} transactions", (seeds.end - seeds.start) * steps);
    assert!(changes > 0);
}
