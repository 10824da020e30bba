//! A mirror is killed again and again while transactions that change two tables stream in. No query ever sees one half
//! of a transaction, and what was attached again ends equal to the source: nothing twice, nothing missing. Others are killed
//! while they apply a batch of changes of the schema, or a transaction of very many rows, and show one version afterwards.
//!
//! `MANIAC_ROUNDS` makes the loops longer, `MANIAC_ROWS` the large transactions larger.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const STORE: &str = "file:shop.maniac?vfs=maniac";
const ACCOUNTS: u64 = 400;
const EACH: u64 = 1000;

fn rounds(default: u64) -> u64 {
    number("MANIAC_ROUNDS", default)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn open(tools: &Tools, directory: &Path) -> Session {
    let mut session = Session::new(Kind::Sqlite, tools, directory);
    session.open(STORE).unwrap();
    session
}

/// Money moves between two tables, and every move is noted in a third: the sum over the first two never changes, and
/// the newest note says how many there are.
fn transfer(dice: &mut Dice) -> String {
    let (from, to, amount) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS), dice.below(50));
    format!(
        "BEGIN; UPDATE cash SET amount = amount - {amount} WHERE id = {from}; \
         UPDATE bank SET amount = amount + {amount}, note = 'from {from}' WHERE owner = 'owner {to}'; \
         INSERT INTO moves SELECT {from}, {amount}, ifnull(max(rowid), 0) + 1 FROM moves; COMMIT;"
    )
}

/// Ends the stream however the test ends: a scope waits for its threads also when it fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn invariant(schema: &str) -> String {
    format!(
        "SELECT (SELECT sum(amount) FROM {schema}.cash) + (SELECT sum(amount) FROM {schema}.bank) = {}, \
         (SELECT count(*) = ifnull(max(number), 0) AND count(DISTINCT number) = count(*) FROM {schema}.moves)",
        2 * ACCOUNTS * EACH
    )
}

fn stream_and_kill(test: &str, schema: &str, lake: bool, options: &str, rounds: u64) {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&tools, directory.path());
    writer
        .run(&format!(
            "PRAGMA synchronous = NORMAL; \
             CREATE TABLE cash(id INTEGER PRIMARY KEY, amount INTEGER, filler TEXT); \
             CREATE TABLE bank(owner TEXT PRIMARY KEY, amount INTEGER, note TEXT); \
             CREATE TABLE moves(account INTEGER, amount INTEGER, number INTEGER); \
             INSERT INTO cash WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS} - 1) \
               SELECT i, {EACH}, hex(randomblob(20)) FROM n; \
             INSERT INTO bank SELECT 'owner ' || id, {EACH}, NULL FROM cash;"
        ))
        .unwrap();

    let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut dice = Dice::new(test, 20_260_202);
    let mut writers_dice = Dice::seeded(dice.below(u64::MAX));
    let mut queries = 0;
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let batch: String = (0..20).map(|_| transfer(&mut writers_dice)).collect();
                writer.run(&batch).unwrap();
                committed.fetch_add(20, Ordering::AcqRel);
            }
        });
        let ended = Stop(&stop);
        let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
        duckdb.open("olap.db").unwrap();
        let attach = attach(&tools, lake, options);
        for round in 0..=rounds {
            duckdb.run(&attach).unwrap_or_else(|error| panic!("round {round}: {error}"));
            let until = Instant::now() + Duration::from_millis(200 + dice.below(600));
            while Instant::now() < until {
                let rows = duckdb.run(&invariant(schema)).unwrap();
                let [row] = rows.as_slice() else { panic!("one row: {rows:?}") };
                assert!(row.iter().all(|value| *value == Value::Boolean(true)), "round {round}: {row:?}");
                queries += 1;
            }
            if round < rounds {
                duckdb.kill().unwrap();
            }
        }
        drop(ended);
        stream.join().unwrap();
        duckdb.run("CALL maniac_wait('shop')").unwrap();
        let mut reader = open(&tools, directory.path());
        assert_eq!(compare::all(&mut reader, &mut duckdb, schema).unwrap(), 3);
        let repaired = duckdb.run("SELECT repaired_tables, errors FROM maniac_status()").unwrap();
        assert_eq!(repaired, [[Value::Integer("0".into()), Value::Integer("0".into())]], "repaired tables, errors");
        duckdb.exit().unwrap();
    });
    println!("{} commits, {rounds} kills, {queries} queries", committed.into_inner());
    assert!(queries > rounds, "the invariant was looked at in every round");
}

fn attach(tools: &Tools, lake: bool, options: &str) -> String {
    match lake {
        false => format!("CALL maniac_attach('shop.maniac'{options})"),
        true => format!("{}; CALL maniac_attach('shop.maniac', lake := 'lake'{options})", attach_lake(tools)),
    }
}

