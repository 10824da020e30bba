//! Merges each pair of changes of a world.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::changes::Change;
use crate::rows::{self, Side, Values, Winner};
use crate::sound;
use crate::state::{self, query};
use crate::worlds::World;

/// The branch of a side after one change.
struct Branch {
    name: String,
    state: Vec<String>,
    values: Values,
    replaces: bool,
}

#[derive(PartialEq)]
enum Outcome {
    Merged { state: Vec<String>, values: Vec<String> },
    Refused { conflicts: Vec<String>, ways_out: Vec<&'static str>, message: String },
}

struct Matrix<'w> {
    world: &'w World,
    directory: &'w Path,
    base: Values,
    copies: u32,
    counts: BTreeMap<&'static str, u32>,
}

/// Runs them all, and tells all failures at once.
pub fn run(world: &World) {
    let setting = |name: &str| std::env::var(name).ok();
    if setting("MANIAC_WORLD").is_some_and(|name| name != world.name) {
        return;
    }
    let stride: usize = setting("MANIAC_STRIDE").map_or(world.stride, |value| value.parse().expect("a number"));
    let pair = setting("MANIAC_PAIR");
    let directory = tempfile::tempdir().unwrap();
    let mut matrix =
        Matrix { world, directory: directory.path(), base: Values::default(), copies: 0, counts: BTreeMap::new() };
    let db = matrix.open("main");
    db.execute_batch(&world.base).unwrap();
    matrix.base = Values::read(&db);
    let side = |side: &str, number: &str| -> Vec<Branch> {
        let numbered = world.changes.iter().enumerate();
        numbered.map(|(n, change)| matrix.branch(&format!("{side}{n}"), change, side, number)).collect()
    };
    let (left, right) = (side("l", "1"), side("r", "2"));
    // The right side again, with what the left one does.
    let same: Vec<Branch> =
        world.changes.iter().enumerate().map(|(n, change)| matrix.branch(&format!("s{n}"), change, "l", "1")).collect();
    let mut failures = Vec::new();
    let mut at = 0;
    for (l, left_change) in world.changes.iter().enumerate() {
        for (r, right_change) in world.changes.iter().enumerate() {
            at += 1;
            let chosen = match &pair {
                Some(pair) => *pair == format!("{}/{}", left_change.name, right_change.name),
                None => at % stride == 0,
            };
            if r < l || !chosen {
                continue;
            }
            let title = format!("{}/{}", left_change.name, right_change.name);
            let failed = matrix.pair(&left[l], &right[r]);
            failures.extend(failed.into_iter().map(|failure| format!("{title}: {failure}")));
            if l == r {
                let failed = matrix.twice(&left[l], &same[l]);
                failures.extend(failed.into_iter().map(|failure| format!("{title}, the same: {failure}")));
            }
        }
    }
    println!("{}: {:?}", world.name, matrix.counts);
    assert!(failures.is_empty(), "{}: {} failures\n{}", world.name, failures.len(), failures.join("\n"));
}

fn winner(policy: &str, left_is_ours: bool) -> Winner {
    match (policy, left_is_ours) {
        ("abort", _) => Winner::Neither,
        ("ours", true) | ("theirs", false) => Winner::Left,
        _ => Winner::Right,
    }
}

