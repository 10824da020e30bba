//! Checkpoints against a model: random commits on branches, branches from old versions, checkpoints, and a store that is
//! closed and opened again. Every version of every branch shows what it should, whatever epoch it is in.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{at, commit, fills, open, open_at};
use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{EntryKind, Moment, Store};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Pages of a branch get a new fill.
    Commit {
        branch: usize,
        pages: Vec<(u32, u8)>,
    },
    /// A branch of a branch, at its head or at an old version.
    Branch {
        from: usize,
        back: u8,
    },
    Drop {
        branch: usize,
    },
    Checkpoint,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pages = prop::collection::vec((prop_oneof![1u32..6, 60u32..70, 130u32..140], 1u8..=255), 1..4);
    let commit = (0usize..4, pages).prop_map(|(branch, pages)| Step::Commit { branch, pages });
    let branch = (0usize..4, 0u8..6).prop_map(|(from, back)| Step::Branch { from, back });
    let step = prop_oneof![
        8 => commit,
        2 => branch,
        1 => (1usize..4).prop_map(|branch| Step::Drop { branch }),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// The fill of each page that was written.
type Fills = BTreeMap<u32, u8>;

/// What a branch shows from each version on.
struct Line {
    name: String,
    id: BranchId,
    versions: Vec<(Version, Fills)>,
}

impl Line {
    fn at(&self, version: Version) -> &(Version, Fills) {
        let n = self.versions.partition_point(|(at, _)| *at <= version);
        &self.versions[n - 1]
    }
}

fn assert_shows(store: &Arc<Store>, line: &Line) {
    let entries = store.entries(line.id, line.versions[0].0).unwrap().map(|entry| entry.unwrap());
    let entries: Vec<Version> =
        entries.filter(|entry| entry.kind == EntryKind::Transaction).map(|entry| entry.version).collect();
    let committed: Vec<Version> = line.versions[1..].iter().map(|(version, _)| *version).collect();
    assert_eq!(entries, committed, "the stream of {}", line.name);
    for (version, fills) in &line.versions {
        let snapshot = store.snapshot(line.id, *version).unwrap();
        assert_eq!((snapshot.version(), snapshot.branch()), (*version, line.id));
        assert_eq!(store.resolve(line.id, Moment::Version(*version)).unwrap(), *version);
        let pages = fills.keys().last().copied().unwrap_or(0);
        assert_eq!(snapshot.page_count(), pages, "version {version} of {}", line.name);
        for no in 1..=pages {
            let fill = fills.get(&no).copied().unwrap_or(0);
            let page = snapshot.page(PageNo(no)).unwrap();
            assert!(page.iter().all(|byte| *byte == fill), "page {no} of version {version} of {}", line.name);
        }
    }
    // Any two versions differ in nothing but the pages that are said to.
    for pair in line.versions.iter().zip(line.versions.iter().rev()) {
        let ((a, one), (b, other)) = pair;
        let (before, after) = (store.snapshot(line.id, *a).unwrap(), store.snapshot(line.id, *b).unwrap());
        let differing = before.differing_pages(&after).unwrap();
        for no in 1..=after.page_count() {
            let same = one.get(&no).copied().unwrap_or(0) == other.get(&no).copied().unwrap_or(0);
            assert!(same || differing.contains(&PageNo(no)), "page {no} between {a} and {b} of {}", line.name);
        }
    }
}

fn run(path: &Path, steps: Vec<Step>) {
    let mut store = open_at(path).unwrap();
    let main = Line { name: "main".into(), id: BranchId::MAIN, versions: vec![(Version(0), Fills::new())] };
    let mut lines = vec![main];
    let mut made = 0;
    for step in steps {
        match step {
            Step::Commit { branch, pages } => {
                let n = branch % lines.len();
                let mut fills = lines[n].versions.last().unwrap().1.clone();
                fills.extend(pages.iter().copied());
                let version = commit(&store, lines[n].id, &pages).unwrap();
                lines[n].versions.push((version, fills));
            }
            Step::Branch { from, back } => {
                let line = &lines[from % lines.len()];
                let at = line.versions[line.versions.len().saturating_sub(1 + usize::from(back))].0;
                made += 1;
                let name = format!("b{made}");
                let branch = store.branch_create(&name, &line.name, Some(Moment::Version(at))).unwrap();
                let versions = vec![line.at(at).clone()];
                assert_eq!(branch.fork, versions[0].0);
                lines.push(Line { name, id: branch.id, versions });
            }
            Step::Drop { branch } => {
                // One with children stays.
                let n = branch % lines.len();
                if n > 0 && store.branch_drop(&lines[n].name).is_ok() {
                    lines.remove(n);
                }
            }
            Step::Checkpoint => {
                store.checkpoint().unwrap();
                assert_eq!(store.checkpoint().unwrap(), None, "there is nothing to do");
            }
            Step::Reopen => {
                drop(store);
                store = open_at(path).unwrap();
            }
        }
        for line in &lines {
            let branch = store.branch_by_id(line.id).unwrap();
            let (head, fills) = line.versions.last().unwrap();
            assert_eq!((branch.head, branch.commits), (*head, line.versions.len() as u64 - 1), "{}", line.name);
            assert_eq!(branch.pages, fills.keys().last().copied().unwrap_or(0), "{}", line.name);
        }
    }
    lines.iter().for_each(|line| assert_shows(&store, line));
    // Another opener sees the same.
    drop(store);
    let store = open_at(path).unwrap();
    lines.iter().for_each(|line| assert_shows(&store, line));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_version_stays(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        run(&dir.path().join("s.maniac"), steps);
    }
}

#[test]
fn an_opener_reads_what_follows_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for n in 0..200 {
        commit(&store, BranchId::MAIN, &[(1 + n % 7, n as u8)]).unwrap();
    }
    let before = store.status().unwrap();
    let made = store.checkpoint().unwrap().unwrap();
    assert_eq!(made.version, Version(200));
    let head = at(&store, BranchId::MAIN, 200);
    let path = store.path().to_owned();
    drop(store);
    let store = open_at(&path).unwrap();
    let after = store.status().unwrap();
    assert!(after.index_bytes < before.index_bytes / 10, "{} and then {}", before.index_bytes, after.index_bytes);
    assert_eq!(after.page_images, 0);
    assert_eq!(at(&store, BranchId::MAIN, 200), head);
    assert_eq!(at(&store, BranchId::MAIN, 1), [0]);
}

