//! The follower of a branch's stream, on stores that the real sqlite3 writes to.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_connection::{Database, Level, Local, Process, Target};
use maniac_history::{Follower, Stream};
use maniac_sql_tests::{Kind, Session, Tools};
use maniac_store::{OpenOptions, Store, Unreadable};

fn sqlite(directory: &Path, branch: &str) -> Session {
    let mut session = Session::new(Kind::Sqlite, &Tools::find(), directory);
    session.open(&format!("file:shop.maniac?vfs=maniac&branch={branch}")).unwrap();
    session
}

fn run(session: &mut Session, sql: &str) -> Vec<String> {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let line = |row: Vec<maniac_sql_tests::Value>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
    rows.into_iter().map(line).collect()
}

fn open(directory: &Path) -> Arc<Store> {
    Store::open(&directory.join("shop.maniac"), OpenOptions { create: false, ..OpenOptions::default() }).unwrap()
}

/// Everything that there is, as `maniac_changes` has it: version, op, table, key, old and new.
fn all(follower: &mut Follower) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((entry, rows)) = follower.poll().unwrap() {
        assert_eq!(follower.told(), entry.version);
        for Unreadable { table, reason, .. } in &entry.unreadable {
            let table = table.as_deref().unwrap_or("NULL");
            lines.push(format!("{}|UNREADABLE|{table}|NULL|NULL|{{\"reason\":\"{reason}\"}}", entry.version));
        }
        for row in rows {
            let row = row.unwrap();
            let side = |side: Option<String>| side.unwrap_or_else(|| "NULL".into());
            let [old, new] = [row.old, row.new].map(side);
            lines.push(format!("{}|{}|{}|{}|{old}|{new}", entry.version, row.op.name(), row.table, row.key));
        }
    }
    lines
}

/// Commits of every kind that a follower treats in its own way.
const STEPS: [&str; 14] = [
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE TABLE other(x REAL)",
    "INSERT INTO t VALUES (1, 'one'), (2, NULL); INSERT INTO other VALUES (1.5)",
    "SELECT maniac_branch_create('dev')",
    "UPDATE t SET b = 'uno' WHERE a = 1",
    "BEGIN; ALTER TABLE t RENAME COLUMN b TO name; UPDATE t SET name = 'eins' WHERE a = 1; COMMIT",
    "ALTER TABLE t RENAME TO u",
    "DELETE FROM u WHERE a = 2",
    "SELECT maniac_branch_rename('dev', 'old')",
    "INSERT INTO u WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 60) \
     SELECT i, printf('%5000d', i) FROM n",
    "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, ')', ', ((') WHERE name = 'other'",
    "INSERT INTO u VALUES (3, 'three')",
    "UPDATE sqlite_schema SET sql = replace(sql, ', ((', ')') WHERE name = 'other'; PRAGMA writable_schema = RESET",
    "SELECT maniac_branch_drop('old')",
    "DROP TABLE other",
];

#[test]
fn following_goes_on_from_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = sqlite(directory.path(), "main");
    run(&mut writer, "SELECT maniac_head()");
    let store = open(directory.path());
    let branch = store.branch("main").unwrap().id;
    let stream = Stream::new(&store, branch);
    let mut live = stream.follow(Version(0)).unwrap();
    let mut lines = Vec::new();
    let mut positions = vec![(Version(0), 0)];
    for step in STEPS {
        run(&mut writer, step);
        lines.extend(all(&mut live));
        positions.push((live.told(), lines.len()));
    }
    let sql = "SELECT version, op, coalesce(\"table\", 'NULL'), coalesce(key, 'NULL'), coalesce(old, 'NULL'), \
               coalesce(new, 'NULL') FROM maniac_changes";
    assert_eq!(lines, run(&mut writer, sql));
    assert!(lines.iter().any(|line| line.contains("UNREADABLE")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("{\"b\":\"one\"}|{\"b\":\"uno\"}")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("{\"name\":\"uno\"}|{\"name\":\"eins\"}")), "{lines:?}");
    for (position, delivered) in positions {
        // With the schemas that another follower has left, and without.
        for stream in [stream.clone(), Stream::new(&store, branch)] {
            assert_eq!(all(&mut stream.follow(position).unwrap()), lines[delivered..], "after version {position}");
        }
    }
    writer.exit().unwrap();
}

/// Writes a page without a look at what it says; gives what it said before.
fn put_page(store: &Arc<Store>, branch: BranchId, page: u64, bytes: &[u8]) -> Vec<u8> {
    let target = Target { branch, at: None, read_only: false };
    let mut database = Database::open(&Process::new(|_| ()), Arc::new(Local), store.clone(), target);
    database.lock(Level::Reserved, None).unwrap();
    let mut before = vec![0; bytes.len()];
    database.read(&mut before, page * PAGE as u64).unwrap();
    database.write(bytes, page * PAGE as u64).unwrap();
    // What every commit changes: the counter on the first page.
    let mut first = vec![0; bytes.len()];
    database.read(&mut first, 0).unwrap();
    first[27] = first[27].wrapping_add(1);
    database.write(&first, 0).unwrap();
    database.commit(None).unwrap();
    before
}

const PAGE: usize = 4096;