impl Matrix<'_> {
    fn open(&self, branch: &str) -> Connection {
        let uri = format!("file:{}/s.maniac?vfs=maniac&branch={branch}", self.directory.display());
        let db = Connection::open(uri).unwrap();
        db.execute_batch("PRAGMA synchronous = OFF").unwrap();
        db.execute_batch(&format!("PRAGMA foreign_keys = {}", self.world.foreign_keys)).unwrap();
        db
    }

    fn branch(&self, name: &str, change: &Change, side: &str, number: &str) -> Branch {
        query(&self.open("main"), "SELECT maniac_branch_create(?1)", [name]).unwrap();
        let db = self.open(name);
        let sql = change.sql.replace("{s}", side).replace("{n}", number);
        let sql = if sql == "VACUUM" { sql } else { format!("BEGIN; {sql}; COMMIT") };
        db.execute_batch(&sql).unwrap_or_else(|error| panic!("{}, {}: {error}", self.world.name, change.name));
        let faults = sound::faults(&db);
        assert!(faults.is_empty(), "{}, {}, before any merge: {faults:?}", self.world.name, change.name);
        Branch {
            name: name.into(),
            state: state::read(&self.open(name)),
            values: Values::read(&db),
            replaces: change.replaces,
        }
    }

    /// Both directions, and what the message of a conflict advises.
    fn pair(&mut self, left: &Branch, right: &Branch) -> Vec<String> {
        let mut failures = Vec::new();
        let advised = self.both_ways(left, right, "abort", "abort", &mut failures);
        for policy in advised {
            let other = if policy == "ours" { "theirs" } else { "ours" };
            let before = failures.len();
            let refused = self.both_ways(left, right, policy, other, &mut failures);
            if failures.len() == before && !refused.is_empty() {
                failures.push(format!("{policy} is advised and refused"));
            }
        }
        failures
    }

    /// Both sides did the same: nothing is in the way, and nothing changes.
    fn twice(&mut self, left: &Branch, same: &Branch) -> Vec<String> {
        let mut failures = Vec::new();
        match self.merge(left, same, "abort", true, &mut failures) {
            Outcome::Merged { state, .. } => failures.extend(differ(&left.state, &state)),
            Outcome::Refused { message, .. } => failures.push(message),
        }
        failures
    }

    /// Merges each into the other; gives the policies that are advised to the left one.
    fn both_ways(
        &mut self,
        left: &Branch,
        right: &Branch,
        ours: &str,
        theirs: &str,
        failures: &mut Vec<String>,
    ) -> Vec<&'static str> {
        let before = failures.len();
        let one = self.merge(left, right, ours, true, failures);
        let other = self.merge(right, left, theirs, false, failures);
        if failures.len() > before {
            return Vec::new();
        }
        match (one, other) {
            (Outcome::Merged { state, values }, Outcome::Merged { state: others, .. }) => {
                *self.counts.entry(if ours == "abort" { "merged" } else { "settled" }).or_default() += 1;
                failures.extend(differ(&state, &others).map(|found| format!("{ours} and {theirs} differ: {found}")));
                failures.extend((!values.is_empty()).then(|| format!("{ours}: {}", values.join(", "))));
                Vec::new()
            }
            (
                Outcome::Refused { conflicts, ways_out, message },
                Outcome::Refused { conflicts: others, ways_out: other_ways, message: other_message },
            ) => {
                let mirrored = |way: &&str| if *way == "ours" { "theirs" } else { "ours" };
                let mut mirrored: Vec<_> = other_ways.iter().map(mirrored).collect();
                mirrored.sort_unstable();
                if conflicts != others || ways_out != mirrored {
                    failures.push(format!(
                        "{ours} and {theirs} differ:\n  {message}\n  {other_message}\n  {conflicts:?}\n  {others:?}"
                    ));
                }
                *self.counts.entry(if ways_out.is_empty() { "refused" } else { "advised" }).or_default() += 1;
                ways_out
            }
            (Outcome::Merged { .. }, Outcome::Refused { message, .. }) => {
                failures.push(format!("{ours} merges, {theirs} the other way doesn't: {message}"));
                Vec::new()
            }
            (Outcome::Refused { message, .. }, Outcome::Merged { .. }) => {
                failures.push(format!("{theirs} merges the other way, {ours} doesn't: {message}"));
                Vec::new()
            }
        }
    }

    /// Merges one branch into a copy of another.
    fn merge(&mut self, into: &Branch, from: &Branch, policy: &str, left: bool, failures: &mut Vec<String>) -> Outcome {
        self.copies += 1;
        let copy = format!("copy{}", self.copies);
        query(&self.open(&into.name), "SELECT maniac_branch_create(?1)", [&copy]).unwrap();
        let db = self.open(&copy);
        let head = query(&db, "SELECT maniac_head()", ()).unwrap();
        let title = if left { format!("{policy}, to the left") } else { format!("{policy}, to the right") };
        let merged = query(&db, "SELECT maniac_merge(?1, ?2)", [&from.name, policy]);
        let outcome = match merged {
            Ok(_) => {
                failures.extend(sound::faults(&db).into_iter().map(|fault| format!("{title}: {fault}")));
                let fresh = self.open(&copy);
                let merged = Values::read(&fresh);
                let (into, from) = (
                    Side { values: &into.values, replaces: into.replaces },
                    Side { values: &from.values, replaces: from.replaces },
                );
                let (left_side, right_side) = if left { (into, from) } else { (from, into) };
                let values = rows::faults(&self.base, &left_side, &right_side, winner(policy, left), &merged);
                Outcome::Merged { state: state::read(&fresh), values }
            }
            Err(error) => {
                let message = error.to_string();
                if !message.contains("nothing changed") {
                    failures.push(format!("{title}: {message}"));
                }
                let sql = "SELECT DISTINCT kind || ' ' || CASE kind WHEN 'schema' THEN key ELSE \"table\" END \
                           FROM maniac_conflicts ORDER BY 1";
                let conflicts: Vec<String> = query(&db, sql, ()).unwrap().into_iter().flatten().collect();
                let unchanged =
                    query(&db, "SELECT maniac_head()", ()).unwrap() == head && state::read(&db) == into.state;
                if conflicts.is_empty() || !unchanged {
                    failures.push(format!("{title}: {conflicts:?}, unchanged: {unchanged}: {message}"));
                }
                let advice = message.split("on_conflict").nth(1).unwrap_or_default();
                let ways_out = ["ours", "theirs"].into_iter().filter(|way| advice.contains(&format!("'{way}'")));
                Outcome::Refused { conflicts, ways_out: ways_out.collect(), message }
            }
        };
        drop(db);
        query(&self.open("main"), "SELECT maniac_branch_drop(?1)", [&copy]).unwrap();
        outcome
    }
}

/// The lines that only one of two states has.
fn differ(one: &[String], other: &[String]) -> Option<String> {
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (first, second) = (only(one, other), only(other, one));
    (one != other).then(|| format!("\n  {first:?}\n  {second:?}"))
}
