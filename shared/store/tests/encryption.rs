//! Encrypted stores: what opens them, that nothing of what they hold is in the clear, and that nothing of it can be changed
//! unnoticed.
#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{at, commit, copy, fills, last_segment};
use maniac_base::{BranchId, Version};
use maniac_store::{KeyChoice, MasterKey, OpenOptions, Store, StoreError};

/// What must not be found in any file.
const MARKS: [&[u8]; 4] = [b"rows", b"schema", b"secret-branch", b"renamed-branch"];

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), [7; 32]).unwrap();
        std::fs::write(dir.path().join("other"), "ab".repeat(32)).unwrap();
        Fixture { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s.maniac")
    }

    fn key(&self) -> KeyChoice {
        KeyChoice::File(self.dir.path().join("key"))
    }

    fn other_key(&self) -> KeyChoice {
        KeyChoice::File(self.dir.path().join("other"))
    }

    fn open_at(&self, path: &Path) -> Result<Arc<Store>, StoreError> {
        Store::open_with(path, OpenOptions { create: true, ..OpenOptions::default() }, &self.key())
    }

    fn open(&self) -> Arc<Store> {
        self.open_at(&self.path()).unwrap()
    }

    /// Pages, differences of pages, changesets, names of branches, merges.
    fn fill(&self) {
        let store = self.open();
        commit(&store, BranchId::MAIN, &[(1, b'A'), (2, b'B'), (3, b'C')]).unwrap();
        let branch = store.branch_create("secret-branch", "main", None).unwrap();
        commit(&store, branch.id, &[(2, b'D')]).unwrap();
        store.branch_rename("secret-branch", "renamed-branch").unwrap();
        commit(&store, BranchId::MAIN, &[(3, b'E'), (4, b'F')]).unwrap();
        commit(&store, BranchId::MAIN, &[(1, b'G')]).unwrap();
    }
}

/// All that a store shows, or the first error.
fn read_all(store: &Arc<Store>) -> Result<Vec<Vec<u8>>, String> {
    let shown = |error: StoreError| error.to_string();
    let mut all = Vec::new();
    for branch in store.branches().map_err(shown)? {
        all.push(branch.name.clone().into_bytes());
        for version in 1..=store.head().0 {
            if let Ok(snapshot) = store.snapshot(branch.id, Version(version)) {
                all.push(fills(&snapshot)?);
            }
        }
        for entry in store.entries(branch.id, Version(0)).map_err(shown)? {
            let entry = entry.map_err(shown)?;
            all.push([entry.schema, entry.changeset].concat());
        }
    }
    Ok(all)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(dir).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// A copy of a closed encrypted store, without its `HEAD`.
fn copy_of(fixture: &Fixture, name: &str) -> PathBuf {
    let to = copy(&fixture.path(), &fixture.dir.path().join(name), false);
    std::fs::copy(fixture.path().join("KEY"), to.join("KEY")).unwrap();
    to
}

#[test]
fn only_its_key_opens_a_store() {
    let fixture = Fixture::new();
    fixture.fill();
    let before = contents(&fixture.path());
    let refused = |key: &KeyChoice| {
        let opened = Store::open_with(&fixture.path(), OpenOptions { create: true, ..OpenOptions::default() }, key);
        let error = opened.err().expect("no such key").to_string();
        assert_eq!(contents(&fixture.path()), before, "nothing is touched");
        assert!(error.contains("s.maniac"), "{error}");
        error
    };
    let id = MasterKey::parse(&[7; 32]).unwrap().id().to_string();
    let error = refused(&KeyChoice::None);
    assert!(error.contains(&format!("is encrypted with key {id}")) && error.contains("keyfile="), "{error}");
    let error = refused(&fixture.other_key());
    assert!(error.contains(&id) && error.contains("other gave key"), "{error}");
    let error = refused(&KeyChoice::File("/nowhere/key".into()));
    assert!(error.contains("/nowhere/key cannot be read"), "{error}");
    assert_eq!(at(&fixture.open(), BranchId::MAIN, 6), [b'G', b'B', b'E', b'F']);
}

#[test]
fn a_plain_store_takes_no_key() {
    let fixture = Fixture::new();
    let store =
        Store::open_with(&fixture.path(), OpenOptions { create: true, ..OpenOptions::default() }, &KeyChoice::None)
            .unwrap();
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    // Also where the process has it open.
    let error = fixture.open_at(&fixture.path()).err().unwrap().to_string();
    assert!(error.contains("is not encrypted, but the key file"), "{error}");
    assert!(store.rekey(&MasterKey::parse(&[1; 32]).unwrap()).is_err());
    drop(store);
    let before = contents(&fixture.path());
    let error = fixture.open_at(&fixture.path()).err().unwrap().to_string();
    assert!(error.contains("is not encrypted, but the key file"), "{error}");
    assert_eq!(contents(&fixture.path()), before, "nothing is touched");
}

#[test]
fn a_process_that_has_a_store_open_has_its_key() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let again = |key: &KeyChoice| Store::open_with(&fixture.path(), OpenOptions::default(), key);
    assert!(Arc::ptr_eq(&again(&KeyChoice::None).unwrap(), &store));
    assert!(Arc::ptr_eq(&again(&fixture.key()).unwrap(), &store));
    assert!(again(&fixture.other_key()).is_err());
}

