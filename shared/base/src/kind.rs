//! What can be done about an error, and the code that each host gives it.

/// What the caller can do about an error. Everything that fails has one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Busy,
    Stale,
    Interrupted,
    Input,
    Misuse,
    NotFound,
    Exists,
    ReadOnly,
    Corrupt,
    NewerFormat,
    Unavailable,
    Full,
    Internal,
}

/// A kind's line in the table of errors, which `docs/errors.md` shows.
#[derive(Debug)]
pub struct Codes {
    pub kind: Kind,
    pub name: &'static str,
    pub what_to_do: &'static str,
    /// SQLite's result code, by name and number.
    pub sqlite: (&'static str, i32),
    /// The C library's `maniac_status`, by name and number.
    pub c: (&'static str, i32),
}

/// In the order of the kinds.
pub const CODES: [Codes; 13] = [
    Codes {
        kind: Kind::Busy,
        name: "busy",
        what_to_do: "another writer has the branch: try again later, or wait with `PRAGMA busy_timeout`",
        sqlite: ("SQLITE_BUSY", 5),
        c: ("MANIAC_RETRY", 9),
    },
    Codes {
        kind: Kind::Stale,
        name: "stale",
        what_to_do: "the transaction builds on an older version: roll back, and run it again",
        sqlite: ("SQLITE_BUSY_SNAPSHOT", 517),
        c: ("MANIAC_RETRY", 9),
    },
    Codes {
        kind: Kind::Interrupted,
        name: "interrupted",
        what_to_do: "somebody asked for it: try again if it is still wanted",
        sqlite: ("SQLITE_INTERRUPT", 9),
        c: ("MANIAC_RETRY", 9),
    },
    Codes {
        kind: Kind::Input,
        name: "input",
        what_to_do: "change the call: the message says what can't be",
        sqlite: ("SQLITE_ERROR", 1),
        c: ("MANIAC_MISUSE", 3),
    },
    Codes {
        kind: Kind::Misuse,
        name: "misuse",
        what_to_do: "open the store again: it was opened before this process forked",
        sqlite: ("SQLITE_MISUSE", 21),
        c: ("MANIAC_MISUSE", 3),
    },
    Codes {
        kind: Kind::NotFound,
        name: "not found",
        what_to_do: "check the path, branch or version: there is none, or it can't be opened",
        sqlite: ("SQLITE_CANTOPEN", 14),
        c: ("MANIAC_NOT_FOUND", 4),
    },
    Codes {
        kind: Kind::Exists,
        name: "exists",
        what_to_do: "choose another name, or remove what has it",
        sqlite: ("SQLITE_ERROR", 1),
        c: ("MANIAC_MISUSE", 3),
    },
    Codes {
        kind: Kind::ReadOnly,
        name: "read only",
        what_to_do: "open the store for writing, or get the right to write to it",
        sqlite: ("SQLITE_READONLY", 8),
        c: ("MANIAC_MISUSE", 3),
    },
    Codes {
        kind: Kind::Corrupt,
        name: "corrupt",
        what_to_do: "the data is not what was written: go back to a backup",
        sqlite: ("SQLITE_IOERR_DATA", 8202),
        c: ("MANIAC_CORRUPT", 6),
    },
    Codes {
        kind: Kind::NewerFormat,
        name: "newer format",
        what_to_do: "use the version of Maniac that wrote the store, or has it open",
        sqlite: ("SQLITE_CANTOPEN", 14),
        c: ("MANIAC_NEWER_FORMAT", 8),
    },
    Codes {
        kind: Kind::Unavailable,
        name: "unavailable",
        what_to_do: "the operating system refused: see to the disk, and try again",
        sqlite: ("SQLITE_IOERR", 10),
        c: ("MANIAC_IO", 5),
    },
    Codes {
        kind: Kind::Full,
        name: "full",
        what_to_do: "make room on the disk, and try again",
        sqlite: ("SQLITE_FULL", 13),
        c: ("MANIAC_IO", 5),
    },
    Codes {
        kind: Kind::Internal,
        name: "internal",
        what_to_do: "report it: this is a defect of Maniac",
        sqlite: ("SQLITE_INTERNAL", 2),
        c: ("MANIAC_INTERNAL", 7),
    },
];

impl Kind {
    pub fn codes(self) -> &'static Codes {
        &CODES[self as usize]
    }

    /// Of an error that the operating system gave.
    pub fn of_io(error: &std::io::Error) -> Kind {
        use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, StorageFull};
        match error.kind() {
            StorageFull => Kind::Full,
            // A folder that isn't there, or may not be entered: SQLite's own VFS can't open such a file either.
            NotFound | NotADirectory | PermissionDenied => Kind::NotFound,
            _ => Kind::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn each_kind_has_its_line() {
        for (n, codes) in CODES.iter().enumerate() {
            assert_eq!(codes.kind as usize, n, "{}", codes.name);
        }
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md")).unwrap();
        let rows: Vec<&str> =
            page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| kind")).collect();
        let expected = CODES.iter().map(|codes| {
            let ((sqlite, number), (c, _)) = (codes.sqlite, codes.c);
            format!("| {} | {} | `{sqlite}` ({number}) | `{c}` |", codes.name, codes.what_to_do)
        });
        assert_eq!(rows, expected.collect::<Vec<_>>());
    }
}
