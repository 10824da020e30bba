//! Reading entries one behind the other.

use maniac_base::Version;

use crate::entry::EntryRef;
use crate::error::LogError;
use crate::log::Log;
use crate::segment::{self, HEADER, Segment};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which segment, in the order in which this process opened them.
    pub segment: u32,
    pub offset: u64,
}

impl Log {
    /// The entry that follows version `last`, which must have been written; moves the cursor to its start, which may be in
    /// the next segment. Whoever has done with the entry moves the cursor behind it.
    ///
    /// Nothing is read behind the last entry of a segment: whoever starts the next one cuts the file off there, and mapped
    /// memory behind the end of a file must not be touched.
    pub fn read(&self, last: Version, cursor: &mut Cursor) -> Result<EntryRef<'_>, LogError> {
        // To be asked after the head that the entry is in front of.
        let active = self.head.end().segment;
        let (first, next) = (self.segment(cursor.segment).first, last.next());
        // Segments are named after their first version.
        if first != active && first != next && segment::exists(&*self.disk, &self.path, next) {
            self.open_next(next, cursor)?;
        }
        self.segment(cursor.segment).entry(cursor.offset)
    }

    fn open_next(&self, first: Version, cursor: &mut Cursor) -> Result<(), LogError> {
        let opened = self.opened(first)?;
        // What was indexed of it would stay in memory.
        self.segment(cursor.segment).release();
        *cursor = Cursor { segment: opened, offset: HEADER };
        Ok(())
    }

    /// A cursor at an entry that was written, in the segment that starts with a version.
    pub fn cursor_at(&self, first: Version, offset: u64) -> Result<Cursor, LogError> {
        Ok(Cursor { segment: self.opened(first)?, offset })
    }

    /// The number of the segment that starts with a version.
    fn opened(&self, first: Version) -> Result<u32, LogError> {
        // Two that open one at the same time have it twice, which does no harm.
        if let Some((n, _)) = self.segments.iter().find(|(_, segment)| segment.first == first) {
            return Ok(n as u32);
        }
        let opened = Segment::open(&*self.disk, &self.path, first, self.writable)?;
        if opened.store != self.id {
            return Err(LogError::corrupt(opened.path(), 0, "the segment belongs to another store"));
        }
        Ok(self.segments.push(opened) as u32)
    }
}
