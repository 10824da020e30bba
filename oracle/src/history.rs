//! One random history of a database, checked after every transaction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maniac_base::PageNo;
use maniac_changeset::{Field, Group, NULL_KEY_PREFIX, Op, Record, TableHeader, Writer, invert};
use maniac_diff::{Captured, Tracker, diff, match_tables};
use maniac_sqlite_format::{Database, Generated, Rows, Schema, Selection};
use rusqlite::Connection;

use crate::apply::apply;
use crate::dump::{self, TableDump};
use crate::normal::{Entry, difference, entries, session_entries, show};
use crate::pages::FilePages;
use crate::rng::Rng;
use crate::session::{self, Session};
use crate::statements::Model;

pub struct History {
    rng: Rng,
    path: PathBuf,
    db: Connection,
    model: Model,
    pages: FilePages,
    tracker: Tracker,
    /// What the current transaction did, for messages.
    log: Vec<String>,
    /// Changesets since the schema last changed, to be joined.
    joined: Vec<Vec<u8>>,
    /// What SQL reads.
    rows: Dumps,
    pub changes: usize,
}

/// The session extension (3.54.1) hashes rowids in one way when it records a change and in another when its table of
/// changes grows, after which it doesn't find a row of a table without a primary key again and records it twice. So such
/// tables are compared with it in transactions that don't grow the table.
const SESSION_ROWID_LIMIT: u64 = 100;

type Dumps = BTreeMap<String, TableDump>;

