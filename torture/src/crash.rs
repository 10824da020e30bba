//! A round of a crash test: writers and a reader in processes of their own, killed in the middle of it all.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use maniac_sql_tests::dice::Dice;

use crate::host::worker;
use crate::ledger::{BRANCHES, check};

/// Who writes where: a branch of its own, and one that is also somebody else's.
const WRITERS: [(&str, &str); 3] = [("main", "dev"), ("dev", "left"), ("left", "right")];
/// Batches of a writer in a round lie this far apart from the next one's.
const STRIDE: i64 = 1_000_000;

/// Acknowledged batches, each with its branch.
pub type Acknowledged = BTreeSet<(String, i64)>;

pub struct Round<'a> {
    pub store: &'a Path,
    pub number: i64,
    /// What starts the processes; empty for nothing in between.
    pub wrapper: &'a [String],
    pub synchronous: &'a str,
    pub large: u64,
    pub longest: Duration,
}

impl Round<'_> {
    /// Lets them work for a random while, kills all, and gives what was acknowledged.
    pub fn run(&self, dice: &mut Dice) -> Acknowledged {
        let store = self.store.display().to_string();
        let mut running: Vec<(Child, JoinHandle<Acknowledged>)> = WRITERS
            .iter()
            .enumerate()
            .map(|(n, (branch, other))| {
                let first = ((self.number * WRITERS.len() as i64 + n as i64) * STRIDE).to_string();
                let large = self.large.to_string();
                self.start(&["write", &store, branch, other, &first, self.synchronous, &large])
            })
            .collect();
        let (mut reader, _) = self.start(&["read", &store]);
        let longest = self.longest.as_micros() as u64;
        std::thread::sleep(Duration::from_micros(longest / 10 + dice.below(longest)));
        if let Some(status) = reader.try_wait().expect("a child") {
            panic!("round {}: the reader has ended: {status}", self.number);
        }
        // Sometimes one dies before the others, who then meet what it left.
        if dice.below(2) == 0 {
            kill(&mut running[dice.below(3) as usize].0);
            std::thread::sleep(Duration::from_micros(dice.below(longest)));
        }
        running.iter_mut().for_each(|(child, _)| kill(child));
        kill(&mut reader);
        running.into_iter().flat_map(|(_, lines)| lines.join().expect("lines are read")).collect()
    }

    fn start(&self, arguments: &[&str]) -> (Child, JoinHandle<Acknowledged>) {
        let program = worker();
        let mut command = match self.wrapper.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the worker starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = std::thread::spawn(move || {
            let mut seen = Acknowledged::new();
            for line in output.lines().map_while(Result::ok) {
                let mut words = line.split(' ');
                let id = words.next().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no number: {line}"));
                seen.extend(words.map(|branch| (branch.to_string(), id)));
            }
            seen
        });
        (child, lines)
    }
}

/// A writer that has ended by itself has met an error, which it has written to standard error.
fn kill(child: &mut Child) {
    if let Some(status) = child.try_wait().expect("a child") {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(9), "a process has ended by itself: {status}");
        return;
    }
    child.kill().expect("it can be killed");
    child.wait().expect("a child");
}

/// All that was acknowledged is there, on every branch, and everything is whole. Gives the number of batches.
pub fn check_all(store: &Path, acknowledged: &Acknowledged, what: &str) -> usize {
    let found: Vec<_> = BRANCHES.iter().map(|branch| check(store, branch, what)).collect();
    for (branch, id) in acknowledged {
        let at = BRANCHES.iter().position(|name| name == branch).expect("a known branch");
        assert!(found[at].all.contains(id), "{what}: batch {id} was acknowledged on {branch}, and is not there");
    }
    // A transaction on two branches: on both, or on none.
    for (branch, other) in WRITERS {
        let at = |name| BRANCHES.iter().position(|branch| *branch == name).expect("a known branch");
        let (ours, theirs) = (&found[at(branch)], &found[at(other)]);
        let writer = WRITERS.iter().position(|(name, _)| *name == branch).expect("a writer") as i64;
        let twin = |batches: &BTreeSet<i64>| -> BTreeSet<i64> {
            batches.iter().copied().filter(|id| id / STRIDE % WRITERS.len() as i64 == writer).collect()
        };
        assert_eq!(twin(&ours.twins), twin(&theirs.twins), "{what}: transactions on {branch} and {other}");
    }
    found.iter().map(|batches| batches.all.len()).sum()
}
