//! Processes that have SQLite in them, all driven in the same way: the command line, Python's module, apsw with a SQLite
//! of its own, and a program in Rust.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use maniac_sql_tests::{Failure, Kind, Session, Tools, Value, tools};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    CommandLine,
    Python,
    Apsw,
    Rust,
}

impl HostKind {
    pub const ALL: [HostKind; 4] = [HostKind::CommandLine, HostKind::Python, HostKind::Apsw, HostKind::Rust];
}

/// An error as hosts report it. The command line gives no extended codes: there the code is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: i32,
    pub message: String,
}

pub type Rows = Vec<Vec<String>>;

pub enum Host {
    CommandLine(Box<Session>),
    Piped { child: Child, input: ChildStdin, output: BufReader<ChildStdout> },
}

impl Host {
    /// A process in `directory`, with the extension loaded and nothing open.
    pub fn start(kind: HostKind, directory: &Path) -> Host {
        Host::start_under(kind, directory, &[])
    }

    /// A process that another program starts: the first of `wrapper`, with the rest and then the host's own command line
    /// as its arguments. Not for the command line.
    pub fn start_under(kind: HostKind, directory: &Path, wrapper: &[&str]) -> Host {
        let tools = Tools::find();
        let root = tools::workspace_root();
        let (program, what) = match kind {
            HostKind::CommandLine => {
                return Host::CommandLine(Box::new(Session::new(Kind::Sqlite, &tools, directory)));
            }
            HostKind::Python => (tools::python(), Some("sqlite3")),
            HostKind::Apsw => (root.join(".venv/bin/python"), Some("apsw")),
            HostKind::Rust => (worker(), None),
        };
        let mut command = Command::new(wrapper.first().map_or(program.as_path(), |wrapper| Path::new(wrapper)));
        if let Some((_, rest)) = wrapper.split_first() {
            command.args(rest).arg(&program);
        }
        match what {
            Some(module) => command.arg(root.join("torture/hosts/host.py")).arg(module),
            None => command.arg("host"),
        };
        command.arg(tools.sqlite_extension()).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{kind:?}: {error} (run `make setup`?)"));
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Host::Piped { child, input, output }
    }

    pub fn open(&mut self, uri: &str) -> Result<(), Refusal> {
        match self {
            Host::CommandLine(session) => session.open(uri).map_err(refused),
            Host::Piped { .. } => self.run(&format!(".open {uri}")).map(drop),
        }
    }

    /// Runs one statement. Values come as text.
    pub fn run(&mut self, sql: &str) -> Result<Rows, Refusal> {
        match self {
            Host::CommandLine(session) => {
                let rows = session.run(sql).map_err(refused)?;
                Ok(rows.iter().map(|row| row.iter().map(text).collect()).collect())
            }
            Host::Piped { input, output, .. } => {
                let sent = writeln!(input, "{}", sql.replace('\n', " ")).and_then(|()| input.flush());
                sent.map_err(|error| gone(&error.to_string()))?;
                read_answer(output)
            }
        }
    }

    /// One value, or a panic that says what happened.
    pub fn value(&mut self, sql: &str) -> String {
        match self.run(sql) {
            Ok(rows) if rows.len() == 1 && !rows[0].is_empty() => rows[0][0].clone(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    pub fn process_id(&self) -> u32 {
        match self {
            Host::CommandLine(session) => session.process_id().expect("it runs"),
            Host::Piped { child, .. } => child.id(),
        }
    }

    pub fn kill(&mut self) {
        match self {
            Host::CommandLine(session) => session.kill().expect("it runs"),
            Host::Piped { child, .. } => {
                child.kill().expect("it can be killed");
                child.wait().expect("it is a child");
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Host::Piped { child, .. } = self {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_answer(output: &mut impl BufRead) -> Result<Rows, Refusal> {
    let mut line = || {
        let mut line = String::new();
        match output.read_line(&mut line) {
            Ok(0) => Err(gone("the process has ended")),
            Ok(_) => Ok(line.trim_end_matches('\n').to_owned()),
            Err(error) => Err(gone(&error.to_string())),
        }
    };
    let first = line()?;
    if let Some(count) = first.strip_prefix("rows ") {
        let count: usize = count.parse().expect("a number of rows");
        return (0..count).map(|_| Ok(line()?.split('\t').map(str::to_owned).collect())).collect();
    }
    let mut words = first.splitn(3, ' ').skip(1);
    let code = words.next().and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no answer: {first}"));
    Err(Refusal { code, message: words.next().unwrap_or_default().to_owned() })
}

fn gone(message: &str) -> Refusal {
    Refusal { code: -1, message: message.to_owned() }
}

fn refused(failure: Failure) -> Refusal {
    let code = if matches!(failure, Failure::Refused(_)) { 0 } else { -1 };
    Refusal { code, message: failure.to_string() }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The program that the tests start to do things in other processes.
pub fn worker() -> PathBuf {
    // Beside the directory of the test that is running: cargo names it for tests only, not for a library.
    let test = std::env::current_exe().expect("a test knows its own file");
    test.parent().and_then(Path::parent).expect("deps/ lies in the build directory").join("torture-worker")
}
