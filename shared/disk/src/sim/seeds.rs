//! Cases by their seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a case for each seed, and gives what each gave. `MANIAC_SEED` sets the first one, `MANIAC_CASES` how many there are.
/// A failure prints its seed.
pub fn each_seed(name: &str, cases: u64, case: impl Fn(u64) -> u64) -> Vec<u64> {
    let (first, cases) = (number("MANIAC_SEED", 1), number("MANIAC_CASES", cases));
    println!("{name}: MANIAC_SEED={first} MANIAC_CASES={cases}");
    let run = |seed| {
        catch_unwind(AssertUnwindSafe(|| case(seed))).unwrap_or_else(|panic| {
            eprintln!("{name}: failed with MANIAC_SEED={seed} MANIAC_CASES=1");
            resume_unwind(panic)
        })
    };
    (first..first + cases).map(run).collect()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable}: {value}")))
}
