//! Whether everything that a schema consists of still compiles. SQLite reads the texts of views, triggers and foreign keys
//! without a look at what they refer to; it is an ALTER TABLE or the next use that fails.
//!
//! ```text
//! a view        SELECT * FROM it
//! a trigger     a statement that fires it, with no other trigger around
//! a table       DELETE and INSERT with foreign keys enforced
//! an FTS index  SELECT what it needs FROM the table that has its content
//! all           ALTER TABLE, which reads every text, and parts that a query is made without
//! ```
//!
//! All of these are compiled, and only the last is run, and undone. Each is tried twice: as the host has it, and with a name in double quotes that
//! is no column refused, as ALTER TABLE does. Otherwise a column that went leaves a text in its place.

use std::collections::BTreeMap;

use maniac_history::content_query;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::qualify::qualified;
use super::table::quote;
use crate::errors::{VfsError, VfsResult};

/// An object by its type and its name in lower case.
pub type ObjectKey = (String, String);

/// What is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Its name as it is written.
    pub name: String,
    pub plain: Option<String>,
    /// With names in double quotes taken at their word.
    pub strict: Option<String>,
}

pub type Faults = BTreeMap<ObjectKey, Fault>;

/// An object of `sqlite_schema`.
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

/// Settings that stay as they are now when this goes out of scope.
struct Settings<'c> {
    db: &'c Connection,
    earlier: Vec<(DbConfig, bool)>,
}

impl<'c> Settings<'c> {
    fn set(db: &'c Connection, settings: &[(DbConfig, bool)]) -> rusqlite::Result<Settings<'c>> {
        let mut set = Settings { db, earlier: Vec::new() };
        for &(config, value) in settings {
            set.earlier.push((config, db.db_config(config)?));
            db.set_db_config(config, value)?;
        }
        Ok(set)
    }
}

impl Drop for Settings<'_> {
    fn drop(&mut self) {
        for (config, value) in self.earlier.drain(..).rev() {
            // Only an unknown option is refused, and these were known a moment ago.
            let restored = self.db.set_db_config(config, value);
            debug_assert!(restored.is_ok(), "{restored:?}");
        }
    }
}

/// All objects of the connection's `main` that don't compile.
pub fn faults(db: &Connection) -> VfsResult<Faults> {
    find(db).map_err(VfsError::sql)
}

fn find(db: &Connection) -> rusqlite::Result<Faults> {
    let mut faults = Faults::new();
    for strict in [false, true] {
        let quotes = if strict { vec![(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)] } else { Vec::new() };
        let _settings = Settings::set(db, &quotes)?;
        for (object, error) in broken(db)? {
            let fault = faults.entry((object.kind, object.name.to_ascii_lowercase())).or_default();
            fault.name = object.name;
            *(if strict { &mut fault.strict } else { &mut fault.plain }) = Some(error);
        }
    }
    Ok(faults)
}

