//! A store whose log is not what it should be.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use maniac_base::{BranchId, PageNo, PageSource, Version, checksum};
use maniac_store::{Commit, Durability, OpenOptions, Payload, Store, StoreError, Transaction};

use crate::edit::Input;

const SEGMENT: &str = "log/0000000000000001.wals";
const SEGMENT_HEADER: usize = 64;
/// A segment of format 1.
const FORMAT_1: &[u8] = include_bytes!("../../sql-tests/fixtures/format-1/log/0000000000000001.wals");

/// The files of a small store: some transactions on two branches, one of them on both at once, a branch that was renamed
/// and one that was dropped.
static VALID: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("s.maniac");
    let store = Store::open(&path, OpenOptions { create: true, ..OpenOptions::default() }).expect("a new store");
    for n in 1..=3 {
        commit(&store, &[BranchId::MAIN], n);
    }
    let dev = store.branch_create("dev", "main", None).expect("a branch").id;
    commit(&store, &[BranchId::MAIN, dev], 4);
    store.branch_create("gone", "dev", None).expect("a branch");
    store.branch_rename("gone", "old").and_then(|()| store.branch_drop("old")).expect("it has no children");
    commit(&store, &[dev], 5);
    drop(store);
    let read = |name| fs::read(path.join(name)).expect("a store's file");
    (read(SEGMENT), read("HEAD"))
});

fn commit(store: &Arc<Store>, branches: &[BranchId], fill: u8) {
    let transactions: Vec<_> = branches
        .iter()
        .map(|branch| {
            let base = store.snapshot(*branch, store.head()).expect("the head");
            let mut lock = store.write_lock(*branch).expect("a writable store");
            lock.acquire().expect("nobody else writes");
            let mut transaction = Transaction::new(base);
            for no in 1..=3 {
                let mut page = [no as u8; 512];
                page[..20].fill(fill);
                transaction.write(PageNo(no), &page).expect("a page");
            }
            let changed = transaction.changed().expect("the base can be read");
            (transaction, lock, changed)
        })
        .collect();
    let payload = Payload { schema: b"schema".to_vec(), changeset: b"changeset".to_vec(), ..Payload::default() };
    let commits: Vec<_> = transactions
        .iter()
        .map(|(transaction, lock, changed)| Commit { transaction, lock, changed, payload: &payload })
        .collect();
    store.commit(&commits, Durability::Off, &mut |_, _| ()).expect("a commit");
}

/// Opens a store with an edited log, or with arbitrary bytes for one, and reads all of it. What opens takes a transaction.
pub fn log(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let (mut segment, head) = VALID.clone();
    if how & 0x40 != 0 {
        segment = FORMAT_1.to_vec();
    }
    match how % 16 {
        0 => segment = rest.to_vec(),
        1 => {
            segment.truncate(SEGMENT_HEADER);
            segment.extend_from_slice(rest);
        }
        _ => drop(Input(rest).apply(&mut segment)),
    }
    if how & 0x10 != 0 {
        mend(&mut segment);
    }
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path();
    fs::create_dir(path.join("log")).and_then(|()| fs::write(path.join(SEGMENT), &segment)).expect("room for a log");
    if how & 0x20 != 0 {
        fs::write(path.join("HEAD"), &head).expect("room for a head");
    }
    if let Ok(store) = Store::open(path, OpenOptions::default()) {
        let _ = read(&store);
        write(&store, path);
    }
}

/// Makes checksums right where the lengths still let them be found.
fn mend(segment: &mut [u8]) {
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    if segment.len() < SEGMENT_HEADER {
        return;
    }
    let sum = checksum(&segment[..56]).to_le_bytes();
    segment[56..64].copy_from_slice(&sum);
    let mut at = SEGMENT_HEADER;
    while at + 96 < segment.len() {
        let entry = &mut segment[at..];
        // Entries of format 1 lack a flag, and the end of the header.
        let header: usize = if entry[5] & 4 != 0 { 96 } else { 88 };
        let end = header.saturating_add(number(entry, 60).saturating_mul(8));
        let length = number(entry, 8);
        if entry.len() < end.saturating_add(8) || length < end {
            return;
        }
        let sum = checksum(&entry[..end]).to_le_bytes();
        entry[end..end + 8].copy_from_slice(&sum);
        at += length.max(8);
    }
}

fn read(store: &Arc<Store>) -> Result<(), StoreError> {
    for branch in store.branches()? {
        for entry in store.entries(branch.id, Version(0))? {
            let entry = entry?;
            let snapshot = store.snapshot(branch.id, entry.version)?;
            for no in (1..=snapshot.page_count()).take(64) {
                if let Ok(page) = snapshot.page(PageNo(no)) {
                    assert_eq!(page.len(), snapshot.page_size(), "a page has the store's size");
                }
            }
        }
    }
    Ok(())
}

/// A transaction on what was opened: taken or refused, and there again when opened anew.
fn write(store: &Arc<Store>, path: &Path) {
    let Ok(base) = store.snapshot(BranchId::MAIN, store.head()) else { return };
    if base.page_size() != 512 {
        return;
    }
    let Ok(mut lock) = store.write_lock(BranchId::MAIN) else { return };
    let mut transaction = Transaction::new(base);
    let written = lock.acquire().is_ok() && transaction.write(PageNo(1), &[0xab; 512]).is_ok();
    let (true, Ok(changed)) = (written, transaction.changed()) else { return };
    let payload = Payload::default();
    let commit = Commit { transaction: &transaction, lock: &lock, changed: &changed, payload: &payload };
    if let Ok(versions) = store.commit(&[commit], Durability::Off, &mut |_, _| ()) {
        let again = Store::open(path, OpenOptions::default()).expect("it is open");
        assert!(again.head() >= versions[0], "a commit that was taken is there");
    }
}
