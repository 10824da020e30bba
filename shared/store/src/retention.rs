//! What is kept of a store's past: as much as its retention says, and each version that has a tag.

use std::fmt;
use std::sync::Arc;

use maniac_base::{BranchId, Version};
use maniac_log::{EntryKind, TagNote};

use crate::branches::{Reference, check_name, plain};
use crate::error::StoreError;
use crate::moment::Moment;
use crate::store::Store;

/// How much of the past is kept, beside what tags and branches need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// What was current in the last so many milliseconds.
    Time(u64),
    /// The newest version, and so many before it.
    Versions(u64),
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Default for Retention {
    fn default() -> Retention {
        Retention::Time(7 * DAY_MS)
    }
}

/// Bytes of an encoded retention.
pub(crate) const RETENTION: usize = 9;

impl Retention {
    /// A number of versions, or a time such as `30 days`.
    pub fn parse(text: &str) -> Result<Retention, StoreError> {
        let text = text.trim();
        if let Ok(versions) = text.parse() {
            return Ok(Retention::Versions(versions));
        }
        let bad = || StoreError::BadRetention { asked: text.to_owned() };
        let span: jiff::Span = text.parse().map_err(|_| bad())?;
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        let time = span.to_duration(days).map_err(|_| bad())?;
        Ok(Retention::Time(u64::try_from(time.as_millis()).map_err(|_| bad())?))
    }

    /// What it is (u8: 0 a time, 1 versions), and how much of it (u64).
    pub(crate) fn encode(self) -> [u8; RETENTION] {
        let (what, much) = match self {
            Retention::Time(ms) => (0, ms),
            Retention::Versions(versions) => (1, versions),
        };
        let mut out = [what; RETENTION];
        out[1..].copy_from_slice(&much.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Retention> {
        let (what, much) = bytes.split_first()?;
        let much = u64::from_le_bytes(much.try_into().ok()?);
        match what {
            0 => Some(Retention::Time(much)),
            1 => Some(Retention::Versions(much)),
            _ => None,
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY_MS, "day"), (60 * 60 * 1000, "hour"), (60 * 1000, "minute"), (1000, "second"), (1, "ms")];
        let (much, unit) = match *self {
            Retention::Versions(versions) => (versions, "version"),
            Retention::Time(0) => (0, "second"),
            Retention::Time(ms) => {
                let (unit, name) = units.into_iter().find(|(unit, _)| ms % unit == 0).expect("every time is whole ms");
                (ms / unit, name)
            }
        };
        let plural = if much == 1 || unit == "ms" { "" } else { "s" };
        write!(f, "{much} {unit}{plural}")
    }
}

/// A name for a version, which is kept as long as it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub branch: BranchId,
    pub version: Version,
    /// Milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
}

impl Store {
    pub fn retention(&self) -> Result<Retention, StoreError> {
        self.refresh()?;
        Ok(self.now().index.read().retention())
    }

    /// From the next checkpoint on, what is older goes.
    pub fn retain(self: &Arc<Self>, retention: Retention) -> Result<(), StoreError> {
        self.append_one(BranchId::MAIN, move |index, _| {
            let head = self.known_branch(index, BranchId::MAIN)?.head();
            Ok(plain(EntryKind::Retention, BranchId::MAIN, head, retention.encode().to_vec()))
        })?;
        Ok(())
    }

    /// All tags, in the order of their names.
    pub fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.refresh()?;
        Ok(self.now().index.read().tags().cloned().collect())
    }

    /// Gives a name to what a branch shows at a moment, or now.
    pub fn tag(self: &Arc<Self>, name: &str, branch: BranchId, at: Option<Moment>) -> Result<Tag, StoreError> {
        let refuse = |reason| StoreError::BadTagName { name: name.to_owned(), reason };
        check_name(name).map_err(refuse)?;
        if !matches!(Moment::parse(name), Ok(Moment::Tag(_))) {
            return Err(refuse("it would be taken for a version or a time"));
        }
        let head = self.branch_by_id(branch)?.head;
        let version = match at {
            Some(moment) => self.resolve(branch, moment)?,
            None => head,
        };
        self.append_referring(branch, &|index| {
            if index.tag(name).is_some() {
                return Err(StoreError::TagExists { name: name.to_owned() });
            }
            self.known_branch(index, branch)?;
            let note = TagNote { version, name: name.to_owned() }.encode();
            Ok(Reference { kind: EntryKind::Tagged, branch, to: (branch, version), note })
        })?;
        self.refresh()?;
        let epoch = self.now();
        let index = epoch.index.read();
        index.tag(name).cloned().ok_or_else(|| self.no_such_tag(&index, name))
    }

    /// Takes a name away. The version that had it goes when nothing else keeps it.
    pub fn untag(self: &Arc<Self>, name: &str) -> Result<(), StoreError> {
        self.append_one(BranchId::MAIN, move |index, _| {
            index.tag(name).ok_or_else(|| self.no_such_tag(index, name))?;
            let head = self.known_branch(index, BranchId::MAIN)?.head();
            Ok(plain(EntryKind::Untagged, BranchId::MAIN, head, name.as_bytes().to_vec()))
        })?;
        Ok(())
    }

    pub(crate) fn no_such_tag(&self, index: &crate::index::Index, name: &str) -> StoreError {
        let known: Vec<&str> = index.tags().map(|tag| tag.name.as_str()).collect();
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        StoreError::NoSuchTag { path: self.path().to_owned(), name: name.to_owned(), known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, expected, shown) in [
            ("30 days", Retention::Time(30 * DAY_MS), "30 days"),
            ("2 weeks", Retention::Time(14 * DAY_MS), "14 days"),
            ("1 hour", Retention::Time(DAY_MS / 24), "1 hour"),
            ("90m", Retention::Time(90 * 60_000), "90 minutes"),
            ("1500 ms", Retention::Time(1500), "1500 ms"),
            ("0s", Retention::Time(0), "0 seconds"),
            ("0", Retention::Versions(0), "0 versions"),
            (" 1 ", Retention::Versions(1), "1 version"),
        ] {
            let retention = Retention::parse(text).unwrap();
            assert_eq!((retention, retention.to_string().as_str()), (expected, shown), "{text}");
            assert_eq!(Retention::decode(&retention.encode()), Some(expected));
        }
        for text in ["", "soon", "-1", "-3 days", "1 month", "days"] {
            let error = Retention::parse(text).unwrap_err().to_string();
            assert!(error.contains("neither a number of versions nor a time"), "{text}: {error}");
        }
        assert_eq!(Retention::decode(&[2; RETENTION]), None);
        assert_eq!(Retention::decode(&[0; 3]), None);
    }
}
