//! JSON (RFC 8259), read and written.
//!
//! Read: whether a text is JSON at all, since DuckDB's appender takes any text into a JSON column, and functions fail on
//! it later. Written: rows as objects.

use std::fmt::Write;

use crate::source::Value;

/// Nesting beyond this is refused rather than followed.
const MAX_DEPTH: usize = 512;

pub fn is_json(text: &str) -> bool {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    reader.blanks();
    reader.value(0) && {
        reader.blanks();
        reader.at == reader.bytes.len()
    }
}

/// A row as an object, member by member. Numbers keep their digits, blobs become `{"blob": "<hex>"}` so that they are
/// not taken for text, and what JSON has no number for becomes a string.
#[derive(Default)]
pub struct JsonObject(String);

impl JsonObject {
    pub fn add(&mut self, name: &str, value: &Value) {
        self.0.push_str(if self.0.is_empty() { "{" } else { "," });
        push_string(&mut self.0, name);
        self.0.push(':');
        match value {
            Value::Null => self.0.push_str("null"),
            Value::Integer(number) => push(&mut self.0, format_args!("{number}")),
            Value::Real(number) if number.is_finite() => push(&mut self.0, format_args!("{number:?}")),
            Value::Real(number) => push(&mut self.0, format_args!("\"{number}\"")),
            Value::Text(text) => push_string(&mut self.0, &String::from_utf8_lossy(text)),
            Value::Blob(bytes) => {
                self.0.push_str("{\"blob\":\"");
                for byte in bytes.iter() {
                    push(&mut self.0, format_args!("{byte:02x}"));
                }
                self.0.push_str("\"}");
            }
        }
    }

    pub fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\0'..='\x1f' => push(out, format_args!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Writing to a string cannot fail.
fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> bool {
        match self.peek() {
            _ if depth > MAX_DEPTH => false,
            Some(b'{') => self.members(b'}', depth, |r, d| r.string() && r.colon() && r.value(d)),
            Some(b'[') => self.members(b']', depth, Self::value),
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn members(&mut self, close: u8, depth: usize, member: impl Fn(&mut Self, usize) -> bool) -> bool {
        self.at += 1;
        self.blanks();
        if self.take(close) {
            return true;
        }
        loop {
            self.blanks();
            if !member(self, depth + 1) {
                return false;
            }
            self.blanks();
            if self.take(close) {
                return true;
            }
            if !self.take(b',') {
                return false;
            }
        }
    }

    fn colon(&mut self) -> bool {
        self.blanks();
        let found = self.take(b':');
        self.blanks();
        found
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(word);
        self.at += word.len();
        found
    }

    fn string(&mut self) -> bool {
        if !self.take(b'"') {
            return false;
        }
        loop {
            let Some(byte) = self.peek() else { return false };
            self.at += 1;
            match byte {
                b'"' => return true,
                b'\\' => match self.peek() {
                    Some(b'u') => {
                        self.at += 1;
                        let digits = self.bytes.get(self.at..self.at + 4);
                        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                            return false;
                        }
                        self.at += 4;
                    }
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                    _ => return false,
                },
                0..=0x1f => return false,
                _ => {}
            }
        }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> bool {
        self.take(b'-');
        if !self.take(b'0') && !self.digits() {
            return false;
        }
        if self.take(b'.') && !self.digits() {
            return false;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.take(b'-') {
                self.take(b'+');
            }
            return self.digits();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_json_from_other_text() {
        for good in ["{}", "[1, 2.5e-3, -0]", "\"a\\u00e9\"", " null ", "{\"a\": {\"b\": [true, false]}}", "12"] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "{", "[1,]", "01", "\"a", "nul", "{a: 1}", "1 2", "\"\\x\"", "-", "1.", "'a'"] {
            assert!(!is_json(bad), "{bad}");
        }
        assert!(!is_json(&"[".repeat(100_000)));
    }

    #[test]
    fn rows_become_json() {
        let mut object = JsonObject::default();
        object.add("a\"b", &Value::Text("x\\y\n\u{1}é".as_bytes().into()));
        object.add("n", &Value::Real(0.1));
        object.add("i", &Value::Real(f64::INFINITY));
        object.add("z", &Value::Null);
        object.add("bytes", &Value::Blob(vec![0, 255].into()));
        let text = object.finish();
        assert_eq!(text, r#"{"a\"b":"x\\y\n\u0001é","n":0.1,"i":"inf","z":null,"bytes":{"blob":"00ff"}}"#);
        assert!(is_json(&text));
        assert_eq!(JsonObject::default().finish(), "{}");
    }
}