#[test]
fn nothing_is_in_the_clear() {
    let fixture = Fixture::new();
    fixture.fill();
    for (path, bytes) in contents(&fixture.path()) {
        for mark in MARKS {
            assert!(!bytes.windows(mark.len()).any(|piece| piece == mark), "{mark:?} in {}", path.display());
        }
        // A page is 512 times the same letter.
        let runs = bytes.windows(8).any(|piece| piece[0] != 0 && piece.iter().all(|byte| *byte == piece[0]));
        assert!(!runs, "a page in {}", path.display());
    }
}

/// Equal content is stored differently: neither the entries of a store nor two stores of one master key tell it.
#[test]
fn the_same_content_is_never_sealed_alike() {
    let fixture = Fixture::new();
    let segment = |name: &str| {
        let path = fixture.dir.path().join(name);
        let store = fixture.open_at(&path).unwrap();
        for _ in 0..2 {
            commit(&store, BranchId::MAIN, &[(1, b'A')]).unwrap();
            commit(&store, BranchId::MAIN, &[(1, b'B')]).unwrap();
        }
        drop(store);
        std::fs::read(last_segment(&path)).unwrap()
    };
    let (one, other) = (segment("one"), segment("two"));
    let pieces = |bytes: &[u8]| -> Vec<[u8; 16]> {
        let pieces = bytes.chunks_exact(16).map(|piece| piece.try_into().unwrap());
        pieces.filter(|piece: &[u8; 16]| piece.iter().filter(|byte| **byte != 0).count() > 12).collect()
    };
    let mut all = [pieces(&one), pieces(&other)].concat();
    assert!(all.len() > 100);
    all.sort();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
}

/// A byte of any file that holds data is changed: opening or reading says so, and names the file. `HEAD` and `LOCK` hold none.
#[test]
fn any_changed_byte_is_noticed_and_named() {
    let fixture = Fixture::new();
    fixture.fill();
    let whole = read_all(&fixture.open()).unwrap();
    for file in ["KEY", "log/0000000000000001.wals"] {
        let bytes = std::fs::read(fixture.path().join(file)).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for place in 0..used {
            let to = copy_of(&fixture, "changed");
            std::fs::copy(fixture.path().join("HEAD"), to.join("HEAD")).unwrap();
            let mut changed = bytes.clone();
            changed[place] ^= 0x04;
            std::fs::write(to.join(file), &changed).unwrap();
            let read = fixture.open_at(&to).map_err(|error| error.to_string()).and_then(|store| read_all(&store));
            let error = read.err().unwrap_or_else(|| panic!("byte {place} of {file} is changed unnoticed"));
            assert!(error.contains("changed"), "byte {place} of {file}: {error}");
            std::fs::remove_dir_all(&to).unwrap();
        }
    }
    assert_eq!(read_all(&fixture.open()).unwrap(), whole);
}

