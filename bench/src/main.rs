//! Figures, each a ratio within one run: `make bench` runs everything and writes `results/`.
//!
//! ```text
//! maniac-bench sqlite   commits, bulk insert, reads: a store against stock SQLite in WAL mode
//! maniac-bench store    many writers, branches, opening, mixed work
//! maniac-bench writers  many processes that write to one branch, against one plain file
//! maniac-bench capture  differences, merges and changesets
//! maniac-bench delay    from a commit in SQLite until DuckDB's answer shows it
//! maniac-bench backlog  a mirror that comes back to a million transactions
//! maniac-bench sustained  a mirror that follows a writer which never rests
//! maniac-bench mixed    a client that commits and one that asks a mirror, by DuckDB's threads
//! maniac-bench lake     files and queries of a lake under updates, with and without maintenance
//! maniac-bench scan     a table read and copied into DuckDB, against sqlite_scanner
//! maniac-bench analytics  queries of a mirror, against stock SQLite
//! maniac-bench schema   changes of the schema beside 10, 100 and 1,000 tables
//! maniac-bench updates  random updates of tables of 1, 10 and 50 million rows
//! maniac-bench large [rows]  transactions of 3 million rows, or so many, against first copies of their results
//! ```
//!
//! `MANIAC_BENCH_SCALE=10` runs a tenth of the work, to see that it runs.

mod analytics;
mod backlog;
mod capture;
mod delay;
mod engine;
mod figures;
mod lake;
mod large;
mod mirrors;
mod mixed;
mod scan;
mod schema;
mod sqlite;
mod store;
mod sustained;
mod updates;
mod writers;

use std::error::Error;
use std::process::ExitCode;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Divides the amounts of work.
fn scale() -> u64 {
    std::env::var("MANIAC_BENCH_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1).max(1)
}

/// The number of rows that was given, if one was.
fn rows(argument: Option<&String>) -> Outcome<Option<u64>> {
    let rows = argument.map(|rows| rows.parse().map_err(|error| format!("{rows} is no number of rows: {error}")));
    Ok(rows.transpose()?)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((writer, rest)) = arguments.split_first().filter(|(first, _)| *first == "writer") {
        return match writers::worker(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("maniac-bench {writer}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let which = arguments.first();
    let outcome = match which.map(String::as_str) {
        Some("sqlite") => sqlite::run(),
        Some("store") => store::run(),
        Some("writers") => writers::run(),
        Some("capture") => capture::run(),
        Some("delay") => delay::run(),
        Some("backlog") => backlog::run(),
        Some("sustained") => sustained::run(),
        Some("mixed") => mixed::run(),
        Some("lake") => lake::run(),
        Some("scan") => scan::run(),
        Some("analytics") => analytics::run(),
        Some("updates") => updates::run(),
        Some("schema") => schema::run(),
        Some("large") => rows(arguments.get(1)).and_then(large::run),
        _ => {
            let names =
                "sqlite|store|writers|capture|delay|backlog|sustained|mixed|lake|scan|analytics|updates|schema|large";
            Err(format!("usage: maniac-bench {names} [rows]").into())
        }
    };
    match outcome {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("maniac-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
