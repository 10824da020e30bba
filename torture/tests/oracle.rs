//! Long random sequences of statements give the same answers on a plain file and on a store.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are, `MANIAC_STEPS` how long each is.

use maniac_torture::oracle::run_case;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable}: {value}")))
}

#[test]
fn a_store_answers_as_a_plain_file_does() {
    let (first, cases, steps) = (number("MANIAC_SEED", 1), number("MANIAC_CASES", 40), number("MANIAC_STEPS", 250));
    println!("oracle: MANIAC_SEED={first} MANIAC_CASES={cases} MANIAC_STEPS={steps}");
    let (mut done, mut errors) = (0, 0);
    for seed in first..first + cases {
        match run_case(seed, steps) {
            Ok(tally) => (done, errors) = (done + tally.steps, errors + tally.errors),
            Err(difference) => panic!("{difference}"),
        }
    }
    println!("{done} steps, {errors} of them with errors");
    assert!(errors > 0 && errors < done / 2, "a run that is all errors, or has none, shows little");
}
