//! A named connection: a `sqlite3` or `duckdb` process that takes statements and gives rows.
//!
//! A session that has ended, by [`Session::kill`] or [`Session::exit`], starts again with the next statement and opens
//! what it had open.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::process::{Lost, Output, Process};
use crate::tools::Tools;
use crate::value::{Dialect, Value, parse_rows};

/// A watchdog, not a measurement: nothing that a test does takes anywhere near as long.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Which program, and whether it has the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Duckdb,
    /// Without the extension: an oracle, and the test of the runner itself.
    PlainSqlite,
    PlainDuckdb,
}

impl Kind {
    /// The part of a connection's name before the colon.
    pub fn from_prefix(prefix: &str) -> Option<Self> {
        match prefix {
            "sqlite" => Some(Self::Sqlite),
            "duckdb" => Some(Self::Duckdb),
            "plain-sqlite" => Some(Self::PlainSqlite),
            "plain-duckdb" => Some(Self::PlainDuckdb),
            _ => None,
        }
    }

    pub fn dialect(self) -> Dialect {
        match self {
            Self::Sqlite | Self::PlainSqlite => Dialect::Sqlite,
            Self::Duckdb | Self::PlainDuckdb => Dialect::Duckdb,
        }
    }
}

/// What went wrong with a statement.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The program reported an error; it lives on.
    #[error("{0}")]
    Refused(String),
    /// The program is gone. Never an expected error.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The test asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
}

#[derive(Debug)]
pub struct Session {
    kind: Kind,
    tools: Tools,
    directory: PathBuf,
    /// What `open` was given last.
    opened: Option<String>,
    process: Option<Process>,
    /// Statements sent so far; makes every marker a new one.
    sent: u64,
    /// A statement was sent whose answer nobody has read.
    pending: bool,
    patience: Duration,
}

impl Session {
    /// A session whose process starts with its first statement, in `directory`.
    pub fn new(kind: Kind, tools: &Tools, directory: &Path) -> Self {
        Self {
            kind,
            tools: tools.clone(),
            directory: directory.to_path_buf(),
            opened: None,
            process: None,
            sent: 0,
            pending: false,
            patience: PATIENCE,
        }
    }

    /// How long a statement may take before the process is taken for hung and killed.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process id, if the process runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Runs one or more statements, or a dot-command of the program, and returns the rows that it printed.
    pub fn run(&mut self, sql: &str) -> Result<Vec<Vec<Value>>, Failure> {
        if self.pending {
            return Err(Failure::Usage("a sent statement is still unanswered: receive it first".into()));
        }
        let output = self.exchange(&complete(sql))?;
        self.rows(&output)
    }

    /// Starts a statement and returns at once.
    pub fn send(&mut self, sql: &str) -> Result<(), Failure> {
        let input = complete(sql);
        let patience = self.patience;
        self.process()?.send(&input, patience)?;
        self.pending = true;
        Ok(())
    }

    /// Waits for the statement that [`Session::send`] started.
    pub fn receive(&mut self) -> Result<Vec<Vec<Value>>, Failure> {
        if !std::mem::take(&mut self.pending) {
            return Err(Failure::Usage("nothing was sent that could be received".into()));
        }
        let output = self.exchange("")?;
        self.rows(&output)
    }

    /// Opens a database: a URI or path for SQLite; for DuckDB the file that the process is started with.
    pub fn open(&mut self, what: &str) -> Result<(), Failure> {
        match self.kind.dialect() {
            Dialect::Sqlite => {
                let output = self.exchange(&dot_open(what))?;
                refuse_errors(&output)?;
            }
            Dialect::Duckdb => {
                self.exit()?;
                self.opened = Some(what.into());
                self.process()?;
            }
        }
        self.opened = Some(what.into());
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failure> {
        let mut process = self.process.take().ok_or_else(|| Failure::Usage("no process to kill".into()))?;
        process.kill();
        self.pending = false;
        Ok(())
    }

    /// Ends the process the way a user does, by end of input, and insists that it ends well. Nothing happens when none
    /// runs.
    pub fn exit(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        self.pending = false;
        let (status, output) = process.finish(self.patience)?;
        // Both programs exit with 1 after any failed statement, so that says nothing; a signal says much.
        if ended_badly(status) || !output.stderr.trim().is_empty() {
            let program = format!("{:?} at its end", self.kind);
            return Err(Lost::Ended { program, status, output }.into());
        }
        Ok(())
    }

    fn rows(&self, output: &Output) -> Result<Vec<Vec<Value>>, Failure> {
        refuse_errors(output)?;
        parse_rows(&output.stdout, self.kind.dialect()).map_err(|error| Failure::Refused(error.to_string()))
    }

    fn exchange(&mut self, input: &str) -> Result<Output, Failure> {
        self.sent += 1;
        let marker = format!("@@answered {}@@", self.sent);
        let input = format!("{input}.print \"{marker}\"\n");
        let patience = self.patience;
        let outcome = self.process()?.exchange(&input, &format!("{marker}\n"), patience);
        if outcome.is_err() {
            self.process = None;
        }
        Ok(outcome?)
    }

    fn process(&mut self) -> Result<&mut Process, Failure> {
        if self.process.is_none() {
            self.start()?;
        }
        Ok(self.process.as_mut().expect("it was started"))
    }

    fn start(&mut self) -> Result<(), Failure> {
        let (program, arguments, setup) = match self.kind.dialect() {
            Dialect::Sqlite => (&self.tools.sqlite3, vec!["-batch", "-init", "/dev/null"], self.sqlite_setup()),
            Dialect::Duckdb => {
                let mut arguments = vec!["-batch", "-unsigned", "-init", "/dev/null"];
                arguments.extend(self.opened.as_deref());
                (&self.tools.duckdb, arguments, self.duckdb_setup())
            }
        };
        let process = Process::spawn(program, &arguments, &self.directory)
            .map_err(|error| Failure::Usage(format!("{error} (run `make setup`?)")))?;
        self.process = Some(process);
        let output = self.exchange(&setup)?;
        if let Err(error) = refuse_errors(&output) {
            self.process = None;
            return Err(error);
        }
        Ok(())
    }

    fn sqlite_setup(&self) -> String {
        let mut setup = String::from(".mode quote\n.headers off\n");
        if self.kind == Kind::Sqlite {
            setup += &format!(".load {}\n", quoted(&self.tools.sqlite_extension()));
        }
        if let Some(opened) = &self.opened {
            setup += &dot_open(opened);
        }
        setup
    }

    fn duckdb_setup(&self) -> String {
        // Nothing may come from the network during a test.
        let mut setup = String::from(
            ".mode quote\n.headers off\nSET autoinstall_known_extensions = false;\nSET autoload_known_extensions = false;\n",
        );
        if self.kind == Kind::Duckdb {
            setup += &format!("LOAD '{}';\n", self.tools.duckdb_extension().display());
        }
        setup
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn dot_open(what: &str) -> String {
    format!(".open '{what}'\n")
}

/// A dot-command ends with its line; SQL ends with a semicolon, which a test file may leave out.
fn complete(sql: &str) -> String {
    let sql = sql.trim();
    if sql.starts_with('.') || sql.ends_with(';') { format!("{sql}\n") } else { format!("{sql};\n") }
}

/// Neither program writes to standard error unless something is wrong.
fn refuse_errors(output: &Output) -> Result<(), Failure> {
    let message = output.stderr.trim();
    if message.is_empty() { Ok(()) } else { Err(Failure::Refused(message.into())) }
}

fn ended_badly(status: ExitStatus) -> bool {
    !matches!(status.code(), Some(0 | 1))
}
