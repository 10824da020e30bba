//! What a merging version is told to have changed.

use maniac_oracle::apply::apply;
use maniac_oracle::dump;
use rusqlite::Connection;
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;

use crate::pairs::differ;
use crate::state::{self, column, query};

/// A merge that is over.
pub struct Recorded<'m> {
    /// The branch that was merged into, and its version before.
    pub db: &'m Connection,
    pub before: &'m str,
    pub state: &'m [String],
    /// The same branch as it was before.
    pub parent: &'m Connection,
    /// A connection to a branch that may change, and is as it was before.
    pub again: &'m Connection,
}

impl Recorded<'_> {
    /// The recorded changes are those that differ. Where no text of the schema changed, they make the same of the state
    /// before, with stock SQLite and with `maniac_apply`.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (differing, told) = (self.rows("maniac_diff"), self.rows("maniac_changes"));
        faults.extend(differ(&differing, &told).map(|lines| format!("recorded: {lines}")));
        if texts(self.db) == texts(self.parent) {
            let changeset = "SELECT maniac_changeset(?1 + 0, maniac_head())";
            let changeset: Vec<u8> = self.db.query_row(changeset, [self.before], |row| row.get(0)).unwrap();
            faults.extend(self.with_sqlite(&changeset));
            faults.extend(self.with_apply(&changeset));
        }
        faults
    }

    fn rows(&self, source: &str) -> Vec<String> {
        let sql = format!(
            "SELECT op || \"table\" || key || ifnull(old, '') || '>' || ifnull(new, '') \
             FROM {source}(?1 + 0, maniac_head()) WHERE \"table\" NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1"
        );
        query(self.db, &sql, [self.before]).unwrap().concat()
    }

    fn with_sqlite(&self, changeset: &[u8]) -> Option<String> {
        let mut stock = Connection::open_in_memory().unwrap();
        Backup::new(self.parent, &mut stock).unwrap().step(-1).unwrap();
        // What triggers and foreign key actions did is in the changes.
        stock.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        stock.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false).unwrap();
        let conflicts = apply(&stock, changeset);
        let content = |db: &Connection| -> Vec<_> {
            dump::database(db).into_iter().map(|(name, table)| (name, table.content())).collect()
        };
        let same = conflicts.is_empty() && content(&stock) == content(self.db);
        (!same).then(|| format!("applied by SQLite: conflicts {conflicts:?}, or other rows"))
    }

    fn with_apply(&self, changeset: &[u8]) -> Option<String> {
        let applied = self.again.query_row("SELECT maniac_apply(?1)", [changeset], |row| row.get::<_, i64>(0));
        if let Err(error) = applied {
            return Some(format!("applied: {error}"));
        }
        // Changesets leave these out.
        let beside = ["counter", "user_version", "application_id"];
        let lines = |state: &[String]| -> Vec<String> {
            state.iter().filter(|line| !beside.iter().any(|word| line.contains(word))).cloned().collect()
        };
        differ(&lines(&state::read(self.again)), &lines(self.state)).map(|lines| format!("applied: {lines}"))
    }
}

fn texts(db: &Connection) -> Vec<String> {
    column(db, "SELECT ifnull(sql, name) FROM sqlite_schema WHERE name <> 'sqlite_stat1' ORDER BY 1")
}
