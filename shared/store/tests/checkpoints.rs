//! Checkpoints against a model: random commits on branches, branches from old versions, checkpoints, and a store that is
//! closed and opened again. Every version of every branch shows what it should, whatever epoch it is in.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use common::{at, commit, commit_on, fills, open, open_at};
use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{Durability, EntryKind, Limits, Moment, OpenOptions, Retention, Snapshot, Store, StoreError};
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
    /// So many versions are kept.
    Retain {
        versions: u8,
    },
    /// A version of a branch is kept.
    Tag {
        branch: usize,
        back: u8,
    },
    Untag {
        tag: usize,
    },
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
        1 => (0u8..12).prop_map(|versions| Step::Retain { versions }),
        1 => (0usize..4, 0u8..6).prop_map(|(branch, back)| Step::Tag { branch, back }),
        1 => (0usize..4).prop_map(|tag| Step::Untag { tag }),
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

/// What must be there beside the branches' heads.
#[derive(Default)]
struct Kept {
    /// Everything from this version on.
    from: Version,
    tags: Vec<(String, BranchId, Version)>,
    /// So many versions from the next checkpoint on.
    retained: Option<u64>,
}

/// What may be gone is gone or right.
fn may_be_gone<T>(result: Result<T, StoreError>, may: bool) -> Option<T> {
    match result {
        Err(StoreError::Forgotten { .. }) if may => None,
        result => Some(result.unwrap()),
    }
}

fn assert_shows(store: &Arc<Store>, line: &Line, kept: &Kept) {
    for from in [line.versions[0].0, line.versions[0].0.max(kept.from)] {
        let Some(from) = Some(from).filter(|from| *from <= store.head()) else { continue };
        let entries = store.entries(line.id, from).unwrap().collect::<Result<Vec<_>, StoreError>>();
        let Some(entries) = may_be_gone(entries, from < kept.from) else { continue };
        let entries = entries.into_iter().filter(|entry| entry.kind == EntryKind::Transaction);
        let entries: Vec<Version> = entries.map(|entry| entry.version).collect();
        let committed = line.versions[1..].iter().map(|(version, _)| *version).filter(|version| *version > from);
        assert_eq!(entries, committed.collect::<Vec<_>>(), "the stream of {} from {from} on", line.name);
    }
    let head = line.versions.last().unwrap().0;
    let is_kept = |version: Version| {
        let tagged = kept.tags.iter().any(|(_, branch, at)| (*branch, *at) == (line.id, version));
        version >= kept.from || version == head || tagged
    };
    let mut there = Vec::new();
    for (version, fills) in &line.versions {
        let Some(snapshot) = may_be_gone(store.snapshot(line.id, *version), !is_kept(*version)) else { continue };
        assert_eq!((snapshot.version(), snapshot.branch()), (*version, line.id));
        assert_eq!(store.resolve(line.id, Moment::Version(*version)).unwrap(), *version);
        let pages = fills.keys().last().copied().unwrap_or(0);
        assert_eq!(snapshot.page_count(), pages, "version {version} of {}", line.name);
        for no in 1..=pages {
            let fill = fills.get(&no).copied().unwrap_or(0);
            let page = snapshot.page(PageNo(no)).unwrap();
            assert!(page.iter().all(|byte| *byte == fill), "page {no} of version {version} of {}", line.name);
        }
        there.push((version, fills, snapshot));
    }
    // Any two versions differ in nothing but the pages that are said to.
    for ((a, one, before), (b, other, after)) in there.iter().zip(there.iter().rev()) {
        let differing = before.differing_pages(after).unwrap();
        for no in 1..=after.page_count() {
            let same = one.get(&no).copied().unwrap_or(0) == other.get(&no).copied().unwrap_or(0);
            assert!(same || differing.contains(&PageNo(no)), "page {no} between {a} and {b} of {}", line.name);
        }
    }
}

