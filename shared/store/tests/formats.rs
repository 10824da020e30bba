//! What a newer build wrote, what has no effect, and a log whose beginning is gone.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use std::path::{Path, PathBuf};

use common::{at, commit, copy, last_segment, open_at};
use maniac_base::{BranchId, PageNo, PageSource, Version, checksum};

/// Offsets in an entry of one page.
const KIND: usize = 4;
const FLAGS: usize = 5;
const BASE: usize = 32;
const CHANGESET_FORM: usize = 89;
const FRAME_FORM: usize = 96 + 7;
const HEAD_END: usize = 96 + 8;

/// A closed store of three versions, and where the third starts in its only segment.
fn store(dir: &Path) -> (PathBuf, usize) {
    let path = dir.join("s.maniac");
    let store = open_at(&path).unwrap();
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    commit(&store, BranchId::MAIN, &[(2, 2)]).unwrap();
    let start = end_of_log(&path);
    commit(&store, BranchId::MAIN, &[(2, 3)]).unwrap();
    (path, start)
}

fn end_of_log(store: &Path) -> usize {
    let head = std::fs::read(store.join("HEAD")).unwrap();
    u64::from_le_bytes(head[80..88].try_into().unwrap()) as usize
}

/// A copy of the store with another byte in the third entry, whose checksum is right.
fn changed(from: &Path, start: usize, byte: usize, value: u8, with_head: bool) -> PathBuf {
    let name = format!("{byte}-{value}-{with_head}.maniac");
    let path = copy(from, &from.with_file_name(name), with_head);
    let mut bytes = std::fs::read(last_segment(&path)).unwrap();
    bytes[start + byte] = value;
    let sum = checksum(&bytes[start..start + HEAD_END]);
    bytes[start + HEAD_END..][..8].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(last_segment(&path), bytes).unwrap();
    path
}

fn refused(path: &Path, reason: &str) {
    let before = std::fs::read(last_segment(path)).unwrap();
    let error = open_at(path).err().unwrap_or_else(|| panic!("{} opens", path.display())).to_string();
    assert!(error.contains("needs a newer Maniac") && error.contains(reason), "{error}");
    assert!(std::fs::read(last_segment(path)).unwrap() == before, "{} was touched", path.display());
}

#[test]
fn entries_of_an_unknown_kind_are_passed_over_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, start) = store(dir.path());
    for with_head in [false, true] {
        for kind in [0, 100, 127] {
            let path = changed(&path, start, KIND, kind, with_head);
            let store = open_at(&path).unwrap();
            assert_eq!((store.head(), store.branch("main").unwrap().head), (Version(3), Version(2)), "kind {kind}");
            assert_eq!(at(&store, BranchId::MAIN, 3), [1, 2]);
            let versions = store.entries(BranchId::MAIN, Version(0)).unwrap().map(|entry| entry.unwrap().version.0);
            assert_eq!(versions.collect::<Vec<_>>(), [1, 2]);
            assert_eq!(commit(&store, BranchId::MAIN, &[(2, 9)]).unwrap(), Version(4));
            drop(store);
            std::fs::remove_file(path.join("HEAD")).unwrap();
            assert_eq!(at(&open_at(&path).unwrap(), BranchId::MAIN, 4), [1, 9]);
        }
        for kind in [128, 200, 255] {
            refused(&changed(&path, start, KIND, kind, with_head), &format!("an entry of kind {kind}"));
        }
        refused(&changed(&path, start, FLAGS, 4 | 16, with_head), "an entry with flags 16");
        refused(&changed(&path, start, FRAME_FORM, 7, with_head), "a page of form 7");
        refused(&changed(&path, start, CHANGESET_FORM, 2, with_head), "a part of an entry of form 2");
    }
}

/// Whatever its kind: it was not written whole.
#[test]
fn a_torn_entry_of_an_unknown_kind_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (path, start) = store(dir.path());
    let path = changed(&path, start, KIND, 200, false);
    let segment = std::fs::File::options().write(true).open(last_segment(&path)).unwrap();
    segment.set_len(start as u64 + 200).unwrap();
    assert_eq!(at(&open_at(&path).unwrap(), BranchId::MAIN, 2), [1, 2]);
}

