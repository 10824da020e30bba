//! UTF-16 text as SQLite reads it.

use crate::Encoding;

/// `bytes` in UTF-8, the way SQLite converts it: an odd last byte is dropped, and a surrogate is joined with whatever
/// unit follows, so that any input has an output.
pub fn utf16_to_utf8(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut units = bytes.chunks_exact(2).map(|pair| match encoding {
        Encoding::Utf16Be => u16::from_be_bytes([pair[0], pair[1]]),
        _ => u16::from_le_bytes([pair[0], pair[1]]),
    });
    let mut out = Vec::with_capacity(bytes.len());
    while let Some(unit) = units.next() {
        let mut code = u32::from(unit);
        if (0xd800..0xe000).contains(&code)
            && let Some(second) = units.next()
        {
            code = (u32::from(second) & 0x3ff) + ((code & 0x3f) << 10) + (((code & 0x3c0) + 0x40) << 10);
        }
        push_utf8(&mut out, code);
    }
    out
}

fn push_utf8(out: &mut Vec<u8>, code: u32) {
    let tail = |shift: u32| (0x80 | (code >> shift & 0x3f)) as u8;
    match code {
        0..0x80 => out.push(code as u8),
        0x80..0x800 => out.extend([(0xc0 | code >> 6) as u8, tail(0)]),
        0x800..0x10000 => out.extend([(0xe0 | code >> 12) as u8, tail(6), tail(0)]),
        _ => out.extend([(0xf0 | code >> 18) as u8, tail(12), tail(6), tail(0)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plane_in_both_orders() {
        let text = "aé€𐍈\u{10ffff}\u{0}z";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(utf16_to_utf8(&le, Encoding::Utf16Le), text.as_bytes());
        assert_eq!(utf16_to_utf8(&be, Encoding::Utf16Be), text.as_bytes());
    }

    #[test]
    fn broken_input_still_has_an_output() {
        assert_eq!(utf16_to_utf8(&[0x61, 0, 0x62], Encoding::Utf16Le), b"a");
        assert_eq!(utf16_to_utf8(&[0, 0xd8], Encoding::Utf16Le), [0xed, 0xa0, 0x80]);
    }
}
