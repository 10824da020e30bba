//! A machine that stops: of what was written and not synced, some is on the disk and some is not.
//!
//! It works from the notes that the shim has taken (`faults/src/notes.rs`). First everything that was not synced is taken
//! back, newest first; then, oldest first, each piece of at most 4 KiB comes back or does not, as the dice fall. A new name
//! that its directory's fsync has not made lasting may go back to the old one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use maniac_sql_tests::dice::Dice;

/// What a disk writes as one.
const SECTORS: u64 = 4096;

#[derive(Debug)]
enum Note {
    Write { path: PathBuf, offset: u64, length: u64, before: Vec<u8>, now: Vec<u8> },
    Truncate { path: PathBuf, length: u64, to: u64, before: Vec<u8> },
    Rename { from: PathBuf, to: PathBuf },
    Sync { path: PathBuf },
}

/// What happened to the store.
#[derive(Debug, Default)]
pub struct Losses {
    /// Changes that were not synced when the machine stopped.
    pub unsynced: usize,
    /// Pieces of them that are gone.
    pub lost: usize,
}

/// Stops the machine. Nobody may have the store open. `HEAD` is memory between processes: it is taken away, or, as after
/// a crash that kept it, belongs to another boot.
pub fn stop(store: &Path, notes: &Path, dice: &mut Dice) -> Losses {
    let notes = parse(&fs::read(notes).unwrap_or_default());
    let mut losses = Losses::default();
    let unsynced = unsynced(&notes);
    losses.unsynced = unsynced.len();
    let places = places(&notes);
    for n in unsynced.iter().rev() {
        match &notes[*n] {
            Note::Write { offset, length, before, .. } => put(places.get(n), *offset, before, Some(*length)),
            Note::Truncate { length, to, before, .. } => put(places.get(n), *to, before, Some(*length)),
            _ => (),
        }
    }
    // Between all and nothing: disks differ.
    let kept = dice.below(5) * 25;
    for n in &unsynced {
        match &notes[*n] {
            Note::Write { offset, now, .. } => {
                let mut at = 0;
                while at < now.len() as u64 {
                    let end = ((offset + at) / SECTORS + 1) * SECTORS - offset;
                    let piece = &now[at as usize..(end as usize).min(now.len())];
                    if dice.below(100) < kept {
                        put(places.get(n), offset + at, piece, None);
                    } else {
                        losses.lost += 1;
                    }
                    at = end;
                }
            }
            Note::Truncate { to, .. } if dice.below(100) < kept => put(places.get(n), *to, &[], Some(*to)),
            _ => (),
        }
    }
    for n in unsynced.iter().rev() {
        if let Note::Rename { from, to } = &notes[*n]
            && dice.below(2) == 0
            && to.exists()
        {
            fs::rename(to, from).expect("a name can go back");
            losses.lost += 1;
        }
    }
    forget_boot(&store.join("HEAD"), dice);
    losses
}

fn put(path: Option<&PathBuf>, offset: u64, bytes: &[u8], length: Option<u64>) {
    // A file that has lost its name since (a segment that came to nothing) is of no interest.
    let Some(file) = path.and_then(|path| File::options().write(true).open(path).ok()) else { return };
    file.write_all_at(bytes, offset).expect("the store's own file");
    if let Some(length) = length {
        file.set_len(length).expect("the store's own file");
    }
}

/// Where the file of each note is now.
fn places(notes: &[Note]) -> HashMap<usize, PathBuf> {
    let mut renamed: HashMap<&Path, &Path> = HashMap::new();
    let mut places = HashMap::new();
    for (n, note) in notes.iter().enumerate().rev() {
        match note {
            Note::Rename { from, to } => {
                let end = renamed.get(to.as_path()).copied().unwrap_or(to);
                renamed.insert(from, end);
            }
            Note::Write { path, .. } | Note::Truncate { path, .. } | Note::Sync { path } => {
                let end = renamed.get(path.as_path()).map_or(path.as_path(), |end| end);
                places.insert(n, end.to_path_buf());
            }
        }
    }
    places
}

/// The changes that no later fsync of the same file, or for names of its directory, has put on disk. `HEAD` apart.
fn unsynced(notes: &[Note]) -> Vec<usize> {
    let places = places(notes);
    let mut synced: Vec<&Path> = Vec::new();
    let mut found = Vec::new();
    for (n, note) in notes.iter().enumerate().rev() {
        let place = places.get(&n).map(PathBuf::as_path);
        match note {
            Note::Sync { .. } => synced.extend(place),
            Note::Rename { to, .. } => {
                if !is_head(to) && !to.parent().is_some_and(|parent| synced.contains(&parent)) {
                    found.push(n);
                }
            }
            Note::Write { .. } | Note::Truncate { .. } => {
                if place.is_some_and(|place| !is_head(place) && !synced.contains(&place)) {
                    found.push(n);
                }
            }
        }
    }
    found.reverse();
    found
}

fn is_head(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("HEAD"))
}

fn forget_boot(head: &Path, dice: &mut Dice) {
    if dice.below(2) == 0 {
        fs::remove_file(head).expect("a store that was open has one");
    } else {
        let file = File::options().write(true).open(head).expect("a store that was open has one");
        file.write_all_at(&[0x5a; 16], 32).expect("room for the boot's identity");
    }
}

fn parse(bytes: &[u8]) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut at = 0;
    // A writer that was killed may have left half a note at the very end.
    while let Some((note, length)) = parse_one(&bytes[at..]) {
        notes.push(note);
        at += length;
    }
    notes
}

fn parse_one(bytes: &[u8]) -> Option<(Note, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a note starts with text");
    let mut words = head.split(' ');
    let kind = words.next()?;
    let numbers: Vec<u64> = words.map(|word| word.parse().expect("numbers")).collect();
    let lengths: Vec<u64> = match (kind, numbers.as_slice()) {
        ("W", [path, _, _, before, now]) => vec![*path, *before, *now],
        ("T", [path, _, _, before]) => vec![*path, *before],
        ("R", [from, to]) => vec![*from, *to],
        ("S", [path]) => vec![*path],
        _ => panic!("no note: {head}"),
    };
    let mut at = end + 1;
    let mut parts = Vec::new();
    for length in lengths {
        parts.push(bytes.get(at..at + length as usize)?.to_vec());
        at += length as usize;
    }
    if *bytes.get(at)? != b'\n' {
        panic!("a note without its end: {head}");
    }
    let path = |bytes: Vec<u8>| PathBuf::from(String::from_utf8(bytes).expect("our own paths"));
    let mut parts = parts.into_iter();
    let first = path(parts.next()?);
    let note = match (kind, numbers.as_slice()) {
        ("W", [_, offset, length, ..]) => {
            Note::Write { path: first, offset: *offset, length: *length, before: parts.next()?, now: parts.next()? }
        }
        ("T", [_, length, to, _]) => Note::Truncate { path: first, length: *length, to: *to, before: parts.next()? },
        ("R", _) => Note::Rename { from: first, to: path(parts.next()?) },
        _ => Note::Sync { path: first },
    };
    Some((note, at + 1))
}
