//! Randomness that can be repeated: a test prints its seed, `MANIAC_SEED` takes one.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// From `MANIAC_SEED`, or from the given seed; says which, so that a failure can be run again.
    pub fn new(test: &str, seed: u64) -> Self {
        let seed = match std::env::var("MANIAC_SEED") {
            Ok(given) => given.parse().unwrap_or_else(|_| panic!("MANIAC_SEED is no number: {given}")),
            Err(_) => seed,
        };
        println!("{test}: MANIAC_SEED={seed}");
        Self::seeded(seed)
    }

    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Below `limit`, which is at least 1. The slight bias of the remainder doesn't matter here.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// True `percent` times of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}
