//! What a pair of databases is made with.

use maniac_sql_tests::dice::Dice;

#[derive(Debug, Clone)]
pub struct Settings {
    pub page_size: u32,
    pub encoding: &'static str,
    pub auto_vacuum: &'static str,
    /// Pages; a tiny cache writes to the file in the middle of a transaction.
    pub cache_size: i64,
    pub connections: usize,
    /// A second database beside the first in each connection: transactions over two files.
    pub attached: bool,
    pub foreign_keys: bool,
    pub secure_delete: bool,
}

fn pick<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    from[dice.below(from.len() as u64) as usize]
}

impl Settings {
    pub fn random(dice: &mut Dice) -> Settings {
        Settings {
            page_size: pick(dice, &[512, 1024, 2048, 4096, 4096, 8192, 16384, 32768, 65536]),
            encoding: pick(dice, &["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]),
            auto_vacuum: pick(dice, &["NONE", "NONE", "FULL", "INCREMENTAL"]),
            cache_size: pick(dice, &[1, 5, 10, 30, 200, -2000]),
            connections: pick(dice, &[1, 1, 2, 3]),
            attached: dice.below(3) == 0,
            foreign_keys: dice.below(2) == 0,
            secure_delete: dice.below(2) == 0,
        }
    }

    /// What the first connection runs before there is a database.
    pub fn creating(&self, schema: &str) -> String {
        format!("PRAGMA {schema}.page_size = {}; PRAGMA {schema}.auto_vacuum = {};", self.page_size, self.auto_vacuum)
    }

    /// What each connection runs.
    pub fn connecting(&self) -> String {
        format!(
            "PRAGMA cache_size = {}; PRAGMA foreign_keys = {}; PRAGMA secure_delete = {}; PRAGMA synchronous = OFF;",
            self.cache_size,
            u8::from(self.foreign_keys),
            u8::from(self.secure_delete)
        )
    }
}
