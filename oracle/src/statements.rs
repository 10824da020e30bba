//! Random statements.

use rusqlite::types::Value;
use rusqlite::{Connection, MAIN_DB, params_from_iter};
use std::io::{Seek, SeekFrom, Write};

use crate::dump::quote;
use crate::rng::Rng;
use crate::schema::{ColumnSpec, TableSpec, added_column, table};
use crate::values::{Domain, value};

/// The tables of a database as the generator knows them.
pub struct Model {
    pub tables: Vec<TableSpec>,
    pub page_size: usize,
    names: usize,
}

/// Runs a statement; constraint violations are part of the game.
fn run(db: &Connection, sql: &str, values: Vec<Value>) {
    if let Err(error) = db.execute(sql, params_from_iter(values)) {
        let text = error.to_string();
        let expected =
            ["constraint", "datatype mismatch", "cannot drop", "Cannot add", "no such column", "cannot store"];
        assert!(expected.iter().any(|part| text.contains(part)), "{sql}: {text}");
    }
}

impl Model {
    pub fn new(page_size: usize) -> Model {
        Model { tables: Vec::new(), page_size, names: 0 }
    }

    pub fn fresh_name(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}{}", self.names)
    }

    /// A change of rows. `bare`: nothing that the session extension records otherwise than it happened.
    pub fn change_rows(&self, rng: &mut Rng, db: &Connection, bare: bool) {
        if self.tables.is_empty() {
            return;
        }
        let spec = &self.tables[rng.below(self.tables.len())];
        match rng.below(24) {
            0..7 => self.insert(rng, db, spec),
            7 => (0..20 + rng.below(150)).for_each(|_| self.insert(rng, db, spec)),
            8..13 => {
                let keys = rng.chance(30);
                self.update(rng, db, spec, keys);
            }
            13 | 14 => overwrite(rng, db, spec),
            15..18 => self.delete(rng, db, spec),
            18 if rng.chance(40) => self.delete_many(rng, db, spec),
            19 if bare && rng.chance(30) => run(db, &format!("DELETE FROM {}", quote(&spec.name)), vec![]),
            20 if bare => write_blob(rng, db, spec),
            21 => self.savepoint(rng, db, bare),
            22 => self.replace(rng, db, spec),
            _ => self.insert(rng, db, spec),
        }
    }

    fn savepoint(&self, rng: &mut Rng, db: &Connection, bare: bool) {
        db.execute_batch("SAVEPOINT inner").unwrap();
        for _ in 0..1 + rng.below(5) {
            self.change_rows(rng, db, bare);
        }
        if rng.chance(60) {
            db.execute_batch("ROLLBACK TO inner").unwrap();
        }
        db.execute_batch("RELEASE inner").unwrap();
    }

    fn row(&self, rng: &mut Rng, columns: &[&ColumnSpec]) -> Vec<Value> {
        columns.iter().map(|column| value(rng, column.domain, self.page_size)).collect()
    }

    fn insert_with(&self, rng: &mut Rng, db: &Connection, spec: &TableSpec, verb: &str) {
        let mut columns = spec.settable();
        // Some columns are left to their default.
        columns.retain(|column| column.key || rng.chance(85));
        if columns.is_empty() {
            return run(db, &format!("{verb} INTO {} DEFAULT VALUES", quote(&spec.name)), vec![]);
        }
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("{verb} INTO {}({}) VALUES({marks})", quote(&spec.name), names.join(", "));
        let row = self.row(rng, &columns);
        run(db, &sql, row);
    }

    fn insert(&self, rng: &mut Rng, db: &Connection, spec: &TableSpec) {
        self.insert_with(rng, db, spec, "INSERT OR IGNORE");
    }

    fn replace(&self, rng: &mut Rng, db: &Connection, spec: &TableSpec) {
        self.insert_with(rng, db, spec, "INSERT OR REPLACE");
    }

    fn update(&self, rng: &mut Rng, db: &Connection, spec: &TableSpec, keys: bool) {
        let mut columns = spec.settable();
        columns.retain(|column| if column.key { keys } else { rng.chance(40) });
        if columns.is_empty() {
            return;
        }
        let sets: Vec<String> = columns.iter().map(|column| format!("{} = ?", quote(&column.name))).collect();
        let sql = format!("UPDATE OR IGNORE {} SET {} WHERE {}", quote(&spec.name), sets.join(", "), filter(rng, spec));
        let row = self.row(rng, &columns);
        run(db, &sql, row);
    }

    fn delete(&self, rng: &mut Rng, db: &Connection, spec: &TableSpec) {
        run(db, &format!("DELETE FROM {} WHERE {}", quote(&spec.name), filter(rng, spec)), vec![]);
    }

    fn delete_many(&self, rng: &mut Rng, db: &Connection, spec: &TableSpec) {
        let column = quote(&spec.settable()[0].name);
        let sql = format!("DELETE FROM {} WHERE length({column}) % 7 <> {}", quote(&spec.name), rng.below(7));
        run(db, &sql, vec![]);
    }

    /// A change of the schema; returns the statement that a copy has to run too.
    pub fn change_schema(&mut self, rng: &mut Rng, db: &Connection) -> Option<String> {
        if self.tables.is_empty() || rng.chance(20) {
            let name = self.fresh_name("t");
            let spec = table(rng, name);
            db.execute_batch(&spec.sql).unwrap_or_else(|error| panic!("{}: {error}", spec.sql));
            let sql = spec.sql.clone();
            self.tables.push(spec);
            return Some(sql);
        }
        let fresh = self.fresh_name("x");
        let i = rng.below(self.tables.len());
        let name = quote(&self.tables[i].name);
        let plain: Vec<usize> = (0..self.tables[i].columns.len())
            .filter(|&column| !self.tables[i].columns[column].key && !self.tables[i].columns[column].generated)
            .collect();
        let some = if plain.is_empty() { None } else { Some(plain[rng.below(plain.len())]) };
        let column = some.map(|column| quote(&self.tables[i].columns[column].name)).unwrap_or_default();
        let sql = match rng.below(9) {
            0 if self.tables.len() > 1 => format!("DROP TABLE {name}"),
            1 => format!("ALTER TABLE {name} RENAME TO {fresh}"),
            2 | 3 => format!("ALTER TABLE {name} ADD COLUMN {}", added_column(rng, &fresh)),
            4 if some.is_some() => format!("ALTER TABLE {name} RENAME COLUMN {column} TO {fresh}"),
            5 if some.is_some() => format!("ALTER TABLE {name} DROP COLUMN {column}"),
            6 if some.is_some() => format!("CREATE INDEX {fresh} ON {name}({column})"),
            7 => format!("CREATE VIEW {fresh} AS SELECT {}", rng.below(1_000_000)),
            8 if some.is_some() => {
                format!("CREATE TRIGGER {fresh} AFTER DELETE ON {name} WHEN 0 BEGIN SELECT 1; END")
            }
            _ => return None,
        };
        // SQLite refuses some of these, depending on what uses the column.
        db.execute_batch(&sql).ok()?;
        if sql.starts_with("DROP TABLE") {
            self.tables.remove(i);
        } else if sql.contains("RENAME TO") {
            self.tables[i].name = fresh;
        } else if sql.contains("ADD COLUMN") {
            let added = ColumnSpec { name: fresh, domain: Domain::Any, generated: false, key: false };
            self.tables[i].columns.push(added);
        } else if let Some(column) = some {
            if sql.contains("RENAME COLUMN") {
                self.tables[i].columns[column].name = fresh;
            } else if sql.contains("DROP COLUMN") {
                self.tables[i].columns.remove(column);
            }
        }
        Some(sql)
    }
}

