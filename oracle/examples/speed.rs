//! How fast rows are read and changes captured, beside stock SQLite on the same data:
//! `cargo run --release --example speed [rows]`.

use std::time::{Duration, Instant};

use maniac_base::PageSource;
use maniac_diff::{Tracker, diff};
use maniac_oracle::case::counts;
use maniac_oracle::pages::FilePages;
use maniac_oracle::session::Session;
use maniac_sqlite_format::{Database, Rows, Schema, Selection};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

fn median(mut run: impl FnMut() -> u64) -> Duration {
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        std::hint::black_box(run());
        times.push(start.elapsed());
    }
    times.sort();
    times[2]
}

fn select(db: &Connection) -> u64 {
    let mut statement = db.prepare("SELECT * FROM t").unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut sum = 0;
    while let Some(row) = rows.next().unwrap() {
        for i in 0..columns {
            sum += match row.get_ref(i).unwrap() {
                ValueRef::Null => 0,
                ValueRef::Integer(value) => value as u64,
                ValueRef::Real(value) => value as u64,
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64,
            };
        }
    }
    sum
}

fn decode(pages: &dyn PageSource) -> u64 {
    let db = Database::open(pages).unwrap().unwrap();
    let schema = Schema::read(pages).unwrap();
    let mut rows = Rows::new(&db, schema.table("t").unwrap(), Selection::Changeset).unwrap();
    let mut sum = 0u64;
    while let Some(row) = rows.next().unwrap() {
        for value in row.values() {
            use maniac_base::Value;
            sum += match value {
                Value::Null => 0,
                Value::Integer(value) => value as u64,
                Value::Real(value) => value as u64,
                Value::Text(bytes) | Value::Blob(bytes) => bytes.len() as u64,
            };
        }
    }
    sum
}

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("speed.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; PRAGMA cache_size = -500000; \
         CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b REAL, c TEXT, d TEXT, e INT)",
    )
    .unwrap();
    let empty = FilePages::read(&path);
    let insert = format!(
        "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < {count}) \
         INSERT INTO t SELECT x, x * 7 % 1000, x / 3.0, 'name ' || x, 'a longer text with the number ' || x, NULL FROM s"
    );
    let start = Instant::now();
    db.execute_batch(&insert).unwrap();
    println!("insert of {count} rows: {:?}", start.elapsed());

    let full = FilePages::read(&path);
    let (sql, ours) = (median(|| select(&db)), median(|| decode(&full)));
    println!("read: SELECT * {sql:?}, from pages {ours:?}, {:.1}x", sql.as_secs_f64() / ours.as_secs_f64());
    assert_eq!(select(&db), decode(&full));

    let tracker = Tracker::new(&empty).unwrap();
    let dirty = full.dirty_since(&empty);
    let mut size = 0;
    let capture = median(|| {
        size = tracker.capture(&empty, &full, &dirty).unwrap().changeset.len();
        0
    });
    println!("capture of the insert: {capture:?}, {} MB", size / 1_000_000);
    let whole = median(|| {
        let mut size = 0;
        diff(&empty, &full, &mut |table| {
            size += table.changeset.len() as u64;
            Ok(())
        })
        .unwrap();
        size
    });
    println!("difference from the empty database: {whole:?}");

    let start = Instant::now();
    let tracker = Tracker::new(&full).unwrap();
    println!("tracker of {} pages: {:?}", full.page_count(), start.elapsed());
    db.execute_batch(&format!("UPDATE t SET a = -1 WHERE id = {}", count / 2)).unwrap();
    let newer = FilePages::read(&path);
    let dirty = newer.dirty_since(&full);
    let one = median(|| {
        let captured = tracker.capture(&full, &newer, &dirty).unwrap();
        assert_eq!(counts(&captured.changeset)[0].2, 1);
        0
    });
    println!("capture of one updated row: {one:?}, {} dirty pages", dirty.len());

    db.execute_batch("DELETE FROM t").unwrap();
    let start = Instant::now();
    let session = Session::start(&db);
    db.execute_batch(&insert).unwrap();
    let recorded = session.changeset().len();
    println!("insert with the session extension: {:?}, {} MB", start.elapsed(), recorded / 1_000_000);
}
