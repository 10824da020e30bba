//! What a connection can have of its own. None of it may matter to a merge, and all of it is there afterwards.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use crate::state::{column, query, tables};

/// A connection of an application with habits.
#[derive(Clone, Copy)]
pub struct Habit {
    pub name: &'static str,
    pub set: fn(&Connection),
}

pub const HABITS: [Habit; 24] = [
    Habit { name: "TEMP tables and views", set: temp_tables },
    Habit { name: "TEMP triggers", set: temp_triggers },
    Habit { name: "attached tables", set: attached_tables },
    Habit { name: "everything was read before", set: read_all },
    Habit { name: "case_sensitive_like", set: |db| pragma(db, "case_sensitive_like = ON") },
    Habit { name: "recursive_triggers", set: |db| pragma(db, "recursive_triggers = ON") },
    Habit { name: "count_changes", set: |db| pragma(db, "count_changes = ON") },
    Habit { name: "reverse_unordered_selects", set: |db| pragma(db, "reverse_unordered_selects = ON") },
    Habit {
        name: "full_column_names",
        set: |db| pragma(db, "full_column_names = ON; PRAGMA short_column_names = OFF"),
    },
    Habit { name: "ignore_check_constraints", set: |db| pragma(db, "ignore_check_constraints = ON") },
    Habit { name: "writable_schema", set: |db| pragma(db, "writable_schema = ON") },
    Habit { name: "legacy_alter_table", set: |db| pragma(db, "legacy_alter_table = ON") },
    Habit { name: "defer_foreign_keys", set: |db| pragma(db, "defer_foreign_keys = ON") },
    Habit { name: "trusted_schema off", set: |db| pragma(db, "trusted_schema = OFF") },
    Habit { name: "cell_size_check", set: |db| pragma(db, "cell_size_check = ON") },
    Habit { name: "automatic_index off", set: |db| pragma(db, "automatic_index = OFF") },
    Habit {
        name: "temp_store in memory, a small cache",
        set: |db| pragma(db, "temp_store = 2; PRAGMA cache_size = 2"),
    },
    Habit { name: "secure_delete", set: |db| pragma(db, "secure_delete = ON") },
    Habit { name: "defensive", set: |db| config(db, DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true) },
    Habit { name: "triggers off", set: |db| config(db, DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false) },
    Habit { name: "views off", set: |db| config(db, DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false) },
    Habit { name: "no texts in double quotes in rows", set: |db| config(db, DbConfig::SQLITE_DBCONFIG_DQS_DML, false) },
    Habit {
        name: "no texts in double quotes in schemas",
        set: |db| config(db, DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    },
    Habit { name: "no attached databases, no triggers in triggers", set: limits },
];

fn pragma(db: &Connection, setting: &str) {
    db.execute_batch(&format!("PRAGMA {setting}")).unwrap();
}

fn config(db: &Connection, config: DbConfig, on: bool) {
    db.set_db_config(config, on).unwrap();
}

fn limits(db: &Connection) {
    db.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).unwrap();
    db.set_limit(Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1).unwrap();
}

/// Names that statements of a merge use without their schema.
const NAMES: [&str; 8] = ["t", "t2", "d", "d2", "log", "child", "fresh", "new_t"];

fn temp_tables(db: &Connection) {
    for name in NAMES {
        db.execute_batch(&format!("CREATE TEMP TABLE {name}(x, y)")).unwrap();
    }
    db.execute_batch("CREATE TEMP VIEW v AS SELECT 1; CREATE TEMP VIEW w AS SELECT 1; CREATE INDEX temp.i ON log(x)")
        .unwrap();
}

fn temp_triggers(db: &Connection) {
    for (n, (table, module)) in tables(db).into_iter().enumerate() {
        for event in ["INSERT", "UPDATE", "DELETE"].iter().filter(|_| module.is_none()) {
            let sql = format!(
                "CREATE TEMP TRIGGER temp_{event}_{n} BEFORE {event} ON main.\"{table}\" BEGIN SELECT RAISE(ABORT, 'fired'); END"
            );
            db.execute_batch(&sql).unwrap();
        }
    }
}

fn attached_tables(db: &Connection) {
    db.execute_batch("ATTACH ':memory:' AS other").unwrap();
    for name in NAMES {
        db.execute_batch(&format!("CREATE TABLE other.{name}(x, y)")).unwrap();
    }
}

fn read_all(db: &Connection) {
    for (table, _) in tables(db) {
        query(db, &format!("SELECT count(*) FROM \"{table}\""), ()).unwrap();
    }
}

/// TEMP triggers with their tables.
pub fn triggers(db: &Connection) -> Vec<Vec<String>> {
    query(db, "SELECT name, tbl_name FROM sqlite_temp_schema WHERE type = 'trigger'", ()).unwrap()
}

/// Those that were there, and aren't, although their tables are.
pub fn lost_triggers(db: &Connection, before: Vec<Vec<String>>) -> Option<String> {
    let (now, tables) = (triggers(db), tables(db));
    let has_table = |name: &String| tables.iter().any(|(table, _)| table == name);
    let lost: Vec<_> = before.into_iter().filter(|trigger| has_table(&trigger[1]) && !now.contains(trigger)).collect();
    (!lost.is_empty()).then(|| format!("TEMP triggers are lost: {lost:?}"))
}

/// What else there is of a connection's own.
pub fn own(db: &Connection) -> Vec<String> {
    const FLAGS: [&str; 17] = [
        "recursive_triggers",
        "count_changes",
        "reverse_unordered_selects",
        "full_column_names",
        "short_column_names",
        "ignore_check_constraints",
        "writable_schema",
        "legacy_alter_table",
        "trusted_schema",
        "cell_size_check",
        "automatic_index",
        "temp_store",
        "cache_size",
        "secure_delete",
        "foreign_keys",
        "query_only",
        "read_uncommitted",
    ];
    let mut own: Vec<String> =
        FLAGS.iter().map(|flag| format!("{flag} {:?}", column(db, &format!("PRAGMA {flag}")))).collect();
    own.push(column(db, "SELECT 'a' LIKE 'A'").concat());
    for config in [
        DbConfig::SQLITE_DBCONFIG_DEFENSIVE,
        DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW,
        DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY,
        DbConfig::SQLITE_DBCONFIG_DQS_DML,
        DbConfig::SQLITE_DBCONFIG_DQS_DDL,
        DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE,
        DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA,
    ] {
        own.push(format!("{config:?} {}", db.db_config(config).unwrap()));
    }
    let temp = "SELECT type || name || ifnull(sql, '') FROM sqlite_temp_schema WHERE type <> 'trigger' ORDER BY 1";
    own.extend(column(db, temp));
    own.extend(column(db, "SELECT name FROM pragma_database_list ORDER BY 1"));
    own
}
