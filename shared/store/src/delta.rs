//! The difference between two images of a page: the runs of bytes that changed.
//!
//! ```text
//! n x ( offset (2) | length (2) | bytes )        ascending, little-endian, lengths from 1
//! ```
//!
//! A one-row commit changes some dozen bytes of a page and a few of page 1, where the change counter lives; storing the
//! runs makes it a few hundred bytes of log instead of 8 KiB.

use crate::entry::Defect;

const HEAD: usize = 4;
/// A run goes on over so many equal bytes, because a new one would cost as much.
const GAP: usize = HEAD;

/// The difference from `before` to `now`, pages of one size, if it takes at most `limit` bytes and at least one.
pub fn between(before: &[u8], now: &[u8], limit: usize) -> Option<Vec<u8>> {
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
            return None;
        }
        out.extend_from_slice(&(start as u16).to_le_bytes());
        out.extend_from_slice(&((end - start) as u16).to_le_bytes());
        out.extend_from_slice(&now[start..end]);
        at = end;
    }
    (!out.is_empty()).then_some(out)
}

/// Where the pages differ next, looking at 64 bytes at a time.
fn next_difference(before: &[u8], now: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < now.len() {
        let end = (at + 64).min(now.len());
        if before[at..end] != now[at..end] {
            return (at..end).find(|n| before[*n] != now[*n]);
        }
        at = end;
    }
    None
}

/// Turns the page into the one that the difference leads to.
pub fn apply(difference: &[u8], page: &mut [u8]) -> Result<(), Defect> {
    let mut rest = difference;
    while let Some((head, tail)) = rest.split_first_chunk::<HEAD>() {
        let start = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let target = page.get_mut(start..start + length).ok_or(Defect("a difference reaches beyond its page"))?;
        if length > tail.len() {
            return Err(Defect("a difference ends inside a run"));
        }
        let (bytes, after) = tail.split_at(length);
        target.copy_from_slice(bytes);
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(Defect("a difference ends inside a run's head")) }
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
            match between(&before, &now, 4096) {
                Some(difference) => apply(&difference, &mut page).unwrap(),
                None => prop_assert_eq!(&before, &now),
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
    fn a_difference_beyond_the_limit_is_none() {
        assert_eq!(between(&[0; 65536], &[1; 65536], 1024), None);
        assert!(between(&[0; 512], &[1; 512], 516).is_some());
    }
}