/// Branches can be merged, whatever is gone.
fn assert_merges(store: &Arc<Store>, lines: &[Line]) {
    let heads: Vec<Snapshot> =
        lines.iter().map(|line| store.snapshot(line.id, line.versions.last().unwrap().0).unwrap()).collect();
    for (n, one) in heads.iter().enumerate() {
        for other in &heads[..n] {
            let ancestor = one.common_ancestor(other).unwrap();
            fills(&ancestor).unwrap();
            ancestor.differing_pages(one).unwrap();
        }
    }
}

fn small(path: &Path) -> Arc<Store> {
    let limits = Limits { segment: 1000, ..Limits::default() };
    Store::open(path, OpenOptions { create: true, limits }).unwrap()
}

fn run(path: &Path, steps: Vec<Step>) {
    let mut store = small(path);
    let main = Line { name: "main".into(), id: BranchId::MAIN, versions: vec![(Version(0), Fills::new())] };
    let (mut lines, mut kept) = (vec![main], Kept::default());
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
                let created = store.branch_create(&name, &line.name, Some(Moment::Version(at)));
                let Some(branch) = may_be_gone(created, at < kept.from) else { continue };
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
                let head = store.head();
                store.checkpoint().unwrap();
                assert_eq!(store.checkpoint().unwrap(), None, "there is nothing to do");
                if let Some(versions) = kept.retained {
                    kept.from = kept.from.max(Version(head.0.saturating_sub(versions)));
                }
            }
            Step::Reopen => {
                drop(store);
                store = small(path);
            }
            Step::Retain { versions } => {
                store.retain(Retention::Versions(versions.into())).unwrap();
                assert_eq!(store.retention().unwrap(), Retention::Versions(versions.into()));
                kept.retained = Some(versions.into());
            }
            Step::Tag { branch, back } => {
                let line = &lines[branch % lines.len()];
                let at = line.versions[line.versions.len().saturating_sub(1 + usize::from(back))].0;
                made += 1;
                let name = format!("t{made}");
                let tagged = store.tag(&name, line.id, Some(Moment::Version(at)));
                let Some(tag) = may_be_gone(tagged, at < kept.from) else { continue };
                assert_eq!((tag.branch, tag.version), (line.id, at));
                kept.tags.push((name, line.id, at));
            }
            Step::Untag { tag } => {
                if tag < kept.tags.len() {
                    store.untag(&kept.tags.remove(tag).0).unwrap();
                }
            }
        }
        for line in &lines {
            let branch = store.branch_by_id(line.id).unwrap();
            let (head, fills) = line.versions.last().unwrap();
            assert_eq!((branch.head, branch.commits), (*head, line.versions.len() as u64 - 1), "{}", line.name);
            assert_eq!(branch.pages, fills.keys().last().copied().unwrap_or(0), "{}", line.name);
        }
        let tags = store.tags().unwrap().into_iter().map(|tag| (tag.name, tag.branch, tag.version));
        assert_eq!(tags.collect::<BTreeSet<_>>(), kept.tags.iter().cloned().collect());
    }
    let check = |store: &Arc<Store>| {
        lines.iter().for_each(|line| assert_shows(store, line, &kept));
        assert_merges(store, &lines);
    };
    check(&store);
    // Another opener sees the same.
    drop(store);
    check(&small(path));
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

fn names(path: &Path) -> Vec<String> {
    let files = std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.collect();
    names.sort();
    names
}

