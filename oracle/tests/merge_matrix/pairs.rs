//! Merges each pair of changes of a world.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::changes::Change;
use crate::connections::{HABITS, Habit, lost_triggers, own, triggers};
use crate::recorded::Recorded;
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

/// A merge to try.
struct Way<'w> {
    into: &'w Branch,
    from: &'w Branch,
    policy: &'static str,
    /// The left branch is merged into.
    left: bool,
    habit: Option<Habit>,
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
        match self.merge(&Way::new(left, same, "abort", true), &mut failures) {
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
        ours: &'static str,
        theirs: &'static str,
        failures: &mut Vec<String>,
    ) -> Vec<&'static str> {
        let before = failures.len();
        let one = self.merge(&Way::new(left, right, ours, true), failures);
        let other = self.merge(&Way::new(right, left, theirs, false), failures);
        if ours == "abort" {
            self.with_habit(left, right, &one, failures);
        }
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

    /// The same on a connection with a habit: the same comes of it.
    fn with_habit(&mut self, left: &Branch, right: &Branch, expected: &Outcome, failures: &mut Vec<String>) {
        let habit = HABITS[self.copies as usize % HABITS.len()];
        let way = Way { habit: Some(habit), ..Way::new(left, right, "abort", true) };
        let differs = match (expected, self.merge(&way, failures)) {
            (Outcome::Merged { state, .. }, Outcome::Merged { state: found, .. }) => differ(state, &found),
            (
                Outcome::Refused { conflicts, ways_out, .. },
                Outcome::Refused { conflicts: found, ways_out: ways, message },
            ) => (*conflicts != found || *ways_out != ways).then_some(message),
            (Outcome::Merged { .. }, Outcome::Refused { message, .. }) => Some(message),
            (Outcome::Refused { .. }, Outcome::Merged { .. }) => Some("is merged".into()),
        };
        failures.extend(differs.map(|found| format!("with {}: {found}", habit.name)));
    }

    /// Merges one branch into a copy of another.
    fn merge(&mut self, way: &Way<'_>, failures: &mut Vec<String>) -> Outcome {
        let Way { into, from, policy, left, habit } = way;
        self.copies += 1;
        let copy = format!("copy{}", self.copies);
        query(&self.open(&into.name), "SELECT maniac_branch_create(?1)", [&copy]).unwrap();
        let db = self.open(&copy);
        if let Some(habit) = habit {
            (habit.set)(&db);
        }
        let (head, kept, triggers) = (query(&db, "SELECT maniac_head()", ()).unwrap(), own(&db), triggers(&db));
        let merged = query(&db, "SELECT maniac_merge(?1, ?2)", [&from.name[..], policy]);
        let mut found = Vec::new();
        found.extend(differ(&kept, &own(&db)));
        found.extend(lost_triggers(&db, triggers));
        let outcome = match merged {
            Ok(_) => {
                let fresh = self.open(&copy);
                found.extend(sound::faults(if habit.is_some() { &fresh } else { &db }));
                let merged = Values::read(&fresh);
                let (one, other) = (into.side(), from.side());
                let (one, other) = if *left { (one, other) } else { (other, one) };
                let mut values = rows::faults(&self.base, &one, &other, winner(policy, *left), &merged);
                // A row that a constraint refuses is left out or takes the place of others.
                let refused = "SELECT count(*) FROM maniac_conflicts WHERE kind = 'constraint'";
                if *policy != "abort" && query(&db, refused, ()).unwrap().concat() != ["0"] {
                    values.clear();
                }
                let state = state::read(&fresh);
                if habit.is_none() {
                    found.extend(self.recorded(into, &fresh, &head[0][0], &state));
                    found.extend(self.back(from, &copy, &state));
                }
                Outcome::Merged { state, values }
            }
            Err(error) => {
                let message = error.to_string();
                if !message.contains("nothing changed") {
                    found.push(message.clone());
                }
                let sql = "SELECT DISTINCT kind || ' ' || CASE kind WHEN 'schema' THEN key ELSE \"table\" END \
                           FROM maniac_conflicts ORDER BY 1";
                let conflicts: Vec<String> = query(&db, sql, ()).unwrap().into_iter().flatten().collect();
                found.extend(conflicts.is_empty().then(|| format!("no conflicts: {message}")));
                let unchanged = query(&db, "SELECT maniac_head()", ()).unwrap() == head;
                found.extend((!unchanged).then(|| format!("refused, and changed: {message}")));
                found.extend(differ(&into.state, &state::read(&self.open(&copy))));
                let advice = message.split("on_conflict").nth(1).unwrap_or_default();
                let ways_out = ["ours", "theirs"].into_iter().filter(|way| advice.contains(&format!("'{way}'")));
                Outcome::Refused { conflicts, ways_out: ways_out.collect(), message }
            }
        };
        drop(db);
        query(&self.open("main"), "SELECT maniac_branch_drop(?1)", [&copy]).unwrap();
        let title = if *left { "to the left" } else { "to the right" };
        failures.extend(found.into_iter().map(|found| format!("{policy}, {title}: {found}")));
        outcome
    }

    /// The branch that was merged takes the other one's version over as it is: nothing is in the way, and
    /// both are the same afterwards.
    fn back(&self, from: &Branch, merged: &str, state: &[String]) -> Vec<String> {
        let name = format!("back{}", self.copies);
        query(&self.open(&from.name), "SELECT maniac_branch_create(?1)", [&name]).unwrap();
        let db = self.open(&name);
        // An index that is in memory must not be stale afterwards.
        state::read(&db);
        let mut faults = Vec::new();
        match query(&db, "SELECT maniac_merge(?1) ->> '$.conflicts'", [merged]) {
            Ok(conflicts) => {
                faults.extend((conflicts.concat() != ["0"]).then(|| format!("conflicts: {conflicts:?}")));
                let fresh = self.open(&name);
                for db in [&db, &fresh] {
                    faults.extend(differ(state, &state::read(db)));
                    faults.extend(sound::faults(db));
                }
            }
            Err(error) => faults.push(error.to_string()),
        }
        drop(db);
        query(&self.open("main"), "SELECT maniac_branch_drop(?1)", [&name]).unwrap();
        faults.into_iter().map(|fault| format!("back: {fault}")).collect()
    }

    fn recorded(&self, into: &Branch, db: &Connection, before: &str, state: &[String]) -> Vec<String> {
        let replay = format!("replay{}", self.copies);
        let parent = self.open(&into.name);
        query(&parent, "SELECT maniac_branch_create(?1)", [&replay]).unwrap();
        let again = self.open(&replay);
        let faults = Recorded { db, before, state, parent: &parent, again: &again }.faults();
        drop(again);
        query(&parent, "SELECT maniac_branch_drop(?1)", [&replay]).unwrap();
        faults
    }
}

impl<'w> Way<'w> {
    fn new(into: &'w Branch, from: &'w Branch, policy: &'static str, left: bool) -> Way<'w> {
        Way { into, from, policy, left, habit: None }
    }
}

impl Branch {
    fn side(&self) -> Side<'_> {
        Side { values: &self.values, replaces: self.replaces }
    }
}

/// The lines that only one of two states has.
pub fn differ(one: &[String], other: &[String]) -> Option<String> {
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (first, second) = (only(one, other), only(other, one));
    (one != other).then(|| format!("\n  {first:?}\n  {second:?}"))
}
