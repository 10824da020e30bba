//! What a database's name asks for: which store, and what the query part says of it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use maniac_store::{KeyChoice, Moment, Store};
use rusqlite::ffi;

use crate::errors::{VfsError, VfsResult};

pub struct Request {
    pub path: PathBuf,
    /// Without one, the branch of the tag that is asked for, or else `main`.
    pub branch: Option<String>,
    /// Only this moment of the branch, read only.
    pub at: Option<Moment>,
    pub read_only: bool,
    pub create: bool,
    pub key: KeyChoice,
}

/// Parameters of a store, and those that SQLite itself knows.
const PARAMETERS: [&str; 10] =
    ["branch", "at", "keyfile", "mode", "vfs", "cache", "immutable", "modeof", "nolock", "psow"];

impl Request {
    /// `keys` are those of the URI's query, `parameter` looks one up.
    pub fn new(
        path: PathBuf,
        flags: i32,
        keys: &[String],
        parameter: impl Fn(&str) -> Option<String>,
    ) -> VfsResult<Request> {
        // Drivers have parameters of their own, which begin with an underscore.
        let unknown = keys.iter().find(|key| !key.starts_with('_') && !PARAMETERS.contains(&&***key));
        if let Some(key) = unknown {
            let message = format!("no such URI parameter: {key}; a store takes branch, at, keyfile and mode");
            return Err(VfsError::new(ffi::SQLITE_CANTOPEN, message));
        }
        if parameter("cache").as_deref() == Some("shared") {
            let message = "cache=shared is not supported: branches of one store would share their pages";
            return Err(VfsError::new(ffi::SQLITE_CANTOPEN, message));
        }
        let at = parameter("at").map(|text| Moment::parse(&text)).transpose()?;
        // SQLite has put the mode of a URI into the flags; that of a plain name comes here only.
        let (only_reads, must_exist) = match parameter("mode").as_deref() {
            None | Some("rwc") => (false, false),
            Some("rw") => (false, true),
            Some("ro") => (true, true),
            Some(other) => {
                let message = format!("no such access mode: {other}; there are ro, rw and rwc");
                return Err(VfsError::new(ffi::SQLITE_CANTOPEN, message));
            }
        };
        let read_only = at.is_some() || only_reads || flags & ffi::SQLITE_OPEN_READONLY != 0;
        let branch = parameter("branch");
        // Only `main` comes with a new store, and only its present: asking for anything else must not leave one behind.
        let create = flags & ffi::SQLITE_OPEN_CREATE != 0
            && !read_only
            && !must_exist
            && branch.as_deref().is_none_or(|branch| branch == "main");
        let key = KeyChoice::of_parameter(parameter("keyfile").as_deref());
        Ok(Request { path, branch, at, read_only, create, key })
    }
}

/// The name of a store as `maniac-default` knows it, from a host that takes no URIs: `shop.maniac?branch=dev`. A URI is
/// understood all the same.
pub struct PlainName<'a> {
    pub path: Cow<'a, [u8]>,
    /// With the question mark; empty without parameters.
    pub query: &'a [u8],
}

impl<'a> PlainName<'a> {
    /// `None` for every other name. Of the question marks the first counts that has a store's name in front of it.
    pub fn parse(name: &'a [u8]) -> Option<PlainName<'a>> {
        let uri = name.strip_prefix(b"file:");
        let path = |path: &'a [u8]| match uri {
            Some(_) => Cow::Owned(decode(path.strip_prefix(b"//localhost/").map_or(path, |_| &path[11..]))),
            None => Cow::Borrowed(path),
        };
        let name = uri.map_or(name, |rest| rest.split(|byte| *byte == b'#').next().unwrap_or(rest));
        let marks = name.iter().enumerate().filter(|(_, byte)| **byte == b'?').map(|(at, _)| at);
        marks.chain([name.len()]).find_map(|at| {
            let (path, query) = (path(&name[..at]), &name[at..]);
            is_store(&path).then_some(PlainName { path, query })
        })
    }

    pub fn parameter(&self, key: &str) -> Option<String> {
        self.parameters().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Names and values, as often as they are there.
    pub fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&decode(bytes)).into_owned();
        let pairs = self.query.strip_prefix(b"?").unwrap_or_default().split(|byte| *byte == b'&');
        pairs.filter(|pair| !pair.is_empty()).map(move |pair| {
            let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len()));
            (text(name), text(value.strip_prefix(b"=").unwrap_or(value)))
        })
    }
}

/// Whether `maniac-default` opens a store under this name.
pub fn names_a_store(name: &[u8]) -> bool {
    PlainName::parse(name).is_some()
}

fn is_store(path: &[u8]) -> bool {
    let trimmed = path.iter().rposition(|byte| *byte != b'/').map_or(path, |last| &path[..=last]);
    trimmed.ends_with(b".maniac") || Store::is_at(Path::new(OsStr::from_bytes(path)))
}

/// Takes `%41` for `A`, as SQLite does in URIs. A sign of percent without two digits stands for itself.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Text as a part of a URI.
pub fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(String, String)> {
        let plain = PlainName::parse(name.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some((text(&plain.path), text(plain.query)))
    }

    fn some(path: &str, query: &str) -> Option<(String, String)> {
        Some((path.into(), query.into()))
    }

    #[test]
    fn a_name_of_a_store_is_told_from_others() {
        assert_eq!(parsed("/a/shop.maniac"), some("/a/shop.maniac", ""));
        assert_eq!(parsed("shop.maniac/"), some("shop.maniac/", ""));
        assert_eq!(parsed("shop.maniac?branch=dev"), some("shop.maniac", "?branch=dev"));
        assert_eq!(parsed("what?shop.maniac?at=3"), some("what?shop.maniac", "?at=3"));
        assert_eq!(parsed("shop.maniac?branch=a.maniac"), some("shop.maniac", "?branch=a.maniac"));
        assert_eq!(parsed("100%25.maniac"), some("100%25.maniac", ""));
        assert_eq!(parsed("file:a%20b.maniac?branch=x#y"), some("a b.maniac", "?branch=x"));
        assert_eq!(parsed("file://localhost/a.maniac"), some("/a.maniac", ""));
        assert_eq!(parsed("file:///a.maniac"), some("///a.maniac", ""));
        for other in ["shop.db", "shop.maniac.db", "shop.db?branch=dev", "", "shop.maniac-journal", ":memory:"] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn parameters_are_read_as_those_of_a_uri() {
        let plain = PlainName::parse(b"s.maniac?mode=ro&branch=a%26b%2&at&at=7").unwrap();
        assert_eq!(plain.parameter("mode").as_deref(), Some("ro"));
        assert_eq!(plain.parameter("branch").as_deref(), Some("a&b%2"));
        assert_eq!(plain.parameter("at").as_deref(), Some(""));
        assert_eq!(plain.parameter("cache"), None);
    }
}
