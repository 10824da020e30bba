//! Between SQLite's pages and the log: what rows a transaction changed.

use maniac_base::{PageNo, Version};
use maniac_diff::{DiffError, Tracker, TrackerUpdate};
use maniac_store::{Losses, Payload, Snapshot, Transaction};
use parking_lot::Mutex;

use crate::error::ConnectionError;

/// The tracker of one branch and the version it describes, shared by the connections of this
/// process. Whoever holds the branch's write lock takes it out and puts it back; when it is not
/// there, it is made anew.
#[derive(Default)]
pub struct Capture(Mutex<Option<Known>>);

struct Known {
    version: Version,
    /// What had been lost when that was written: it may be lost since, and another have its number.
    losses: Losses,
    tracker: Box<Tracker>,
}

/// What a transaction changed, and the tracker that will follow once it is in the log.
pub struct Captured {
    pub payload: Payload,
    /// None of a transaction whose changesets are left to its readers.
    pub follow: Option<(Box<Tracker>, TrackerUpdate)>,
}

impl Capture {
    /// Decodes what changed, unless that is better left to the readers of the entry.
    pub fn decode(
        &self,
        transaction: &Transaction,
        changed: &[PageNo],
        warn: fn(&str),
    ) -> Result<Captured, ConnectionError> {
        let base = transaction.base();
        let known = self.0.lock().take().filter(|known| !base.store().is_lost(known.version, known.losses));
        if Transaction::is_large(changed) {
            let payload = Payload { derived: true, ..Payload::default() };
            return Ok(Captured { payload, follow: None });
        }
        let captured = tracker_at(base, known).and_then(|tracker| {
            tracker.capture(&transaction.before(), transaction, changed).map(|captured| (tracker, captured))
        });
        let (tracker, captured) = match captured {
            Ok(captured) => captured,
            // SQLite commits what it can't read itself, a schema of nonsense for example, and so
            // does a store. Readers of the entry find that out again, or what it says after all.
            Err(error) if error.is_about_content() => {
                warn(&format!("it cannot be determined which rows a transaction changed: {error}"));
                let payload = Payload { derived: true, ..Payload::default() };
                return Ok(Captured { payload, follow: None });
            }
            Err(error) => return Err(ConnectionError::Unreadable(error)),
        };
        let payload = match captured.changeset.len() > MOST_CHANGES {
            true => Payload { derived: true, ..Payload::default() },
            false => Payload { schema: captured.schema, changeset: captured.changeset, ..Payload::default() },
        };
        Ok(Captured { payload, follow: Some((tracker, captured.update)) })
    }

    /// The transaction is in the log as a version; the next one builds on it.
    pub fn follow(&self, follow: Option<(Box<Tracker>, TrackerUpdate)>, version: Version, losses: Losses) {
        if let Some((mut tracker, update)) = follow {
            tracker.advance(update);
            *self.0.lock() = Some(Known { version, losses, tracker });
        }
    }
}

/// Larger changesets are left to the readers too: of a DELETE of all rows, which writes hardly a page, above all.
const MOST_CHANGES: usize = 64 << 20;

/// More pages than these are not followed one by one.
const FAR: usize = 1024;

/// A tracker of the snapshot: the one that is known, brought there over what other processes have
/// committed since, or a new one.
fn tracker_at(base: &Snapshot, known: Option<Known>) -> Result<Box<Tracker>, DiffError> {
    if let Some(Known { version, mut tracker, .. }) = known {
        if version == base.version() {
            return Ok(tracker);
        }
        if let Ok(from) = base.store().snapshot(base.branch(), version)
            && let Ok(pages) = from.differing_pages(base)
            && pages.len() <= FAR
            && let Ok(captured) = tracker.capture(&from, base, &pages)
        {
            tracker.advance(captured.update);
            return Ok(tracker);
        }
    }
    Tracker::new(base).map(Box::new)
}
