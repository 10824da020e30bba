//! Where the log ends.
//!
//! With a valid `HEAD` that is known. Without one (first open, new boot, copied directory) the last segment is read byte
//! for byte: what follows the last whole entry is a torn tail, which is cut off, unless `HEAD` or a later entry says that
//! more was on disk. Then it is damage, and is named. Of a copy neither says anything, as long as the entry is missing
//! there and not changed: it may have been written while the files were copied.

use std::path::Path;
use std::sync::Arc;

use maniac_base::Version;
use maniac_disk::Disk;
use maniac_seal::DataKey;

use crate::entry::{Checked, Header};
use crate::error::LogError;
use crate::head::{Head, LogEnd};
use crate::lock::{LockFile, LockName};
use crate::segment::{self, Segment, StoreId};

/// Opens `HEAD`, or makes one. `lock` is `None` where the store cannot be written.
pub fn open_head(
    disk: &Arc<dyn Disk>,
    path: &Path,
    id: StoreId,
    lock: Option<&LockFile>,
    keys: Option<&DataKey>,
) -> Result<Head, LogError> {
    if let Some(head) = Head::open(disk, path, id, lock.is_some())? {
        return Ok(head);
    }
    let Some(lock) = lock else {
        let end = find_end(&**disk, path, id, false, keys)?;
        return Ok(Head::private(disk, id, end));
    };
    lock.lock(LockName::Append)?;
    let opened = (|| {
        // Two builds that tell each other different things would write over each other.
        if Head::is_of_another_build(&**disk, path, id) && lock.is_held_elsewhere(LockName::Open)? {
            return Err(LogError::OtherBuild { path: path.to_owned() });
        }
        // Another process may have done the work while this one waited for the lock.
        if let Some(head) = Head::open(disk, path, id, true)? {
            return Ok(head);
        }
        let end = find_end(&**disk, path, id, true, keys)?;
        Head::create(disk, path, id, end)
    })();
    lock.unlock(LockName::Append);
    opened
}

/// Reads the last segment: the ones before it are complete. With `repair`, cuts off a torn tail and makes sure that the
/// rest is on disk.
fn find_end(
    disk: &dyn Disk,
    path: &Path,
    id: StoreId,
    repair: bool,
    keys: Option<&DataKey>,
) -> Result<LogEnd, LogError> {
    let last = *segment::list(disk, path)?.last().expect("the log has a segment");
    let segment = Segment::open(disk, path, last, repair, keys)?;
    if segment.store != id {
        return Err(LogError::corrupt(segment.path(), 0, "the segment belongs to another store"));
    }
    let mut end = LogEnd { version: Version(last.0 - 1), segment: last, position: segment::HEADER };
    while let Some(group) = whole_group(&segment, end.position)? {
        for header in group {
            if header.version != end.version.next() {
                let reason = format!("version {} follows version {}", header.version, end.version);
                return Err(LogError::corrupt(segment.path(), end.position, reason));
            }
            end = LogEnd { version: header.version, position: end.position + header.length, ..end };
        }
    }
    let left = Head::left_behind(disk, path, id).unwrap_or_default();
    if !(left.copied && is_missing(&segment, end.position)?) {
        refuse_loss(&segment, end, left.durable)?;
    }
    if repair {
        if !segment.is_zero_from(end.position)? {
            segment.truncate(end.position)?;
        }
        segment.sync()?;
        segment::remove_unnamed(disk, path)?;
        // Whoever made the store may have died before its names were on disk.
        sync_names(disk, path)?;
    }
    Ok(end)
}

/// Refuses a log that ends before something that was on disk.
fn refuse_loss(segment: &Segment, end: LogEnd, durable: Version) -> Result<(), LogError> {
    if !segment.is_zero_from(end.position)?
        && let Some((later, version)) = segment.later_entry(end.position, end.version)?
    {
        let reason = format!("the entry here is broken, but was on disk before version {version} at byte {later}");
        return Err(LogError::corrupt(segment.path(), end.position, reason));
    }
    if durable > end.version {
        let reason = format!("the log ends with version {}, but version {durable} was on disk", end.version);
        return Err(LogError::corrupt(segment.path(), end.position, reason));
    }
    Ok(())
}

/// Whether the first entry that is not whole, of the group at this offset, was not or not fully written when the file was
/// copied. A copy has zeroes there, up to its end or to what was written by the time that it came there.
fn is_missing(segment: &Segment, mut offset: u64) -> Result<bool, LogError> {
    while let Checked::Whole(header) = segment.check(offset)? {
        offset += header.length;
    }
    segment.is_missing_from(offset)
}

/// The entries that were committed together at this offset, every byte checked; nothing if one of them is not whole. A
/// group never spans segments.
fn whole_group(segment: &Segment, mut offset: u64) -> Result<Option<Vec<Header>>, LogError> {
    let mut group = Vec::new();
    loop {
        match segment.check(offset)? {
            Checked::Whole(header) => {
                offset += header.length;
                group.push(header);
                if !header.more {
                    return Ok(Some(group));
                }
            }
            // It is not this build's to cut off.
            Checked::Newer(defect) => return Err(defect.at(segment.path(), offset)),
            Checked::Cut | Checked::Unwritten | Checked::Changed => return Ok(None),
        }
    }
}

/// Brings the names of a store and of its segments to the disk.
pub fn sync_names(disk: &dyn Disk, store: &Path) -> Result<(), LogError> {
    segment::sync_dir(disk, &segment::log_dir(store))?;
    segment::sync_dir(disk, store)?;
    match store.parent().map(|parent| segment::sync_dir(disk, parent)) {
        // A directory that may be passed through and not be read: its owner answers for it.
        Some(Err(LogError::Io { source, .. })) if source.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Some(synced) => synced,
        None => Ok(()),
    }
}
