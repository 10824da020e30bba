//! Reading entries one behind the other.

use std::sync::Arc;

use maniac_base::Version;

use crate::entry::EntryRef;
use crate::error::LogError;
use crate::log::Log;
use crate::segment::{self, HEADER, Segment};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which segment, in the order in which its stretch came to them.
    pub segment: u32,
    pub offset: u64,
}

/// A stretch of the log that somebody reads, and the segments that it has come to. They stay open as long as the stretch is
/// there, also where their files are removed.
pub struct Stretch {
    log: Arc<Log>,
    segments: boxcar::Vec<Arc<Segment>>,
}

impl Log {
    /// A stretch from the first entry on that there is.
    pub fn stretch(self: &Arc<Self>) -> Result<(Stretch, Cursor), LogError> {
        self.stretch_at(self.start()?.next(), HEADER)
    }

    /// A stretch from an entry on that was written, in the segment that starts with version `first`.
    pub fn stretch_at(self: &Arc<Self>, first: Version, offset: u64) -> Result<(Stretch, Cursor), LogError> {
        let segments = boxcar::Vec::new();
        segments.push(self.opened(first)?);
        Ok((Stretch { log: self.clone(), segments }, Cursor { segment: 0, offset }))
    }

    /// The segment that starts with a version. Two stretches share one.
    fn opened(&self, first: Version) -> Result<Arc<Segment>, LogError> {
        let mut open = self.open.lock();
        open.retain(|segment| segment.strong_count() > 0);
        let known = open.iter().filter_map(std::sync::Weak::upgrade).find(|segment| segment.first == first);
        if let Some(segment) = known.filter(|segment| segment.is_in_place(&*self.disk)) {
            return Ok(segment);
        }
        let segment = Arc::new(Segment::open(&*self.disk, &self.path, first, self.writable, self.data_key.as_ref())?);
        if segment.store != self.id {
            return Err(LogError::corrupt(segment.path(), 0, "the segment belongs to another store"));
        }
        open.push(Arc::downgrade(&segment));
        Ok(segment)
    }
}

impl Stretch {
    /// The entry that follows version `last`, which must have been written; moves the cursor to its start, which may be in
    /// the next segment. Whoever has done with the entry moves the cursor behind it.
    ///
    /// Nothing is read behind the last entry of a segment: whoever starts the next one cuts the file off there, and mapped
    /// memory behind the end of a file must not be touched.
    pub fn read(&self, last: Version, cursor: &mut Cursor) -> Result<EntryRef<'_>, LogError> {
        let log = &self.log;
        // To be asked after the head that the entry is in front of.
        let (losses, active) = (log.losses(), log.head.end().segment);
        let (segment, next) = (self.segment(cursor.segment), last.next());
        // Segments are named after their first version.
        if segment.first != active && segment.first != next && cursor.offset >= segment.full_length(losses)? {
            if !segment::exists(&*log.disk, &log.path, next) {
                return Err(LogError::Purged { path: log.path.clone(), version: next });
            }
            let opened = log.opened(next)?;
            // What was indexed of it would stay in memory.
            segment.release();
            let known = self.segments.iter().find(|(_, segment)| Arc::ptr_eq(segment, &opened));
            let n = known.map_or_else(|| self.segments.push(opened.clone()), |(n, _)| n);
            *cursor = Cursor { segment: n as u32, offset: HEADER };
        }
        self.segment(cursor.segment).entry(cursor.offset)
    }

    /// A segment by the number that a cursor gives it.
    pub fn segment(&self, n: u32) -> &Segment {
        &self.segments[n as usize]
    }

    /// Takes what has been read of the segments out of the process's resident memory.
    pub fn release(&self) {
        self.segments.iter().for_each(|(_, segment)| segment.release());
    }
}
