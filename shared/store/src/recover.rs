//! From the files of a log to an index, and to where the log ends.
//!
//! With a valid `HEAD` the end is known, and only heads of entries are read. Without one (first open, new boot, copied
//! directory) the last segment is read byte for byte: what follows the last whole entry is a torn tail, which is cut
//! off, unless `HEAD` or a later entry says that more was on disk. Then it is damage, and is named. Of a copy neither says
//! anything, as long as the entry is missing there and not changed: it may have been written while the files were copied.

use std::path::Path;

use maniac_base::Version;

use crate::entry::{self, EntryRef};
use crate::error::StoreError;
use crate::head::{Head, LogEnd};
use crate::index::Index;
use crate::lock::{LockFile, LockName};
use crate::segment::{self, Segment, StoreId};
use crate::store::Cursor;

type OpenLog = (Head, Cursor, Index, boxcar::Vec<Segment>);

/// Opens the log. `lock` is `None` where the store cannot be written.
pub fn open_log(path: &Path, id: StoreId, lock: Option<&LockFile>) -> Result<OpenLog, StoreError> {
    let start = || -> Result<(Cursor, Index, boxcar::Vec<Segment>), StoreError> {
        let first = Segment::open(path, segment::list(path)?[0], lock.is_some())?;
        let index = Index::new(Version(first.first.0 - 1), first.created_ms);
        let segments = boxcar::Vec::new();
        segments.push(first);
        Ok((Cursor { segment: 0, offset: segment::HEADER }, index, segments))
    };
    if let Some(head) = Head::open(path, id, lock.is_some())? {
        let (cursor, index, segments) = start()?;
        return Ok((head, cursor, index, segments));
    }
    let Some(lock) = lock else {
        let (mut cursor, mut index, segments) = start()?;
        let end = scan(path, id, &segments, &mut index, &mut cursor, false)?;
        return Ok((Head::private(id, end), cursor, index, segments));
    };
    lock.lock(LockName::Append)?;
    let opened = (|| {
        let (mut cursor, mut index, segments) = start()?;
        // Two builds that tell each other different things would write over each other.
        if Head::is_of_another_build(path, id) && lock.is_held_elsewhere(LockName::Open)? {
            return Err(StoreError::OtherBuild { path: path.to_owned() });
        }
        // Another process may have done the work while this one waited for the lock.
        if let Some(head) = Head::open(path, id, true)? {
            return Ok((head, cursor, index, segments));
        }
        let end = scan(path, id, &segments, &mut index, &mut cursor, true)?;
        Ok((Head::create(path, id, end)?, cursor, index, segments))
    })();
    lock.unlock(LockName::Append);
    opened
}

/// Reads the whole log. With `repair`, cuts off a torn tail and makes sure that the rest is on disk.
fn scan(
    path: &Path,
    id: StoreId,
    segments: &boxcar::Vec<Segment>,
    index: &mut Index,
    cursor: &mut Cursor,
    repair: bool,
) -> Result<LogEnd, StoreError> {
    let last = *segment::list(path)?.last().expect("open_log has opened the first segment");
    let place = Place { path, segments, active: last, writable: repair };
    while segments[cursor.segment as usize].first < last {
        if index.last().next() == last {
            open_next(&place, last, cursor)?;
        } else {
            take_next(&place, index, cursor)?;
        }
    }
    let segment = &segments[cursor.segment as usize];
    while let Some(entries) = whole_group(segment, cursor.offset)? {
        entries.into_iter().try_for_each(|entry| take(segment, entry, index, cursor))?;
    }
    let end = LogEnd { version: index.last(), segment: segment.first, position: cursor.offset };
    let left = Head::left_behind(path, id).unwrap_or_default();
    if !(left.copied && is_missing(segment, end.position)?) {
        refuse_loss(segment, end, left.durable)?;
    }
    if repair {
        if !segment.is_zero_from(end.position)? {
            segment.truncate(end.position)?;
        }
        segment.sync()?;
        segment::remove_unnamed(path)?;
    }
    Ok(end)
}

