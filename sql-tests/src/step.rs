//! Steps that are no SQL: lines that begin with a backslash, in place of a statement.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::compare;
use crate::session::{Failure, Kind, Session};
use crate::tools::Tools;
use crate::value::{Dialect, Value};

/// The sessions of one running file.
pub(crate) struct Sessions {
    pub tools: Tools,
    pub directory: PathBuf,
    by_name: BTreeMap<String, Session>,
    /// See `Config::stock`.
    stock: bool,
    /// Set when a process was lost or a step makes no sense: the file has failed, whatever its record expected.
    pub fatal: Option<String>,
}

impl Sessions {
    pub fn new(tools: Tools, directory: PathBuf, stock: bool) -> Self {
        Self { tools, directory, by_name: BTreeMap::new(), stock, fatal: None }
    }

    /// Runs a statement or a step on the session of that name, made when it is first named.
    pub fn run(&mut self, name: &str, text: &str) -> Result<Vec<Vec<Value>>, Failure> {
        let outcome = match text.trim().strip_prefix('\\') {
            Some(step) => self.step(name, step),
            None => self.named(name).and_then(|session| session.run(text)),
        };
        if let Err(error @ (Failure::Lost(_) | Failure::Usage(_))) = &outcome {
            self.fatal.get_or_insert(format!("connection {name}: {error}"));
        }
        outcome
    }

    /// Ends every process as a user would.
    pub fn exit_all(&mut self) -> Result<(), Failure> {
        self.by_name.values_mut().try_for_each(Session::exit)
    }

    fn step(&mut self, name: &str, step: &str) -> Result<Vec<Vec<Value>>, Failure> {
        let (verb, rest) = step.split_once(char::is_whitespace).unwrap_or((step, ""));
        let rest = rest.trim();
        let stock = self.stock;
        let session = self.named(name)?;
        match (verb, rest) {
            ("open", what) if !what.is_empty() => {
                session.open(what)?;
                // Readers and writers must not block each other on the oracle either.
                if stock && session.kind().dialect() == Dialect::Sqlite {
                    session.run("PRAGMA journal_mode = wal")?;
                }
            }
            ("kill", "") => session.kill()?,
            ("exit", "") => session.exit()?,
            ("send", sql) if !sql.is_empty() => session.send(sql)?,
            ("receive", "") => return session.receive(),
            ("compare", what) => self.compare(name, what)?,
            _ => return Err(Failure::Usage(format!("no such step: \\{step}"))),
        }
        Ok(Vec::new())
    }

    /// `\compare SQLITE-CONNECTION TABLE DUCKDB-TABLE`, or `\compare SQLITE-CONNECTION * SCHEMA`, on a duckdb one.
    fn compare(&mut self, name: &str, what: &str) -> Result<(), Failure> {
        let words: Vec<&str> = what.split_whitespace().collect();
        let [source, table, target] = words[..] else {
            return Err(Failure::Usage(
                "\\compare takes: sqlite connection, table or *, duckdb table or schema".into(),
            ));
        };
        self.named(source)?;
        // Both are needed at once: one leaves the map for the while.
        let mut sqlite = self.by_name.remove(source).expect("it was just named");
        let outcome = match self.named(name) {
            Ok(duckdb) if is(&sqlite, Dialect::Sqlite) && is(duckdb, Dialect::Duckdb) => match table {
                "*" => compare::all(&mut sqlite, duckdb, target).map(|_| ()),
                table => compare::table(&mut sqlite, table, duckdb, target),
            },
            Ok(_) => Err(Failure::Usage("\\compare runs on a duckdb connection and names a sqlite one".into())),
            Err(error) => Err(error),
        };
        self.by_name.insert(source.into(), sqlite);
        outcome
    }

    fn named(&mut self, name: &str) -> Result<&mut Session, Failure> {
        if !self.by_name.contains_key(name) {
            let kind = name.split_once(':').and_then(|(prefix, _)| Kind::from_prefix(prefix)).ok_or_else(|| {
                Failure::Usage(format!(
                    "{name}: a connection is named sqlite:x, duckdb:x, plain-sqlite:x or plain-duckdb:x"
                ))
            })?;
            let kind = if self.stock && kind == Kind::Sqlite { Kind::PlainSqlite } else { kind };
            self.by_name.insert(name.into(), Session::new(kind, &self.tools, &self.directory));
        }
        Ok(self.by_name.get_mut(name).expect("it was just made"))
    }
}

fn is(session: &Session, dialect: Dialect) -> bool {
    session.kind().dialect() == dialect
}