fn broken(db: &Connection) -> rusqlite::Result<Vec<(Object, String)>> {
    let (mut views, mut triggers, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    for object in objects(db)? {
        match object.kind.as_str() {
            "view" => views.push(object),
            "trigger" => triggers.push(object),
            "table" => tables.push(object),
            _ => {}
        }
    }
    let mut broken = Vec::new();
    for view in views {
        let error = compile(db, &format!("SELECT * FROM main.{}", quote(&view.name)));
        broken.extend(error.map(|error| (view, error)));
    }
    for table in tables {
        let error = if let Some(query) = content_query(&table.sql) {
            compile(db, &query)
        } else if has_parents(db, &table.name) {
            let _settings = Settings::set(db, &[(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)])?;
            statements(db, &table.name).find_map(|statement| compile(db, &statement))
        } else {
            None
        };
        broken.extend(error.map(|error| (table, error)));
    }
    broken.extend(broken_triggers(db, triggers)?);
    let known =
        |object: &Object| broken.iter().any(|(other, _)| other.kind == object.kind && other.name == object.name);
    if let Some(found) = alter_fails(db)?.filter(|(object, _)| !known(object)) {
        broken.push(found);
    }
    Ok(broken)
}

/// The first object that keeps ALTER TABLE from changing another one. A condition that is never true, for one, is left out
/// of a query with all that it refers to.
fn alter_fails(db: &Connection) -> rusqlite::Result<Option<(Object, String)>> {
    let objects = objects(db)?;
    if !is_shadowed(db)? {
        return first_in_the_way(db, objects);
    }
    // Where a TEMP table has the name of another one, ALTER TABLE takes it for that.
    let scratch = Scratch::of(objects.iter().map(|object| (object.kind.as_str(), object.sql.as_str())))?;
    let found = first_in_the_way(&scratch.0, objects)?;
    Ok(found.filter(|(_, why)| !["no such table", "no such module"].iter().any(|lack| why.starts_with(lack))))
}

fn is_shadowed(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM temp.sqlite_master WHERE type IN ('table', 'view') \
               AND lower(name) IN (SELECT lower(name) FROM main.sqlite_master)";
    db.query_row(sql, (), |row| row.get::<_, u32>(0)).map(|count| count > 0)
}

fn first_in_the_way(db: &Connection, objects: Vec<Object>) -> rusqlite::Result<Option<(Object, String)>> {
    let _settings = Settings::set(db, &[(DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, false)])?;
    db.execute_batch("SAVEPOINT maniac_check; CREATE TABLE main.maniac_check_table(x)")?;
    let error = db.execute_batch("ALTER TABLE main.maniac_check_table RENAME TO maniac_checked_table").err();
    db.execute_batch("ROLLBACK TO maniac_check; RELEASE maniac_check")?;
    let Some(message) = error.as_ref().map(reason) else { return Ok(None) };
    let Some(told) = message.strip_prefix("error in ") else { return Ok(None) };
    for object in objects {
        let rest = told.strip_prefix(&format!("{} {}", object.kind, object.name));
        // What is told of a TEMP object matters to nobody else.
        if let Some((when, why)) = rest.and_then(|rest| rest.split_once(": "))
            && (when.is_empty() || when == " after rename")
        {
            return Ok(Some((object, why.to_owned())));
        }
    }
    Ok(None)
}

fn objects(db: &Connection) -> rusqlite::Result<Vec<Object>> {
    let sought = "SELECT type, name, tbl_name, sql FROM main.sqlite_master WHERE sql IS NOT NULL ORDER BY rowid";
    let mut found = db.prepare(sought)?;
    let object = |row: &rusqlite::Row<'_>| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    };
    found.query_map((), object)?.collect()
}

/// SQLite's reason for not compiling a statement.
fn compile(db: &Connection, statement: &str) -> Option<String> {
    db.prepare(statement).err().map(|error| reason(&error))
}

/// SQLite's own words.
pub fn reason(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

fn has_parents(db: &Connection, table: &str) -> bool {
    let count = "SELECT count(*) FROM main.pragma_foreign_key_list(?1, 'main')";
    db.query_row(count, [table], |row| row.get::<_, u32>(0)).is_ok_and(|count| count > 0)
}

/// Statements of each kind, which fire all triggers of a table or view.
fn statements(db: &Connection, table: &str) -> impl Iterator<Item = String> {
    let columns = || {
        let mut found = db.prepare("SELECT name FROM main.pragma_table_xinfo(?1, 'main') WHERE hidden = 0")?;
        let names = found.query_map([table], |row| row.get::<_, String>(0))?;
        names.collect::<rusqlite::Result<Vec<String>>>()
    };
    let columns = columns().unwrap_or_default();
    let sets: Vec<String> = columns.iter().map(|column| format!("{0} = {0}", quote(column))).collect();
    let table = quote(table);
    let update = (!sets.is_empty()).then(|| format!("UPDATE main.{table} SET {}", sets.join(", ")));
    [format!("INSERT INTO main.{table} DEFAULT VALUES"), format!("DELETE FROM main.{table}")].into_iter().chain(update)
}

/// The first statement on a table that a trigger keeps from compiling.
fn firing_fails(db: &Connection, table: &str) -> Option<String> {
    let fails = |statement: String| compile(db, &statement);
    // A view can be written only where a trigger does it.
    statements(db, table).filter_map(fails).find(|error| !error.starts_with("cannot modify"))
}

fn broken_triggers(db: &Connection, triggers: Vec<Object>) -> rusqlite::Result<Vec<(Object, String)>> {
    let _settings = Settings::set(db, &[(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)])?;
    let mut tables: Vec<&str> = triggers.iter().map(|trigger| trigger.table.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    if !tables.iter().any(|table| firing_fails(db, table).is_some()) {
        return Ok(Vec::new());
    }
    // A statement that fails doesn't say which trigger it was: they are tried one by one.
    db.execute_batch("SAVEPOINT maniac_check")?;
    let alone = one_by_one(db, triggers);
    db.execute_batch("ROLLBACK TO maniac_check; RELEASE maniac_check")?;
    alone
}

fn one_by_one(db: &Connection, triggers: Vec<Object>) -> rusqlite::Result<Vec<(Object, String)>> {
    let drop = |trigger: &Object| db.execute_batch(&format!("DROP TRIGGER main.{}", quote(&trigger.name)));
    triggers.iter().try_for_each(drop)?;
    let mut broken = Vec::new();
    for trigger in triggers {
        let error = match db.execute_batch(&qualified(&trigger.sql, "main")) {
            Err(error) => Some(reason(&error)),
            Ok(()) => {
                let error = firing_fails(db, &trigger.table);
                drop(&trigger)?;
                error
            }
        };
        broken.extend(error.map(|error| (trigger, error)));
    }
    Ok(broken)
}

/// A database in memory with a schema and nothing in it, to try things on. What can't be made there is missing.
pub struct Scratch(Connection);

impl Scratch {
    /// `texts` come in the order of `sqlite_schema`.
    pub fn new<'t>(texts: impl Iterator<Item = (&'t str, &'t str)> + Clone) -> VfsResult<Scratch> {
        Scratch::of(texts).map_err(VfsError::sql)
    }

    fn of<'t>(texts: impl Iterator<Item = (&'t str, &'t str)> + Clone) -> rusqlite::Result<Scratch> {
        let db = Connection::open_in_memory()?;
        for kind in ["table", "view", "trigger"] {
            for (_, sql) in texts.clone().filter(|(of, _)| *of == kind) {
                // An application's own functions and modules may be missing here.
                let _ = db.execute_batch(sql);
            }
        }
        Ok(Scratch(db))
    }

    pub fn faults(&self) -> VfsResult<Faults> {
        faults(&self.0)
    }

    /// Whether an index can be made with a name in double quotes that is no column refused.
    pub fn takes_index(&self, sql: &str) -> VfsResult<bool> {
        let _settings = Settings::set(&self.0, &[(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)]).map_err(VfsError::sql)?;
        Ok(self.0.execute_batch(sql).is_ok())
    }
}

/// Makes an index, and refuses if a name in double quotes in it is no column, unless it never was.
pub fn create_index(db: &Connection, sql: &str, origin: &Scratch) -> VfsResult<rusqlite::Result<()>> {
    let create = || db.execute_batch(&qualified(sql, "main"));
    let strict = {
        let _settings = Settings::set(db, &[(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)]).map_err(VfsError::sql)?;
        create()
    };
    match strict {
        Err(_) if !origin.takes_index(sql)? => Ok(create()),
        created => Ok(created),
    }
}