/// Refuses a log that ends before something that was on disk.
fn refuse_loss(segment: &Segment, end: LogEnd, durable: Version) -> Result<(), StoreError> {
    if !segment.is_zero_from(end.position)?
        && let Some(later) = segment.later_entry(end.position, end.version)?
    {
        let version = segment.entry(later)?.header.version;
        let reason = format!("the entry here is broken, but was on disk before version {version} at byte {later}");
        return Err(StoreError::corrupt(segment.path(), end.position, reason));
    }
    if durable > end.version {
        let reason = format!("the log ends with version {}, but version {durable} was on disk", end.version);
        return Err(StoreError::corrupt(segment.path(), end.position, reason));
    }
    Ok(())
}

/// Whether the first entry that is not whole, of the group at this offset, was not or not fully written when the file was
/// copied. A copy has zeroes there, up to its end or to what was written by the time that it came there.
fn is_missing(segment: &Segment, mut offset: u64) -> Result<bool, StoreError> {
    while segment.file_length()? >= offset + entry::HEADER as u64
        && let Some(entry) = segment.entry(offset).ok().filter(|entry| entry.check_all().is_ok())
    {
        offset += entry.header.length;
    }
    segment.is_missing_from(offset)
}

/// The entries that were committed together at this offset, every byte checked; nothing if one of them is not whole. A
/// group never spans segments.
fn whole_group(segment: &Segment, mut offset: u64) -> Result<Option<Vec<EntryRef<'_>>>, StoreError> {
    let mut group = Vec::new();
    loop {
        if segment.file_length()? < offset + entry::HEADER as u64 {
            return Ok(None);
        }
        let entry = match segment.entry(offset) {
            Ok(entry) if entry.check_all().is_ok() => entry,
            // It is whole, and not this build's to cut off.
            Err(error @ StoreError::NewerEntry { .. }) => return Err(error),
            _ => return Ok(None),
        };
        offset += entry.header.length;
        group.push(entry);
        if !entry.header.more {
            return Ok(Some(group));
        }
    }
}

/// Where to read on, and where the log is written to.
pub struct Place<'a> {
    pub path: &'a Path,
    pub segments: &'a boxcar::Vec<Segment>,
    /// First version of the segment that was appended to last.
    pub active: Version,
    pub writable: bool,
}

/// Indexes the next entry, in this segment or at the start of the next one.
pub fn take_next(place: &Place<'_>, index: &mut Index, cursor: &mut Cursor) -> Result<(), StoreError> {
    let entry = peek_next(place, index.last(), cursor)?;
    take(&place.segments[cursor.segment as usize], entry, index, cursor)
}

/// The entry that follows version `last`, which must have been written; moves the cursor to its start, which may be in
/// the next segment.
///
/// Nothing is read behind the last entry of a segment: whoever starts the next one cuts the file off there, and mapped
/// memory behind the end of a file must not be touched.
pub fn peek_next<'a>(place: &Place<'a>, last: Version, cursor: &mut Cursor) -> Result<EntryRef<'a>, StoreError> {
    let (first, next) = (place.segments[cursor.segment as usize].first, last.next());
    // Segments are named after their first version.
    if first != place.active && first != next && segment::exists(place.path, next) {
        open_next(place, next, cursor)?;
    }
    place.segments[cursor.segment as usize].entry(cursor.offset)
}

fn open_next(place: &Place<'_>, first: Version, cursor: &mut Cursor) -> Result<(), StoreError> {
    let opened = Segment::open(place.path, first, place.writable)?;
    if opened.store != place.segments[cursor.segment as usize].store {
        return Err(StoreError::corrupt(opened.path(), 0, "the segment belongs to another store"));
    }
    // What was indexed of it would stay in memory.
    place.segments[cursor.segment as usize].release();
    *cursor = Cursor { segment: place.segments.push(opened) as u32, offset: segment::HEADER };
    Ok(())
}

fn take(segment: &Segment, entry: EntryRef<'_>, index: &mut Index, cursor: &mut Cursor) -> Result<(), StoreError> {
    index
        .apply(&entry, cursor.segment, cursor.offset)
        .map_err(|reason| StoreError::corrupt(segment.path(), cursor.offset, reason))?;
    cursor.offset += entry.header.length;
    Ok(())
}
