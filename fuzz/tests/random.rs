//! The fuzz targets with seeded random inputs, so that any toolchain exercises them.
//!
//! `MANIAC_SEED` sets the seed, `MANIAC_INPUTS` the number of inputs of each target. Before each input its seed is kept in
//! mind; a failure prints it.

use std::panic::{AssertUnwindSafe, catch_unwind};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable}: {value}")))
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Mostly few edits: many of them leave nothing valid behind which something could go wrong.
fn input(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let length = match next(&mut state) % 4 {
        0 => next(&mut state) % 400,
        _ => next(&mut state) % 30,
    };
    (0..length).map(|_| next(&mut state) as u8).collect()
}

fn try_many(name: &str, inputs: u64, target: impl Fn(&[u8])) {
    let (first, inputs) = (number("MANIAC_SEED", 1), number("MANIAC_INPUTS", inputs));
    println!("{name}: MANIAC_SEED={first} MANIAC_INPUTS={inputs}");
    for seed in first..first + inputs {
        let input = input(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            eprintln!("{name}: failed with MANIAC_SEED={seed}, on {input:02x?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn logs() {
    try_many("log", 1_500, maniac_fuzz::log);
}

#[test]
fn packs() {
    try_many("pack", 1_000, maniac_fuzz::pack);
}

#[test]
fn databases() {
    try_many("database", 4_000, maniac_fuzz::database);
}

#[test]
fn records() {
    try_many("record", 100_000, maniac_fuzz::record);
}

#[test]
fn changesets() {
    try_many("changeset", 50_000, maniac_fuzz::changeset);
}

#[test]
fn changesets_that_are_applied() {
    try_many("apply", 2_000, maniac_fuzz::apply);
}
