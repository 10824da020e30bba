//! The places where a DuckLake can have its catalog and its data, and the servers that two of them need.
//!
//! A server is started by the first test that asks for it. It watches its standard input and ends when that closes, which
//! it does with this process, however that ends.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::tools::{Tools, workspace_root};

/// Where the lakes of a test run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lake {
    /// The catalog in a DuckDB file, the data beside it.
    File,
    /// The catalog in a SQLite file.
    Sqlite,
    /// The catalog in a PostgreSQL server.
    Postgres,
    /// The data in a bucket.
    S3,
}

static POSTGRES: OnceLock<Result<Server, String>> = OnceLock::new();
static S3: OnceLock<Result<Server, String>> = OnceLock::new();
/// Tells the lakes of one server apart.
static LAKES: AtomicU32 = AtomicU32::new(0);

/// How long a server may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const BUCKET: &str = "lake";

struct Server {
    _child: Child,
    /// A directory for sockets, or a host and port.
    address: String,
}

impl Lake {
    /// The statements that attach a new lake as `lake`, or in the same directory the same one again.
    pub fn attach(self, tools: &Tools, name: u32) -> Result<String, String> {
        let load = |extension: &str| format!("LOAD '{}'", tools.duckdb_tool(extension).display());
        let (ducklake, data) = (format!("LOAD '{}'", tools.ducklake.display()), "DATA_PATH 'lake_files'");
        Ok(match self {
            Lake::File => format!("{ducklake}; ATTACH 'ducklake:lake.ducklake' AS lake ({data})"),
            Lake::Sqlite => format!(
                "{ducklake}; {}; ATTACH 'ducklake:sqlite:lake.sqlite' AS lake ({data}, META_JOURNAL_MODE 'WAL', \
                 META_BUSY_TIMEOUT 5000)",
                load("sqlite_scanner")
            ),
            Lake::Postgres => {
                let directory = &started(&POSTGRES, start_postgres)?.address;
                let database = format!("lake{name}");
                psql(directory, &format!("SELECT 1 FROM pg_database WHERE datname = '{database}'")).and_then(
                    |there| {
                        if there.trim() == "1" {
                            Ok(there)
                        } else {
                            psql(directory, &format!("CREATE DATABASE {database}"))
                        }
                    },
                )?;
                format!(
                    "{ducklake}; {}; ATTACH 'ducklake:postgres:dbname={database} host={directory} user=postgres' AS lake \
                     ({data})",
                    load("postgres_scanner")
                )
            }
            Lake::S3 => {
                let endpoint = &started(&S3, start_s3)?.address;
                format!(
                    "{ducklake}; {}; CREATE OR REPLACE SECRET bucket (TYPE s3, KEY_ID 'test', SECRET 'test', ENDPOINT \
                     '{endpoint}', USE_SSL false, URL_STYLE 'path', REGION 'us-east-1'); ATTACH 'ducklake:lake.ducklake' \
                     AS lake (DATA_PATH 's3://{BUCKET}/{name}/')",
                    load("httpfs")
                )
            }
        })
    }

    /// A number for a new lake.
    pub fn next() -> u32 {
        LAKES.fetch_add(1, Ordering::Relaxed)
    }
}

fn started(
    server: &'static OnceLock<Result<Server, String>>,
    start: fn() -> io::Result<Server>,
) -> Result<&'static Server, String> {
    let started = server.get_or_init(|| start().map_err(|error| error.to_string()));
    started.as_ref().map_err(|error| format!("a server for the tests did not start: {error}"))
}

/// Runs `shell` and ends it when this process ends. `$1` and so on are the arguments.
fn guarded(shell: &str, arguments: &[&str]) -> io::Result<Child> {
    let script = format!("{shell} & server=$!; read -r _; kill $server; wait $server; eval \"$after\"");
    Command::new("sh").args(["-c", &script, "sh"]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
}

/// Tries until it works.
fn eventually<T>(mut attempt: impl FnMut() -> Result<T, String>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > PATIENCE => return Err(io::Error::other(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// PostgreSQL refuses to run as root; then it runs as the user that its package makes.
fn as_postgres() -> &'static str {
    if rustix::process::geteuid().is_root() { "setpriv --reuid=postgres --regid=postgres --clear-groups" } else { "" }
}

/// Debian's place for the server's programs, of the newest version there is.
fn postgres_programs() -> io::Result<PathBuf> {
    let place = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<PathBuf> = std::fs::read_dir(place)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))?
        .map(|item| item.map(|item| item.path().join("bin")))
        .collect::<io::Result<_>>()?;
    versions.retain(|programs| programs.join("postgres").exists());
    versions.sort();
    versions.pop().ok_or_else(|| io::Error::other("no PostgreSQL server is installed: run make setup"))
}

fn start_postgres() -> io::Result<Server> {
    let programs = postgres_programs()?;
    // Not under the workspace: another user has to get there, and a socket's path must be short.
    let directory = tempfile::Builder::new().prefix("maniac-pg-").tempdir()?.keep();
    let directory = directory.to_string_lossy().into_owned();
    let user = as_postgres();
    let shell = format!(
        "after='rm -rf \"$2\"'; export LC_ALL=C; [ -z '{user}' ] || chown postgres \"$2\"; cd \"$2\"; \
         {user} \"$1/initdb\" -D \"$2/data\" -U postgres -A trust -N >\"$2.log\" 2>&1; rm \"$2.log\"; \
         {user} \"$1/postgres\" -D \"$2/data\" -c listen_addresses= -c unix_socket_directories=\"$2\" -c log_min_messages=fatal"
    );
    let child = guarded(&shell, &[&programs.to_string_lossy(), &directory])?;
    eventually(|| psql(&directory, "SELECT 1"))?;
    Ok(Server { _child: child, address: directory })
}

fn psql(directory: &str, sql: &str) -> Result<String, String> {
    let programs = postgres_programs().map_err(|error| error.to_string())?;
    let output = Command::new(programs.join("psql"))
        .args(["-h", directory, "-U", "postgres", "-d", "postgres", "-tAc", sql])
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn start_s3() -> io::Result<Server> {
    let root = workspace_root();
    // Free now, and taken again at once.
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let shell = "PYTHONPATH=\"$1\" \"$2\" -m moto.server -H 127.0.0.1 -p \"$3\" 2>/dev/null";
    let (packages, python) = (root.join(".venv/hosts/s3"), root.join(".venv/bin/python"));
    let child = guarded(shell, &[&packages.to_string_lossy(), &python.to_string_lossy(), &port.to_string()])?;
    let address = format!("127.0.0.1:{port}");
    eventually(|| make_bucket(&address).map_err(|error| error.to_string()))?;
    Ok(Server { _child: child, address })
}

fn make_bucket(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The server doesn't check who asks, but tells by this header that S3 is meant.
    let authorization =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    write!(
        stream,
        "PUT /{BUCKET} HTTP/1.0\r\nHost: {address}\r\nAuthorization: {authorization}\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(()) } else { Err(io::Error::other(format!("the bucket was not made: {status}"))) }
}
