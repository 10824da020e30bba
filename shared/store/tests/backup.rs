//! A backup has the whole store as readers saw it, or is not there.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use std::path::Path;

use common::{at, commit, commit_on, last_segment, open, open_at};
use maniac_base::{BranchId, Version};
use maniac_store::{Commit, Durability, Payload, Store, StoreError, Transaction};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn backup(store: &Store, target: &Path) -> Result<Version, StoreError> {
    store.backup(target, &mut |done, all| {
        assert!(done <= all, "{done} of {all}");
        true
    })
}

#[test]
fn a_backup_has_all_branches_versions_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1), (2, 1)]).unwrap();
    let dev = store.branch_create("dev", "main", None).unwrap().id;
    for n in 2..=120_u8 {
        // A transaction that is larger than a segment has one to itself.
        let count = if n == 50 { 140_000 } else { 3 };
        let pages: Vec<_> = (1..=count).map(|page| (page, n)).collect();
        let base = store.snapshot(if n % 2 == 0 { dev } else { BranchId::MAIN }, store.head()).unwrap();
        commit_on(base, &pages, Durability::Off).unwrap();
    }
    assert!(names(&dir.path().join("s.maniac/log")).len() > 2, "the log has several segments");
    let target = dir.path().join("b.maniac");
    assert_eq!(backup(&store, &target).unwrap(), store.head());
    assert_eq!(names(dir.path()), ["b.maniac", "s.maniac"]);
    let copy = open_at(&target).unwrap();
    assert_eq!(copy.id(), store.id());
    assert_eq!(copy.branch("dev").unwrap().id, dev);
    for branch in [BranchId::MAIN, dev] {
        for version in [1, 2, 3, 52, 60, store.head().0] {
            assert_eq!(at(&copy, branch, version), at(&store, branch, version), "{branch:?} at {version}");
        }
    }
    // Both go on by themselves.
    assert_eq!(commit(&copy, dev, &[(1, 200)]).unwrap(), Version(store.head().0 + 1));
    commit(&store, dev, &[(1, 201)]).unwrap();
    assert_eq!((at(&copy, dev, copy.head().0)[0], at(&store, dev, store.head().0)[0]), (200, 201));
    drop(copy);
    // It is found whole without what the first opener knew, too.
    std::fs::remove_file(target.join("HEAD")).unwrap();
    assert_eq!(at(&open_at(&target).unwrap(), dev, store.head().0)[0], 200);
}

#[test]
fn a_backup_cut_short_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for n in 1..=5 {
        commit(&store, BranchId::MAIN, &[(1, n)]).unwrap();
    }
    for pieces in 0..5 {
        let mut left = pieces;
        let stopped = store.backup(&dir.path().join("b.maniac"), &mut |_, _| {
            left -= 1;
            left >= 0
        });
        assert!(matches!(stopped, Err(StoreError::Interrupted { .. })), "{stopped:?}");
        assert_eq!(names(dir.path()), ["s.maniac"]);
    }
}

#[test]
fn a_damaged_store_is_not_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for n in 1..=5 {
        commit(&store, BranchId::MAIN, &[(1, n), (2, n)]).unwrap();
    }
    let log = last_segment(&dir.path().join("s.maniac"));
    let good = std::fs::read(&log).unwrap();
    for byte in (64 + 120..2000).step_by(97) {
        let mut bytes = good.clone();
        bytes[byte] ^= 8;
        std::os::unix::fs::FileExt::write_all_at(&std::fs::File::options().write(true).open(&log).unwrap(), &bytes, 0)
            .unwrap();
        let error = backup(&store, &dir.path().join("b.maniac")).expect_err("a byte was flipped").to_string();
        assert!(error.contains("is damaged at byte"), "byte {byte}: {error}");
        assert_eq!(names(dir.path()), ["s.maniac"]);
    }
}

#[test]
fn what_is_there_already_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    let place = |name: &str| dir.path().join(name);
    std::fs::write(place("file"), "mine").unwrap();
    std::fs::create_dir(place("full")).unwrap();
    std::fs::write(place("full/mine"), "").unwrap();
    std::fs::create_dir(place("empty")).unwrap();
    std::os::unix::fs::symlink(place("empty"), place("link")).unwrap();
    for (name, reason) in [
        ("file", "something else"),
        ("full", "not empty"),
        ("link", "something else"),
        ("s.maniac", "not empty"),
        ("s.maniac/log/b", "lies in the store"),
        ("none/b", "cannot resolve"),
        ("full/..", "not the name"),
    ] {
        let error = backup(&store, &place(name)).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
    assert_eq!(names(dir.path()), ["empty", "file", "full", "link", "s.maniac"]);
    assert_eq!(names(&place("full")), ["mine"]);
    assert_eq!(backup(&store, &place("empty")).unwrap(), Version(1));
    assert_eq!(at(&open_at(&place("empty")).unwrap(), BranchId::MAIN, 1), [1]);
}

/// Both branches of a transaction are in a backup, or neither is; and all that was committed before it was begun.
#[test]
fn backups_while_others_write_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 0)]).unwrap();
    let dev = store.branch_create("dev", "main", None).unwrap().id;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..=200_u8 {
                let parts: Vec<_> = [BranchId::MAIN, dev]
                    .into_iter()
                    .map(|branch| {
                        let mut lock = store.write_lock(branch).unwrap();
                        lock.acquire().unwrap();
                        let mut transaction = Transaction::new(store.snapshot_to_write(branch).unwrap());
                        transaction.write(maniac_base::PageNo(1), &[n; 512]).unwrap();
                        let changed = transaction.changed().unwrap();
                        (transaction, lock, changed)
                    })
                    .collect();
                let payload = Payload::default();
                let commits: Vec<_> = parts
                    .iter()
                    .map(|(transaction, lock, changed)| Commit { transaction, lock, changed, payload: &payload })
                    .collect();
                store.commit(&commits, Durability::Off, &mut |_, _| ()).unwrap();
            }
        });
        let mut made = 0;
        while !writer.is_finished() || made < 3 {
            let before = store.head();
            let target = dir.path().join(format!("b{made}.maniac"));
            let version = backup(&store, &target).unwrap();
            assert!(version >= before, "{version} is older than {before}");
            let copy = open_at(&target).unwrap();
            assert_eq!(copy.head(), version);
            assert_eq!(at(&copy, BranchId::MAIN, version.0), at(&copy, dev, version.0), "backup {made}");
            made += 1;
        }
    });
}
