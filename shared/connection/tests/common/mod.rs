//! Databases of SQLite's format, made by hand: tables of two integer columns, each on one page.
//!
//! ```text
//!   page 1   header, schema   t0 .. t2
//!   page 2.. rows of a table  (id INTEGER PRIMARY KEY, v)
//! ```
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use maniac_base::{PageNo, PageSource, Value, write_varint};
use maniac_changeset::{Item, Reader};
use maniac_connection::{ConnectionError, Database};

pub const PAGE: usize = 512;
pub const TABLES: usize = 3;
const COUNTER: usize = 24;

/// Rows of one table: the second column by the first.
pub type Rows = BTreeMap<i64, i64>;
pub type Tables = [Rows; TABLES];

/// A leaf of a table, whose header lies at `header`.
fn leaf(page: &mut [u8; PAGE], header: usize, cells: &[(i64, Vec<u8>)]) {
    let mut end = PAGE;
    for (n, (rowid, payload)) in cells.iter().enumerate() {
        let mut cell = Vec::new();
        write_varint(&mut cell, payload.len() as u64);
        write_varint(&mut cell, *rowid as u64);
        cell.extend_from_slice(payload);
        end -= cell.len();
        page[end..][..cell.len()].copy_from_slice(&cell);
        page[header + 8 + 2 * n..][..2].copy_from_slice(&(end as u16).to_be_bytes());
    }
    assert!(end >= header + 8 + 2 * cells.len(), "rows fit on the page");
    page[header] = 13;
    page[header + 3..][..2].copy_from_slice(&(cells.len() as u16).to_be_bytes());
    page[header + 5..][..2].copy_from_slice(&(end as u16).to_be_bytes());
}

/// The first page, with its change counter.
pub fn first_page(counter: u32) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..16].copy_from_slice(b"SQLite format 3\0");
    page[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
    page[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]);
    for (at, number) in [(COUNTER, counter), (28, 1 + TABLES as u32), (40, 1), (44, 4), (56, 1), (92, counter)] {
        page[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    let cells: Vec<_> = (0..TABLES)
        .map(|n| {
            let (name, sql) = (format!("t{n}"), format!("CREATE TABLE t{n}(id INTEGER PRIMARY KEY, v)"));
            let text = |text: &str| 13 + 2 * text.len() as u8;
            let mut record = vec![6, text("table"), text(&name), text(&name), 1, text(&sql)];
            [&b"table"[..], name.as_bytes(), name.as_bytes(), &[2 + n as u8], sql.as_bytes()]
                .iter()
                .for_each(|part| record.extend_from_slice(part));
            (1 + n as i64, record)
        })
        .collect();
    leaf(&mut page, 100, &cells);
    page
}

/// The page of a table.
pub fn table_page(rows: &Rows) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    let record = |v: &i64| [&[3, 0, 6][..], &v.to_be_bytes()].concat();
    leaf(&mut page, 0, &rows.iter().map(|(id, v)| (*id, record(v))).collect::<Vec<_>>());
    page
}

pub fn rows_of(page: &[u8]) -> Rows {
    let u16_at = |at: usize| usize::from(u16::from_be_bytes(page[at..at + 2].try_into().unwrap()));
    let row = |n: usize| {
        let cell = u16_at(8 + 2 * n);
        (i64::from(page[cell + 1]), i64::from_be_bytes(page[cell + 5..cell + 13].try_into().unwrap()))
    };
    if page[0] == 0 { Rows::new() } else { (0..u16_at(3)).map(row).collect() }
}

/// What a snapshot holds.
pub fn tables_of(pages: &dyn PageSource) -> Tables {
    std::array::from_fn(|n| {
        let page = PageNo(2 + n as u32);
        if page.0 > pages.page_count() { Rows::new() } else { rows_of(&pages.page(page).unwrap()) }
    })
}

/// What a connection reads.
pub fn read_table(database: &mut Database, table: usize) -> Result<Rows, ConnectionError> {
    let mut page = [0; PAGE];
    database.read(&mut page, ((1 + table) * PAGE) as u64)?;
    Ok(rows_of(&page))
}

pub fn write_table(database: &mut Database, table: usize, rows: &Rows) -> Result<(), ConnectionError> {
    database.write(&table_page(rows), ((1 + table) * PAGE) as u64)
}

/// The change counter, as SQLite reads it.
pub fn counter(database: &mut Database) -> Result<u32, ConnectionError> {
    let mut bytes = [0; 4];
    database.read(&mut bytes, COUNTER as u64)?;
    Ok(u32::from_be_bytes(bytes))
}

/// What SQLite does to page 1 before a commit.
pub fn count_change(database: &mut Database) -> Result<(), ConnectionError> {
    let next = counter(database)? + 1;
    database.write(&first_page(next), 0)
}

/// A changed row: the table, its key, the values before and after.
pub type Change = (String, i64, Option<i64>, Option<i64>);

pub fn difference(before: &Tables, after: &Tables) -> Vec<Change> {
    let mut changes = Vec::new();
    for (n, (before, after)) in before.iter().zip(after).enumerate() {
        let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (old, new) = (before.get(key).copied(), after.get(key).copied());
            if old != new {
                changes.push((format!("t{n}"), *key, old, new));
            }
        }
    }
    changes
}

/// What a changeset says, in the same order.
pub fn changes_of(changeset: &[u8]) -> Vec<Change> {
    let (mut changes, mut table) = (Vec::new(), String::new());
    for item in Reader::new(changeset) {
        match item.unwrap() {
            Item::Table(header) => table = header.name.to_owned(),
            Item::Change(change) => {
                let column = |record: Option<maniac_changeset::Record<'_>>, n: usize| match record?.values().nth(n)? {
                    Some(Value::Integer(v)) => Some(v),
                    _ => None,
                };
                let key = column(change.old, 0).or(column(change.new, 0)).unwrap();
                changes.push((table.clone(), key, column(change.old, 1), column(change.new, 1)));
            }
        }
    }
    changes.sort();
    changes
}