impl History {
    pub fn new(seed: u64, directory: &Path) -> History {
        let mut rng = Rng::new(seed);
        let path = directory.join(format!("{seed}.db"));
        let page_size = [512, 1024, 4096, 4096, 8192, 65536][rng.below(6)];
        let db = Connection::open(&path).unwrap();
        let setup = format!(
            "PRAGMA page_size = {page_size}; PRAGMA encoding = '{}'; PRAGMA auto_vacuum = {}; \
             PRAGMA synchronous = OFF; PRAGMA journal_mode = DELETE; PRAGMA secure_delete = {}; PRAGMA cache_size = {};",
            rng.pick(&["UTF-8", "UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]),
            rng.pick(&["NONE", "NONE", "FULL", "INCREMENTAL"]),
            rng.pick(&["OFF", "OFF", "ON"]),
            rng.pick(&["-2000", "5"]),
        );
        db.execute_batch(&setup).unwrap();
        if rng.chance(20) {
            session::reserve_bytes(&db, 16);
        }
        let pages = FilePages::read(&path);
        let tracker = Tracker::new(&pages).unwrap();
        let model = Model::new(page_size);
        History {
            rng,
            path,
            db,
            model,
            pages,
            tracker,
            log: vec![setup],
            joined: Vec::new(),
            rows: Dumps::new(),
            changes: 0,
        }
    }

    /// One transaction and everything that must hold after it.
    pub fn step(&mut self) {
        self.log.truncate(1);
        let before = std::mem::take(&mut self.rows);
        let copy = self.path.with_extension("copy");
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(&self.path, &copy).unwrap();
        let kind = self.rng.below(20);
        let schema = self.model.tables.is_empty() || kind < 4;
        let with_session = !schema && kind < 15;
        let session = with_session.then(|| Session::start(&self.db));
        let touched = self.db.total_changes();
        let ddl = if kind == 19 { self.maintain() } else { self.transact(schema, !with_session) };
        let recorded = session.map(|session| session.changeset());
        let many = self.db.total_changes() - touched > SESSION_ROWID_LIMIT;

        let pages = FilePages::read(&self.path);
        let dirty = self.dirty(&pages);
        self.log.push(format!("dirty {dirty:?}"));
        let captured = self.tracker.capture(&self.pages, &pages, &dirty);
        let captured = captured.unwrap_or_else(|error| panic!("{error}\n{}", self.context()));
        let after = dump::database(&self.db);
        self.check_rows(&pages, &after);
        if ddl.is_none() {
            self.check_changes(&captured, &before, &after);
            if let Some(recorded) = recorded {
                self.check_session(&captured, &recorded, many);
            }
        }
        if !self.is_ambiguous(&pages, ddl.as_deref()) {
            self.check_copy(&copy, ddl.as_deref(), &captured, &before, &after);
        }
        self.check_whole(&pages, &captured);
        self.check_joined(&captured, ddl.is_some());
        self.changes += entries(&captured.changeset).len();
        self.tracker.advance(captured.update);
        assert!(self.tracker.agrees_with(&pages).unwrap(), "the tracker went astray\n{}", self.context());
        self.pages = pages;
        self.rows = after;
    }

    /// One transaction; the statements that changed the schema, if any may have.
    fn transact(&mut self, schema: bool, bare: bool) -> Option<Vec<String>> {
        let mut ddl = Vec::new();
        self.db.execute_batch("BEGIN").unwrap();
        for _ in 0..1 + self.rng.below(12) {
            if schema && self.rng.chance(35) {
                ddl.extend(self.model.change_schema(&mut self.rng, &self.db));
            } else {
                self.model.change_rows(&mut self.rng, &self.db, bare);
            }
        }
        let end = if self.rng.chance(5) && !schema { "ROLLBACK" } else { "COMMIT" };
        self.db.execute_batch(end).unwrap();
        self.log.push(end.to_string());
        self.log.extend(ddl.iter().cloned());
        schema.then_some(ddl)
    }

    /// Statements that move pages about and change no row.
    fn maintain(&mut self) -> Option<Vec<String>> {
        let sql = match self.rng.below(6) {
            0 => "PRAGMA incremental_vacuum".to_string(),
            1 => "ANALYZE".to_string(),
            2 => "REINDEX".to_string(),
            3 => {
                self.model.page_size = [1024, 4096][self.rng.below(2)];
                format!("PRAGMA page_size = {}; VACUUM", self.model.page_size)
            }
            4 => "PRAGMA auto_vacuum = 2; VACUUM".to_string(),
            _ => "VACUUM".to_string(),
        };
        self.db.execute_batch(&sql).unwrap();
        self.log.push(sql);
        None
    }

    /// The pages that differ, and sometimes some more: a writer may report pages that it wrote without a change.
    fn dirty(&mut self, pages: &FilePages) -> Vec<PageNo> {
        use maniac_base::PageSource;
        let mut dirty = pages.dirty_since(&self.pages);
        if self.rng.chance(40) {
            let share = [2, 20, 100][self.rng.below(3)];
            dirty.extend((1..=pages.page_count()).filter(|_| self.rng.chance(share)).map(PageNo));
            dirty.sort_unstable();
            dirty.dedup();
        }
        dirty
    }

    /// Whether the two schemas can be read in another way than the statements meant: a table that was created in place of a
    /// dropped one looks like that one renamed, and so may a column. The changes of rows are those of one reading, and a
    /// copy that ran the statements is in another state.
    fn is_ambiguous(&self, pages: &FilePages, ddl: Option<&[String]>) -> bool {
        let count = |part: &str| ddl.into_iter().flatten().filter(|sql| sql.contains(part)).count();
        if count("DROP COLUMN") > 0 && count("RENAME COLUMN") + count("ADD COLUMN") > 0 {
            return true;
        }
        let schema = Schema::read(pages).unwrap();
        match_tables(self.tracker.schema(), &schema).iter().any(|pair| {
            let Some(new) = &pair.new else { return false };
            let renamed = format!("RENAME TO {}", new.name);
            let was_renamed = ddl.into_iter().flatten().any(|sql| sql.ends_with(&renamed));
            pair.old.as_ref().map_or(was_renamed, |old| (old.name != new.name) != was_renamed)
        })
    }

    fn context(&self) -> String {
        let tables: Vec<&str> = self.model.tables.iter().map(|table| table.sql.as_str()).collect();
        format!("{}\n{}", tables.join("\n"), self.log.join("\n"))
    }

    /// The rows and the schema as read from pages are those that SQL reads.
    fn check_rows(&self, pages: &FilePages, dumps: &Dumps) {
        let schema = Schema::read(pages).unwrap();
        let Some(db) = Database::open(pages).unwrap() else { return };
        for (name, dump) in dumps {
            let table = schema.table(name).unwrap();
            let columns: Vec<dump::ColumnInfo> = table
                .columns
                .iter()
                .enumerate()
                .map(|(i, column)| dump::ColumnInfo {
                    name: column.name.clone(),
                    declared_type: column.declared_type.clone(),
                    not_null: column.not_null,
                    default: column.default_sql.as_deref().map(unparenthesised),
                    key: table.key_position(i),
                    hidden: match column.generated {
                        Generated::No => 0,
                        Generated::Virtual => 2,
                        Generated::Stored => 3,
                    },
                })
                .collect();
            assert_eq!(columns, dump.columns, "{}", table.sql);
            assert_eq!(table.without_rowid, dump.without_rowid);
            let mut rows = Rows::new(&db, table, Selection::Changeset).unwrap();
            let mut read = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                let values = row.values().map(|value| {
                    let mut out = Vec::new();
                    maniac_changeset::push_value(&mut out, &value);
                    out
                });
                read.push(((!dump.without_rowid).then_some(row.rowid), values.collect::<Vec<_>>()));
            }
            if dump.without_rowid {
                read.sort();
            }
            let mut expected = dump.rows.clone();
            expected.sort();
            assert!(read == expected, "rows of {name} differ\n{}\n{}", table.sql, self.context());
        }
    }

    /// The changes are those between what SQL read before and after.
    fn check_changes(&self, captured: &Captured, before: &Dumps, after: &Dumps) {
        let ours = entries(&captured.changeset);
        let expected = expected_entries(before, after);
        assert!(ours == expected, "SQL says otherwise:\n{}{}", difference(&ours, &expected), self.context());
    }

    /// The changes are those that the session extension recorded, byte for byte.
    fn check_session(&self, captured: &Captured, recorded: &[u8], many: bool) {
        let keyed = |entry: &Entry| {
            let table = self.tracker.schema().table(&entry.0).expect("a table of the older snapshot");
            !table.key.is_empty() || !many
        };
        let (mut ours, mut theirs) = (session_entries(&captured.changeset), entries(recorded));
        ours.retain(keyed);
        theirs.retain(keyed);
        assert!(ours == theirs, "the session says otherwise:\n{}{}", difference(&ours, &theirs), self.context());
    }

    /// Applied to a copy of the older snapshot, the changes give the newer one, and inverted they take it back.
    fn check_copy(&self, copy: &Path, ddl: Option<&[String]>, captured: &Captured, before: &Dumps, after: &Dumps) {
        let db = Connection::open(copy).unwrap();
        db.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; BEGIN").unwrap();
        for sql in ddl.into_iter().flatten() {
            match db.execute_batch(sql) {
                Ok(()) => (),
                // SQLite looks at the default of a new column only where there are rows, and in the transaction there were
                // none yet, or none any more.
                Err(error) if error.to_string() == "type mismatch on DEFAULT" => return,
                Err(error) => panic!("{sql}: {error}\n{}", self.context()),
            }
        }
        let conflicts = apply(&db, &captured.changeset);
        assert_eq!(conflicts, [], "{}\n{}", show(&entries(&captured.changeset)), self.context());
        let content = |dumps: &Dumps| -> Vec<_> {
            dumps.iter().map(|(name, table)| (name.clone(), table.columns.clone(), table.content())).collect()
        };
        let got = dump::database(&db);
        assert!(content(&got) == content(after), "the copy differs\n{}", self.context());
        if ddl.is_none() {
            let undo = invert(&captured.changeset).unwrap();
            assert_eq!(entries(&undo), entries(&session::invert(&captured.changeset)));
            assert_eq!(apply(&db, &undo), [], "{}", self.context());
            assert!(content(&dump::database(&db)) == content(before), "undone, the copy differs");
        }
    }

    /// Comparing the two snapshots as a whole gives the same as the capture.
    fn check_whole(&mut self, pages: &FilePages, captured: &Captured) {
        if !self.rng.chance(30) {
            return;
        }
        let mut changeset = Vec::new();
        let schema = diff(&self.pages, pages, &mut |table| {
            changeset.extend(table.changeset);
            Ok(())
        });
        assert_eq!(schema.unwrap(), captured.schema, "{}", self.context());
        assert_eq!(changeset, captured.changeset, "{}", self.context());
    }

    /// Joined changesets are what SQLite's changegroup makes of them.
    fn check_joined(&mut self, captured: &Captured, schema: bool) {
        if schema {
            self.joined.clear();
            return;
        }
        self.joined.push(captured.changeset.clone());
        if self.joined.len() == 4 {
            let mut group = Group::new();
            self.joined.iter().for_each(|changeset| group.add(changeset).unwrap());
            let (ours, theirs) = (entries(&group.finish()), entries(&session::concat(&self.joined)));
            assert!(ours == theirs, "joined otherwise:\n{}", difference(&ours, &theirs));
            self.joined.clear();
        }
    }
}

/// `PRAGMA table_xinfo` gives a default without its outer parentheses.
fn unparenthesised(sql: &str) -> String {
    let inner = sql.strip_prefix('(').and_then(|sql| sql.strip_suffix(')'));
    inner.unwrap_or(sql).to_string()
}

/// The changes between two dumps.
fn expected_entries(before: &Dumps, after: &Dumps) -> Vec<Entry> {
    let mut writer = Writer::new();
    for (name, new) in after {
        let Some(old) = before.get(name) else { continue };
        let key: Vec<u8> = new.columns.iter().filter(|column| column.hidden == 0).map(|column| column.key).collect();
        let mut by_rowid = vec![1];
        by_rowid.resize(key.len() + 1, 0);
        let null_name = format!("{NULL_KEY_PREFIX}{name}");
        let (old_keyed, old_null) = split(old, &key);
        let (new_keyed, new_null) = split(new, &key);
        let keyed_header = if new.is_keyed() { &key } else { &by_rowid };
        write_changes(&mut writer, &TableHeader { name, key: keyed_header }, &old_keyed, &new_keyed);
        write_changes(&mut writer, &TableHeader { name: &null_name, key: &by_rowid }, &old_null, &new_null);
    }
    entries(&writer.take())
}

type Keyed = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows by their key, and those whose declared key holds NULL by their rowid.
fn split(table: &TableDump, key: &[u8]) -> (Keyed, Keyed) {
    let (mut keyed, mut null) = (Keyed::new(), Keyed::new());
    for (rowid, values) in &table.rows {
        let record: Vec<u8> = values.concat();
        let with_rowid = || {
            let mut out = Vec::new();
            maniac_changeset::push_value(&mut out, &maniac_base::Value::Integer(rowid.unwrap()));
            let key = out.clone();
            out.extend(&record);
            (key, out)
        };
        let parts: Vec<&Vec<u8>> =
            values.iter().zip(key).filter(|(_, position)| **position > 0).map(|(value, _)| value).collect();
        if parts.is_empty() {
            let (key, record) = with_rowid();
            keyed.insert(key, record);
        } else if parts.iter().any(|value| value[..] == [5]) {
            let (key, record) = with_rowid();
            null.insert(key, record);
        } else {
            keyed.insert(parts.into_iter().flatten().copied().collect(), record);
        }
    }
    (keyed, null)
}

fn write_changes(writer: &mut Writer, header: &TableHeader<'_>, old: &Keyed, new: &Keyed) {
    writer.table(header);
    for (key, row) in old {
        match new.get(key) {
            None => writer.whole_row(Op::Delete, row),
            Some(after) => {
                let record = |row| Record::parse(row, header.columns()).unwrap();
                debug_assert!(record(row).fields().all(|field: Field<'_>| field.is_defined()));
                writer.update(header, record(row), record(after));
            }
        }
    }
    for (key, row) in new {
        if !old.contains_key(key) {
            writer.whole_row(Op::Insert, row);
        }
    }
}
