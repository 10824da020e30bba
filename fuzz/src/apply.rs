//! Changesets for `maniac_apply`, through the SQL function on a real store.
//!
//! An input picks a policy and edits a valid changeset. What is then applied succeeds, or fails with an error and changes
//! nothing; the database stays whole, and the connection's settings as they were.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use maniac_base::Value;
use maniac_changeset::{Item, Reader, Record, push_value};
use rusqlite::{Connection, params};

use crate::edit::Input;

const TABLES: &[&str] = &["items", "words", "pairs", "lines", "loose", "typed"];

const SCHEMA: &str = "
    CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL CHECK (price >= 0), note DEFAULT 'none');
    CREATE TABLE words(word TEXT PRIMARY KEY, n INTEGER NOT NULL, twice AS (n * 2), thrice AS (n * 3) STORED);
    CREATE TABLE pairs(a, b, c BLOB, PRIMARY KEY (b, a)) WITHOUT ROWID;
    CREATE TABLE lines(id INTEGER PRIMARY KEY, item INTEGER REFERENCES items(id) ON DELETE CASCADE, text);
    CREATE TABLE loose(x, y);
    CREATE TABLE typed(id INTEGER PRIMARY KEY, i INTEGER, t TEXT, b ANY) STRICT;
    CREATE INDEX by_price ON items(price, name);
    CREATE TRIGGER counted AFTER INSERT ON items BEGIN UPDATE words SET n = n + 1; END;
    INSERT INTO items VALUES (1, 'anvil', 10.5, NULL), (2, 'bolt', 0.25, x'00ff'), (3, 'chain', 7, 'x'), (4, NULL, NULL, 4);
    INSERT INTO words VALUES ('one', 1), ('two', 2), (NULL, 3), (NULL, 4);
    INSERT INTO pairs VALUES (1, 'x', zeroblob(700)), (2, 'x', NULL), (1, 'y', 3.5);
    INSERT INTO lines VALUES (1, 1, 'first'), (2, 1, 'second'), (3, 2, hex(zeroblob(3000)));
    INSERT INTO loose VALUES (1, 'a'), (1, 'a'), (NULL, 2.5);
    INSERT INTO typed VALUES (1, 1, 'one', 1), (2, NULL, NULL, x'01');
";

/// After these, the valid changeset leads back and forth.
const CHANGES: &str = "
    UPDATE items SET name = 'nut', price = price + 1 WHERE id = 2; DELETE FROM items WHERE id = 3;
    INSERT INTO items VALUES (9, 'wire', 3, 'new');
    UPDATE words SET n = -5 WHERE word = 'one' OR n = 4; DELETE FROM words WHERE word = 'two';
    INSERT INTO words VALUES ('three', 3), (NULL, 9);
    UPDATE pairs SET c = 'changed' WHERE a = 1; INSERT INTO pairs VALUES (x'05', -1, zeroblob(900));
    UPDATE lines SET item = 9 WHERE id = 3; INSERT INTO lines VALUES (10, 9, 'tenth'); DELETE FROM lines WHERE id = 2;
    INSERT INTO loose VALUES (7, 7); DELETE FROM loose WHERE x IS NULL; UPDATE loose SET y = 'b' WHERE rowid = 2;
    UPDATE typed SET b = 2.5, t = 'neu' WHERE id = 2; INSERT INTO typed VALUES (3, 3, 'three', NULL);
";

struct Place {
    directory: tempfile::TempDir,
    connection: Connection,
    /// What the tables hold on `main`.
    content: String,
    valid: [Vec<u8>; 2],
}

static PLACE: LazyLock<Mutex<Place>> = LazyLock::new(|| Mutex::new(Place::new()));

/// The built extension, without the suffix.
fn extension() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("dist");
    std::env::var_os("MANIAC_DIST").map_or(default, PathBuf::from).join("maniac")
}

fn open(directory: &Path, branch: &str) -> Connection {
    let uri = format!("file:{}?vfs=maniac&branch={branch}", directory.join("shop.maniac").display());
    let connection = Connection::open(uri).expect("a store");
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF").expect("pragmas");
    connection
}

fn content(connection: &Connection) -> String {
    let mut out = String::new();
    for table in TABLES {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let columns = statement.column_count();
        let mut rows = statement.query(()).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let values: Vec<_> = (0..columns).map(|n| row.get_ref(n).expect("a value")).collect();
            out.push_str(&format!("{table} {values:?}\n"));
        }
    }
    out
}