/// Somebody who can make checksums, but has no key.
#[test]
fn checksums_do_not_help_whoever_changes_a_page() {
    let fixture = Fixture::new();
    let store = fixture.open();
    commit(&store, BranchId::MAIN, &[(1, b'A')]).unwrap();
    drop(store);
    let path = last_segment(&fixture.path());
    let bytes = std::fs::read(&path).unwrap();
    // Header of the segment; header, list and checksum of the entry; a page, its tag, its checksum.
    let (entry, frame) = (64, 64 + 128 + 8 + 8);
    let (page_end, body) = (frame + 512 + 16, frame + 512 + 16 + 8);
    let length = u64::from_le_bytes(bytes[entry + 8..][..8].try_into().unwrap()) as usize;
    let repaired = |mut bytes: Vec<u8>| {
        let put = |bytes: &mut Vec<u8>, at: usize, sum: u64| bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
        let sum = maniac_base::checksum(&bytes[entry..frame - 8]);
        put(&mut bytes, frame - 8, sum);
        let sum = maniac_base::checksum(&bytes[frame..page_end]);
        put(&mut bytes, page_end, sum);
        let sum = maniac_base::checksum(&bytes[page_end..entry + length - 8]);
        put(&mut bytes, entry + length - 8, sum);
        bytes
    };
    assert_eq!(repaired(bytes.clone()), bytes, "the places are right");
    let parts = body..body + 6 + 16 + 4 + 16;
    // Time, branch, nonce and tag of the head; the page, its tag; the changesets.
    for place in (entry + 40..entry + 52).chain(entry + 96..entry + 128).chain(frame..page_end).chain(parts) {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        std::fs::write(&path, repaired(changed)).unwrap();
        let opened = fixture.open_at(&fixture.path()).map_err(|error| error.to_string());
        let error = opened.and_then(|store| read_all(&store)).expect_err(&format!("byte {place}"));
        assert!(error.contains("0001.wals is damaged"), "byte {place}: {error}");
    }
}

#[test]
fn what_belongs_elsewhere_is_named() {
    let fixture = Fixture::new();
    fixture.fill();
    let (plain, other) = (fixture.dir.path().join("plain"), fixture.dir.path().join("two"));
    let store =
        Store::open_with(&plain, OpenOptions { create: true, ..OpenOptions::default() }, &KeyChoice::None).unwrap();
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    drop(store);
    let store = fixture.open_at(&other).unwrap();
    commit(&store, BranchId::MAIN, &[(1, 1)]).unwrap();
    drop(store);
    let with = |from: &Path, file: &str| {
        let to = copy_of(&fixture, "swapped");
        std::fs::copy(from.join(file), to.join(file)).unwrap();
        let error = fixture.open_at(&to).map(|store| read_all(&store)).err().map(|error| error.to_string());
        std::fs::remove_dir_all(&to).unwrap();
        error.unwrap_or_else(|| panic!("{file} of another store"))
    };
    let log = "log/0000000000000001.wals";
    assert!(with(&plain, log).contains("is not encrypted, and its store is encrypted"));
    assert!(with(&other, log).contains("KEY is damaged at byte 8: the file belongs to another store"));
    assert!(with(&other, "KEY").contains("KEY is damaged at byte 8: the file belongs to another store"));

    let without = copy_of(&fixture, "without");
    std::fs::remove_file(without.join("KEY")).unwrap();
    for key in [fixture.key(), KeyChoice::None] {
        let opened = Store::open_with(&without, OpenOptions::default(), &key);
        let error = opened.err().unwrap().to_string();
        assert!(error.contains("KEY is damaged") && error.contains("missing"), "{error}");
    }
}