/// A condition that few rows meet.
fn filter(rng: &mut Rng, spec: &TableSpec) -> String {
    let columns = spec.settable();
    let keys: Vec<&&ColumnSpec> = columns.iter().filter(|column| column.key).collect();
    let column = if keys.is_empty() || rng.chance(20) { columns[rng.below(columns.len())] } else { keys[0] };
    let name = quote(&column.name);
    match rng.below(4) {
        0 => format!("{name} = {}", rng.below(60)),
        1 => format!("{name} = 'k{}'", rng.below(60)),
        2 => format!("{name} BETWEEN {0} AND {0} + 3", rng.below(60)),
        _ => format!("length({name}) % 11 = {}", rng.below(11)),
    }
}

/// Writes other bytes over the end of a long value, which SQLite does in place.
fn overwrite(rng: &mut Rng, db: &Connection, spec: &TableSpec) {
    let columns: Vec<&ColumnSpec> = spec.settable().into_iter().filter(|column| !column.key).collect();
    let Some(column) = columns.get(rng.below(columns.len().max(1))) else { return };
    let name = quote(&column.name);
    let tail = char::from(b'A' + rng.below(26) as u8);
    let sql = format!(
        "UPDATE {} SET {name} = substr({name}, 1, length({name}) - 1) || '{tail}' \
         WHERE typeof({name}) = 'text' AND length({name}) % 3 = {}",
        quote(&spec.name),
        rng.below(3),
    );
    run(db, &sql, vec![]);
}

/// Writes into a stored value through an incremental blob handle, near its end.
fn write_blob(rng: &mut Rng, db: &Connection, spec: &TableSpec) {
    let columns: Vec<&ColumnSpec> = spec.settable().into_iter().filter(|column| !column.key).collect();
    let Some(column) = columns.get(rng.below(columns.len().max(1))) else { return };
    let name = quote(&column.name);
    let sql = format!(
        "SELECT _rowid_ FROM {} WHERE typeof({name}) = 'blob' ORDER BY length({name}) DESC LIMIT 1",
        quote(&spec.name)
    );
    let Ok(rowid) = db.query_row(&sql, [], |row| row.get::<_, i64>(0)) else { return };
    let Ok(mut blob) = db.blob_open(MAIN_DB, spec.name.as_str(), column.name.as_str(), rowid, false) else { return };
    let len = blob.len();
    if len == 0 {
        return;
    }
    let at = len - 1 - rng.below(len.min(100));
    blob.seek(SeekFrom::Start(at as u64)).unwrap();
    blob.write_all(&[rng.bits() as u8]).unwrap();
}
