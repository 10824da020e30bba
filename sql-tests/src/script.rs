//! Runs one .slt file: parsing, expectations and retries are sqllogictest's; connections, steps and variables are ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sqllogictest::{Connection, DB, DBOutput, QueryExpect, Record, RecordOutput, Runner};

use crate::lakes::Lake;
use crate::session::Failure;
use crate::step::Sessions;
use crate::tools::Tools;
use crate::value::Column;

/// The connection of a record that names none.
const DEFAULT_CONNECTION: &str = "sqlite:main";

/// One way to run the whole suite.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub name: &'static str,
    /// Joined to every URI that names the VFS: `&page_size=512`.
    pub store_options: &'static str,
    /// For `onlyif` and `skipif`, beside the name.
    pub labels: &'static [&'static str],
    /// The oracle: stock SQLite on plain files in WAL mode instead of the extension and its stores. What a file expects
    /// of a store must hold there too.
    pub stock: bool,
    /// What `${LAKE}` attaches.
    pub lake: Lake,
}

impl Config {
    pub const DEFAULT: Self = Self { name: "default", store_options: "", labels: &[], stock: false, lake: Lake::File };
    pub const STOCK: Self = Self { name: "stock", stock: true, ..Self::DEFAULT };
    pub const SQLITE_CATALOG: Self = Self { name: "sqlite-catalog", lake: Lake::Sqlite, ..Self::DEFAULT };
    pub const POSTGRES_CATALOG: Self = Self { name: "postgres-catalog", lake: Lake::Postgres, ..Self::DEFAULT };
    pub const S3_DATA: Self = Self { name: "s3-data", lake: Lake::S3, ..Self::DEFAULT };
}

/// Runs a file in a fresh temporary directory. The error says where and what; `MANIAC_SLT_KEEP=1` keeps the directory.
pub fn run_file(path: &Path, tools: &Tools, config: &Config) -> Result<(), String> {
    let records = sqllogictest::parse_file::<Column>(path).map_err(|error| error.to_string())?;
    run_records(records, tools, config)
}

/// Like [`run_file`], for a script that is at hand as text.
pub fn run_text(script: &str, tools: &Tools, config: &Config) -> Result<(), String> {
    let records = sqllogictest::parse_with_name::<Column>(script, "script").map_err(|error| error.to_string())?;
    run_records(records, tools, config)
}

fn run_records(records: Vec<Record<Column>>, tools: &Tools, config: &Config) -> Result<(), String> {
    let scratch = tempfile::Builder::new().prefix("maniac-slt-").tempdir().map_err(|error| error.to_string())?;
    let lake = config.lake.attach(tools, Lake::next())?;
    let outcome = Script::new(tools, config, scratch.path(), lake).run(records);
    match outcome {
        Err(error) if std::env::var_os("MANIAC_SLT_KEEP").is_some() => {
            Err(format!("{error}\nkept: {}", scratch.keep().display()))
        }
        outcome => outcome,
    }
}

struct Script {
    sessions: Arc<Mutex<Sessions>>,
    variables: BTreeMap<String, String>,
    config: Config,
}

impl Script {
    fn new(tools: &Tools, config: &Config, directory: &Path, lake: String) -> Self {
        let variables = [
            ("DIR", directory.display().to_string()),
            ("DIST", tools.dist.display().to_string()),
            ("DUCKLAKE", tools.ducklake.display().to_string()),
            ("LAKE", lake),
        ];
        Self {
            sessions: Arc::new(Mutex::new(Sessions::new(tools.clone(), directory.to_path_buf(), config.stock))),
            variables: variables.map(|(name, value)| (name.to_string(), value)).into(),
            config: *config,
        }
    }

