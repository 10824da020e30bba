//! Where a mirror lives: a schema of a DuckDB database or of a DuckLake, and the statements that differ between them.

use crate::error::{Error, Result};
use crate::host::Session;
use crate::schema::{ColumnType, MirrorTable, Step, literal, quote, quote_text};

/// Who a lake's snapshots say has made them.
pub const AUTHOR: &str = "maniac";

/// Rows of a batch, or deletions, that a lake takes into its catalog rather than into a file of their own. Up to here it
/// costs no more, and queries read fewer files.
pub const INLINED_ROWS: usize = 200;
/// Bytes of such rows. DuckLake writes them as the text of a statement, which takes it half a second for each megabyte of a
/// blob.
pub const INLINED_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub catalog: String,
    pub schema: String,
    pub lake: bool,
}

impl Target {
    /// Finds the database that a mirror asks for: a DuckLake, another attached database, or the default one.
    pub fn find(session: &Session, lake: Option<&str>, database: Option<&str>, schema: &str) -> Result<Target> {
        if lake.is_some() && database.is_some() {
            return Err(Error::input("lake := and database := name two targets; give one of them"));
        }
        let rows = session.query(
            "SELECT database_name, type, readonly::VARCHAR FROM duckdb_databases() WHERE NOT internal ORDER BY 1",
        )?;
        let databases: Vec<(String, String, bool)> = rows
            .into_iter()
            .filter_map(|row| match <[Option<String>; 3]>::try_from(row) {
                Ok([Some(name), Some(kind), readonly]) => Some((name, kind, readonly.as_deref() == Some("true"))),
                _ => None,
            })
            .collect();
        let wanted = match lake.or(database) {
            Some(name) => name.to_string(),
            None => session.value("SELECT current_database()")?.unwrap_or_default(),
        };
        let known = || {
            let of_kind = databases.iter().filter(|(_, kind, _)| (kind == "ducklake") == lake.is_some());
            let names: Vec<&str> = of_kind.map(|(name, ..)| name.as_str()).collect();
            if names.is_empty() { "none".to_string() } else { names.join(", ") }
        };
        let Some((catalog, kind, readonly)) = databases.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&wanted))
        else {
            return Err(Error::input(match lake {
                Some(_) => format!(
                    "no DuckLake named \"{wanted}\" is attached (attached: {}): run ATTACH 'ducklake:<path>' AS {} first",
                    known(),
                    quote(&wanted)
                ),
                None => format!("no database named \"{wanted}\" is attached (attached: {})", known()),
            }));
        };
        match (lake, kind.as_str()) {
            (Some(_), "ducklake") | (None, "duckdb" | "ducklake") => {}
            (Some(_), _) => {
                return Err(Error::input(format!(
                    "{catalog} is not a DuckLake but a database of type {kind}; use database := '{catalog}' for tables in it"
                )));
            }
            (None, _) => {
                return Err(Error::input(format!(
                    "{catalog} is of type {kind}, which cannot hold a mirror: give a DuckDB database or a DuckLake"
                )));
            }
        }
        if *readonly {
            return Err(Error::input(format!("{catalog} is attached read only, and a mirror has to write to it")));
        }
        Ok(Target { catalog: catalog.clone(), schema: schema.to_string(), lake: kind == "ducklake" })
    }

    /// The statement that sets how many rows at once the session puts into the catalogs of lakes. What is set for the lake,
    /// the schema or a table goes before it.
    pub fn inline(rows: usize) -> String {
        format!("SET SESSION ducklake_default_data_inlining_row_limit = {rows}")
    }

    /// A table's full name for SQL.
    pub fn table(&self, name: &str) -> String {
        format!("{}.{}", self.schema_name(), quote(name))
    }

    /// A function of the lake's. With its schema: a lake's name alone is ambiguous where the default database has a schema of
    /// that name.
    pub fn function(&self, name: &str) -> String {
        format!("{}.main.{name}", quote(&self.catalog))
    }

    pub fn schema_name(&self) -> String {
        format!("{}.{}", quote(&self.catalog), quote(&self.schema))
    }

    /// `lake.shop`, for messages.
    pub fn shown(&self) -> String {
        format!("{}.{}", self.catalog, self.schema)
    }

    /// The statement that makes a mirror's table, before it is filled, with the columns of texts that hardly repeat.
    pub fn create_table(&self, table: &MirrorTable, unrepeated: &[usize]) -> String {
        let columns = table.columns.iter().enumerate().map(|(place, column)| {
            let method = if unrepeated.contains(&place) { " USING COMPRESSION fsst" } else { "" };
            format!("{} {}{method}", quote(&column.name), column.column_type)
        });
        format!("CREATE TABLE {} ({})", self.table(&table.name), columns.collect::<Vec<_>>().join(", "))
    }

    /// The statement that gives a filled table its key, if it gets one. A rowid is an integer that is always there, so
    /// that a native table takes it as its primary key, which makes finding a few keys in a large table cheap. Other keys
    /// of SQLite may hold NULL or several types, and DuckLake has no keys at all. An index over rows that are there
    /// costs half of one that grows with them.
    pub fn add_key(&self, table: &MirrorTable) -> Option<String> {
        let [place] = table.key.as_slice() else { return None };
        let column = table.columns.get(*place).filter(|_| table.key_is_rowid && !self.lake)?;
        Some(format!("ALTER TABLE {} ADD PRIMARY KEY ({})", self.table(&table.name), quote(&column.name)))
    }

    /// The statement for a step.
    pub fn statement(&self, step: &Step) -> Result<String> {
        let alter = |table: &str| format!("ALTER TABLE {}", self.table(table));
        Ok(match step {
            // Somebody may have dropped it here already.
            Step::Drop { table } => format!("DROP TABLE IF EXISTS {}", self.table(table)),
            Step::RenameTable { from, to } => format!("{} RENAME TO {}", alter(from), quote(to)),
            Step::RenameColumn { table, from, to } => {
                format!("{} RENAME COLUMN {} TO {}", alter(table), quote(from), quote(to))
            }
            Step::DropColumn { table, column } => format!("{} DROP COLUMN {}", alter(table), quote(column)),
            Step::AddColumn { table, column, default } => {
                let value = literal(default, column.column_type).ok_or_else(|| {
                    let (name, default) = (&column.name, crate::schema::show(default));
                    Error::source(format!("column {name} of table {table} cannot have the default {default}"))
                })?;
                let value = default_for(&value, column.column_type);
                format!("{} ADD COLUMN {} {}{value}", alter(table), quote(&column.name), column.column_type)
            }
        })
    }

    /// The statement that marks the lake's snapshot with what it shows; `None` for a native target.
    pub fn mark(&self, message: &str, extra: &str) -> Option<String> {
        self.lake.then(|| {
            format!(
                "CALL {}('{AUTHOR}', {}, extra_info => {})",
                self.function("set_commit_message"),
                quote_text(message),
                quote_text(extra)
            )
        })
    }
}

/// The DEFAULT clause of an added column. DuckLake takes only plain literals there, and so does DuckDB 1.5 in one statement:
/// of a cast it makes an UPDATE of all rows. It could not replay one to JSON from its write-ahead log either, so that the
/// database could not be opened after a crash.
fn default_for(value: &str, column: ColumnType) -> String {
    if value == "NULL" {
        return String::new();
    }
    let suffix = format!(" AS {column})");
    let plain = value.strip_prefix("CAST(").and_then(|rest| rest.strip_suffix(&suffix)).unwrap_or(value);
    format!(" DEFAULT {plain}")
}
