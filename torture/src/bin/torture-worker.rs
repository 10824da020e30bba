//! What tests do in processes of their own. The first argument says what; see the modules of the library.

use std::path::Path;
use std::process::ExitCode;

use maniac_torture::ledger::Writer;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["host", _extension] => maniac_torture::serve::serve(),
        ["write", store, branch, other, first, synchronous, large] => {
            let first = first.parse().expect("a number");
            let large = large.parse().expect("a number");
            Writer { store: Path::new(store), branch, other, first, synchronous, large }.run()
        }
        ["read", store] => maniac_torture::ledger::read(Path::new(store)),
        other => Err(format!("nothing to do for {other:?}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torture-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