    fn run(mut self, records: Vec<Record<Column>>) -> Result<(), String> {
        // sqllogictest asks for a connection without saying which: the name goes through here.
        let naming = Arc::new(Mutex::new(String::new()));
        let (asked, sessions) = (naming.clone(), self.sessions.clone());
        let mut runner = Runner::new(move || {
            let handle = Handle { name: lock(&asked).clone(), sessions: sessions.clone() };
            async move { Ok(handle) }
        });
        runner.with_column_validator(|actual, expected| {
            // No rows, no columns to look at: the command lines print nothing then.
            actual.is_empty()
                || (actual.len() == expected.len()
                    && actual.iter().zip(expected).all(|(actual, expected)| actual.satisfies(expected)))
        });
        self.config.labels.iter().chain([&self.config.name]).for_each(|label| runner.add_label(label));

        for record in records {
            if matches!(record, Record::Halt { .. }) {
                break;
            }
            let record = self.prepare(record, &naming)?;
            let variables = match &record {
                Record::Let { variables, .. } => variables.clone(),
                _ => Vec::new(),
            };
            let outcome = runner.run(record);
            if let Some(fatal) = lock(&self.sessions).fatal.take() {
                let place = outcome.err().map(|error| format!("\nat {}", error.location())).unwrap_or_default();
                return Err(format!("{fatal}{place}"));
            }
            let output = outcome.map_err(|error| error.display(false).to_string())?;
            if let RecordOutput::Let { values, .. } = output {
                self.variables.extend(variables.into_iter().zip(values));
            }
        }
        lock(&self.sessions).exit_all().map_err(|error| error.to_string())
    }

    /// Puts variables in, and notes the connection's name.
    fn prepare(&self, mut record: Record<Column>, naming: &Mutex<String>) -> Result<Record<Column>, String> {
        if let Record::Query { expected: QueryExpect::Results { results, .. }, .. } = &mut record {
            // What is no variable is left as it stands: it may be what the query gives.
            results.iter_mut().for_each(|line| *line = self.substitute(line).unwrap_or_else(|_| std::mem::take(line)));
        }
        let (text, connection, conditions) = match &mut record {
            Record::Statement { sql, connection, conditions, .. }
            | Record::Query { sql, connection, conditions, .. }
            | Record::Let { sql, connection, conditions, .. } => (sql, Some(connection), conditions),
            Record::System { command, conditions, .. } => (command, None, conditions),
            _ => return Ok(record),
        };
        match self.substitute(text) {
            Ok(done) => *text = done,
            // Under a condition the `let` may have been skipped as this record will be; if it runs, the program will
            // refuse the bare variable.
            Err(_) if !conditions.is_empty() => {}
            Err(error) => return Err(error),
        }
        match connection {
            Some(Connection::Named(name)) => lock(naming).clone_from(name),
            Some(Connection::Default) => *lock(naming) = DEFAULT_CONNECTION.into(),
            None => *text = format!("cd '{}' && {{ {text}\n}}", self.variables["DIR"]),
        }
        Ok(record)
    }

    /// `${NAME}` becomes its value. A name that nothing has set is a mistake in the file.
    fn substitute(&self, text: &str) -> Result<String, String> {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or_else(|| format!("no closing brace in {text:?}"))?;
            let value = self.variables.get(name).ok_or_else(|| format!("no variable ${{{name}}} in {text:?}"))?;
            done += before;
            done += value;
            rest = behind;
        }
        done += rest;
        // A plain file's URI keeps its `file:` and its name.
        let option = if self.config.stock { String::new() } else { format!("vfs=maniac{}", self.config.store_options) };
        Ok(done.replace("vfs=maniac", &option))
    }
}

/// What sqllogictest holds for a connection: the name under which the session is found.
struct Handle {
    name: String,
    sessions: Arc<Mutex<Sessions>>,
}

impl DB for Handle {
    type Error = Failure;
    type ColumnType = Column;

    fn run(&mut self, sql: &str) -> Result<DBOutput<Column>, Failure> {
        let rows = lock(&self.sessions).run(&self.name, sql)?;
        let types = Column::of(&rows);
        let rows = rows.into_iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        Ok(DBOutput::Rows { types, rows })
    }
}

/// Everything here runs on one thread; a panic elsewhere in the test has already failed it.
fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
