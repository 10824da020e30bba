//! Whether a text is JSON at all: DuckDB's appender takes any text into a JSON column, and functions fail on it later.

use serde::de::IgnoredAny;

pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
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
}
