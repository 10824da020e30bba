//! Commits are seen by snapshots of their version and later, on their branch, and by nobody else.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use common::{at, commit, commit_on, open};
use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{Commit, Durability, Moment, Payload, StoreError, Transaction};

#[test]
fn a_snapshot_shows_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for n in 1..=40 {
        assert_eq!(commit(&store, BranchId::MAIN, &[(1, n), (u32::from(n) + 1, n)]).unwrap(), Version(u64::from(n)));
    }
    for n in 1..=40 {
        let mut expected: Vec<u8> = vec![n];
        expected.extend(1..=n);
        assert_eq!(at(&store, BranchId::MAIN, u64::from(n)), expected);
    }
}

#[test]
fn branches_share_the_past_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1), (2, 1), (3, 1)]).unwrap();
    let dev = store.branch_create("dev", "main", None).unwrap();
    commit(&store, dev.id, &[(2, 20)]).unwrap();
    commit(&store, BranchId::MAIN, &[(3, 30)]).unwrap();
    let deep = store.branch_create("deep", "dev", Some(Moment::Version(Version(2)))).unwrap();
    commit(&store, deep.id, &[(1, 9)]).unwrap();
    let head = store.head().0;
    assert_eq!(at(&store, BranchId::MAIN, head), [1, 1, 30]);
    assert_eq!(at(&store, dev.id, head), [1, 20, 1]);
    assert_eq!(at(&store, deep.id, head), [9, 1, 1]);
    assert_eq!(deep.fork, Version(1), "dev showed version 1 at version 2");
}

#[test]
fn a_stale_base_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    let old = store.snapshot(BranchId::MAIN, Version(1)).unwrap();
    commit(&store, BranchId::MAIN, &[(1, 2)]).unwrap();
    let error = commit_on(old, &[(1, 3)], Durability::Full).unwrap_err();
    assert!(matches!(error, StoreError::Stale { base: Version(1), head: Version(2), .. }), "{error}");
    assert_eq!(at(&store, BranchId::MAIN, 2), [2]);
}

#[test]
fn one_writer_a_branch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let dev = store.branch_create("dev", "main", None).unwrap();
    let mut first = store.write_lock(BranchId::MAIN).unwrap();
    let mut second = store.write_lock(BranchId::MAIN).unwrap();
    first.acquire().unwrap();
    assert!(matches!(second.acquire(), Err(StoreError::Busy { .. })));
    store.write_lock(dev.id).unwrap().acquire().unwrap();
    first.release();
    second.acquire().unwrap();
}

#[test]
fn a_store_opens_again_with_and_without_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.maniac");
    for round in 0..6_u8 {
        let store = open(&dir);
        assert_eq!(store.head(), Version(u64::from(round)));
        commit(&store, BranchId::MAIN, &[(1, round), (2, 7)]).unwrap();
        drop(store);
        if round % 2 == 0 {
            std::fs::remove_file(path.join("HEAD")).unwrap();
        }
    }
    assert_eq!(at(&open(&dir), BranchId::MAIN, 4), [3, 7]);
}

#[test]
fn large_entries_and_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let big: Vec<(u32, u8)> = (1..=300_000).map(|no| (no, (no % 251) as u8)).collect();
    commit(&store, BranchId::MAIN, &big).unwrap();
    commit(&store, BranchId::MAIN, &[(5, 99)]).unwrap();
    // Large, and not the first: written aside, and then put in place.
    commit(&store, BranchId::MAIN, &big[..5000]).unwrap();
    commit(&store, BranchId::MAIN, &[(5, 99), (6, 98)]).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("s.maniac/HEAD")).unwrap();
    let store = open(&dir);
    let expected: Vec<u8> = big.iter().map(|(no, fill)| if *no == 5 { 99 } else { *fill }).collect();
    assert!(at(&store, BranchId::MAIN, 2) == expected);
    assert!(at(&store, BranchId::MAIN, 3) == big.iter().map(|(_, fill)| *fill).collect::<Vec<u8>>());
    assert_eq!(at(&store, BranchId::MAIN, 4)[3..7], [4, 99, 98, 7]);
    assert!(std::fs::read_dir(dir.path().join("s.maniac/log")).unwrap().count() >= 2);
}

#[test]
fn pages_that_come_back_are_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1), (2, 2)]).unwrap();
    let mut transaction = Transaction::new(store.snapshot(BranchId::MAIN, Version(1)).unwrap());
    transaction.write(PageNo(2), &[9; 512]).unwrap();
    transaction.write(PageNo(3), &[9; 512]).unwrap();
    transaction.write(PageNo(2), &[2; 512]).unwrap();
    transaction.truncate(2);
    assert_eq!(transaction.changed().unwrap(), []);
    assert!(transaction.is_empty());
}

#[test]
fn a_database_that_shrank_can_grow_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1), (2, 2), (3, 3), (4, 4)]).unwrap();
    let mut lock = store.write_lock(BranchId::MAIN).unwrap();
    lock.acquire().unwrap();
    let mut transaction = Transaction::new(store.snapshot(BranchId::MAIN, Version(1)).unwrap());
    transaction.truncate(2);
    let (changed, payload) = (transaction.changed().unwrap(), Payload::default());
    let shrink = Commit { transaction: &transaction, lock: &lock, changed: &changed, payload: &payload };
    store.commit(&[shrink], Durability::Full, &mut |_, _| ()).unwrap();
    lock.release();
    assert_eq!(at(&store, BranchId::MAIN, 2), [1, 2]);
    commit(&store, BranchId::MAIN, &[(4, 5)]).unwrap();
    assert_eq!(at(&store, BranchId::MAIN, 3)[3], 5);
}

#[test]
fn waiting_ends_with_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let waiter = std::thread::spawn({
        let store = store.clone();
        move || store.wait(Version(0), None).unwrap()
    });
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    assert_eq!(waiter.join().unwrap(), Version(1));
    let never = store.wait(Version(1), Some(std::time::Duration::from_millis(10))).unwrap();
    assert_eq!(never, Version(1));
}

#[test]
fn small_changes_take_few_bytes_and_every_version_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut page = [0_u8; 512];
    let mut pages = Vec::new();
    for n in 0..100_u8 {
        page[usize::from(n) * 5] = n;
        let mut lock = store.write_lock(BranchId::MAIN).unwrap();
        lock.acquire().unwrap();
        let mut transaction = Transaction::new(store.snapshot(BranchId::MAIN, store.head()).unwrap());
        page[511] = n + 1;
        transaction.write(PageNo(1), &page).unwrap();
        let changed = transaction.changed().unwrap();
        let payload = Payload::default();
        let commit = Commit { transaction: &transaction, lock: &lock, changed: &changed, payload: &payload };
        store.commit(&[commit], Durability::Off, &mut |_, _| ()).unwrap();
        pages.push(page);
    }
    for (n, page) in pages.iter().enumerate() {
        let snapshot = store.snapshot(BranchId::MAIN, Version(n as u64 + 1)).unwrap();
        assert!(*snapshot.page(PageNo(1)).unwrap() == page[..], "version {}", n + 1);
    }
    let sizes: Vec<u64> =
        store.entries(BranchId::MAIN, Version(0)).unwrap().map(|entry| entry.unwrap().bytes).collect();
    assert!(sizes[1] < 200 && sizes.iter().filter(|size| **size > 512).count() < 10, "{sizes:?}");
}
