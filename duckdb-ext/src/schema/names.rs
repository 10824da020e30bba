//! Names: quoted so that any name is safe in SQL, and made unique where DuckDB has none like it or it is taken.

use std::collections::HashSet;

/// An identifier in double quotes. Keywords, blanks and Unicode need nothing else.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Names in use within one schema or one table. DuckDB compares them as SQLite does, without the case of ASCII letters and
/// with that of all others: `Été` and `été` are two tables in both.
#[derive(Clone, Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// The name itself, or with the first free number behind it. It is in use from now on.
    pub fn claim(&mut self, name: &str) -> String {
        // DuckDB has no empty identifiers.
        let base = if name.is_empty() { "_" } else { name };
        let mut candidate = base.to_string();
        let mut number = 2;
        while !self.0.insert(candidate.to_ascii_lowercase()) {
            candidate = format!("{base}_{number}");
            number += 1;
        }
        candidate
    }

    pub fn release(&mut self, name: &str) {
        self.0.remove(&name.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_quotes() {
        assert_eq!(quote("se\"lect"), "\"se\"\"lect\"");
        assert_eq!(quote_text("it's"), "'it''s'");
    }

    #[test]
    fn clashes_get_numbers() {
        let mut names = Names::default();
        assert_eq!(names.claim("State"), "State");
        assert_eq!(names.claim("state"), "state_2");
        assert_eq!(names.claim("STATE_2"), "STATE_2_2");
        assert_eq!(names.claim(""), "_");
        names.release("State");
        assert_eq!(names.claim("state"), "state");
    }

    #[test]
    fn letters_beyond_ascii_have_a_case_that_counts() {
        let mut names = Names::default();
        assert_eq!(
            (names.claim("Été"), names.claim("été"), names.claim("ÉTÉ")),
            ("Été".into(), "été".into(), "ÉTÉ".into())
        );
        assert_eq!(names.claim("ÉtÉ"), "ÉtÉ_2");
    }
}
