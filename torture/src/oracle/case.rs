//! One case: a pair of databases, and the steps that both take.

use std::fmt::Write;
use std::path::Path;

use maniac_sql_tests::dice::Dice;
use rusqlite::Connection;

use super::compare::{content, counters};
use super::settings::Settings;
use super::statements::Statements;
use super::step::Step;
use crate::answer::{Answer, run};
use crate::engine::{Engine, scratch};

/// Steps between two comparisons of everything.
const LOOK_EVERY: u64 = 40;

/// The same connection to both engines.
struct Pair {
    stock: Connection,
    maniac: Connection,
}

impl Pair {
    fn both<T>(&mut self, mut call: impl FnMut(&mut Connection) -> T) -> (T, T) {
        (call(&mut self.stock), call(&mut self.maniac))
    }
}

/// What a case did, for those who wonder whether it did anything.
#[derive(Debug, Default)]
pub struct Tally {
    pub steps: u64,
    pub errors: u64,
}

/// Runs so many steps. The message of a difference holds the last steps.
pub fn run_case(seed: u64, steps: u64) -> Result<Tally, String> {
    let mut dice = Dice::seeded(seed);
    let settings = Settings::random(&mut dice);
    let directory = scratch();
    let mut pairs = open(&settings, directory.path());
    let mut history: Vec<(usize, Step)> = Vec::new();
    let mut tally = Tally::default();
    let failed = |history: &[(usize, Step)], what: String| {
        let mut text = format!("seed {seed}, {settings:?}, step {}: {what}\nlast steps:\n", history.len());
        let from = history.len().saturating_sub(25);
        history[from..].iter().for_each(|(at, step)| writeln!(text, "  {at}: {step:?}").expect("text grows"));
        text
    };

    let mut beginning = Statements { dice: &mut dice, settings: &settings }.beginning().into_iter();
    let mut at = 0;
    for n in 0..steps {
        let step = match beginning.next() {
            Some(sql) => Step::Sql(sql),
            None => {
                // The same connection several times in a row: transactions are to get somewhere.
                if dice.below(4) == 0 {
                    at = dice.below(pairs.len() as u64) as usize;
                }
                Step::random(&mut dice, &settings)
            }
        };
        history.push((at, step.clone()));
        let (stock, maniac) = pairs[at].both(|connection| step.run(connection, &settings, directory.path()));
        tally.steps += 1;
        tally.errors += u64::from(stock.iter().any(Answer::is_error));
        same(&stock, &maniac).map_err(|what| failed(&history, what))?;
        let (stock, maniac) = pairs[at].both(|connection| counters(connection));
        same(&[stock], &[maniac]).map_err(|what| failed(&history, format!("counters: {what}")))?;
        if n % LOOK_EVERY == LOOK_EVERY - 1 {
            look(&mut pairs, &settings).map_err(|what| failed(&history, what))?;
        }
    }
    for pair in &mut pairs {
        let rollback = |connection: &mut Connection| run(connection, "ROLLBACK");
        pair.both(rollback);
    }
    drop(pairs);
    let mut pairs = open(&settings, directory.path());
    look(&mut pairs, &settings).map_err(|what| failed(&history, format!("after opening again: {what}")))?;
    let (_, maniac) = pairs[0].both(|connection| run(connection, "PRAGMA integrity_check"));
    let ok = Answer::Rows(vec![vec!["ok".to_string().into()]]);
    if maniac != ok {
        return Err(failed(&history, format!("integrity_check: {maniac:?}")));
    }
    Ok(tally)
}

fn open(settings: &Settings, directory: &Path) -> Vec<Pair> {
    let open = |engine: Engine| {
        let connection = engine.open(directory, "main").expect("the database opens");
        let mut sql = settings.connecting();
        // Set before anything is read, and without effect once there is a database.
        write!(sql, "PRAGMA encoding = '{}'; {}", settings.encoding, settings.creating("main")).expect("text grows");
        connection.execute_batch(&sql).expect("the settings");
        if settings.attached {
            let attach =
                format!("ATTACH '{}' AS other; {}", engine.uri(directory, "other"), settings.creating("other"));
            connection.execute_batch(&attach).expect("the attached database");
        }
        // Snapshots of a WAL file behave as a store's; a rollback journal lets nobody write while somebody reads.
        if settings.connections > 1 {
            let databases: &[&str] = if settings.attached { &["main", "other"] } else { &["main"] };
            for database in databases {
                let sql = format!("PRAGMA {database}.journal_mode = WAL");
                connection.query_row(&sql, (), |_| Ok(())).expect("WAL mode");
                // Switching to WAL has written a plain file's first page; a store's comes with its first transaction.
                let empty = format!("SELECT count(*) FROM {database}.sqlite_schema");
                if connection.query_row(&empty, (), |row| row.get::<_, i64>(0)).expect("a count") == 0 {
                    connection.execute_batch(&format!("PRAGMA {database}.user_version = 1")).expect("a first page");
                }
            }
        }
        connection.busy_timeout(std::time::Duration::ZERO).expect("no waiting");
        connection
    };
    (0..settings.connections).map(|_| Pair { stock: open(Engine::Stock), maniac: open(Engine::Maniac) }).collect()
}

/// Compares all that each connection sees.
fn look(pairs: &mut [Pair], settings: &Settings) -> Result<(), String> {
    let databases: &[&str] = if settings.attached { &["main", "other", "temp"] } else { &["main", "temp"] };
    for pair in pairs {
        for database in databases {
            let (stock, maniac) = pair.both(|connection| content(connection, database));
            same(&stock, &maniac).map_err(|what| format!("content of {database}: {what}"))?;
        }
    }
    Ok(())
}

fn same(stock: &[Answer], maniac: &[Answer]) -> Result<(), String> {
    match stock.iter().zip(maniac).find(|(stock, maniac)| stock != maniac) {
        Some((stock, maniac)) => Err(format!("\n  SQLite: {}\n  Maniac: {}", short(stock), short(maniac))),
        None if stock.len() != maniac.len() => Err(format!("\n  SQLite: {stock:.0?}\n  Maniac: {maniac:.0?}")),
        None => Ok(()),
    }
}

/// Long answers differ early enough.
fn short(answer: &Answer) -> String {
    let text = format!("{answer:?}");
    text.chars().take(1500).collect()
}
