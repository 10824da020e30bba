//! `maniac_apply` against SQLite's own `sqlite3changeset_apply`: the same changeset on the same database, which has mostly
//! gone another way since, with the same policy. The same conflicts, and the same rows afterwards.
//!
//! Where a constraint refuses a row the two differ on purpose (`docs/merges.md`): Maniac makes changes that need each other
//! together, and its `replace` removes what stands in the way. Then only the all-or-nothing and the integrity are compared.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are.

use std::path::{Path, PathBuf};

use maniac_oracle::dump;
use maniac_oracle::rng::Rng;
use maniac_oracle::session::{self, CONSTRAINT, DATA, EXISTS, NOT_FOUND, Policy, Session};
use rusqlite::{Connection, params};

const SCHEMA: &str = "
    CREATE TABLE a(k INTEGER PRIMARY KEY, u UNIQUE, v REAL CHECK (v < 4), w DEFAULT 'given');
    CREATE TABLE b(k TEXT NOT NULL PRIMARY KEY, u, g AS (v || 'x') STORED, v NOT NULL, w);
    CREATE TABLE c(v, w, u, k, PRIMARY KEY (k, u)) WITHOUT ROWID;
    CREATE TABLE d(u, v, w);
    CREATE TABLE e(k INTEGER PRIMARY KEY, u INTEGER, v TEXT, w ANY) STRICT;";

/// Loads the extension into this process's SQLite, which has the session extension, too.
fn load() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("dist");
    let extension = std::env::var_os("MANIAC_DIST").map_or(default, PathBuf::from).join("maniac");
    let loader = Connection::open_in_memory().unwrap();
    // SAFETY: the extension is ours, built from this checkout.
    unsafe {
        loader.load_extension_enable().unwrap();
        loader.load_extension(extension, None::<&str>).expect("`make build` comes first");
    }
}

/// One statement on a random table; keys and values come from a few, so that they meet.
fn change(rng: &mut Rng, db: &Connection) {
    let key = rng.below(9).to_string();
    let value = |rng: &mut Rng| match rng.below(8) {
        0 => "NULL".to_string(),
        1 => "'a'".to_string(),
        2 => "'word'".to_string(),
        3 => "x'00ff'".to_string(),
        4 => "0.5".to_string(),
        n => (n - 4).to_string(),
    };
    let table = rng.pick(&["a", "b", "c", "d", "e"]);
    let (u, v, w) = (value(rng), value(rng), value(rng));
    let at = if table == "d" { "_rowid_" } else { "k" };
    let or = rng.pick(&["IGNORE", "IGNORE", "REPLACE"]);
    let sql = match rng.below(7) {
        0..=2 => format!("INSERT OR {or} INTO {table}({at}, u, v, w) VALUES ({key}, {u}, {v}, {w})"),
        3 => format!("UPDATE OR {or} {table} SET v = {v}, w = {w} WHERE {at} = {key}"),
        4 => format!("UPDATE OR {or} {table} SET u = {u} WHERE {at} = {key}"),
        5 => format!("UPDATE OR IGNORE {table} SET {at} = {key} WHERE {at} = {}", rng.below(9)),
        _ => format!("DELETE FROM {table} WHERE {at} = {key}"),
    };
    // STRICT refuses some.
    let _ = db.execute(&sql, ());
}

fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY").unwrap();
    db
}

/// The rows; rowids only where they are the key.
fn content(db: &Connection) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    dump::database(db).into_iter().map(|(name, table)| (name, table.content())).collect()
}

#[derive(Default, Debug)]
struct Counts {
    clean: u32,
    with_conflicts: u32,
    refused: u32,
    by_constraints: u32,
}

fn run(seed: u64, counts: &mut Counts) {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    let mut rng = Rng::new(seed);
    let db = open(&source);
    db.execute_batch(SCHEMA).unwrap();
    for _ in 0..30 {
        change(&mut rng, &db);
    }
    std::fs::copy(&source, &target).unwrap();
    let session = Session::start(&db);
    for _ in 0..1 + rng.below(30) {
        change(&mut rng, &db);
    }
    let changeset = session.changeset();
    drop(session);
    let stock = open(&target);
    if rng.chance(70) {
        for _ in 0..1 + rng.below(30) {
            change(&mut rng, &stock);
        }
    }
    let policy = [Policy::Omit, Policy::Replace, Policy::Abort][rng.below(3)];

    let store = directory.path().join("target.maniac");
    let ours = Connection::open(format!("file:{}?vfs=maniac", store.display())).unwrap();
    ours.pragma_update(None, "synchronous", "OFF").unwrap();
    let imported = ours.query_row("SELECT maniac_import(?1)", [target.to_str()], |row| row.get::<_, i64>(0));
    imported.unwrap();
    let before = content(&stock);
    assert_eq!(content(&ours), before, "what was imported");

    let (code, mut expected) = session::apply_with(&stock, &changeset, policy);
    let name = format!("{policy:?}").to_lowercase();
    let applied = ours.query_row("SELECT maniac_apply(?1, ?2)", params![changeset, name], |row| row.get::<_, i64>(0));
    let kinds = "SELECT kind FROM maniac_conflicts";
    let mut met: Vec<i32> = ours
        .prepare(kinds)
        .unwrap()
        .query_map((), |row| row.get::<_, String>(0))
        .unwrap()
        .map(|kind| match kind.unwrap().as_str() {
            "data" => DATA,
            "not found" => NOT_FOUND,
            "exists" => EXISTS,
            "constraint" => CONSTRAINT,
            other => panic!("{other}"),
        })
        .collect();
    let integrity: String = ours.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    if applied.is_err() {
        assert_eq!(content(&ours), before, "{applied:?}");
    }
    if expected.contains(&CONSTRAINT) || met.contains(&CONSTRAINT) {
        counts.by_constraints += 1;
        return;
    }
    if policy == Policy::Abort {
        // SQLite stops at the first, Maniac lists them all.
        assert_eq!(expected.is_empty(), met.is_empty(), "{expected:?}, {met:?}");
        assert_eq!(code != 0, applied.is_err(), "{code}, {applied:?}");
        counts.refused += u32::from(applied.is_err());
    } else {
        expected.sort_unstable();
        met.sort_unstable();
        assert_eq!(met, expected, "conflicts with {policy:?}");
        assert!(code == 0 && applied.is_ok(), "{code}, {applied:?}");
        counts.with_conflicts += u32::from(!met.is_empty());
    }
    counts.clean += u32::from(met.is_empty());
    assert_eq!(content(&ours), content(&stock), "the rows, with {policy:?}");
}

#[test]
fn what_is_applied_is_what_sqlite_makes_of_it() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let (first, cases) = (number("MANIAC_SEED").unwrap_or(1), number("MANIAC_CASES").unwrap_or(200));
    println!("apply: MANIAC_SEED={first} MANIAC_CASES={cases}");
    load();
    let mut counts = Counts::default();
    for seed in first..first + cases {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut counted = Counts::default();
            run(seed, &mut counted);
            counted
        }));
        let Ok(one) = outcome else { panic!("MANIAC_SEED={seed} MANIAC_CASES=1 runs this one alone") };
        counts.clean += one.clean;
        counts.with_conflicts += one.with_conflicts;
        counts.refused += one.refused;
        counts.by_constraints += one.by_constraints;
    }
    println!("{counts:?}");
    let compared = counts.clean.min(counts.with_conflicts).min(counts.refused);
    assert!(compared > 0 || cases < 100, "cases of each kind");
}
