//! Linux. All `unsafe` code below the hosts is in this folder.

#![allow(unsafe_code)]

mod fork;
mod lock;
mod map;

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::thread::futex;

use crate::{Disk, File, Locks, Map, Open, Stat, Words};

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl Disk for Os {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read);
        match how {
            Open::Read | Open::Write => &mut options,
            Open::Create => options.create(true).truncate(false),
            Open::CreateNew => options.create_new(true),
            Open::Replace => options.create(true).truncate(true),
        };
        Ok(Box::new(options.open(path)?))
    }

    fn create_temporary(&self, directory: &Path, prefix: &str, suffix: &str) -> io::Result<(PathBuf, Box<dyn File>)> {
        let file = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(suffix)
            // As for any other file: the process's umask takes from it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        let (file, path) = file.keep().map_err(|error| error.error)?;
        Ok((path, Box::new(file)))
    }

    fn create_unnamed(&self, directory: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(tempfile::tempfile_in(directory)?))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        fs::metadata(path).map(stat)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|item| Ok(item?.file_name())).collect()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn locks(&self, path: &Path) -> io::Result<Box<dyn Locks>> {
        Ok(Box::new(lock::LockFile::open(path)?))
    }

    fn now_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
    }

    fn monotonic_ns(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a place for the answer. This clock is always there.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn wait(&self, word: &AtomicU32, value: u32, timeout: Duration) {
        let timeout = futex::Timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()) as _,
        };
        // Every error (timeout, interrupt, a word that changed in between) means: look again.
        let _ = futex::wait(word, futex::Flags::empty(), value, Some(&timeout));
    }

    fn wake(&self, word: &AtomicU32, count: u32) {
        // A failed wake leaves the sleepers asleep until they look around; there is nobody to tell.
        let _ = futex::wake(word, futex::Flags::empty(), count);
    }

    fn random(&self) -> io::Result<u128> {
        let mut bytes = [0; 16];
        io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        Ok(u128::from_le_bytes(bytes))
    }

    fn boot(&self) -> [u64; 2] {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let half =
            |range: std::ops::Range<usize>| hex.get(range).and_then(|h| u64::from_str_radix(h, 16).ok()).unwrap_or(0);
        [half(0..16), half(16..32)]
    }

    fn forks(&self) -> u64 {
        fork::forks()
    }

    fn spawn(&self, name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name.into()).spawn(run).map(drop)
    }
}

fn stat(meta: fs::Metadata) -> Stat {
    Stat { length: meta.len(), is_directory: meta.is_dir(), identity: (meta.dev(), meta.ino()) }
}

impl File for fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        fs::File::sync_all(self)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.metadata().map(stat)
    }

    fn map(&self, length: usize) -> io::Result<Box<dyn Map>> {
        Ok(Box::new(map::FileMap::new(self, length)?))
    }

    fn words(&self, writable: bool) -> io::Result<Box<dyn Words>> {
        Ok(Box::new(map::WordMap::new(self, writable)?))
    }
}