/// The page, counted from 0, that has a text.
fn page_with(store: &Arc<Store>, branch: BranchId, text: &str) -> u64 {
    let snapshot = store.snapshot(branch, store.branch_head(branch).unwrap()).unwrap();
    let pages = (1..=snapshot.page_count()).map(|no| (no, snapshot.page(PageNo(no)).unwrap().into_owned()));
    let mut found = pages.filter(|(_, bytes)| bytes.windows(text.len()).any(|part| part == text.as_bytes()));
    u64::from(found.next().expect("a page with the text").0) - 1
}

/// A leaf is damaged, and mended later, with commits of other leaves in between. Wherever a consumer began, it is told the
/// same from there on, and has the same rows in the end.
#[test]
fn a_damaged_leaf_is_passed_over_from_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = sqlite(directory.path(), "main");
    run(
        &mut writer,
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE u(a INTEGER PRIMARY KEY, b); \
         INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
         SELECT i, printf('needle %03d %99d', i, i) FROM n",
    );
    let store = open(directory.path());
    let branch = store.branch("main").unwrap().id;
    let stream = Stream::new(&store, branch);
    let mut live = stream.follow(Version(0)).unwrap();
    let (mut lines, mut positions) = (Vec::new(), Vec::new());
    let mut look = |lines: &mut Vec<String>| {
        lines.extend(all(&mut live));
        positions.push((live.told(), lines.len()));
    };
    look(&mut lines);
    run(&mut writer, "UPDATE t SET b = 'needle 200 before' WHERE a = 200");
    look(&mut lines);
    let page = page_with(&store, branch, "needle 200 before");
    let mut leaf = put_page(&store, branch, page, &[0xff; PAGE]);
    look(&mut lines);
    run(&mut writer, "INSERT INTO u VALUES (1, 'meanwhile')");
    look(&mut lines);
    // The leaf comes back with another value in a row.
    let at = leaf.windows(17).position(|part| part == b"needle 200 before").unwrap();
    leaf[at + 11..at + 17].copy_from_slice(b"BEHIND");
    put_page(&store, branch, page, &leaf);
    look(&mut lines);
    run(&mut writer, "UPDATE t SET b = 'end' WHERE a = 200; DELETE FROM t WHERE a = 1");
    look(&mut lines);

    let told = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(told("UNREADABLE|t|"), 2, "{:?}", &lines[400..]);
    assert_eq!(told("{\"b\":\"needle 200 before\"}|{\"b\":\"needle 200 BEHIND\"}"), 1, "{:?}", &lines[400..]);
    assert_eq!(told("meanwhile"), 1);
    for (position, delivered) in positions {
        let found = all(&mut Stream::new(&store, branch).follow(position).unwrap());
        assert_eq!(found, lines[delivered..], "after version {position}");
    }
    writer.exit().unwrap();
}

#[test]
fn only_transactions_count_as_pending() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = sqlite(directory.path(), "main");
    run(&mut writer, "CREATE TABLE t(a)");
    let store = open(directory.path());
    let stream = Stream::new(&store, store.branch("main").unwrap().id);
    let mut follower = stream.follow(Version(0)).unwrap();
    all(&mut follower);
    let start = follower.told();
    run(&mut writer, "SELECT maniac_branch_create('dev'); INSERT INTO t VALUES (1)");
    run(&mut writer, "SELECT maniac_branch_rename('dev', 'old'); INSERT INTO t VALUES (2)");
    let mut dev = sqlite(directory.path(), "old");
    run(&mut dev, "INSERT INTO t VALUES (3)");
    let (pending, since) = stream.pending(start, 100).unwrap();
    assert_eq!((pending, since.is_some()), (2, true));
    assert!(follower.wait(Some(Duration::ZERO)).unwrap());
    assert_eq!(all(&mut follower).len(), 2);
    assert_eq!(stream.pending(follower.told(), 100).unwrap(), (0, None));
    assert_eq!(follower.told(), stream.head().unwrap());
    // Another branch's commit is none of this one's.
    run(&mut dev, "INSERT INTO t VALUES (4)");
    assert!(!follower.wait(Some(Duration::ZERO)).unwrap());
    [writer, dev].iter_mut().for_each(|session| session.exit().unwrap());
}

#[test]
fn what_could_not_be_read_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = sqlite(directory.path(), "main");
    run(&mut writer, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES (1, 'needle in the log')");
    run(&mut writer, "INSERT INTO t VALUES (2, 'behind it')");
    let store = open(directory.path());
    let stream = Stream::new(&store, store.branch("main").unwrap().id);
    let segments = fs::read_dir(directory.path().join("shop.maniac/log")).unwrap();
    let segment = segments.map(|file| file.unwrap().path()).max().unwrap();
    let whole = fs::read(&segment).unwrap();
    let needle = whole.windows(6).rposition(|bytes| bytes == b"needle").expect("it is in the log");
    let damage = |byte: u8| {
        use std::os::unix::fs::FileExt;
        fs::OpenOptions::new().write(true).open(&segment).unwrap().write_all_at(&[byte], needle as u64).unwrap();
    };

    let mut follower = stream.follow(Version(0)).unwrap();
    follower.poll().unwrap().expect("the table");
    let position = follower.told();
    damage(b'N');
    for _ in 0..2 {
        let error = follower.poll().err().expect("a checksum that is wrong").to_string();
        assert!(error.contains("damaged"), "{error}");
        assert_eq!(follower.told(), position);
    }
    damage(b'n');
    let lines = all(&mut follower);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("needle in the log"), "{lines:?}");
    writer.exit().unwrap();
}
