//! Transactions that change pages in unusual ways.

use maniac_base::{PageNo, PageSource};
use maniac_oracle::case::{Case, counts};
use maniac_sqlite_format::{Database, Rows, Selection};

const LONG: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT); \
    INSERT INTO t VALUES(1, 'short'), (2, printf('%.*c', 9000, 'x')), (3, printf('%.*c', 9000, 'y'));";

/// SQLite overwrites a value of the same size in place: the leaf with the row is not written.
#[test]
fn an_overflow_page_may_change_alone() {
    for pragma in ["", "PRAGMA auto_vacuum = FULL;"] {
        let mut case = Case::new(&format!("{pragma} {LONG}"));
        let captured = case.run_and_copy("UPDATE t SET body = substr(body, 1, 8999) || 'z' WHERE id = 2", "");
        assert_eq!(case.dirty.len(), 2, "page 1 and an overflow page, but {:?}", case.dirty);
        assert_eq!(counts(&captured.changeset), [("t", 0, 1, 0)]);
        case.advance(captured);
    }
}

/// The chains are noted at the first such commit and followed from then on.
#[test]
fn noted_chains_stay_true() {
    let mut case = Case::new(LONG);
    let tail =
        |id: u32, c: char| format!("UPDATE t SET body = substr(body, 1, length(body) - 1) || '{c}' WHERE id = {id}");
    for (sql, expected) in [
        (tail(2, 'a'), (0, 1, 0)),
        ("INSERT INTO t SELECT id + 10, body FROM t WHERE id > 1".to_string(), (2, 0, 0)),
        (tail(12, 'b'), (0, 1, 0)),
        ("DELETE FROM t WHERE id = 2".to_string(), (0, 0, 1)),
        ("INSERT INTO t VALUES(0, printf('%.*c', 20000, 'n'))".to_string(), (1, 0, 0)),
        (tail(0, 'c'), (0, 1, 0)),
        (tail(13, 'd'), (0, 1, 0)),
        (
            "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 2000) \
             INSERT INTO t SELECT x + 100, 'filler ' || x FROM s"
                .to_string(),
            (2000, 0, 0),
        ),
        (tail(13, 'e'), (0, 1, 0)),
        (tail(3, 'f'), (0, 1, 0)),
    ] {
        let captured = case.run_and_copy(&sql, "");
        let (inserts, updates, deletes) = expected;
        assert_eq!(counts(&captured.changeset), [("t", inserts, updates, deletes)], "{sql}");
        case.advance(captured);
    }
}

/// Without a condition SQLite frees the pages of the tree without writing them.
#[test]
fn truncating_a_table_deletes_every_row() {
    let mut case = Case::new(
        "CREATE TABLE t(a PRIMARY KEY, b); WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 5000) \
         INSERT INTO t SELECT x, printf('%.*c', 100, 'b') FROM s",
    );
    let captured = case.run_and_copy("DELETE FROM t", "");
    assert!(case.dirty.len() < 10 && case.pages.page_count() > 100, "{} pages dirty", case.dirty.len());
    assert_eq!(counts(&captured.changeset), [("t", 0, 0, 5000)]);
    case.advance(captured);
}

/// The root keeps its page: it becomes interior when it overflows, and a leaf again when the tree shrinks.
#[test]
fn a_root_grows_and_shrinks_in_place() {
    let mut case =
        Case::new("CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE w(a TEXT PRIMARY KEY, b) WITHOUT ROWID");
    for (table, key) in [("t", "x"), ("w", "'k' || x")] {
        for (sql, expected) in [
            (format!("INSERT INTO {table} VALUES({}, 1)", key.replace('x', "0")), (1, 0, 0)),
            (
                format!(
                    "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < 20000) \
                     INSERT INTO {table} SELECT {key}, 'value' FROM s"
                ),
                (20000, 0, 0),
            ),
            (format!("UPDATE {table} SET b = 2 WHERE b = 1"), (0, 1, 0)),
            (format!("DELETE FROM {table} WHERE b <> 2"), (0, 0, 20000)),
            (format!("DELETE FROM {table}"), (0, 0, 1)),
        ] {
            let captured = case.run_and_copy(&sql, "");
            let (inserts, updates, deletes) = expected;
            assert_eq!(counts(&captured.changeset), [(table, inserts, updates, deletes)], "{sql}");
            case.advance(captured);
        }
    }
}

/// One row in a large table costs the pages on the way to it, however large the table is.
#[test]
fn a_small_change_reads_few_pages() {
    let mut case = Case::new(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s \
         WHERE x < 100000) INSERT INTO t SELECT x, 'value ' || x FROM s",
    );
    let before = case.pages.clone();
    case.run("UPDATE t SET b = 'other' WHERE a = 50000");
    let (old, new) = (Counting::new(&before), Counting::new(&case.pages));
    let captured = case.tracker.capture(&old, &new, &case.dirty).unwrap();
    assert_eq!(counts(&captured.changeset), [("t", 0, 1, 0)]);
    let reads = old.reads() + new.reads();
    assert!(reads < 30, "{reads} reads");
}