/// Packs and manifests: nothing is in the clear, and a changed byte is an error, or the checkpoint is passed over for the log.
#[test]
fn checkpoints_are_sealed() {
    let fixture = Fixture::new();
    fixture.fill();
    let store = fixture.open();
    store.tag("secret-tag", BranchId::MAIN, None).unwrap();
    let whole = read_all(&store).unwrap();
    assert_eq!(store.checkpoint().unwrap().unwrap().version, Version(7));
    drop(store);
    assert_eq!(read_all(&fixture.open()).unwrap(), whole);
    for (path, bytes) in contents(&fixture.path()) {
        for mark in MARKS.into_iter().chain([&b"secret-tag"[..], b"main", b"CHNK", b"NODE"]) {
            assert!(!bytes.windows(mark.len()).any(|piece| piece == mark), "{mark:?} in {}", path.display());
        }
        let runs = bytes.windows(8).any(|piece| piece[0] != 0 && piece.iter().all(|byte| *byte == piece[0]));
        assert!(!runs, "a page in {}", path.display());
    }
    let (mut refused, mut passed_over) = (0, 0);
    let rest: Vec<PathBuf> = ["chunks", "catalog"].iter().flat_map(|dir| files(&fixture.path().join(dir))).collect();
    assert_eq!(rest.len(), 2);
    for file in rest {
        let bytes = std::fs::read(&file).unwrap();
        for place in (0..bytes.len()).filter(|place| *place < 128 || place % 3 == 0) {
            let mut changed = bytes.clone();
            changed[place] ^= 0x04;
            std::fs::write(&file, &changed).unwrap();
            let read = fixture.open_at(&fixture.path()).map_err(|error| error.to_string());
            match read.and_then(|store| read_all(&store)) {
                Ok(read) => assert!(read == whole, "byte {place} of {}", file.display()),
                Err(error) => {
                    assert!(error.contains(".pack is damaged"), "byte {place} of {}: {error}", file.display())
                }
            }
            match fixture.open().snapshot(BranchId::MAIN, Version(6)).map(|snapshot| fills(&snapshot)) {
                Ok(Err(_)) => refused += 1,
                _ => passed_over += 1,
            }
        }
        std::fs::write(&file, &bytes).unwrap();
    }
    assert!(refused > 300 && passed_over > 100, "{refused} {passed_over}");
    assert_eq!(read_all(&fixture.open()).unwrap(), whole);
}

/// Two histories from one state, as a machine has that was rolled back: the pack of one is none of the other's, though its
/// number and the places in it are the same.
#[test]
fn a_pack_of_another_history_is_not_taken() {
    let fixture = Fixture::new();
    let store = fixture.open();
    commit(&store, BranchId::MAIN, &[(1, b'A'), (2, b'A')]).unwrap();
    drop(store);
    let other = copy_of(&fixture, "other-history");
    let go_on = |path: &Path, fill: u8| {
        let store = fixture.open_at(path).unwrap();
        commit(&store, BranchId::MAIN, &[(1, fill), (2, fill)]).unwrap();
        store.checkpoint().unwrap().unwrap();
        let files = [files(&path.join("chunks")), files(&path.join("catalog"))].concat();
        assert_eq!(files.len(), 2);
        files
    };
    let (ours, theirs) = (go_on(&fixture.path(), b'B'), go_on(&other, b'C'));
    for (from, to) in theirs.iter().zip(&ours) {
        let own = std::fs::read(to).unwrap();
        let foreign = std::fs::read(from).unwrap();
        assert_eq!(own.len(), foreign.len());
        std::fs::write(to, foreign).unwrap();
        let read = fixture.open_at(&fixture.path()).map(|store| at(&store, BranchId::MAIN, 2));
        // The log has what the checkpoint has.
        assert_eq!(read.unwrap(), *b"BB");
        std::fs::write(to, own).unwrap();
    }
}

/// An entry that stands somewhere else, with right checksums, is none of this place.
#[test]
fn entries_do_not_move() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for fill in [b'A', b'B', b'A', b'B'] {
        commit(&store, BranchId::MAIN, &[(1, fill)]).unwrap();
    }
    drop(store);
    let path = last_segment(&fixture.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let length = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at + 8..][..8].try_into().unwrap()) as usize;
    let second = 64 + length(&bytes, 64);
    let third = second + length(&bytes, second);
    assert_eq!(length(&bytes, second), length(&bytes, third));
    let moved = bytes[third..third + length(&bytes, third)].to_vec();
    bytes[second..second + moved.len()].copy_from_slice(&moved);
    std::fs::write(&path, bytes).unwrap();
    let error = fixture.open_at(&fixture.path()).err().unwrap().to_string();
    assert!(error.contains(&format!("damaged at byte {second}")) && error.contains("elsewhere"), "{error}");
}

