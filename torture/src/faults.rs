//! The test's side of the shim in `faults/`: builds it, starts hosts under it, and says which call is to fail.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use maniac_sql_tests::tools::workspace_root;

/// What a failing call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub errno: i32,
    /// All later calls fail, too, until the fault is gone.
    pub persistent: bool,
    /// A write takes half of its bytes first.
    pub short: bool,
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// Which calls are counted, and may fail.
pub const WRITES: u64 = 1 | 4 | 8;
pub const ALL: u64 = WRITES | 2;

/// One store's shim: a control file, and, if wanted, a file of notes.
pub struct Faults {
    store: PathBuf,
    control: File,
    control_path: PathBuf,
    notes: Option<PathBuf>,
}

impl Faults {
    /// For the store `name` in `directory`, which need not be there yet. Nothing fails until `arm`.
    pub fn new(directory: &Path, name: &str) -> Faults {
        let control_path = directory.join("faults.control");
        let control = File::options().read(true).write(true).create(true).truncate(true).open(&control_path);
        let control = control.expect("a new file");
        control.write_all_at(&[0; 48], 0).expect("room for six words");
        let directory = directory.canonicalize().expect("it is there");
        Faults { store: directory.join(name), control, control_path, notes: None }
    }

    /// Lets the shim note what changes and what is synced.
    pub fn taking_notes(mut self, directory: &Path) -> Faults {
        self.notes = Some(directory.join("faults.notes"));
        self
    }

    pub fn notes(&self) -> &Path {
        self.notes.as_deref().expect("notes were asked for")
    }

    /// What starts a process under the shim, for `Host::start_under`.
    pub fn wrapper(&self) -> Vec<String> {
        let mut wrapper = vec![
            "env".to_string(),
            format!("LD_PRELOAD={}", shim().display()),
            format!("FAULTS_STORE={}", self.store.display()),
            format!("FAULTS_CONTROL={}", self.control_path.display()),
        ];
        wrapper.extend(self.notes.iter().map(|notes| format!("FAULTS_NOTES={}", notes.display())));
        wrapper
    }

    fn set(&self, word: u64, value: u64) {
        self.control.write_all_at(&value.to_le_bytes(), 8 * word).expect("a word of the control file");
    }

    fn get(&self, word: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * word).expect("a word of the control file");
        u64::from_le_bytes(bytes)
    }

    /// From now on, the n-th of the counted calls fails.
    pub fn arm(&self, n: u64, counted: u64, fault: Fault) {
        self.disarm();
        self.set(0, 0);
        self.set(5, 0);
        self.set(2, fault.errno as u64);
        self.set(3, u64::from(fault.persistent) | u64::from(fault.short) << 1);
        self.set(4, counted);
        self.set(1, n);
    }

    pub fn disarm(&self) {
        self.set(1, 0);
    }

    /// Calls counted since `arm`.
    pub fn seen(&self) -> u64 {
        self.get(0)
    }

    /// Calls that failed since `arm`.
    pub fn failed(&self) -> u64 {
        self.get(5)
    }
}

/// The built shim, beside the worker. A test's own build does not contain it, as it must not be linked into the test.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let place = crate::host::worker().with_file_name("libmaniac_faults.so");
        let profile =
            if place.parent().is_some_and(|directory| directory.ends_with("release")) { "release" } else { "dev" };
        let manifest = workspace_root().join("torture/Cargo.toml");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--locked", "-p", "maniac-faults", "--profile", profile, "--manifest-path"])
            .arg(manifest);
        assert!(command.status().is_ok_and(|status| status.success()), "the shim is built");
        // The dynamic linker goes on without a library that isn't there, and then nothing would ever fail.
        assert!(place.is_file(), "no shim at {}", place.display());
        place
    })
}
