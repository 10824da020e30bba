//! Text of the one encoding in the other, as SQLite converts it.

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

/// `bytes` in UTF-16, the way SQLite converts them: what is no UTF-8 becomes U+FFFD, or whatever its bits come to.
pub(crate) fn utf8_to_utf16(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    let mut push = |unit: u32| match encoding {
        Encoding::Utf16Be => out.extend((unit as u16).to_be_bytes()),
        _ => out.extend((unit as u16).to_le_bytes()),
    };
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(first) = bytes.next() {
        let mut code = u32::from(first);
        if first >= 0xc0 {
            code = match first {
                0xc0..0xe0 => code & 0x1f,
                0xe0..0xf0 => code & 0xf,
                0xf0..0xf8 => code & 7,
                0xf8..0xfc => code & 3,
                0xfc..0xfe => code & 1,
                _ => 0,
            };
            while let Some(next) = bytes.next_if(|next| next & 0xc0 == 0x80) {
                code = code << 6 | u32::from(next & 0x3f);
            }
            if code < 0x80 || code & 0xffff_f800 == 0xd800 || code & 0xffff_fffe == 0xfffe {
                code = 0xfffd;
            }
        }
        if code <= 0xffff {
            push(code);
        } else {
            let beyond = code.wrapping_sub(0x10000);
            push(0xd800 | (beyond >> 18 & 3) << 8 | ((code >> 10 & 0x3f) + (beyond >> 10 & 0xc0)));
            push(0xdc00 | code & 0x3ff);
        }
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
    fn there_and_back() {
        let text = "aé€𐍈\u{10ffff}\u{0}z";
        for encoding in [Encoding::Utf16Le, Encoding::Utf16Be] {
            assert_eq!(utf16_to_utf8(&utf8_to_utf16(text.as_bytes(), encoding), encoding), text.as_bytes());
        }
        assert_eq!(utf8_to_utf16("€".as_bytes(), Encoding::Utf16Be), [0x20, 0xac]);
    }

    /// As `sqlite3` 3.40.1 gives them.
    #[test]
    fn what_is_no_utf8_has_an_output_too() {
        for (bytes, expected) in [
            (&b"\xff\x61\x80"[..], &[0xfffd, 0x61, 0x80][..]),
            (b"\xed\xb0\x80\xc0\x80\xef\xbf\xbf", &[0xfffd, 0xfffd, 0xfffd]),
            (b"\xf7\xbf\xbf\xbf", &[0xdbbf, 0xdfff]),
            (b"\xfd\xbf\xbf\xbf\xbf\xbf\x41", &[0xdbbf, 0xdfff, 0x41]),
        ] {
            let expected: Vec<u8> = expected.iter().flat_map(|unit: &u16| unit.to_be_bytes()).collect();
            assert_eq!(utf8_to_utf16(bytes, Encoding::Utf16Be), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn broken_input_still_has_an_output() {
        assert_eq!(utf16_to_utf8(&[0x61, 0, 0x62], Encoding::Utf16Le), b"a");
        assert_eq!(utf16_to_utf8(&[0, 0xd8], Encoding::Utf16Le), [0xed, 0xa0, 0x80]);
    }
}
