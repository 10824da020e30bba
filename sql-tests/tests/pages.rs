//! The SQL of README.md and of the pages in docs/ works when it is pasted: a page's blocks are run in order in an empty
//! directory, and what the page shows is what comes back.
//!
//! Blocks that begin with ```` ```sql sqlite ```` or ```` ```sql duckdb ```` go to a session each, started as the pages
//! say. A ```` ```text ```` block right behind one is what that one prints at its end, and ```` ```text error ```` what it
//! prints to standard error, which is nothing otherwise.

use std::path::Path;
use std::process::Command;

use maniac_sql_tests::Tools;
use maniac_sql_tests::process::{Output, Process};
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
fn paste(process: &mut Process, place: &str, block: &Block) -> Output {
    let marker = format!("@@line {}@@", block.line);
    let input = format!("{}.print \"{marker}\"\n", block.text);
    process.exchange(&input, &format!("{marker}\n"), PATIENCE).unwrap_or_else(|error| panic!("{place}: {error}"))
}

/// The line that a script's errors name is not there when a person pastes the statement.
fn without_lines(stderr: &str) -> String {
    let one = |line: &str| match line.split_once(" near line ") {
        Some((before, after)) => before.to_owned() + after.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => line.to_owned(),
    };
    stderr.trim().lines().map(|line| one(line) + "\n").collect()
}

fn link(directory: &Path, name: &str, target: &Path) {
    std::os::unix::fs::symlink(target, directory.join(name)).unwrap();
}

/// Runs a page, and returns how often it shows what is printed.
fn run(page: &str) -> usize {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    link(directory.path(), "dist", &tools.dist);
    link(directory.path(), ".venv", &workspace_root().join(".venv"));

    let text = std::fs::read_to_string(workspace_root().join(page)).unwrap();
    let blocks = blocks(&text);
    let start = |program: &Path, arguments: &[&str]| Process::spawn(program, arguments, directory.path()).unwrap();
    let mut sqlite = start(&tools.sqlite3, &["-batch", "-init", "/dev/null"]);
    let mut duckdb = start(&tools.duckdb, &["-batch", "-unsigned", "-init", "/dev/null"]);

    let mut compared = 0;
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{page}:{}", block.line);
        let printed = match block.label.as_str() {
            "sql sqlite" => paste(&mut sqlite, &place, block),
            "sql duckdb" => paste(&mut duckdb, &place, block),
            _ => continue,
        };
        let shown = |label: &str| blocks.get(at + 1).filter(|next| next.label == label);
        let error = shown("text error").map_or("", |error| &error.text);
        assert_eq!(without_lines(&printed.stderr), error, "{place}: errors (left), and what is shown of them");
        if let Some(shown) = shown("text") {
            // Only the end: a CALL in front of the query prints a table of its own.
            let end = printed.stdout.trim_end().lines().rev().take(shown.text.lines().count()).collect::<Vec<_>>();
            let end: String = end.into_iter().rev().map(|line| format!("{line}\n")).collect();
            assert_eq!(end, shown.text, "{page}:{}: what is printed (left), what is shown", shown.line);
            compared += 1;
        }
    }
    // A shell whose input had an error says so at its end.
    let fails = blocks.iter().any(|block| block.label == "text error");
    for (process, name) in [(&mut sqlite, "sqlite3"), (&mut duckdb, "duckdb")] {
        let (status, output) = process.finish(PATIENCE).unwrap();
        assert!(
            status.success() || fails && status.code() == Some(1),
            "{page}: {name} ends with {status}: {}",
            output.stderr
        );
    }
    compared
}

#[test]
fn readme() {
    assert!(run("README.md") >= 5, "the tour shows results");
}

#[test]
fn sqlite() {
    assert!(run("docs/sqlite.md") >= 5);
}

#[test]
fn merges() {
    assert!(run("docs/merges.md") >= 5);
}

#[test]
fn duckdb() {
    assert!(run("docs/duckdb.md") >= 5);
}

#[test]
fn types() {
    assert!(run("docs/types.md") >= 3);
}

#[test]
fn lakes() {
    assert!(run("docs/lakes.md") >= 2);
}

/// A page with SQL that a person would paste has a test above.
#[test]
fn every_page_is_run() {
    let tested = ["sqlite.md", "merges.md", "duckdb.md", "types.md", "lakes.md"];
    for page in std::fs::read_dir(workspace_root().join("docs")).unwrap() {
        let page = page.unwrap();
        let name = page.file_name().into_string().unwrap();
        if name.ends_with(".md") && !tested.contains(&name.as_str()) {
            let text = std::fs::read_to_string(page.path()).unwrap();
            assert!(
                blocks(&text).iter().all(|block| !block.label.starts_with("sql ")),
                "{name} has SQL that nothing runs"
            );
        }
    }
}

/// The commands that the README names are the Makefile's.
#[test]
fn make_targets_exist() {
    let root = workspace_root();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let help = Command::new("make").arg("help").current_dir(&root).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    // At the start of a line, or set as code.
    let of_lines = readme.lines().filter_map(|line| line.strip_prefix("make "));
    let of_text = readme.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("make "));
    let named: Vec<&str> = of_lines.chain(of_text).filter_map(|rest| rest.split_whitespace().next()).collect();
    assert!(named.contains(&"demo") && named.contains(&"test"), "the two commands are among {named:?}");
    for target in named {
        assert!(help.contains(&format!("make {target} ")), "make {target} is not in make help:\n{help}");
    }
}