/// Bytes of all files.
fn size(path: &Path) -> u64 {
    let files = ["log", "catalog", "chunks"].iter().flat_map(|dir| std::fs::read_dir(path.join(dir)).unwrap());
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn what_nothing_keeps_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.maniac");
    let store = small(&path);
    for n in 1..=9u8 {
        commit(&store, BranchId::MAIN, &[(u32::from(n), n), (1, n)]).unwrap();
        if n == 4 {
            store.tag("four", BranchId::MAIN, None).unwrap();
        }
        store.checkpoint().unwrap().unwrap();
    }
    let all = (at(&store, BranchId::MAIN, 1), at(&store, BranchId::MAIN, 4));
    assert_eq!(all, (vec![1], vec![4, 2, 3, 4]));
    // A reader keeps what it sees, and one that has looked last a long time ago finds its way.
    let reader = store.snapshot(BranchId::MAIN, Version(2)).unwrap();
    let other = Store::open_on(Arc::new(maniac_disk::os::Os), &path, OpenOptions::default()).unwrap();
    store.retain(Retention::Versions(0)).unwrap();
    store.checkpoint().unwrap().unwrap();
    commit(&store, BranchId::MAIN, &[(1, 10)]).unwrap();
    store.checkpoint().unwrap().unwrap();
    assert_eq!((names(&path.join("log")).len(), names(&path.join("catalog")).len()), (1, 1));
    assert_eq!(fills(&reader).unwrap(), [2, 2]);
    let heads = |store: &Arc<Store>| at(store, BranchId::MAIN, store.head().0);
    assert_eq!(heads(&other), [10, 2, 3, 4, 5, 6, 7, 8, 9]);
    commit(&other, BranchId::MAIN, &[(9, 11)]).unwrap();
    assert_eq!(heads(&store), [10, 2, 3, 4, 5, 6, 7, 8, 11]);
    for store in [store, other, small(&path)] {
        let error = store.snapshot(BranchId::MAIN, Version(3)).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("version 3 of") && error.contains("the oldest that is kept is version 12"), "{error}");
        let error = store.entries(BranchId::MAIN, Version(3)).unwrap().next().unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Forgotten { .. }), "{error}");
        let tagged = store.resolve(BranchId::MAIN, Moment::parse("four").unwrap()).unwrap();
        assert_eq!((tagged, at(&store, BranchId::MAIN, tagged.0)), (Version(4), vec![4, 2, 3, 4]));
    }
    let store = small(&path);
    store.untag("four").unwrap();
    store.checkpoint().unwrap().unwrap();
    let error = store.snapshot(BranchId::MAIN, Version(4)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("version 4 of"), "{error}");
}

/// A store that changes the same pages again and again stays as large as it is.
#[test]
fn what_is_overwritten_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.maniac");
    let store = small(&path);
    store.retain(Retention::Versions(0)).unwrap();
    let pages: Vec<u32> = (1..=4000).collect();
    let fill = |n: u32, fill: u32| (n, (fill % 251 + 1) as u8);
    commit(&store, BranchId::MAIN, &pages.iter().map(|n| fill(*n, *n)).collect::<Vec<_>>()).unwrap();
    for round in 0..60 {
        let changed: Vec<(u32, u8)> = (0..100).map(|n| fill(1 + (round * 700 + n * 39) % 4000, round + n)).collect();
        commit(&store, BranchId::MAIN, &changed).unwrap();
        store.checkpoint().unwrap().unwrap();
    }
    let plain = 4000 * 512;
    assert!(size(&path) < plain * 13 / 10 + (300 << 10), "{} for {plain}", size(&path));
}

/// A writer goes on while checkpoints are made beside it, in one process.
#[test]
fn checkpoints_beside_a_writer_have_what_was_there_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.maniac");
    let store = small(&path);
    store.retain(Retention::Versions(5)).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let commits = 3_000u32;
    std::thread::scope(|scope| {
        let checkpoints = scope.spawn(|| {
            let mut made = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                made += usize::from(store.checkpoint().unwrap().is_some());
            }
            made
        });
        let dev = store.branch_create("dev", "main", None).unwrap().id;
        for n in 1..=commits {
            let base = store.snapshot_to_write(BranchId::MAIN).unwrap();
            commit_on(base, &[(1 + n % 40, (n % 251) as u8)], Durability::Normal).unwrap();
            if n % 100 == 0 {
                commit(&store, dev, &[(7, (n / 100) as u8)]).unwrap();
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(checkpoints.join().unwrap() > 5);
    });
    let check = |store: &Arc<Store>| {
        let (main, dev) = (store.branch("main").unwrap(), store.branch("dev").unwrap());
        assert_eq!((main.commits, dev.commits), (commits.into(), u64::from(commits / 100)));
        let fills = at(store, BranchId::MAIN, main.head.0);
        for n in commits - 39..=commits {
            assert_eq!(fills[(n % 40) as usize], (n % 251) as u8, "the page of commit {n}");
        }
    };
    check(&store);
    drop(store);
    check(&small(&path));
}
