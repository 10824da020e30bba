//! A machine in memory, for tests: its processes take turns by a seed, its disk keeps what is synced apart from what is
//! written, and everything can go wrong. The same seed gives the same run.
//!
//! ```text
//!   process (a thread) ──every call──> world: whose turn is it?  files: names, bytes, what is on disk
//!                                             ├─ time passes, the clock jumps
//!                                             ├─ the process is killed: the call never returns
//!                                             └─ an fsync fails
//! ```
//!
//! One thread runs at a time, and turns change at calls of the disk, so that what a process does in between can't be
//! told apart from doing it at once. A process is one thread: what it spawns never runs.

mod files;
mod seeds;
mod world;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::{Disk, File, HeadWords, Locks, Map, Open, Stat, Words};

pub use seeds::each_seed;
pub use world::{Chances, Ended, World};

use files::Inode;

/// The machine as one of its processes sees it.
pub struct Sim {
    world: Arc<World>,
    process: usize,
}

impl Sim {
    /// A disk for the process that calls; see `World::run`.
    pub fn process(world: &Arc<World>, process: usize) -> Arc<dyn Disk> {
        Arc::new(Sim { world: world.clone(), process })
    }

    fn files<T>(&self, call: impl FnOnce(&mut files::Files) -> io::Result<T>) -> io::Result<T> {
        self.world.step(self.process)?;
        call(&mut self.world.state().files)
    }
}

impl Disk for Sim {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let inode = self.files(|files| files.open(path, how))?;
        Ok(Box::new(SimFile { world: self.world.clone(), process: self.process, inode }))
    }

    fn create_temporary(&self, directory: &Path, prefix: &str, suffix: &str) -> io::Result<(PathBuf, Box<dyn File>)> {
        let name = format!("{prefix}{:016x}{suffix}", self.world.state().random.next());
        let path = directory.join(name);
        let file = self.open(&path, Open::CreateNew)?;
        Ok((path, file))
    }

    fn create_unnamed(&self, _: &Path) -> io::Result<Box<dyn File>> {
        let inode = self.files(|files| Ok(files.new_inode()))?;
        Ok(Box::new(SimFile { world: self.world.clone(), process: self.process, inode }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.files(|files| files.stat(path))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.files(|files| files.stat(path).map(|_| path.to_owned()))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.files(|files| files.list(directory))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.files(|files| files.create_directory(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files(|files| files.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files(|files| files.remove(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.files(|files| files.remove_directory(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.files(|files| files.sync_directory(path))
    }

    fn locks(&self, path: &Path) -> io::Result<Box<dyn Locks>> {
        let inode = self.files(|files| files.open(path, Open::Create))?;
        let handle = self.world.state().new_handle();
        Ok(Box::new(SimLocks { world: self.world.clone(), process: self.process, file: inode.number, handle }))
    }

    fn now_ms(&self) -> i64 {
        let _ = self.world.step(self.process);
        self.world.state().clock_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.world.state().now
    }

    fn sleep(&self, duration: Duration) {
        self.world.sleep(self.process, duration);
    }

    fn wait(&self, word: &AtomicU32, value: u32, timeout: Duration) {
        self.world.wait(self.process, word, value, timeout);
    }

    fn wake(&self, word: &AtomicU32, count: u32) {
        self.world.wake(self.process, word, count);
    }

    fn random(&self) -> io::Result<u128> {
        let mut state = self.world.state();
        Ok(u128::from(state.random.next()) << 64 | u128::from(state.random.next()))
    }

    fn boot(&self) -> [u64; 2] {
        [0, self.world.state().boots]
    }

    fn forks(&self) -> u64 {
        0
    }

    fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Ok(())
    }
}

struct SimFile {
    world: Arc<World>,
    process: usize,
    inode: Arc<Inode>,
}

impl SimFile {
    fn sync(&self) -> io::Result<()> {
        self.world.step(self.process)?;
        let mut state = self.world.state();
        if state.fails_to_sync() {
            self.inode.lose_sync(&mut state.random);
            return Err(io::Error::other("the disk failed"));
        }
        self.inode.sync();
        Ok(())
    }
}

impl File for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.world.step(self.process)?;
        self.inode.read(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // A process may die between two pieces of a write.
        for (n, piece) in bytes.chunks(4096).enumerate() {
            self.world.step(self.process)?;
            self.inode.write(piece, offset as usize + n * 4096);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.world.step(self.process)?;
        self.inode.set_length(length as usize);
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.inode.stat())
    }

    fn map(&self, length: usize) -> io::Result<Box<dyn Map>> {
        Ok(Box::new(SimMap { inode: self.inode.clone(), length, read: boxcar::Vec::new() }))
    }

    fn words(&self, _: bool) -> io::Result<Box<dyn Words>> {
        self.world.step(self.process)?;
        Ok(Box::new(SimWords(self.inode.words())))
    }
}

/// Copies what is looked at: it lives as long as the mapping.
struct SimMap {
    inode: Arc<Inode>,
    length: usize,
    read: boxcar::Vec<Box<[u8]>>,
}

impl Map for SimMap {
    fn length(&self) -> usize {
        self.length
    }

    fn slice(&self, offset: usize, length: usize) -> &[u8] {
        let mut bytes = vec![0; length];
        self.inode.read(&mut bytes, offset as u64).expect("mapped memory behind the end of a file must not be touched");
        let n = self.read.push(bytes.into());
        &self.read[n]
    }

    fn release(&self) {}
}

struct SimWords(Arc<HeadWords>);

impl Words for SimWords {
    fn get(&self) -> &HeadWords {
        &self.0
    }
}

struct SimLocks {
    world: Arc<World>,
    process: usize,
    file: u64,
    handle: u64,
}

impl Locks for SimLocks {
    fn try_lock(&self, byte: u64) -> io::Result<bool> {
        self.world.step(self.process)?;
        Ok(self.world.state().locks.take((self.file, byte), self.handle))
    }

    fn lock(&self, byte: u64) -> io::Result<()> {
        while !self.try_lock(byte)? {
            self.world.sleep(self.process, Duration::from_micros(10));
        }
        Ok(())
    }

    fn share(&self, byte: u64) -> io::Result<()> {
        self.world.step(self.process)?;
        self.world.state().locks.share((self.file, byte), self.handle);
        Ok(())
    }

    fn unlock(&self, byte: u64) {
        let _ = self.world.step(self.process);
        self.world.state().locks.release(self.handle, Some(byte));
    }

    fn is_held_elsewhere(&self, byte: u64) -> io::Result<bool> {
        self.world.step(self.process)?;
        Ok(self.world.state().locks.is_held((self.file, byte), self.handle))
    }
}

impl Drop for SimLocks {
    fn drop(&mut self) {
        self.world.state().locks.release(self.handle, None);
    }
}