fn attach_lake(tools: &Tools) -> String {
    let ducklake = tools.ducklake.display();
    format!("LOAD '{ducklake}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')")
}

#[test]
fn a_native_mirror_shows_whole_transactions_through_kills() {
    stream_and_kill("native_kills", "shop", false, ", mode := 'streaming'", rounds(6));
}

#[test]
fn a_native_mirror_in_micro_batches_does_too() {
    stream_and_kill("batch_kills", "shop", false, ", batch_timeout_ms := 20", rounds(2));
}

#[test]
fn a_lake_shows_whole_transactions_through_kills() {
    stream_and_kill("lake_kills", "lake.shop", true, ", mode := 'streaming'", rounds(5));
}

/// A transaction of a round: a new table with a row, or a change of one that is there.
fn change_schema(dice: &mut Dice, round: u64, n: u64) -> String {
    let (table, other) = (format!("t_{round}_{n}"), format!("t_{round}_{}", dice.below(n.max(1))));
    match dice.below(12) {
        0 => format!("ALTER TABLE {other} ADD COLUMN more_{n} INTEGER DEFAULT {n};"),
        1 => format!("BEGIN; UPDATE {other} SET v = 'changed'; ALTER TABLE {other} RENAME COLUMN v TO v_{n}; COMMIT;"),
        2 => format!(
            "BEGIN; DROP TABLE {other}; CREATE TABLE {other}(k TEXT, v TEXT); INSERT INTO {other} VALUES (1, 2); COMMIT;"
        ),
        3 => format!("ALTER TABLE {other} RENAME TO {table};"),
        _ => format!(
            "BEGIN; CREATE TABLE {table}(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO {table} VALUES ({n}, 'row'); COMMIT;"
        ),
    }
}

/// The mirror shows the tables and rows of one version, whatever it was doing when it was killed.
fn assert_whole(tools: &Tools, directory: &Path, duckdb: &mut Session, schema: &str) -> u64 {
    let shown = duckdb.run("SELECT applied_version FROM maniac_status()").unwrap();
    let [[Value::Integer(version)]] = shown.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] else {
        panic!("one version: {shown:?}")
    };
    let mut then = Session::new(Kind::Sqlite, tools, directory);
    then.open(&format!("{STORE}&at={version}")).unwrap();
    compare::all(&mut then, duckdb, schema).unwrap_or_else(|error| panic!("at version {version}: {error}"));
    version.parse().unwrap()
}

fn change_schema_and_kill(test: &str, schema: &str, lake: bool, longest_ms: u64, rounds: u64) {
    const TRANSACTIONS: u64 = 60;
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(&tools, directory.path());
    writer.run("PRAGMA synchronous = NORMAL; CREATE TABLE first(id INTEGER PRIMARY KEY)").unwrap();
    let mut dice = Dice::new(test, 20_261_130);
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db").unwrap();
    let attach = attach(&tools, lake, "");
    duckdb.run(&attach).unwrap();
    let mut under_way = 0;
    for round in 0..rounds {
        duckdb.run("CALL maniac_pause('shop')").unwrap();
        let before = assert_whole(&tools, directory.path(), &mut duckdb, schema);
        // SQLite refuses those whose table is gone.
        for n in 0..TRANSACTIONS {
            if let Err(error) = writer.run(&change_schema(&mut dice, round, n)) {
                assert!(error.to_string().contains("no such"), "{error}");
                drop(writer.run("ROLLBACK"));
            }
        }
        duckdb.run("CALL maniac_resume('shop')").unwrap();
        std::thread::sleep(Duration::from_millis(dice.below(longest_ms)));
        duckdb.kill().unwrap();
        duckdb.run(&format!("{attach}; CALL maniac_pause('shop')")).unwrap_or_else(|e| panic!("round {round}: {e}"));
        under_way += u64::from(assert_whole(&tools, directory.path(), &mut duckdb, schema) > before);
        duckdb.run("CALL maniac_resume('shop'); CALL maniac_wait('shop')").unwrap();
    }
    compare::all(&mut writer, &mut duckdb, schema).unwrap();
    let repaired = duckdb.run("SELECT repaired_tables, errors FROM maniac_status()").unwrap();
    assert_eq!(repaired, [[Value::Integer("0".into()), Value::Integer("0".into())]], "repaired tables, errors");
    println!("{rounds} kills, {under_way} mirrors that had moved by the first look");
    duckdb.exit().unwrap();
}

#[test]
fn a_native_mirror_is_killed_in_batches_of_schema_changes() {
    change_schema_and_kill("native_schema_kills", "shop", false, 200, rounds(6));
}

#[test]
fn a_mirror_in_a_lake_is_killed_in_batches_of_schema_changes() {
    change_schema_and_kill("lake_schema_kills", "lake.shop", true, 800, rounds(4));
}

