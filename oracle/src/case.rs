//! A database on which a test runs one transaction after the other and looks at what each captured.

use maniac_base::PageNo;
use maniac_changeset::{Item, Op, Reader, Target};
use maniac_diff::{Captured, Tracker};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::apply::apply;
use crate::dump;
use crate::pages::FilePages;

pub struct Case {
    directory: TempDir,
    pub db: Connection,
    pub pages: FilePages,
    pub tracker: Tracker,
    /// Dirty pages of the last transaction.
    pub dirty: Vec<PageNo>,
}

impl Case {
    pub fn new(setup: &str) -> Case {
        let directory = tempfile::tempdir().unwrap();
        let db = Connection::open(directory.path().join("case.db")).unwrap();
        db.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = DELETE").unwrap();
        db.execute_batch(setup).unwrap();
        let pages = FilePages::read(&directory.path().join("case.db"));
        let tracker = Tracker::new(&pages).unwrap();
        Case { directory, db, pages, tracker, dirty: Vec::new() }
    }

    /// Runs statements as one transaction (unless one of them can't be in one) and captures it.
    pub fn run(&mut self, sql: &str) -> Captured {
        let path = self.directory.path().join("case.db");
        std::fs::copy(&path, self.directory.path().join("copy.db")).unwrap();
        let sql = if sql.contains("VACUUM") { sql.to_string() } else { format!("BEGIN; {sql}; COMMIT") };
        self.db.execute_batch(&sql).unwrap();
        let pages = FilePages::read(&path);
        self.dirty = pages.dirty_since(&self.pages);
        let captured = self.tracker.capture(&self.pages, &pages, &self.dirty).unwrap();
        self.pages = pages;
        captured
    }

    /// The same, and applies what was captured to a copy, after the statements in `ddl`.
    pub fn run_and_copy(&mut self, sql: &str, ddl: &str) -> Captured {
        let captured = self.run(sql);
        let copy = Connection::open(self.directory.path().join("copy.db")).unwrap();
        copy.execute_batch(ddl).unwrap();
        assert_eq!(apply(&copy, &captured.changeset), []);
        let content = |db: &Connection| -> Vec<_> {
            dump::database(db).into_iter().map(|(name, table)| (name, table.content())).collect()
        };
        assert!(content(&copy) == content(&self.db), "the copy differs");
        captured
    }

    /// A connection to the copy that the last changeset was applied to.
    pub fn copy(&self) -> Connection {
        Connection::open(self.directory.path().join("copy.db")).unwrap()
    }

    pub fn advance(&mut self, captured: Captured) {
        self.tracker.advance(captured.update);
        assert!(self.tracker.agrees_with(&self.pages).unwrap(), "the tracker went astray");
    }
}

/// Inserts, updates and deletes of each table in a changeset.
pub fn counts(changeset: &[u8]) -> Vec<(&str, u64, u64, u64)> {
    let mut counts: Vec<(&str, u64, u64, u64)> = Vec::new();
    for item in Reader::new(changeset) {
        match item.unwrap() {
            Item::Table(header) => {
                let table = Target::of(&header).table;
                if counts.last().is_none_or(|last| last.0 != table) {
                    counts.push((table, 0, 0, 0));
                }
            }
            Item::Change(change) => {
                let (_, inserts, updates, deletes) = counts.last_mut().unwrap();
                *match change.op {
                    Op::Insert => inserts,
                    Op::Update => updates,
                    Op::Delete => deletes,
                } += 1;
            }
        }
    }
    counts
}

/// The tables of a changeset's headers; `true` for rows whose declared key holds NULL.
pub fn targets(changeset: &[u8]) -> Vec<(String, bool)> {
    let items = Reader::new(changeset).map(Result::unwrap);
    let headers = items.filter_map(|item| match item {
        Item::Table(header) => Some(Target::of(&header)),
        Item::Change(_) => None,
    });
    headers.map(|target| (target.table.to_string(), target.null_key)).collect()
}
