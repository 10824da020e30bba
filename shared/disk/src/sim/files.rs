//! Files whose bytes are on disk or not.
//!
//! When the machine stops, of each write that was not synced any sectors may be there or not. Names are kept in the order
//! of a journal: what was done to a directory later is not there without what was done before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::world::Random;
use crate::{HEAD_BYTES, HeadWords, Open, Stat};

/// Bytes that are on disk together or not at all.
const SECTOR: usize = 512;

/// What was done to a file, and is perhaps not on disk.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(length) => to.resize(*length, 0),
            Change::Write { offset, bytes } => {
                to.resize(to.len().max(offset + bytes.len()), 0);
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    on_disk: Vec<u8>,
    pending: Vec<Change>,
    /// Once the file is mapped as words, its first bytes are these.
    words: Option<Arc<HeadWords>>,
}

pub(super) struct Inode {
    pub number: u64,
    is_directory: bool,
    content: Mutex<Content>,
}

impl Inode {
    fn content(&self) -> MutexGuard<'_, Content> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = &content.words {
            let bytes: Vec<u8> = words.first_words().iter().flat_map(|word| word.to_le_bytes()).collect();
            content.bytes[..bytes.len()].copy_from_slice(&bytes);
        }
        content
    }

    pub fn stat(&self) -> Stat {
        let length = self.content().bytes.len() as u64;
        Stat { length, is_directory: self.is_directory, identity: (1, self.number) }
    }

    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content();
        let from = content.bytes.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn change(&self, change: Change) {
        let mut content = self.content();
        change.apply(&mut content.bytes);
        content.pending.push(change);
    }

    pub fn write(&self, bytes: &[u8], offset: usize) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn set_length(&self, length: usize) {
        self.change(Change::Length(length));
    }

    pub fn sync(&self) {
        let content = &mut *self.content();
        for change in content.pending.drain(..) {
            change.apply(&mut content.on_disk);
        }
        if content.words.is_some() {
            content.on_disk.clone_from(&content.bytes);
        }
    }

    /// An fsync that fails, as on Linux: what was to be written counts as written, whether it was or not.
    pub fn lose_sync(&self, random: &mut Random) {
        let content = &mut *self.content();
        some_of(content.pending.drain(..), &mut content.on_disk, random);
    }

    pub fn words(&self) -> Arc<HeadWords> {
        let mut content = self.content();
        content.bytes.resize(HEAD_BYTES, 0);
        let bytes = content.bytes.clone();
        content.words.get_or_insert_with(|| Arc::new(HeadWords::from_bytes(&bytes))).clone()
    }

    /// The file as the next run of the machine finds it.
    fn after_stop(&self, random: &mut Random) -> Vec<u8> {
        let content = &mut *self.content();
        some_of(content.pending.drain(..), &mut content.on_disk, random);
        std::mem::take(&mut content.on_disk)
    }
}

/// Brings any of the changes to the disk, or parts of them.
fn some_of(changes: impl Iterator<Item = Change>, on_disk: &mut Vec<u8>, random: &mut Random) {
    for change in changes {
        match change {
            Change::Length(_) if random.below(2) == 0 => change.apply(on_disk),
            Change::Length(_) => (),
            Change::Write { offset, bytes } => {
                let all = random.below(3);
                let mut at = offset;
                while at < offset + bytes.len() {
                    let end = (at / SECTOR * SECTOR + SECTOR).min(offset + bytes.len());
                    if all == 0 || all == 1 && random.below(2) == 0 {
                        let bytes = bytes[at - offset..end - offset].to_vec();
                        Change::Write { offset: at, bytes }.apply(on_disk);
                    }
                    at = end;
                }
            }
        }
    }
}

type Names = BTreeMap<PathBuf, Arc<Inode>>;

#[derive(Default)]
pub(super) struct Files {
    names: Names,
    /// The names after each change that is perhaps not on disk; first, as they are there for certain.
    journal: Vec<Names>,
    inodes: u64,
}

impl Files {
    pub fn new_inode(&mut self) -> Arc<Inode> {
        self.inode(false)
    }

    fn inode(&mut self, is_directory: bool) -> Arc<Inode> {
        self.inodes += 1;
        Arc::new(Inode { number: self.inodes, is_directory, content: Mutex::default() })
    }

    fn find(&self, path: &Path) -> io::Result<&Arc<Inode>> {
        self.names.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn name(&mut self, path: &Path, inode: Arc<Inode>) {
        self.names.insert(path.to_owned(), inode);
        self.named();
    }

    fn named(&mut self) {
        if self.journal.is_empty() {
            self.journal.push(Names::new());
        }
        self.journal.push(self.names.clone());
    }

    pub fn open(&mut self, path: &Path, how: Open) -> io::Result<Arc<Inode>> {
        match (self.find(path).cloned(), how) {
            (Ok(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(inode), how) if inode.is_directory && how != Open::Read => Err(io::ErrorKind::IsADirectory.into()),
            (Ok(inode), Open::Replace) => {
                inode.content().words = None;
                inode.set_length(0);
                Ok(inode)
            }
            (Ok(inode), _) => Ok(inode),
            (Err(error), Open::Read | Open::Write) => Err(error),
            (Err(_), _) => {
                let inode = self.inode(false);
                self.name(path, inode.clone());
                Ok(inode)
            }
        }
    }

    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.find(path).map(|inode| inode.stat())
    }

    pub fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.find(directory)?;
        let inside = self.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).collect())
    }

    pub fn create_directory(&mut self, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.inode(true);
        self.name(path, inode);
        Ok(())
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.find(from)?;
        let moved: Vec<PathBuf> = self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let inode = self.names.remove(&path).expect("it was there");
            let rest = path.strip_prefix(from).expect("it starts so");
            let place = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.names.insert(place, inode);
        }
        self.named();
        Ok(())
    }

    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.names.remove(path);
        self.named();
        Ok(())
    }

    pub fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        self.names.retain(|name, _| !name.starts_with(path));
        self.named();
        Ok(())
    }

    pub fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        if path != Path::new("/") {
            self.find(path)?;
        }
        self.journal = vec![self.names.clone()];
        Ok(())
    }

    /// Brings something to the disk that nobody asked for.
    pub fn write_back(&mut self, random: &mut Random) {
        let n = random.below(self.names.len().max(1) as u64) as usize;
        if let Some(inode) = self.names.values().nth(n) {
            inode.sync();
        }
    }

    /// The machine stops: what is left is what is on disk.
    pub fn stop(&mut self, random: &mut Random) {
        let survivors = match self.journal.len() {
            0 => Names::new(),
            n => self.journal.swap_remove(random.below(n as u64) as usize),
        };
        self.names = Names::new();
        for (path, inode) in survivors {
            let bytes = inode.after_stop(random);
            let content = Content { on_disk: bytes.clone(), bytes, ..Content::default() };
            let (number, is_directory) = (inode.number, inode.is_directory);
            self.names.insert(path, Arc::new(Inode { number, is_directory, content: Mutex::new(content) }));
        }
        self.journal = vec![self.names.clone()];
    }
}