/// Changes of very many rows, which leave none.
const LARGE: [&str; 5] = [
    "UPDATE big SET n = n + id % 7, v = v || '!'",
    "DELETE FROM big WHERE id % 2 = 0",
    "UPDATE big SET n = n - 1 WHERE id % 3 = 0; DELETE FROM big WHERE id % 5 = 0",
    "INSERT INTO big(n, v) SELECT n, v || ' again' FROM big",
    "DELETE FROM big",
];

/// What one version of the tables has and hardly any other.
fn sums(session: &mut Session, prefix: &str) -> Vec<Vec<Value>> {
    let sql = format!(
        "SELECT (SELECT n FROM {prefix}beside), count(*), sum(id), sum(n), sum(id * n % 1000003), sum(id * length(v) % 1000003), \
         min(v), max(v) FROM {prefix}big"
    );
    session.run(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The version whose tables are there while no mirror is attached.
fn left(duckdb: &mut Session, tools: &Tools, lake: bool) -> String {
    let sql = match lake {
        false => "SELECT version FROM shop._maniac_state".to_string(),
        true => format!(
            "{}; SELECT max((TRY_CAST(commit_extra_info AS JSON)->>'version')::BIGINT) FROM lake.snapshots()",
            attach_lake(tools)
        ),
    };
    match duckdb.run(&sql).unwrap().as_slice() {
        [row] => row[0].to_string(),
        rows => panic!("one version: {rows:?}"),
    }
}

fn change_much_and_kill(test: &str, schema: &str, lake: bool, rounds: u64) {
    const KILLS: u64 = 2;
    let rows = number("MANIAC_ROWS", 100_000);
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(test, 20_261_201);
    let mut writer = open(&tools, directory.path());
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    for session in [&mut writer, &mut duckdb] {
        session.set_patience(Duration::from_secs(600));
    }
    writer
        .run(
            "PRAGMA synchronous = NORMAL; CREATE TABLE big(id INTEGER PRIMARY KEY, n INTEGER, v TEXT); \
             CREATE TABLE beside(n INTEGER); INSERT INTO beside VALUES (0)",
        )
        .unwrap();
    let fill = format!(
        "INSERT INTO big WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) \
         SELECT i, i % 100, 'row number ' || i FROM s"
    );
    let changes: Vec<&str> = LARGE.into_iter().chain([fill.as_str()]).collect();
    duckdb.open("olap.db").unwrap();
    duckdb.run(&attach(&tools, lake, "")).unwrap();
    writer.run(&fill).unwrap();
    let start = Instant::now();
    duckdb.run("CALL maniac_wait('shop')").unwrap();
    // About how long the mirror takes for a change.
    let taken = start.elapsed();
    let mut before_it_was_applied = 0;
    for change in (0..rounds).flat_map(|_| &changes) {
        writer.run(&format!("BEGIN; {change}; UPDATE beside SET n = n + 1; COMMIT")).unwrap();
        let head = writer.run("SELECT maniac_head()").unwrap()[0][0].to_string();
        for _ in 0..KILLS {
            std::thread::sleep(taken.mul_f64(dice.below(500) as f64 / 1000.0));
            duckdb.kill().unwrap();
            let version = left(&mut duckdb, &tools, lake);
            let mut then = Session::new(Kind::Sqlite, &tools, directory.path());
            then.open(&format!("{STORE}&at={version}")).unwrap();
            let expected = sums(&mut then, "");
            assert_eq!(sums(&mut duckdb, &format!("{schema}.")), expected, "{change}: at version {version} of {head}");
            before_it_was_applied += u64::from(version != head);
            duckdb.exit().unwrap();
            duckdb.run(&attach(&tools, lake, "")).unwrap();
        }
        duckdb.run("CALL maniac_wait('shop')").unwrap();
        assert_eq!(sums(&mut duckdb, &format!("{schema}.")), sums(&mut writer, ""), "{change}");
    }
    compare::all(&mut writer, &mut duckdb, schema).unwrap();
    let repaired = duckdb.run("SELECT repaired_tables, errors FROM maniac_status()").unwrap();
    assert_eq!(repaired, [[Value::Integer("0".into()), Value::Integer("0".into())]], "repaired tables, errors");
    let kills = rounds * changes.len() as u64 * KILLS;
    println!("{kills} kills in transactions of {rows} rows, {before_it_was_applied} of them before it was applied");
    duckdb.exit().unwrap();
}

#[test]
fn a_native_mirror_is_killed_in_large_transactions() {
    change_much_and_kill("native_large_kills", "shop", false, rounds(1));
}

#[test]
fn a_mirror_in_a_lake_is_killed_in_large_transactions() {
    change_much_and_kill("lake_large_kills", "lake.shop", true, rounds(1));
}
