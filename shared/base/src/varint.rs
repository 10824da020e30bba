//! SQLite's variable-length integer: seven bits a byte, most significant first, the high bit set on every byte but the
//! last; the ninth byte, where there is one, carries eight bits (fileformat2.html, section 1.6). Pages, records and
//! changesets all use it.

/// The varint at the start of `bytes` and its length, or nothing where `bytes` ends inside it.
#[inline]
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (i, &byte) in bytes.iter().enumerate().take(8).skip(1) {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    let last = *bytes.get(8)?;
    Some((value << 8 | u64::from(last), 9))
}

/// Appends `value` in its shortest form.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    if value > 0x00ff_ffff_ffff_ffff {
        for i in (1..9).rev() {
            out.push((value >> (7 * i + 1)) as u8 | 0x80);
        }
        out.push(value as u8);
        return;
    }
    let bits = 64 - value.leading_zeros();
    for i in (1..bits.div_ceil(7)).rev() {
        out.push((value >> (7 * i)) as u8 | 0x80);
    }
    out.push(value as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let mut values = vec![0, u64::MAX, u64::MAX - 1, i64::MAX as u64];
        for bit in 0..64 {
            values.extend([1u64 << bit, (1u64 << bit) - 1, (1u64 << bit) + 1]);
        }
        for value in values {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(read_varint(&out), Some((value, out.len())), "{value:#x}");
            assert_eq!(read_varint(&out[..out.len() - 1]), None, "{value:#x} cut short");
        }
    }

    /// The examples that the file format document implies: one byte below 128, nine for anything with the top byte set.
    #[test]
    fn lengths_are_the_shortest() {
        for (value, length) in [(0x7f, 1), (0x80, 2), (0x3fff, 2), (0x4000, 3), (1 << 56, 9), (u64::MAX, 9)] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(out.len(), length, "{value:#x}");
        }
    }
}
