//! Taking entries away: behind a version, because they don't count, and in front of one, because nobody needs them.

use maniac_base::Version;

use crate::append::zero;
use crate::error::LogError;
use crate::head::LogEnd;
use crate::log::Log;
use crate::segment::{self, HEADER, Segment};

impl Log {
    /// Ends the log behind `version`, also where more was on disk; nobody has seen it, or this is an error. Whoever has
    /// built on what is gone is told by `Head::is_lost`.
    ///
    /// Recovery finds no damage in that: what `HEAD` promised is taken back, on disk, before the entries go.
    pub fn truncate_after(&self, version: Version) -> Result<(), LogError> {
        self.check_process()?;
        self.with_append_lock(|| {
            if self.head.append_was_cut_short() {
                self.repair_tail()?;
            }
            // Nobody may take what is cut off here, or what comes in its place, for durable.
            let _alone = self.stop_syncs()?;
            let end = self.head.end();
            if version >= end.version {
                return Ok(());
            }
            if version < self.head.visible() {
                let seen = self.head.visible();
                let reason = std::io::Error::other(format!("version {seen} has been seen"));
                return Err(LogError::io(&self.path, "cut off what follows an earlier version")(reason));
            }
            let segments = segment::list(&*self.disk, &self.path)?;
            let first = *segments.iter().rfind(|first| **first <= version.next()).unwrap_or(&end.segment);
            let segment = Segment::open(&*self.disk, &self.path, first, true, self.data_key.as_ref())?;
            let position = end_of(&segment, version)?;
            self.head.begin_append();
            self.head.cut(LogEnd { version, segment: first, position });
            self.head.sync(&self.path)?;
            for later in segments.into_iter().rev().take_while(|later| *later > first) {
                segment::remove(&*self.disk, &self.path, later)?;
            }
            segment::sync_dir(&*self.disk, &segment::log_dir(&self.path))?;
            zero(&segment, position, segment.file_length()?)?;
            self.sync_segment(&segment)?;
            self.head.end_append(self.head.end());
            Ok(())
        })
    }

    /// Removes the segments whose entries are all in front of `version`, and gives how many those were. The caller knows
    /// that nobody needs them: not a reader of an older version, nor a process that has not indexed them yet.
    pub fn purge(&self, version: Version) -> Result<usize, LogError> {
        self.check_process()?;
        self.with_append_lock(|| {
            let version = version.min(self.head.visible().min(self.head.durable()).next());
            let segments = segment::list(&*self.disk, &self.path)?;
            let needless = segments.windows(2).take_while(|pair| pair[1] <= version).map(|pair| pair[0]);
            let needless: Vec<Version> = needless.collect();
            for first in &needless {
                segment::remove(&*self.disk, &self.path, *first)?;
            }
            segment::sync_dir(&*self.disk, &segment::log_dir(&self.path))?;
            Ok(needless.len())
        })
    }

    /// Ends the segment that entries are appended to, if it has at least so many bytes, so that it can be removed by itself.
    /// Gives where the log ends.
    pub fn end_segment(&self, bytes: u64) -> Result<LogEnd, LogError> {
        self.check_process()?;
        self.with_append_lock(|| {
            self.mend()?;
            let end = self.head.end();
            if end.position == HEADER || end.position < bytes {
                return Ok(end);
            }
            self.head.begin_append();
            let segment = self.active_segment()?;
            let first = end.version.next();
            let ended = self.complete(&segment, end).and_then(|()| {
                Segment::create(&self.disk, &self.path, self.id, first, self.disk.now_ms(), self.data_key.as_ref())
            });
            match ended {
                Ok(_) => {
                    let end = LogEnd { version: end.version, segment: first, position: HEADER };
                    self.head.end_append(end);
                    Ok(end)
                }
                Err(error) => {
                    // If even this fails the mark stays, and whoever appends next repairs.
                    self.repair_tail()?;
                    Err(error)
                }
            }
        })
    }

    /// An fsync has failed: cuts off what nobody was told of, unless somebody has done so.
    pub(crate) fn drop_what_is_lost(&self) {
        // When this fails, the next writer tries again.
        let _ = self.with_append_lock(|| if self.head.sync_has_failed() { self.cut_tail() } else { Ok(()) });
    }

    /// Ends the log where what is visible or durable ends. The caller holds the append lock; an fsync has failed.
    pub(crate) fn cut_tail(&self) -> Result<(), LogError> {
        // Nobody may take what is cut off here, or what comes in its place, for durable.
        let _alone = self.stop_syncs()?;
        let (end, keep) = (self.head.end(), self.head.visible().max(self.head.durable()));
        if end.version == keep {
            return Ok(());
        }
        // All that is in front of the active segment is durable.
        let segment = self.active_segment()?;
        let position = end_of(&segment, keep)?;
        self.head.begin_append();
        self.head.cut(LogEnd { version: keep, segment: end.segment, position });
        // A transaction that was built on these bytes may still be looking at them: the file keeps its length.
        zero(&segment, position, end.position)?;
        self.head.end_append(self.head.end());
        Ok(())
    }
}

/// Where a version ends in the segment that has it, or its successor.
fn end_of(segment: &Segment, version: Version) -> Result<u64, LogError> {
    let (mut last, mut position) = (Version(segment.first.0 - 1), HEADER);
    while last < version {
        let entry = segment.entry(position)?;
        (last, position) = (entry.header.version, position + entry.header.length);
    }
    Ok(position)
}