#[test]
fn snapshots_outlive_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1), (2, 1)]).unwrap();
    let old = store.snapshot(BranchId::MAIN, Version(1)).unwrap();
    store.checkpoint().unwrap().unwrap();
    commit(&store, BranchId::MAIN, &[(2, 2)]).unwrap();
    store.checkpoint().unwrap().unwrap();
    assert_eq!(fills(&old).unwrap(), [1, 1]);
    let new = store.snapshot(BranchId::MAIN, Version(2)).unwrap();
    assert_eq!(fills(&new).unwrap(), [1, 2]);
    assert_eq!(old.differing_pages(&new).unwrap(), [PageNo(2)]);
}

#[test]
fn moments_are_the_same_with_a_checkpoint_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut moments = vec![0, 1_000_000_000_000];
    for n in 1..=6u8 {
        commit(&store, BranchId::MAIN, &[(1, n)]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(3));
        moments.extend(store.entries(BranchId::MAIN, Version(0)).unwrap().map(|entry| entry.unwrap().time_ms));
    }
    let resolve = |store: &Arc<Store>| {
        let at = |moment| store.resolve(BranchId::MAIN, moment).map_err(|error| error.to_string());
        let times = moments.iter().flat_map(|ms| [ms - 1, *ms]).map(Moment::Time).map(at).collect::<Vec<_>>();
        let versions = (0..8).map(Version).map(Moment::Version).map(at).collect::<Vec<_>>();
        (times, versions)
    };
    let before = resolve(&store);
    assert!(before.0[0].as_ref().unwrap_err().contains("its history starts at"), "{:?}", before.0[0]);
    store.checkpoint().unwrap().unwrap();
    assert_eq!(resolve(&store), before);
    let path = store.path().to_owned();
    drop(store);
    assert_eq!(resolve(&open_at(&path).unwrap()), before);
}

/// As long as the log has everything, a manifest is a shortcut.
#[test]
fn a_damaged_manifest_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    store.checkpoint().unwrap().unwrap();
    commit(&store, BranchId::MAIN, &[(1, 2)]).unwrap();
    store.checkpoint().unwrap().unwrap();
    let path = store.path().to_owned();
    drop(store);
    for file in std::fs::read_dir(path.join("catalog")).unwrap() {
        let file = file.unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[30] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let store = open_at(&path).unwrap();
        assert_eq!((at(&store, BranchId::MAIN, 1), at(&store, BranchId::MAIN, 2)), (vec![1], vec![2]));
    }
}
