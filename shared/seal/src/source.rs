//! Where a master key comes from: a file that is named, the process, the environment.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::key::MasterKey;

/// A master key, and who gave it, as messages call that.
#[derive(Clone)]
pub struct GivenKey {
    pub key: MasterKey,
    pub from: String,
}

/// Which key a store is to be opened with.
#[derive(Clone, Debug, Default)]
pub enum KeyChoice {
    /// What the process was given, or else what the environment says: the key `MANIAC_KEY` in hexadecimal digits, or the
    /// file `MANIAC_KEYFILE`. No key if there is none of these.
    #[default]
    Ambient,
    /// The key in this file.
    File(PathBuf),
    /// No key, whatever the environment says.
    None,
}

/// The key that this process was given.
static PROCESS: Mutex<Option<MasterKey>> = Mutex::new(None);

/// Gives this process a key for the stores that it opens from here on, or takes it back.
pub fn set_process_key(key: Option<MasterKey>) {
    *PROCESS.lock() = key;
}

impl KeyChoice {
    /// As `keyfile=` of a URI says it: an empty one stands for no key.
    pub fn of_parameter(keyfile: Option<&str>) -> KeyChoice {
        match keyfile {
            None => KeyChoice::Ambient,
            Some("") => KeyChoice::None,
            Some(path) => KeyChoice::File(path.into()),
        }
    }

    /// The key, if there is one; an error says what is wrong with it.
    pub fn find(&self) -> Result<Option<GivenKey>, String> {
        match self {
            KeyChoice::None => Ok(None),
            KeyChoice::File(path) => read(path, format!("the key file {}", path.display())).map(Some),
            KeyChoice::Ambient => ambient(),
        }
    }
}

fn ambient() -> Result<Option<GivenKey>, String> {
    if let Some(key) = PROCESS.lock().clone() {
        return Ok(Some(GivenKey { key, from: "maniac_key()".into() }));
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(text) = set("MANIAC_KEY") {
        let text = Zeroizing::new(text.into_encoded_bytes());
        // Digits alone: 32 characters are more likely a word than a key.
        let key = if text.trim_ascii().len() == 64 { MasterKey::parse(&text) } else { Err(crate::KeyError) };
        let key = key.map_err(|_| "the environment variable MANIAC_KEY is not 64 hexadecimal digits")?;
        return Ok(Some(GivenKey { key, from: "the environment variable MANIAC_KEY".into() }));
    }
    match set("MANIAC_KEYFILE") {
        Some(path) => {
            let path = Path::new(&path);
            read(path, format!("the key file {} (environment variable MANIAC_KEYFILE)", path.display())).map(Some)
        }
        None => Ok(None),
    }
}

fn read(path: &Path, from: String) -> Result<GivenKey, String> {
    let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| format!("{from} cannot be read: {error}"))?);
    let key = MasterKey::parse(&bytes).map_err(|error| format!("{from} has no key in it: {error}"))?;
    Ok(GivenKey { key, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let find = || KeyChoice::of_parameter(path.to_str()).find();
        assert!(find().err().unwrap().contains("cannot be read"));
        std::fs::write(&path, "too short").unwrap();
        assert!(find().err().unwrap().contains("32 bytes, or 64 hexadecimal digits"));
        std::fs::write(&path, format!("{}\n", "ab".repeat(32))).unwrap();
        let found = find().unwrap().unwrap();
        assert!(found.key == MasterKey::parse(&[0xab; 32]).unwrap());
        assert!(found.from.contains(path.to_str().unwrap()));
        assert!(KeyChoice::of_parameter(Some("")).find().unwrap().is_none());
    }
}
