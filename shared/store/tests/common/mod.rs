//! What the tests of the store share.
#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_store::{Commit, Durability, OpenOptions, Payload, Snapshot, Store, StoreError, Transaction};

pub fn open_at(path: &Path) -> Result<Arc<Store>, StoreError> {
    Store::open(path, OpenOptions { create: true, ..OpenOptions::default() })
}

pub fn open(dir: &tempfile::TempDir) -> Arc<Store> {
    open_at(&dir.path().join("s.maniac")).unwrap()
}

/// Commits pages of 512 bytes, each filled with one byte, on the branch's head.
pub fn commit(store: &Arc<Store>, branch: BranchId, pages: &[(u32, u8)]) -> Result<Version, StoreError> {
    let head = store.branch_by_id(branch)?.head;
    commit_on(store.snapshot(branch, head)?, pages, Durability::Full)
}

pub fn commit_on(base: Snapshot, pages: &[(u32, u8)], durability: Durability) -> Result<Version, StoreError> {
    let mut lock = base.store().write_lock(base.branch())?;
    lock.acquire()?;
    let mut transaction = Transaction::new(base);
    for (no, fill) in pages {
        transaction.write(PageNo(*no), &[*fill; 512])?;
    }
    let changed = transaction.changed()?;
    let payload = Payload { schema: b"schema".to_vec(), changeset: b"rows".to_vec(), ..Payload::default() };
    let commit = Commit { transaction: &transaction, lock: &lock, changed: &changed, payload: &payload };
    Ok(transaction.base().store().commit(&[commit], durability, &mut |_, _| ())?[0])
}

/// The fill of each page.
pub fn fills(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let page = |no| snapshot.page(PageNo(no)).map(|page| page[0]).map_err(|error| error.to_string());
    (1..=snapshot.page_count()).map(page).collect()
}

pub fn at(store: &Arc<Store>, branch: BranchId, version: u64) -> Vec<u8> {
    fills(&store.snapshot(branch, Version(version)).unwrap()).unwrap()
}

/// Copies a closed store, without its `HEAD` unless asked for.
pub fn copy(from: &Path, to: &Path, with_head: bool) -> PathBuf {
    std::fs::create_dir_all(to.join("log")).unwrap();
    for file in std::fs::read_dir(from.join("log")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join("log").join(file.file_name())).unwrap();
    }
    if with_head {
        std::fs::copy(from.join("HEAD"), to.join("HEAD")).unwrap();
    }
    to.to_owned()
}

/// The newest segment's file.
pub fn last_segment(store: &Path) -> PathBuf {
    std::fs::read_dir(store.join("log")).unwrap().map(|file| file.unwrap().path()).max().unwrap()
}
