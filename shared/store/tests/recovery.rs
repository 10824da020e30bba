//! A torn tail is cut off, and only it; a flipped byte is named, and never comes back as data.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use common::{at, commit, commit_on, copy, fills, last_segment, open, open_at};
use maniac_base::{BranchId, Version};
use maniac_store::{Durability, StoreError};

/// Three versions; gives the path of the closed store and the length of its log at each version.
fn three_versions(dir: &tempfile::TempDir) -> (std::path::PathBuf, [u64; 4]) {
    let path = dir.path().join("s.maniac");
    let store = open(dir);
    let mut ends = [64, 0, 0, 0];
    for n in 1..=3_u8 {
        commit(&store, BranchId::MAIN, &[(1, n), (n.into(), n)]).unwrap();
        let entries: u64 = store.entries(BranchId::MAIN, Version(0)).unwrap().map(|entry| entry.unwrap().bytes).sum();
        ends[n as usize] = 64 + entries;
    }
    (path, ends)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = three_versions(&dir);
    for cut in ends[2]..ends[3] {
        for zeroes in [false, true] {
            let path = copy(&path, &dir.path().join(format!("cut{cut}{zeroes}")), false);
            let segment = std::fs::File::options().write(true).open(last_segment(&path)).unwrap();
            segment.set_len(cut).unwrap();
            if zeroes {
                segment.set_len(ends[3] + 4096).unwrap();
            }
            let store = open_at(&path).unwrap();
            assert_eq!(store.head(), Version(2), "cut at {cut}");
            assert_eq!(commit(&store, BranchId::MAIN, &[(1, 9)]).unwrap(), Version(3));
            drop(store);
            std::fs::remove_file(path.join("HEAD")).unwrap();
            assert_eq!(at(&open_at(&path).unwrap(), BranchId::MAIN, 3), [9, 2]);
        }
    }
}

/// With `with_head`, the head's promise makes even the last entry's bytes count.
fn flip_every_byte(with_head: bool, from: impl Fn(&[u64; 4]) -> u64, to: impl Fn(&[u64; 4]) -> u64) {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = three_versions(&dir);
    let good = std::fs::read(last_segment(&path)).unwrap();
    let read = |path: &std::path::Path| -> Result<Vec<Vec<u8>>, String> {
        let store = open_at(path).map_err(|error| error.to_string())?;
        let entries = store.entries(BranchId::MAIN, Version(0)).map_err(|error| error.to_string())?;
        let entries: Vec<_> = entries.collect::<Result<_, StoreError>>().map_err(|error| error.to_string())?;
        assert!(entries.iter().all(|entry| entry.changeset == b"rows" && entry.schema == b"schema"));
        (1..=3)
            .map(|n| fills(&store.snapshot(BranchId::MAIN, Version(n)).map_err(|error| error.to_string())?))
            .collect()
    };
    for byte in from(&ends)..to(&ends) {
        let path = copy(&path, &dir.path().join(format!("flip{byte}")), with_head);
        let mut bytes = good.clone();
        bytes[byte as usize] ^= 1 << (byte % 8);
        std::fs::write(last_segment(&path), &bytes).unwrap();
        let error = read(&path).expect_err(&format!("byte {byte} was flipped"));
        assert!(error.contains(".wals") || error.contains("not a Maniac store") || error.contains("format"), "{error}");
    }
}

/// A machine that stops may have written a later entry to disk and not an earlier one, as long as neither was synced.
#[test]
fn what_was_never_synced_may_have_holes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    let end = |store: &std::sync::Arc<maniac_store::Store>| -> u64 {
        64 + store.entries(BranchId::MAIN, Version(0)).unwrap().map(|entry| entry.unwrap().bytes).sum::<u64>()
    };
    let synced = end(&store);
    for n in 2..=4 {
        let base = store.snapshot(BranchId::MAIN, Version(n - 1)).unwrap();
        commit_on(base, &[(1, n as u8), (2, n as u8)], Durability::Off).unwrap();
    }
    drop(store);
    let path = copy(&dir.path().join("s.maniac"), &dir.path().join("holes"), false);
    let segment = std::fs::File::options().write(true).open(last_segment(&path)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&segment, &[0; 300], synced).unwrap();
    let store = open_at(&path).unwrap();
    assert_eq!(store.head(), Version(1));
    assert_eq!(commit(&store, BranchId::MAIN, &[(1, 9)]).unwrap(), Version(2));
    assert_eq!(at(&store, BranchId::MAIN, 2), [9]);
}