fn text(connection: &Connection, sql: &str) -> String {
    let value = connection.query_row(sql, (), |row| row.get::<_, rusqlite::types::Value>(0));
    format!("{:?}", value.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

impl Place {
    fn new() -> Place {
        let loader = Connection::open_in_memory().expect("memory");
        // SAFETY: the extension is ours, built from this checkout.
        #[allow(unsafe_code)]
        unsafe {
            loader.load_extension_enable().expect("a SQLite that loads extensions");
            loader.load_extension(extension(), None::<&str>).expect("`make build` comes first");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let main = directory.path().join("shop.maniac");
        let connection = Connection::open(format!("file:{}?vfs=maniac", main.display())).expect("a store");
        connection.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT; BEGIN; {CHANGES} COMMIT;")).expect("the tables");
        let changeset = |from: i64, to: i64| -> Vec<u8> {
            let sql = "SELECT maniac_changeset(?1, ?2)";
            connection.query_row(sql, [from, to], |row| row.get(0)).expect("a changeset")
        };
        let forth = changeset(1, 2);
        let back = maniac_changeset::invert(&forth).expect("a valid changeset");
        let connection = open(directory.path(), "main");
        Place { content: content(&connection), directory, connection, valid: [back, forth] }
    }

    fn try_one(&mut self, changeset: &[u8], policy: &str, on_branch: bool) {
        if !on_branch {
            self.connection.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
            run(&self.connection, &self.content, changeset, policy);
            self.connection.execute_batch("ROLLBACK").expect("a transaction is open");
            assert!(content(&self.connection) == self.content, "a rollback takes all of it back");
            return;
        }
        // As a transaction of its own, on a branch of its own.
        let _: i64 =
            self.connection.query_row("SELECT maniac_branch_create('tried')", (), |row| row.get(0)).expect("a branch");
        let tried = open(self.directory.path(), "tried");
        run(&tried, &self.content, changeset, policy);
        assert!(tried.is_autocommit(), "a transaction was left open");
        drop(tried);
        text(&self.connection, "SELECT maniac_branch_drop('tried')");
    }
}

fn run(connection: &Connection, before: &str, changeset: &[u8], policy: &str) {
    let head = text(connection, "SELECT maniac_head()");
    let applied =
        connection.query_row("SELECT maniac_apply(?1, ?2)", params![changeset, policy], |row| row.get::<_, i64>(0));
    match applied {
        Ok(rows) => assert!(rows >= 0),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains("panic") && !error.contains("bug"), "{error}");
            assert!(content(connection) == before, "changed in spite of an error: {error}");
            assert_eq!(text(connection, "SELECT maniac_head()"), head, "{error}");
        }
    }
    let whole = "SELECT group_concat(integrity_check) FROM pragma_integrity_check";
    assert_eq!(text(connection, whole), "Text(\"ok\")");
    assert_eq!(text(connection, "PRAGMA foreign_keys"), "Integer(1)");
    let dangling = "SELECT count(*) FROM pragma_foreign_key_check";
    assert_eq!(text(connection, dangling), "Integer(0)", "foreign keys were enforced");
}

/// A well-formed changeset of the same tables: changes left out, there twice, or with other values.
fn scramble(changeset: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader = Reader::new(changeset);
    let mut start = 0;
    while let Some(item) = reader.next() {
        let bytes = &changeset[start..reader.offset()];
        start = reader.offset();
        let Item::Change(change) = item.expect("a valid changeset") else {
            out.extend_from_slice(bytes);
            continue;
        };
        match input.byte() % 8 {
            0 => (),
            1 => [bytes, bytes].iter().for_each(|bytes| out.extend_from_slice(bytes)),
            2..=4 => {
                // The operation and its flag, then the records.
                out.extend_from_slice(&bytes[..2]);
                for record in [change.old, change.new].into_iter().flatten() {
                    push_edited(&mut out, record, input);
                }
            }
            _ => out.extend_from_slice(bytes),
        }
    }
    out
}

fn push_edited(out: &mut Vec<u8>, record: Record<'_>, input: &mut Input<'_>) {
    for field in record.fields() {
        let which = input.byte();
        if !field.is_defined() || !which.is_multiple_of(4) {
            out.extend_from_slice(field.bytes());
            continue;
        }
        let value = match which / 4 % 10 {
            0 => Value::Null,
            1 => Value::Integer(i64::MIN),
            2 => Value::Real(-0.0),
            3 => Value::text("two"),
            4 => Value::text("nut"),
            5 => Value::Blob((&[0, 255][..]).into()),
            n => Value::Integer(i64::from(n) - 5),
        };
        push_value(out, &value);
    }
}

/// A changeset for `maniac_apply`: an edited one, or rarely any bytes.
pub fn apply(data: &[u8]) {
    let mut input = Input(data);
    let how = input.byte();
    let policy = ["abort", "replace", "omit"][usize::from(how) % 3];
    let mut place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let changeset = if how >= 240 {
        input.0.to_vec()
    } else {
        let mut changeset = place.valid[usize::from(how / 3) % 2].clone();
        if input.byte() % 2 == 0 {
            changeset = scramble(&changeset, &mut input);
        } else {
            input.apply(&mut changeset);
        }
        changeset
    };
    place.try_one(&changeset, policy, how / 6 % 8 == 0);
}
