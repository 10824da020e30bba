//! The difference between two images of a page: the runs of bytes that changed.
//!
//! ```text
//! n x ( offset (2) | length (2) | bytes )        ascending, little-endian, lengths from 1
//! ```
//!
//! A one-row commit changes some dozen bytes of a page and a few of page 1, where the change counter lives; storing the
//! runs makes it a few hundred bytes of log instead of 8 KiB.

use std::ops::Range;

use maniac_log::Defect;

const HEAD: usize = 4;
/// A run goes on over so many equal bytes, because a new one would cost as much.
const GAP: usize = HEAD;

/// Bytes set aside for a difference at once.
const ROOM: usize = 512;

/// How a page compares with the one before.
#[derive(Debug, PartialEq, Eq)]
pub enum Comparison {
    Same,
    /// The difference that leads from one to the other.
    Difference(Vec<u8>),
    /// They differ in more than a difference may take.
    Far,
}

/// Compares two pages of one size; a difference may take up to `limit` bytes.
pub fn compare(before: &[u8], now: &[u8], limit: usize) -> Comparison {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(start) = next_difference(before, now, at) {
        let mut end = start + 1;
        let mut equal = 0;
        while end + equal < now.len() && equal <= GAP && end - start < usize::from(u16::MAX) - GAP {
            if before[end + equal] == now[end + equal] {
                equal += 1;
            } else {
                end += equal + 1;
                equal = 0;
            }
        }
        if out.len() + HEAD + (end - start) > limit {
            return Comparison::Far;
        }
        if out.is_empty() {
            out.reserve(limit.min(ROOM));
        }
        out.extend_from_slice(&(start as u16).to_le_bytes());
        out.extend_from_slice(&((end - start) as u16).to_le_bytes());
        out.extend_from_slice(&now[start..end]);
        at = end;
    }
    if out.is_empty() { Comparison::Same } else { Comparison::Difference(out) }
}

/// Where the pages differ next.
fn next_difference(before: &[u8], now: &[u8], from: usize) -> Option<usize> {
    const STEP: usize = 128;
    let (before, now) = (&before[from..], &now[from..]);
    let steps = before.as_chunks::<STEP>().0.iter().zip(now.as_chunks::<STEP>().0);
    // All words of a step are looked at before a branch is taken.
    let same = steps.take_while(|(before, now)| differing_bits(*before, *now).fold(0, |all, bits| all | bits) == 0);
    let same = same.count() * STEP;
    let (before, now) = (&before[same..], &now[same..]);
    if let Some((word, bits)) = differing_bits(before, now).enumerate().find(|(_, bits)| *bits != 0) {
        return Some(from + same + 8 * word + bits.trailing_zeros() as usize / 8);
    }
    let rest = before.len() / 8 * 8;
    let differs = before[rest..].iter().zip(&now[rest..]).position(|(before, now)| before != now);
    differs.map(|n| from + same + rest + n)
}

/// The bits in which two pages differ, eight bytes at a time, the first byte lowest.
fn differing_bits(before: &[u8], now: &[u8]) -> impl Iterator<Item = u64> {
    let words = before.as_chunks::<8>().0.iter().zip(now.as_chunks::<8>().0);
    words.map(|(before, now)| u64::from_le_bytes(*before) ^ u64::from_le_bytes(*now))
}

/// The bytes that a difference touches, from its first run to its last.
pub fn reach(difference: &[u8]) -> Option<Range<usize>> {
    let mut reach: Option<Range<usize>> = None;
    let mut rest = difference;
    while let Some((head, tail)) = rest.split_first_chunk::<HEAD>() {
        let start = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        reach = Some(reach.map_or(start, |reach| reach.start)..start + length);
        rest = tail.get(length..)?;
    }
    reach
}

/// Turns the page into the one that the difference leads to.
pub fn apply(difference: &[u8], page: &mut [u8]) -> Result<(), Defect> {
    let mut rest = difference;
    while let Some((head, tail)) = rest.split_first_chunk::<HEAD>() {
        let start = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let target =
            page.get_mut(start..start + length).ok_or(Defect::Damaged("a difference reaches beyond its page"))?;
        if length > tail.len() {
            return Err(Defect::Damaged("a difference ends inside a run"));
        }
        let (bytes, after) = tail.split_at(length);
        target.copy_from_slice(bytes);
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(Defect::Damaged("a difference ends inside a run's head")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn leads_from_one_page_to_the_other(
            before in prop::collection::vec(any::<u8>(), 4096),
            edits in prop::collection::vec((0_usize..4096, any::<u8>(), 1_usize..40), 0..12),
        ) {
            let mut now = before.clone();
            for (at, byte, length) in edits {
                let end = (at + length).min(now.len());
                now[at..end].fill(byte);
            }
            let mut page = before.clone();
            match compare(&before, &now, 1 << 16) {
                Comparison::Difference(difference) => {
                    apply(&difference, &mut page).unwrap();
                    let reach = reach(&difference).unwrap();
                    prop_assert!(before[..reach.start] == now[..reach.start] && before[reach.end..] == now[reach.end..]);
                }
                Comparison::Same => prop_assert_eq!(&before, &now),
                Comparison::Far => prop_assert!(false, "within the limit"),
            }
            prop_assert_eq!(page, now);
        }

        #[test]
        fn any_bytes_are_applied_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut page = vec![0; 512];
            let _ = apply(&bytes, &mut page);
            prop_assert_eq!(page.len(), 512);
        }
    }

    #[test]
    fn a_difference_has_a_limit() {
        assert_eq!(compare(&[0; 65536], &[1; 65536], 1024), Comparison::Far);
        assert!(matches!(compare(&[0; 512], &[1; 512], 516), Comparison::Difference(_)));
        assert_eq!(compare(&[0; 512], &[1; 512], 0), Comparison::Far);
        assert_eq!(compare(&[1; 512], &[1; 512], 0), Comparison::Same);
    }
}
