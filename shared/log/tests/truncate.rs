//! Entries are taken away at both ends of a log, and what is left opens.

#![allow(clippy::disallowed_methods, reason = "a test stands outside, on the machine itself")]

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maniac_base::{BranchId, PageNo, Term, Version};
use maniac_disk::Disk;
use maniac_disk::os::Os;
use maniac_log::{Draft, Durability, EntryKind, Form, Log, LogError, Proposal, Stored, Written};

fn create(dir: &Path) -> PathBuf {
    let path = dir.join("s.maniac");
    let disk: Arc<dyn Disk> = Arc::new(Os);
    disk.create_directory(&path).unwrap();
    Log::create(&disk, &path, None).unwrap();
    path
}

fn open(path: &Path) -> Arc<Log> {
    Arc::new(Log::open(Arc::new(Os), path.to_owned(), None).unwrap())
}

/// Appends an entry of so many pages of 64 KiB, all of one byte. It is on disk when it is published.
fn append(log: &Arc<Log>, term: u64, pages: u32, fill: u8) -> Written {
    let image = vec![fill; 65536];
    let frames: Vec<_> = (1..=pages).map(|no| (PageNo(no), Stored::new(Form::Image, 65536))).collect();
    log.append::<LogError>(Durability::Full, || {
        let draft = Draft {
            kind: EntryKind::Transaction,
            term: Term(term),
            branch: BranchId::MAIN,
            base: Version(0),
            page_size: 65536,
            page_count: pages,
            pages: &frames,
            stored: Box::new(|_| Ok(Cow::Borrowed(&image))),
            schema: &[],
            changeset: &[],
            derived: false,
            note: Cow::Borrowed(&[]),
        };
        Ok(Proposal { drafts: vec![(draft, None)], not_before_ms: 0 })
    })
    .unwrap()
}

/// The version, term and first page's fill of each entry, and the number of pages.
fn entries(log: &Arc<Log>) -> Vec<(u64, u64, u8)> {
    let (stretch, mut cursor) = log.stretch().unwrap();
    let (mut last, mut found) = (log.start().unwrap(), Vec::new());
    while last < log.head().written() {
        let entry = stretch.read(last, &mut cursor).unwrap();
        entry.check_all().unwrap();
        let header = entry.header;
        found.push((header.version.0, header.term.0, entry.bytes()[header.frames_start() as usize]));
        (cursor.offset, last) = (cursor.offset + header.length, header.version);
    }
    found
}

fn without_head(path: &Path) -> Arc<Log> {
    std::fs::remove_file(path.join("HEAD")).unwrap();
    open(path)
}

#[test]
fn what_follows_a_version_goes_and_is_no_damage() {
    for cut in 1..=5 {
        // With pages of 64 KiB, 600 of them and 500 don't fit into one segment.
        for (pages, with_head) in [([1; 6], true), ([1; 6], false), ([600, 1, 500, 1, 600, 1], false)] {
            let dir = tempfile::tempdir().unwrap();
            let path = create(dir.path());
            let log = open(&path);
            let written: Vec<Written> = (0..6).map(|n| append(&log, 1, pages[n], n as u8)).collect();
            log.publish(Durability::Full, &written[0]).unwrap();
            // All of it is on disk, and nobody has seen it.
            log.durable_to(Version(6), log.losses()).unwrap();
            let losses = log.losses();
            log.truncate_after(Version(cut)).unwrap();
            assert!(log.head().is_lost(Version(cut + 1), losses) && !log.head().is_lost(Version(cut), losses));
            assert_eq!(log.head().durable(), Version(cut));
            let kept: Vec<_> = (1..=cut).map(|n| (n, 1, n as u8 - 1)).collect();
            assert_eq!(entries(&log), kept);
            drop(log);
            let log = if with_head { open(&path) } else { without_head(&path) };
            assert_eq!(entries(&log), kept, "cut behind {cut}");
            let last = append(&log, 2, 3, 9);
            log.publish(Durability::Full, &last).unwrap();
            drop(log);
            let all: Vec<_> = kept.into_iter().chain([(cut + 1, 2, 9)]).collect();
            assert_eq!(entries(&without_head(&path)), all);
        }
    }
}

#[test]
fn what_has_been_seen_is_not_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path());
    let log = open(&path);
    for fill in 1..=3 {
        let written = append(&log, 0, 1, fill);
        log.publish(Durability::Full, &written).unwrap();
    }
    let error = log.truncate_after(Version(2)).unwrap_err().to_string();
    assert!(error.contains("version 3 has been seen"), "{error}");
    log.truncate_after(Version(3)).unwrap();
    assert_eq!(entries(&log).len(), 3);
}

#[test]
fn what_is_in_front_of_a_version_goes_by_segments() {
    let dir = tempfile::tempdir().unwrap();
    let path = create(dir.path());
    let log = open(&path);
    for fill in 1..=6 {
        let written = append(&log, 0, 600, fill);
        log.publish(Durability::Full, &written).unwrap();
    }
    // Each has a segment to itself.
    let (stretch, cursor) = log.stretch().unwrap();
    assert_eq!(log.purge(Version(1)).unwrap(), 0);
    assert_eq!(log.purge(Version(4)).unwrap(), 3);
    // Whoever has them open keeps them.
    assert_eq!(stretch.segment(0).entry(cursor.offset).unwrap().header.version, Version(1));
    assert_eq!(entries(&open(&path)), [(4, 0, 4), (5, 0, 5), (6, 0, 6)]);
    assert_eq!(log.purge(Version(100)).unwrap(), 2);
    let log = without_head(&path);
    assert_eq!((log.start().unwrap(), entries(&log)), (Version(5), vec![(6, 0, 6)]));
    let written = append(&log, 0, 1, 7);
    log.publish(Durability::Full, &written).unwrap();
    assert_eq!(entries(&without_head(&path)), [(6, 0, 6), (7, 0, 7)]);
}
