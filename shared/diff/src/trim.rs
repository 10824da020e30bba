//! Cells of a leaf that are the same before and after, told without being read.
//!
//! A commit usually adds or changes one row of a leaf that holds a hundred. Behind the last byte in which the two images
//! differ everything is equal, so a cell that starts there is too. Those of them that stand at the same place from the
//! front, or from the back, of both cell arrays need not be compared.

use maniac_sqlite_format::TreePage;

/// How many cells at the front and at the back of the two pages are the same. From byte `reach` on the pages are known to
/// be equal.
pub(crate) fn same_cells(old: &TreePage<'_>, new: &TreePage<'_>, reach: usize) -> (usize, usize) {
    if old.kind() != new.kind() || old.bytes().len() != new.bytes().len() {
        return (0, 0);
    }
    let reach = reach.min(old.bytes().len());
    let tail = equal_tail(&old.bytes()[..reach], &new.bytes()[..reach]);
    // Cells have four bytes or more; one that doesn't fit is for whoever reads it to refuse.
    let room = old.bytes().len() - 3;
    let (Ok(tail), Ok(width)) = (u16::try_from(tail), u16::try_from(room.saturating_sub(tail))) else { return (0, 0) };
    let above_tail = |offset: &[u8; 2]| u16::from_be_bytes(*offset).wrapping_sub(tail);
    let is_within = |offset: &[u8; 2]| above_tail(offset) < width;
    let (old, new) = (old.cell_offsets(), new.cell_offsets());
    let mut front = equal_front(old, new);
    // All of them as a rule, which is told without a branch for each.
    if old[..front].iter().map(above_tail).fold(0, u16::max) >= width {
        front = old[..front].iter().take_while(|offset| is_within(offset)).count();
    }
    let pairs = old[front..].iter().rev().zip(new[front..].iter().rev());
    let back = pairs.take_while(|(old, new)| old == new && is_within(old)).count();
    (front, back)
}

/// How many entries at the front of both arrays are equal.
fn equal_front(old: &[[u8; 2]], new: &[[u8; 2]]) -> usize {
    const STEP: usize = 4;
    let word =
        |offsets: &[[u8; 2]; STEP]| u64::from_ne_bytes(*offsets.as_flattened().first_chunk().expect("eight bytes"));
    let steps = old.as_chunks::<STEP>().0.iter().zip(new.as_chunks::<STEP>().0);
    let steps = steps.take_while(|(old, new)| word(old) == word(new)).count() * STEP;
    steps + old[steps..].iter().zip(&new[steps..]).take_while(|(old, new)| old == new).count()
}

/// Where the equal bytes at the end of two pages of one size start.
fn equal_tail(old: &[u8], new: &[u8]) -> usize {
    const STEP: usize = 256;
    let mut end = old.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        if old[start..end] != new[start..end] {
            let (old, new) = (old[start..end].iter().rev(), new[start..end].iter().rev());
            return end - old.zip(new).take_while(|(old, new)| old == new).count();
        }
        end = start;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_equal_tail_starts() {
        let old = [7_u8; 1000];
        for at in [0, 1, 255, 256, 700, 743, 744, 745, 998, 999] {
            let mut new = old;
            new[at] = 8;
            assert_eq!(equal_tail(&old, &new), at + 1);
        }
        assert_eq!(equal_tail(&old, &old), 0);
    }
}
