//! Where a consumer is: a small file of its own that says which version it has acknowledged.
//!
//! The file holds the version in decimal and a line feed. It is replaced as a whole, so that it is there as it was or as
//! it shall be, whatever happens.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use maniac_base::Version;

pub struct Cursor {
    path: PathBuf,
    version: Version,
}

impl Cursor {
    /// Reads the file; one that is not there yet stands at 0.
    pub fn open(path: &Path) -> io::Result<Cursor> {
        let version = match fs::read_to_string(path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Version)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no version number"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Version(0),
            Err(error) => return Err(error),
        };
        Ok(Cursor { path: path.to_owned(), version })
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Is on disk when it returns. It never goes back.
    pub fn advance(&mut self, version: Version) -> io::Result<()> {
        if version <= self.version {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        let mut file = File::create(&aside)?;
        writeln!(file, "{version}")?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.version = version;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_where_it_was_put() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cursor");
        let mut cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.version(), Version(0));
        cursor.advance(Version(7)).unwrap();
        cursor.advance(Version(5)).unwrap();
        assert_eq!(Cursor::open(&path).unwrap().version(), Version(7));
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
    }

    #[test]
    fn says_what_is_no_cursor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cursor");
        fs::write(&path, "seven").unwrap();
        assert_eq!(Cursor::open(&path).err().unwrap().kind(), io::ErrorKind::InvalidData);
    }
}