#[test]
fn a_newer_format_or_feature_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = store(dir.path());
    let segment = last_segment(&path);
    let bytes = std::fs::read(&segment).unwrap();
    let write = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let sum = checksum(&bytes[..56]);
        bytes[56..64].copy_from_slice(&sum.to_le_bytes());
        std::fs::write(&segment, bytes).unwrap();
    };
    write(4, 7);
    refused(&path, "written in format 7, and this one reads up to format 2");
    write(41, 1);
    refused(&path, "features 0x100 of the format");
    // In format 1 nothing was said there.
    write(4, 2);
    open_at(&path).unwrap();
}

#[test]
fn a_transaction_on_a_stale_base_takes_its_version_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, start) = store(dir.path());
    for with_head in [false, true] {
        let path = changed(&path, start, BASE, 1, with_head);
        let store = open_at(&path).unwrap();
        assert_eq!((store.head(), store.branch("main").unwrap().head), (Version(3), Version(2)));
        assert_eq!(at(&store, BranchId::MAIN, 3), [1, 2]);
        assert_eq!(store.entries(BranchId::MAIN, Version(0)).unwrap().count(), 2);
        assert_eq!(commit(&store, BranchId::MAIN, &[(2, 9)]).unwrap(), Version(4));
        assert_eq!(at(&store, BranchId::MAIN, 4), [1, 9]);
    }
}

#[test]
fn a_log_whose_beginning_is_gone_opens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.maniac");
    let store = open_at(&path).unwrap();
    commit(&store, BranchId::MAIN, &[(1, 1), (5000, 1)]).unwrap();
    store.branch_create("dev", "main", None).unwrap();
    store.branch_create("lost", "main", None).unwrap();
    commit(&store, BranchId(1), &[(1, 2)]).unwrap();
    // So many pages have a segment to themselves.
    let many: Vec<_> = (1..=4200).map(|no| (no, 3)).collect();
    commit(&store, BranchId::MAIN, &many).unwrap();
    commit(&store, BranchId(1), &[(2, 4)]).unwrap();
    commit(&store, BranchId::MAIN, &[(2, 5)]).unwrap();
    drop(store);
    std::fs::remove_file(path.join("log/0000000000000001.wals")).unwrap();
    for with_head in [true, false] {
        let path = copy(&path, &dir.path().join(format!("copy-{with_head}")), with_head);
        let store = open_at(&path).unwrap();
        assert_eq!(store.head(), Version(7));
        let main = store.snapshot(BranchId::MAIN, Version(7)).unwrap();
        let first = |no| main.page(PageNo(no)).map(|page| page[0]).map_err(|error| error.to_string());
        assert_eq!((first(1), first(2), first(4200)), (Ok(3), Ok(5), Ok(3)));
        let error = first(5000).unwrap_err();
        assert!(error.contains("it was written before version 5, where the log begins"), "{error}");
        assert_eq!(store.snapshot(BranchId::MAIN, Version(5)).unwrap().page(PageNo(2)).unwrap()[0], 3);
        // Its number is all that is left of a branch, besides what was written since.
        assert_eq!(store.branches().unwrap().iter().map(|branch| &*branch.name).collect::<Vec<_>>(), ["main", "#1"]);
        let dev = store.snapshot(BranchId(1), Version(7)).unwrap();
        assert_eq!(dev.page(PageNo(2)).unwrap()[0], 4);
        assert!(dev.page(PageNo(1)).is_err());
        for too_early in [Version(4), Version(1)] {
            let error = store.snapshot(BranchId::MAIN, too_early).err().unwrap().to_string();
            assert!(error.contains("its history starts at 5"), "{error}");
        }
        assert_eq!(commit(&store, BranchId::MAIN, &[(7, 6)]).unwrap(), Version(8));
        drop(store);
        std::fs::remove_file(path.join("HEAD")).unwrap();
        let store = open_at(&path).unwrap();
        assert_eq!(store.snapshot(BranchId::MAIN, Version(8)).unwrap().page(PageNo(7)).unwrap()[0], 6);
        let backup = path.with_extension("backup");
        store.backup(&backup, &mut |_, _| true).unwrap();
        let store = open_at(&backup).unwrap();
        assert_eq!(store.snapshot(BranchId::MAIN, Version(8)).unwrap().page(PageNo(7)).unwrap()[0], 6);
    }
}
