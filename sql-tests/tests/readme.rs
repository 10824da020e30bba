//! The README's tour works when it is pasted: its blocks are run in order, and what it shows is what comes back.
//!
//! Blocks that begin with ```` ```sql sqlite ```` or ```` ```sql duckdb ```` go to a session each, started as the README
//! says; a ```` ```text ```` block right behind one is what that one prints at its end.

use std::path::Path;
use std::process::Command;

use maniac_sql_tests::Tools;
use maniac_sql_tests::process::Process;
use maniac_sql_tests::session::PATIENCE;
use maniac_sql_tests::tools::workspace_root;

#[derive(Debug, PartialEq)]
struct Block {
    label: String,
    text: String,
    line: usize,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in markdown.lines().enumerate() {
        match (open, line.strip_prefix("```")) {
            (false, Some(label)) => {
                open = true;
                found.push(Block { label: label.into(), text: String::new(), line: number + 1 });
            }
            (true, Some(_)) => open = false,
            (true, None) => {
                let block = found.last_mut().expect("a block is open");
                block.text += line;
                block.text.push('\n');
            }
            (false, None) => {}
        }
    }
    assert!(!open, "a block is never closed");
    found
}

/// Runs a block as a person pastes it, and returns what was printed.
fn paste(process: &mut Process, block: &Block) -> String {
    let marker = format!("@@line {}@@", block.line);
    let input = format!("{}.print \"{marker}\"\n", block.text);
    let output = process
        .exchange(&input, &format!("{marker}\n"), PATIENCE)
        .unwrap_or_else(|error| panic!("README.md:{}: {error}", block.line));
    assert_eq!(output.stderr.trim(), "", "README.md:{}: an error", block.line);
    output.stdout
}

fn link(directory: &Path, name: &str, target: &Path) {
    std::os::unix::fs::symlink(target, directory.join(name)).unwrap();
}

#[test]
fn the_tour_prints_what_it_shows() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    link(directory.path(), "dist", &tools.dist);
    link(directory.path(), ".venv", &workspace_root().join(".venv"));

    let readme = std::fs::read_to_string(workspace_root().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    let start = |program: &Path, arguments: &[&str]| Process::spawn(program, arguments, directory.path()).unwrap();
    let mut sqlite = start(&tools.sqlite3, &["-batch", "-init", "/dev/null"]);
    let mut duckdb = start(&tools.duckdb, &["-batch", "-unsigned", "-init", "/dev/null"]);

    let mut compared = 0;
    for (place, block) in blocks.iter().enumerate() {
        let printed = match block.label.as_str() {
            "sql sqlite" => paste(&mut sqlite, block),
            "sql duckdb" => paste(&mut duckdb, block),
            _ => continue,
        };
        if let Some(shown) = blocks.get(place + 1).filter(|next| next.label == "text") {
            // Only the end: a CALL in front of the query prints a table of its own.
            let end = printed.trim_end().lines().rev().take(shown.text.lines().count()).collect::<Vec<_>>();
            let end: String = end.into_iter().rev().map(|line| format!("{line}\n")).collect();
            assert_eq!(end, shown.text, "README.md:{}: what is printed (left), what is shown", shown.line);
            compared += 1;
        }
    }
    assert!(compared >= 5, "the tour shows results: {compared}");
    for (process, name) in [(sqlite, "sqlite3"), (duckdb, "duckdb")] {
        let mut process = process;
        let (status, output) = process.finish(PATIENCE).unwrap();
        assert!(status.success(), "{name} ends with {status}: {}", output.stderr);
    }
}

/// Every file that the README points to is there.
#[test]
fn links_lead_somewhere() {
    let root = workspace_root();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    for target in targets.filter(|target| !target.starts_with("http")) {
        assert!(root.join(target).exists(), "README.md points to {target}, which is not there");
    }
}

/// The commands that it names are the Makefile's.
#[test]
fn its_make_targets_exist() {
    let root = workspace_root();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let help = Command::new("make").arg("help").current_dir(&root).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let named = readme.split("make ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next());
    let targets = ["help", "build", "demo", "test", "bench", "setup", "verify"];
    for target in named.filter(|name| targets.contains(name)) {
        assert!(help.contains(&format!("make {target} ")), "make {target} is not in make help:\n{help}");
    }
}
