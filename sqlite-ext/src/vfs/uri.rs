//! What the query part of a database's URI asks for.

use std::path::PathBuf;

use maniac_store::Moment;
use rusqlite::ffi;

use crate::errors::{VfsError, VfsResult};

pub struct Request {
    pub path: PathBuf,
    pub branch: String,
    /// Only this moment of the branch, read only.
    pub at: Option<Moment>,
    pub read_only: bool,
    pub create: bool,
}

impl Request {
    /// `parameter` looks up the URI's query.
    pub fn new(path: PathBuf, flags: i32, parameter: impl Fn(&str) -> Option<String>) -> VfsResult<Request> {
        if parameter("cache").as_deref() == Some("shared") {
            let message = "cache=shared is not supported: branches of one store would share their pages";
            return Err(VfsError::new(ffi::SQLITE_CANTOPEN, message));
        }
        let at = parameter("at").map(|text| Moment::parse(&text)).transpose()?;
        let read_only = at.is_some() || flags & ffi::SQLITE_OPEN_READONLY != 0;
        let branch = parameter("branch").unwrap_or_else(|| "main".into());
        // Only `main` comes with a new store, and only its present: asking for anything else must not leave one behind.
        let create = flags & ffi::SQLITE_OPEN_CREATE != 0 && !read_only && branch == "main";
        Ok(Request { path, branch, at, read_only, create })
    }
}
