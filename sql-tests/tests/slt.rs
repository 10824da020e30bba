//! Every .slt file under `slt/`, one test each, named by folder and file: `vfs/transactions`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use maniac_sql_tests::Tools;
use maniac_sql_tests::script::{Config, run_file};

/// The ways to run the suite, and the folders that each runs (none named: all). The first one's tests carry no prefix.
const CONFIGS: &[(Config, &[&str])] = &[
    (Config::DEFAULT, &[]),
    (Config::STOCK, &["vfs"]),
    (Config::SQLITE_CATALOG, &["lake"]),
    (Config::POSTGRES_CATALOG, &["lake"]),
    (Config::S3_DATA, &["lake"]),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two processes per test and more: a few at once keep a small machine responsive enough for the watchdogs.
    arguments.test_threads.get_or_insert(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4)));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let files = slt_files(&folder);
    assert!(!files.is_empty(), "no .slt files under {}", folder.display());
    let tools = Tools::find();
    let mut trials = Vec::new();
    for (config, only) in CONFIGS {
        let wanted = |file: &&PathBuf| only.is_empty() || only.iter().any(|name| file.starts_with(folder.join(name)));
        trials.extend(files.iter().filter(wanted).map(|file| trial(config, &folder, file, &tools)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(config: &'static Config, folder: &Path, file: &Path, tools: &Tools) -> Trial {
    let name = file.strip_prefix(folder).expect("found under it").with_extension("").display().to_string();
    let name = if config.name == "default" { name } else { format!("{}/{name}", config.name) };
    let (file, tools) = (file.to_path_buf(), tools.clone());
    Trial::test(name, move || run_file(&file, &tools, config).map_err(Into::into))
}

/// One folder per feature, the files of a feature in it.
fn slt_files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.expect("readable folder").path()).collect()
    };
    let mut files: Vec<PathBuf> =
        list(folder).iter().filter(|path| path.is_dir()).flat_map(|path| list(path)).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    files
}
