//! Everything that SQL can do with a schema and its rows.

use maniac_oracle::dump::quote;
use rusqlite::Connection;

use crate::state::{column, columns, query, tables};

/// What is wrong with the connection's database; the schema changes are undone.
pub fn faults(db: &Connection) -> Vec<String> {
    let mut faults = Vec::new();
    let check = |sql: String| db.execute_batch(&sql).err().map(|error| format!("{sql}: {error}"));
    for (table, module) in tables(db) {
        let name = quote(&table);
        match module.as_deref() {
            Some("fts5") => {
                faults.extend(check(format!("INSERT INTO {name}({name}, rank) VALUES ('integrity-check', 1)")));
            }
            Some("fts4") => faults.extend(check(format!("INSERT INTO {name}({name}) VALUES ('integrity-check')"))),
            Some("rtree" | "rtree_i32") => {
                let found = query(db, "SELECT rtreecheck(?1)", [&table]).unwrap().concat().concat();
                if found != "ok" {
                    faults.push(format!("index {table}: {found}"));
                }
            }
            _ => alter(db, &table, &mut faults),
        }
        compile(db, &table, &mut faults);
    }
    for view in column(db, "SELECT name FROM sqlite_schema WHERE type = 'view'") {
        if let Err(error) = db.prepare(&format!("SELECT * FROM {}", quote(&view))) {
            faults.push(format!("view {view}: {error}"));
        }
        compile(db, &view, &mut faults);
    }
    let found = column(db, "PRAGMA integrity_check").join(", ");
    if found != "ok" {
        faults.push(format!("integrity_check: {found}"));
    }
    faults
}

/// Statements that fire each trigger and foreign key action.
fn compile(db: &Connection, table: &str, faults: &mut Vec<String>) {
    let names: Vec<String> = columns(db, table).iter().map(|name| quote(name)).collect();
    let sets: Vec<String> = names.iter().map(|name| format!("{name} = {name}")).collect();
    let (table, list) = (quote(table), names.join(", "));
    for sql in [
        format!("INSERT INTO {table}({list}) SELECT {list} FROM {table}"),
        format!("DELETE FROM {table}"),
        format!("UPDATE {table} SET {}", sets.join(", ")),
    ] {
        match db.prepare(&sql) {
            Err(error) if !error.to_string().contains("cannot modify") => faults.push(format!("{sql}: {error}")),
            _ => {}
        }
    }
}

/// What an application may do next with any table.
fn alter(db: &Connection, table: &str, faults: &mut Vec<String>) {
    let (Some(last), name) = (columns(db, table).pop(), quote(table)) else { return };
    db.execute_batch("SAVEPOINT probe").unwrap();
    for sql in [
        format!("ALTER TABLE {name} RENAME TO probed"),
        "ALTER TABLE probed ADD COLUMN probe DEFAULT 1".into(),
        "ALTER TABLE probed RENAME COLUMN probe TO \"probed too\"".into(),
        "ALTER TABLE probed DROP COLUMN \"probed too\"".into(),
        format!("ALTER TABLE probed RENAME COLUMN {} TO probed_column", quote(&last)),
        format!("ALTER TABLE probed RENAME COLUMN probed_column TO {}", quote(&last)),
        format!("ALTER TABLE probed RENAME TO {name}"),
    ] {
        if let Err(error) = db.execute_batch(&sql) {
            faults.push(format!("{sql}: {error}"));
            break;
        }
    }
    db.execute_batch("ROLLBACK TO probe; RELEASE probe").unwrap();
}
