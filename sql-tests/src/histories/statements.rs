//! Random statements, run one by one.

use super::definitions::{create_table, default};
use super::shape::{Column, Shape, definition, shapes};
use super::values::{Misfits, clashing_key, fitting, key, mirror_type};
use super::{names, quote};
use crate::dice::Dice;
use crate::session::{Failure, Session};
use crate::value::Value;

/// What was done, for the message of a failure.
#[derive(Debug, Default)]
pub struct Log(Vec<String>);

impl Log {
    pub fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }

    pub fn text(&self) -> String {
        self.0.join("\n")
    }
}

/// Messages of statements that SQLite may refuse.
const REFUSALS: &[&str] = &[
    "constraint failed",
    "datatype mismatch",
    "cannot store",
    "cannot drop",
    "Cannot add",
    "no such column",
    "no such table",
    "already exists",
    "already another table",
    "already a table named",
    "duplicate column name",
    "type mismatch on DEFAULT",
    "error in index",
    "error in table",
    "has no column named",
];

/// Writes random histories.
pub struct Historian {
    pub dice: Dice,
    pub misfits: Misfits,
    /// Keys that SQLite tells apart and a mirror may not.
    pub clashing: bool,
    /// More tables are not made.
    pub tables: usize,
    /// So many more statements insert thousands of rows.
    pub large: u64,
    /// Statements that were run, and those that SQLite refused.
    pub statements: u64,
    pub refused: u64,
}

