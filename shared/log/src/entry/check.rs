//! Checking an entry that may not be whole, through reads: what may still change is not looked at in mapped memory.

use maniac_base::{Checksum, checksum};

use super::frame::{ITEM, Stored};
use super::{CHECKSUM, Defect, HEADER, Header, read_u64};
use crate::error::LogError;

/// Reads bytes of the entry, from an offset in it.
pub type ReadAt<'a> = dyn FnMut(u64, &mut [u8]) -> Result<(), LogError> + 'a;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Every byte is right.
    Whole(Header),
    /// The file ends inside it.
    Cut,
    /// The first part that does not match its checksum has none: it was not written when it was read. Parts are written
    /// in order.
    Unwritten,
    /// It is none, or not what was written.
    Changed,
    /// A newer build wrote it, and it can't be passed over.
    Newer(Defect),
}

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// Checks an entry of which `available` bytes are there.
pub fn check(available: u64, read: &mut ReadAt<'_>) -> Result<Checked, LogError> {
    if available < HEADER as u64 {
        return Ok(Checked::Cut);
    }
    let mut head = vec![0; HEADER];
    read(0, &mut head)?;
    let Ok(header) = Header::decode(&head) else { return Ok(Checked::Changed) };
    if header.length > available {
        return Ok(Checked::Cut);
    }
    head.resize(header.frames_start() as usize, 0);
    read(0, &mut head)?;
    let (head, sum) = head.split_at(head.len() - CHECKSUM);
    if checksum(head) != read_u64(sum) {
        return Ok(broken(sum));
    }
    if let Err(defect) = header.check_understood(head) {
        return Ok(Checked::Newer(defect));
    }
    let mut body = Checksum::default();
    let mut offset = header.frames_start();
    let mut frame = Vec::new();
    for item in head[header.size()..].chunks_exact(ITEM) {
        let stored = Stored::from_item(item, header.forms, header.page_size);
        match stored.check(header.page_size) {
            Err(newer @ Defect::Newer(..)) if header.kind.is_some() => return Ok(Checked::Newer(newer)),
            Err(Defect::Damaged(_)) if header.kind.is_some() => return Ok(Checked::Changed),
            _ => (),
        }
        frame.resize(super::frame_bytes(stored) as usize, 0);
        if offset + frame.len() as u64 > header.parts_start() {
            return Ok(Checked::Changed);
        }
        read(offset, &mut frame)?;
        let (bytes, sum) = frame.split_at(frame.len() - CHECKSUM);
        if checksum(bytes) != read_u64(sum) {
            return Ok(broken(sum));
        }
        body = body.with(sum);
        offset += frame.len() as u64;
    }
    if offset != header.parts_start() {
        return Ok(Checked::Changed);
    }
    let mut piece = vec![0; PIECE];
    while offset < header.body_end() {
        let piece = &mut piece[..(header.body_end() - offset).min(PIECE as u64) as usize];
        read(offset, piece)?;
        body = body.with(piece);
        offset += piece.len() as u64;
    }
    let mut sum = [0; CHECKSUM];
    read(offset, &mut sum)?;
    Ok(if body.value() == u64::from_le_bytes(sum) { Checked::Whole(header) } else { broken(&sum) })
}

/// A part that does not match its checksum.
fn broken(sum: &[u8]) -> Checked {
    if read_u64(sum) == 0 { Checked::Unwritten } else { Checked::Changed }
}