/// A change of the schema costs the pages on the way to the rows of `sqlite_schema` that it changed, however many there are.
#[test]
fn a_change_of_the_schema_reads_few_pages() {
    let tables: String = (0..1000).map(|n| format!("CREATE TABLE t{n}(a INTEGER PRIMARY KEY, b); ")).collect();
    let mut case = Case::new(&format!("BEGIN; {tables} COMMIT"));
    for sql in [
        "ALTER TABLE t500 ADD COLUMN c DEFAULT 7",
        "CREATE TABLE more(a INTEGER PRIMARY KEY, b); INSERT INTO more VALUES(1, 2)",
        "CREATE INDEX i ON t500(b)",
        "DROP TABLE t999",
    ] {
        let before = case.pages.clone();
        let captured = case.run(sql);
        let (old, new) = (Counting::new(&before), Counting::new(&case.pages));
        case.tracker.capture(&old, &new, &case.dirty).unwrap();
        let reads = old.reads() + new.reads();
        assert!(reads < 50, "{sql}: {reads} reads");
        case.advance(captured);
    }
}

struct Counting<'p> {
    pages: &'p dyn PageSource,
    reads: std::sync::atomic::AtomicUsize,
}

impl<'p> Counting<'p> {
    fn new(pages: &'p dyn PageSource) -> Self {
        Counting { pages, reads: Default::default() }
    }

    fn reads(&self) -> usize {
        self.reads.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl PageSource for Counting<'_> {
    fn page_size(&self) -> usize {
        self.pages.page_size()
    }

    fn page_count(&self) -> u32 {
        self.pages.page_count()
    }

    fn page(&self, no: PageNo) -> Result<std::borrow::Cow<'_, [u8]>, maniac_base::PageError> {
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.pages.page(no)
    }
}

/// VACUUM moves every root. Rows with a key of their own keep it, so nothing changed.
#[test]
fn vacuum_changes_no_row() {
    for pragma in ["", "PRAGMA page_size = 1024;", "PRAGMA auto_vacuum = FULL;"] {
        let mut case = Case::new(
            "CREATE TABLE gone(x); INSERT INTO gone VALUES(zeroblob(100000)); \
             CREATE TABLE a(id INTEGER PRIMARY KEY, b REAL, c); CREATE TABLE k(a TEXT PRIMARY KEY, b); \
             CREATE TABLE w(a, b, PRIMARY KEY(b)) WITHOUT ROWID; CREATE TABLE n(a TEXT PRIMARY KEY); \
             INSERT INTO a VALUES(7, 1, zeroblob(9000)), (9, 2.5, NULL); INSERT INTO k VALUES('x', 1), ('y', 2); \
             INSERT INTO w VALUES(1, 2), (3, 4); DELETE FROM k WHERE a = 'x'; DROP TABLE gone",
        );
        let captured = case.run(&format!("{pragma} VACUUM"));
        assert!(captured.changeset.is_empty(), "{pragma}");
        assert!(!captured.schema.is_empty(), "the roots moved");
        case.advance(captured);
    }
}

/// A table without any key or index may get new rowids from VACUUM, and the rowid is what its rows are known by.
#[test]
fn vacuum_may_renumber_rows_without_a_key() {
    let mut case = Case::new("CREATE TABLE p(a); INSERT INTO p VALUES('a'), ('b'), ('c'); DELETE FROM p WHERE a = 'a'");
    let captured = case.run_and_copy("VACUUM", "");
    let rowids: Vec<i64> = {
        let mut statement = case.db.prepare("SELECT _rowid_ FROM p").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(captured.changeset.is_empty(), rowids == [2, 3]);
    case.advance(captured);
}

/// A table is read in parts, side by side, and the parts are its rows in order.
#[test]
fn subtrees_are_the_whole_table() {
    let case = Case::new(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s \
         WHERE x < 30000) INSERT INTO t SELECT x, 'value ' || x FROM s",
    );
    let db = Database::open(&case.pages).unwrap().unwrap();
    let table = case.tracker.schema().table("t").unwrap();
    for parts in [1, 4, 1000] {
        let roots = db.subtrees(table.root, parts).unwrap();
        assert!(parts == 1000 || roots.len() >= parts);
        let mut next = 1;
        for root in roots {
            let mut rows = Rows::below(&db, table, root, Selection::Changeset).unwrap();
            while let Some(row) = rows.next().unwrap() {
                assert_eq!((row.rowid, row.value(0).as_integer()), (next, Some(next)));
                next += 1;
            }
        }
        assert_eq!(next, 30001);
    }
}

/// A row is found by its rowid, at every place of a tree, and one that isn't there is not.
#[test]
fn rows_are_found_by_rowid() {
    let case = Case::new(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); WITH RECURSIVE s(x) AS (SELECT -9000 UNION ALL SELECT x + 3 FROM s \
         WHERE x < 60000) INSERT INTO t SELECT x, CASE WHEN x % 100 = 0 THEN zeroblob(5000) ELSE x END FROM s; \
         CREATE TABLE bare(a)",
    );
    let db = Database::open(&case.pages).unwrap().unwrap();
    let table = case.tracker.schema().table("t").unwrap();
    for rowid in -9010..60010 {
        let found = db.seek(table.root, rowid).unwrap().map(|(page, place)| page.cell(place).unwrap().rowid);
        let there = (-9000..=60000).contains(&rowid) && rowid % 3 == 0;
        assert_eq!(found, there.then_some(rowid));
    }
    assert!(db.seek(table.root, i64::MIN).unwrap().is_none() && db.seek(table.root, i64::MAX).unwrap().is_none());
    assert!(db.seek(case.tracker.schema().table("bare").unwrap().root, 1).unwrap().is_none());
}
