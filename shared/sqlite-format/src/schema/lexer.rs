//! The tokens of SQL text, as far as a CREATE TABLE statement needs them told apart.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bare word: a keyword or a name.
    Word,
    /// A name in double quotes, backticks or brackets.
    Name,
    /// Text in single quotes.
    String,
    Number,
    /// `x'..'`
    Blob,
    /// Any other character.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub kind: Kind,
    pub text: &'t str,
    /// Where it starts in the whole text.
    pub start: usize,
}

impl<'t> Token<'t> {
    /// Whether it is this keyword. A quoted word never is.
    pub fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    pub fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    pub fn is_sign(&self, sign: &str) -> bool {
        self.kind == Kind::Other && self.text == sign
    }

    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether SQLite takes it where it expects a name.
    pub fn can_be_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Name | Kind::String)
    }

    /// The text without its quotes.
    pub fn unquoted(&self) -> String {
        unquote(self.text)
    }
}

/// Takes off the quotes of a name or string; a doubled quote inside stands for one.
pub(super) fn unquote(text: &str) -> String {
    let close = match text.as_bytes().first() {
        Some(b'[') => ']',
        Some(b'"') => '"',
        Some(b'`') => '`',
        Some(b'\'') => '\'',
        _ => return text.to_string(),
    };
    let mut out = String::with_capacity(text.len());
    let mut chars = text[1..].chars().peekable();
    while let Some(c) = chars.next() {
        if c == close && (close == ']' || chars.next_if_eq(&close).is_none()) {
            break;
        }
        out.push(c);
    }
    out
}

/// Splits SQL text into tokens; white space and comments go. Nothing where a quote or comment isn't closed.
pub(super) fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += bytes[at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                // A comment may run to the end of the text.
                at = text[at + 2..].find("*/").map_or(bytes.len(), |end| at + 2 + end + 2);
                continue;
            }
            quote @ (b'"' | b'`' | b'\'') => {
                at = end_of_quoted(bytes, at, quote)?;
                if quote == b'\'' { Kind::String } else { Kind::Name }
            }
            b'[' => {
                at += bytes[at..].iter().position(|&b| b == b']')? + 1;
                Kind::Name
            }
            b'x' | b'X' if bytes.get(at + 1) == Some(&b'\'') => {
                at = end_of_quoted(bytes, at + 1, b'\'')?;
                Kind::Blob
            }
            b'0'..=b'9' => {
                at = end_of_number(bytes, at);
                Kind::Number
            }
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                at = end_of_number(bytes, at);
                Kind::Number
            }
            b if is_word(b) => {
                at += bytes[at..].iter().position(|&b| !is_word(b)).unwrap_or(bytes.len() - at);
                Kind::Word
            }
            _ => {
                at += 1;
                Kind::Other
            }
        };
        tokens.push(Token { kind, text: &text[start..at], start });
    }
    Some(tokens)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

fn end_of_quoted(bytes: &[u8], open: usize, quote: u8) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == quote)? + 1;
        if bytes.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(&b) = bytes.get(at) {
        let exponent_sign = matches!(b, b'+' | b'-')
            && matches!(bytes[at - 1], b'e' | b'E')
            && !bytes[start..].starts_with(b"0x")
            && !bytes[start..].starts_with(b"0X");
        if !is_word(b) && b != b'.' && !(at > start && exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql).unwrap().iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_space_go() {
        assert_eq!(texts("a -- b\n/* c */ d/* e"), ["a", "d"]);
    }

    #[test]
    fn quotes_of_every_kind() {
        let sql = "\"a\"\"b\" `c``d` [e f] 'g''h' x'00'";
        let names: Vec<String> = tokens(sql).unwrap().iter().map(Token::unquoted).collect();
        assert_eq!(names, ["a\"b", "c`d", "e f", "g'h", "x'00'"]);
        assert!(tokens("'open").is_none() && tokens("[open").is_none());
    }

    #[test]
    fn numbers_keep_their_exponent() {
        assert_eq!(texts("1.5e-3-2 .5 0x1e+1 1_000"), ["1.5e-3", "-", "2", ".5", "0x1e", "+", "1", "1_000"]);
    }

    #[test]
    fn names_may_hold_any_script() {
        assert_eq!(texts("été(日本 INT)"), ["été", "(", "日本", "INT", ")"]);
    }
}