/// `cp -r`, `tar` and `rsync` read one file after the other, while others write.
#[test]
fn a_copy_whose_head_is_newer_than_its_log_opens_where_the_log_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = three_versions(&dir);
    for cut in (ends[2]..=ends[3]).step_by(8) {
        for zeroes in [false, true] {
            let path = copy(&path, &dir.path().join(format!("cut{cut}{zeroes}")), true);
            let segment = std::fs::File::options().write(true).open(last_segment(&path)).unwrap();
            segment.set_len(cut).unwrap();
            if zeroes {
                segment.set_len(ends[3] + 4096).unwrap();
            }
            // Files are copied by pages: what cuts a header in two is no copy of something that was whole.
            let inside_header = cut > ends[2] && cut < ends[2] + 96;
            let store = match open_at(&path) {
                Err(error) if inside_header => {
                    assert!(error.to_string().contains("but version 3 was on disk"), "cut at {cut}: {error}");
                    continue;
                }
                opened => opened.unwrap_or_else(|error| panic!("cut at {cut}, zeroes {zeroes}: {error}")),
            };
            let expected = if cut == ends[3] { 3 } else { 2 };
            assert_eq!(store.head(), Version(expected), "cut at {cut}");
            assert_eq!(commit(&store, BranchId::MAIN, &[(1, 9)]).unwrap(), Version(expected + 1));
        }
    }
}

/// The copy has an entry's place before it was written, and later ones after that. In place, that is damage.
#[test]
fn a_copy_ends_where_an_entry_was_not_written_yet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.maniac");
    let store = open(&dir);
    let mut ends = vec![64];
    for n in 1..=40_u8 {
        commit(&store, BranchId::MAIN, &[(1, n), (2, n)]).unwrap();
        ends.push(64 + store.entries(BranchId::MAIN, Version(0)).unwrap().map(|e| e.unwrap().bytes).sum::<u64>());
    }
    drop(store);
    for page in 1..ends[39] / 4096 {
        let (hole, last) = (page * 4096, ends.iter().rposition(|end| *end <= page * 4096).unwrap());
        for from in [ends[last], hole] {
            let path = copy(&path, &dir.path().join(format!("hole{from}")), true);
            let segment = std::fs::File::options().write(true).open(last_segment(&path)).unwrap();
            let zeroes = vec![0; (hole + 4096 - from) as usize];
            std::os::unix::fs::FileExt::write_all_at(&segment, &zeroes, from).unwrap();
            let in_place = copy(&path, &dir.path().join(format!("in place{from}")), false);
            let error = open_at(&in_place).err().expect("others came after it").to_string();
            assert!(error.contains("the entry here is broken, but was on disk"), "hole at {from}: {error}");
            let store = open_at(&path).unwrap_or_else(|error| panic!("hole at {from}: {error}"));
            assert_eq!(store.head(), Version(last as u64), "hole at {from}");
            assert_eq!(commit(&store, BranchId::MAIN, &[(1, 99)]).unwrap(), Version(last as u64 + 1));
            assert_eq!(at(&store, BranchId::MAIN, last as u64 + 1), [99, last as u8]);
        }
    }
}

#[test]
fn a_byte_flipped_in_front_of_the_last_entry_is_named() {
    flip_every_byte(false, |_| 0, |ends| ends[2]);
}

#[test]
fn a_byte_flipped_anywhere_is_named_while_the_head_knows_better() {
    flip_every_byte(true, |_| 0, |ends| ends[3]);
}

#[test]
fn what_an_append_that_was_cut_short_left_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = three_versions(&dir);
    // As if a writer had died in the middle of an entry: the mark in HEAD is set, and there are bytes behind its end.
    let mut head = std::fs::read(path.join("HEAD")).unwrap();
    head[96..100].copy_from_slice(&1_u32.to_le_bytes());
    std::fs::File::options()
        .write(true)
        .open(path.join("HEAD"))
        .and_then(|file| std::os::unix::fs::FileExt::write_all_at(&file, &head, 0))
        .unwrap();
    let segment = std::fs::File::options().write(true).open(last_segment(&path)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&segment, &[0x4d; 700], ends[3]).unwrap();
    let store = open_at(&path).unwrap();
    assert_eq!(commit(&store, BranchId::MAIN, &[(2, 7)]).unwrap(), Version(4));
    drop(store);
    std::fs::remove_file(path.join("HEAD")).unwrap();
    assert_eq!(at(&open_at(&path).unwrap(), BranchId::MAIN, 4), [3, 7, 3]);
}

#[test]
fn what_is_no_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error = open_at(dir.path()).err().unwrap().to_string();
    assert!(error.contains("holds notes.txt"), "{error}");
    let error = open_at(&dir.path().join("notes.txt")).err().unwrap().to_string();
    assert!(error.contains("it is a file, and a store is a directory"), "{error}");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"]);
}