/// Without a `HEAD`, the log ends with the last whole entry, wherever it is cut off.
#[test]
fn a_torn_tail_is_cut_off() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for fill in 1..=3 {
        commit(&store, BranchId::MAIN, &[(1, fill)]).unwrap();
    }
    let whole = read_all(&store).unwrap();
    drop(store);
    let bytes = std::fs::read(last_segment(&fixture.path())).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let length = |at: usize| u64::from_le_bytes(bytes[at + 8..][..8].try_into().unwrap()) as usize;
    let ends: Vec<usize> = std::iter::successors(Some(64), |at| (*at < used).then(|| at + length(*at))).collect();
    for cut in (64..=ends[3]).filter(|cut| cut % 4 == 0 || ends.contains(cut)) {
        let to = copy_of(&fixture, "torn");
        std::fs::write(last_segment(&to), &bytes[..cut]).unwrap();
        let store = fixture.open_at(&to).unwrap();
        assert_eq!(store.head().0 as usize, ends[1..].iter().filter(|end| **end <= cut).count(), "cut at {cut}");
        // What takes its place at the same offset is sealed anew.
        if cut == ends[2] + 8 {
            commit(&store, BranchId::MAIN, &[(1, 3)]).unwrap();
            assert_eq!(read_all(&store).unwrap(), whole);
            assert_ne!(std::fs::read(last_segment(&to)).unwrap()[ends[2]..ends[3]], bytes[ends[2]..ends[3]]);
        }
        drop(store);
        std::fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn the_master_key_changes_at_once() {
    let fixture = Fixture::new();
    fixture.fill();
    let store = fixture.open();
    let whole = read_all(&store).unwrap();
    let log = std::fs::read(last_segment(&fixture.path())).unwrap();
    let digits = std::fs::read(fixture.dir.path().join("other")).unwrap();
    store.rekey(&MasterKey::parse(&digits).unwrap()).unwrap();
    assert_eq!(std::fs::read(last_segment(&fixture.path())).unwrap(), log, "the log stays");
    // Who has it open goes on.
    commit(&store, BranchId::MAIN, &[(1, b'G')]).unwrap();
    drop(store);
    let error = fixture.open_at(&fixture.path()).err().unwrap().to_string();
    assert!(error.contains("gave key"), "{error}");
    let store = Store::open_with(&fixture.path(), OpenOptions::default(), &fixture.other_key()).unwrap();
    assert!(read_all(&store).unwrap().starts_with(&whole[..2]));
}

/// A large transaction has a segment of its own, whose pages are written before its version is known.
#[test]
fn segments_and_backups_are_sealed_too() {
    let fixture = Fixture::new();
    let store = fixture.open();
    commit(&store, BranchId::MAIN, &[(1, b'A')]).unwrap();
    let pages: Vec<(u32, u8)> = (1..=150_000).map(|no| (no, b'a' + (no % 26) as u8)).collect();
    commit(&store, BranchId::MAIN, &pages).unwrap();
    commit(&store, BranchId::MAIN, &[(1, b'Z')]).unwrap();
    assert_eq!(files(&fixture.path().join("log")).len(), 3);
    let whole = at(&store, BranchId::MAIN, 3);
    let target = fixture.dir.path().join("backup");
    store.backup(&target, &mut |_, _| true).unwrap();
    drop(store);
    for path in [&fixture.path(), &target] {
        let store = fixture.open_at(path).unwrap();
        assert_eq!(at(&store, BranchId::MAIN, 3), whole);
        for (path, bytes) in contents(path) {
            let runs = bytes.windows(8).any(|piece| piece[0] != 0 && piece.iter().all(|byte| *byte == piece[0]));
            assert!(!runs, "a page in {}", path.display());
        }
    }
}