impl Historian {
    /// Runs a statement, which SQLite may refuse; `None` if it did.
    fn run(&mut self, session: &mut Session, log: &mut Log, sql: &str) -> Option<Vec<Vec<Value>>> {
        self.statements += 1;
        match session.run(sql) {
            Ok(rows) => {
                log.add(format!("{sql};"));
                Some(rows)
            }
            Err(Failure::Refused(message)) if REFUSALS.iter().any(|refusal| message.contains(refusal)) => {
                self.refused += 1;
                log.add(format!("{sql}; -- {message}"));
                None
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    fn shapes(&self, session: &mut Session) -> Vec<Shape> {
        shapes(session).unwrap_or_else(|error| panic!("the schema: {error}"))
    }

    /// One transaction. `ddl` of a hundred statements change the schema.
    pub fn transact(&mut self, session: &mut Session, log: &mut Log, ddl: u64) {
        self.run(session, log, "BEGIN");
        let mut savepoints = 0;
        for _ in 0..1 + self.dice.below(7) {
            match self.dice.below(20) {
                0 => {
                    savepoints += 1;
                    self.run(session, log, &format!("SAVEPOINT s{savepoints}"));
                }
                1 if savepoints > 0 => {
                    self.run(session, log, &format!("ROLLBACK TO s{savepoints}"));
                }
                2 if savepoints > 0 => {
                    self.run(session, log, &format!("RELEASE s{savepoints}"));
                    savepoints -= 1;
                }
                _ => self.statement(session, log, ddl),
            }
        }
        let end = if self.dice.chance(90) { "COMMIT" } else { "ROLLBACK" };
        self.run(session, log, end);
    }

    /// One statement, or a few that belong together.
    pub fn statement(&mut self, session: &mut Session, log: &mut Log, ddl: u64) {
        let shapes = self.shapes(session);
        if shapes.is_empty() || self.dice.chance(ddl) {
            self.change_schema(session, log, &shapes);
        } else {
            let shape = self.dice.pick(&shapes).clone();
            self.change_rows(session, log, &shape);
        }
    }

    pub fn create_table(&mut self, session: &mut Session, log: &mut Log) {
        let shapes = self.shapes(session);
        let name = self.fresh_name(&shapes);
        let sql = create_table(&mut self.dice, &name, self.misfits);
        self.run(session, log, &sql);
    }

    fn fresh_name(&mut self, shapes: &[Shape]) -> String {
        let taken: Vec<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
        names::table(&mut self.dice, &taken)
    }

    fn fresh_column(&mut self, shape: &Shape) -> String {
        let taken: Vec<&str> = shape.columns.iter().map(|column| column.name.as_str()).collect();
        names::column(&mut self.dice, &taken)
    }

    fn change_schema(&mut self, session: &mut Session, log: &mut Log, shapes: &[Shape]) {
        if shapes.is_empty() || (shapes.len() < self.tables && self.dice.chance(25)) {
            return self.create_table(session, log);
        }
        let shape = self.dice.pick(shapes).clone();
        let table = quote(&shape.name);
        let column = self.dice.pick(&shape.columns).clone();
        let mut all = |historian: &mut Self, statements: &[String]| {
            for sql in statements {
                historian.run(session, log, sql);
            }
        };
        match self.dice.below(14) {
            0 => all(self, &[format!("DROP TABLE {table}")]),
            1 => {
                let to = quote(&self.fresh_name(shapes));
                all(self, &[format!("ALTER TABLE {table} RENAME TO {to}")]);
            }
            2 => {
                let other = quote(&self.dice.pick(shapes).name.clone());
                let alter = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
                all(self, &[alter(&table, "swap"), alter(&other, &table), alter("swap", &other)]);
            }
            3..=5 => {
                let name = quote(&self.fresh_column(&shape));
                let declared = if shape.strict { "TEXT" } else { self.misfits.declared(&mut self.dice) };
                let default = default(&mut self.dice, mirror_type(declared), self.misfits);
                let not_null = if self.dice.chance(20) { " NOT NULL" } else { "" };
                all(self, &[format!("ALTER TABLE {table} ADD COLUMN {name} {declared}{not_null}{default}")]);
            }
            6 | 7 => {
                let to = quote(&self.fresh_column(&shape));
                all(self, &[format!("ALTER TABLE {table} RENAME COLUMN {} TO {to}", quote(&column.name))]);
            }
            8 => {
                let (one, two) = (quote(&column.name), quote(&self.dice.pick(&shape.columns).name.clone()));
                let rename = |from: &str, to: &str| format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}");
                all(self, &[rename(&one, "swap"), rename(&two, &one), rename("swap", &two)]);
            }
            9 | 10 => all(self, &[format!("ALTER TABLE {table} DROP COLUMN {}", quote(&column.name))]),
            11 => {
                let anew = create_table(&mut self.dice, &shape.name, self.misfits);
                all(self, &[format!("DROP TABLE {table}"), anew]);
            }
            12 => {
                // As SQLite's documentation of ALTER TABLE says to make any other change.
                let sql = definition(session, &shape.name).unwrap_or_else(|error| panic!("{table}: {error}"));
                let to = quote(&self.fresh_name(shapes));
                let mut statements = match sql.split_once('(') {
                    // A table that is made from a query has other types, which its values may not fit.
                    Some((_, columns)) if self.misfits.percent == 0 || self.dice.chance(50) => {
                        let settable = shape.columns.iter().filter(|column| !column.generated);
                        let names = settable.map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ");
                        let copy = format!("INSERT INTO {to}({names}) SELECT {names} FROM {table}");
                        vec![format!("CREATE TABLE {to}({columns}"), copy]
                    }
                    _ => vec![format!("CREATE TABLE {to} AS SELECT * FROM {table}")],
                };
                statements.push(format!("DROP TABLE {table}"));
                statements.push(format!("ALTER TABLE {to} RENAME TO {table}"));
                statements.iter().for_each(|sql| drop(self.run(session, log, sql)));
            }
            _ => {
                let name = format!("made_{}", self.dice.below(1000));
                let sql = match self.dice.below(2) {
                    0 => format!("CREATE INDEX {name} ON {table}({})", quote(&column.name)),
                    _ => format!("CREATE VIEW {name} AS SELECT 1"),
                };
                all(self, &[sql]);
            }
        }
    }

    fn change_rows(&mut self, session: &mut Session, log: &mut Log, shape: &Shape) {
        let table = quote(&shape.name);
        let filter = self.filter(shape);
        if self.large > 0 && self.dice.chance(4) {
            self.large -= 1;
            let sql = self.insert_many(shape);
            self.run(session, log, &sql);
            return;
        }
        let sql = match self.dice.below(22) {
            0..=5 => self.insert(shape, "INSERT OR IGNORE", 3),
            6 => self.insert(shape, "INSERT OR IGNORE", 40),
            7 | 8 => self.insert(shape, "INSERT OR REPLACE", 4),
            9 => self.insert(shape, "INSERT", 2),
            10 | 11 => {
                let insert = self.insert(shape, "INSERT", 3);
                let sets = self.sets(shape, |column| column.key.is_none());
                format!("{insert} ON CONFLICT DO UPDATE SET {sets}")
            }
            12..=15 => format!(
                "UPDATE OR IGNORE {table} SET {} WHERE {filter}",
                self.sets(shape, |column| column.key.is_none())
            ),
            16 => {
                let verb = self.dice.pick(&["IGNORE", "REPLACE", "FAIL"]);
                format!(
                    "UPDATE OR {verb} {table} SET {} WHERE {filter}",
                    self.sets(shape, |column| column.key.is_some())
                )
            }
            17 => match shape.rowid().filter(|_| !shape.has_key()) {
                Some(rowid) => format!("UPDATE OR IGNORE {table} SET {rowid} = {rowid} + 3 WHERE {filter}"),
                None => format!("UPDATE OR REPLACE {table} SET {}", self.sets(shape, |_| true)),
            },
            18 | 19 => format!("DELETE FROM {table} WHERE {filter}"),
            20 if self.dice.chance(40) => format!("DELETE FROM {table}"),
            _ => {
                let column = quote(&self.dice.pick(&shape.columns).name.clone());
                format!("UPDATE OR IGNORE {table} SET {} WHERE {column} IS NOT NULL", self.sets(shape, |_| true))
            }
        };
        self.run(session, log, &sql);
    }

    fn insert(&mut self, shape: &Shape, verb: &str, rows: u64) -> String {
        let mut columns: Vec<&Column> = shape.columns.iter().filter(|column| !column.generated).collect();
        let rowid = shape.rowid_column();
        // Rowids are sometimes, and other columns now and then left to SQLite.
        columns.retain(|column| {
            self.dice.chance(if column.key.is_none() {
                85
            } else if rowid == Some(*column) {
                60
            } else {
                97
            })
        });
        if columns.is_empty() {
            columns.extend(shape.columns.iter().find(|column| !column.generated));
        }
        let rows: Vec<String> = (0..1 + self.dice.below(rows))
            .map(|_| {
                let values: Vec<String> = columns.iter().map(|column| self.value(shape, column)).collect();
                format!("({})", values.join(", "))
            })
            .collect();
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        format!("{verb} INTO {}({}) VALUES {}", quote(&shape.name), names.join(", "), rows.join(", "))
    }

    /// Thousands of rows, unless the table has many already; some of them with a value of their own.
    fn insert_many(&mut self, shape: &Shape) -> String {
        let (table, from) = (quote(&shape.name), self.dice.below(3) * 5000);
        let (rows, most) = (10_000 + self.dice.below(4000), 12_000);
        let mut names = Vec::new();
        let mut values = Vec::new();
        for column in shape.columns.iter().filter(|column| !column.generated) {
            let mirror = mirror_type(&column.declared);
            names.push(quote(&column.name));
            values.push(match (column.key, mirror) {
                (Some(_), "BIGINT") => "i".to_string(),
                (Some(_), "VARCHAR") => "'k' || i".to_string(),
                (Some(_), "DOUBLE") => "i + 0.5".to_string(),
                (Some(_), "BLOB") => "CAST('k' || i AS BLOB)".to_string(),
                (Some(_), "DECIMAL(9,2)" | "DECIMAL(30,4)") => "i / 4.0".to_string(),
                (Some(_), _) => key(&mut self.dice, mirror),
                (None, _) => {
                    let [seldom, often, else_] = [(); 3].map(|()| self.short_value(shape, column));
                    format!("CASE WHEN i % 991 = 7 THEN {seldom} WHEN i % 3 = 0 THEN {often} ELSE {else_} END")
                }
            });
        }
        format!(
            "INSERT OR IGNORE INTO {table}({}) WITH RECURSIVE n(i) AS \
             (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {from} + {rows}) \
             SELECT {} FROM n WHERE (SELECT count(*) FROM {table}) < {most}",
            names.join(", "),
            values.join(", ")
        )
    }

    /// A value that may be in thousands of rows.
    fn short_value(&mut self, shape: &Shape, column: &Column) -> String {
        loop {
            let value = self.value(shape, column);
            if !value.contains("printf") && !value.contains("zeroblob") {
                return value;
            }
        }
    }

    /// New values for one or some of the columns that are wanted, or of all if there is none.
    fn sets(&mut self, shape: &Shape, wanted: impl Fn(&Column) -> bool) -> String {
        let settable: Vec<&Column> = shape.columns.iter().filter(|column| !column.generated).collect();
        let fitting: Vec<&Column> = settable.iter().copied().filter(|column| wanted(column)).collect();
        let from = if fitting.is_empty() { settable } else { fitting };
        let certain = self.dice.below(from.len() as u64) as usize;
        let mut sets = Vec::new();
        for (place, column) in from.iter().enumerate() {
            if place == certain || self.dice.chance(25) {
                sets.push(format!("{} = {}", quote(&column.name), self.value(shape, column)));
            }
        }
        sets.join(", ")
    }

    fn value(&mut self, shape: &Shape, column: &Column) -> String {
        let mirror = mirror_type(&column.declared);
        let dice = &mut self.dice;
        match column.key {
            _ if shape.rowid_column() == Some(column) => key(dice, "BIGINT"),
            Some(_) if dice.chance(6) => "NULL".to_string(),
            Some(_) if self.clashing && dice.chance(40) => clashing_key(dice),
            Some(_) => key(dice, mirror),
            None if dice.chance(12) => "NULL".to_string(),
            None if dice.chance(self.misfits.percent) => self.misfits.odd(dice),
            None => fitting(dice, mirror),
        }
    }

    /// A condition that a few rows meet.
    fn filter(&mut self, shape: &Shape) -> String {
        let keys: Vec<&Column> = shape.columns.iter().filter(|column| column.key.is_some()).collect();
        let rowid = shape.rowid().filter(|_| self.dice.chance(30));
        match (rowid, keys.as_slice()) {
            (Some(rowid), _) => format!("{rowid} % 7 = {}", self.dice.below(7)),
            (None, []) => {
                let column = self.dice.pick(&shape.columns);
                format!("length({}) % 3 = {}", quote(&column.name), self.dice.below(3))
            }
            (None, keys) => {
                let column = *self.dice.pick(keys);
                format!("{} IS {}", quote(&column.name), self.value(shape, column))
            }
        }
    }
}
