//! Names: quoted so that any name is safe in SQL, and made unique where DuckDB sees two of SQLite's as one.

use std::collections::HashSet;

/// An identifier in double quotes. Keywords, blanks and Unicode need nothing else.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Names in use within one schema or one table. DuckDB compares names without case for all of Unicode, SQLite for
/// ASCII alone: two tables `É` and `é` are possible there and not here.
#[derive(Clone, Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// The name itself, or with the first free number behind it. It is in use from now on.
    pub fn claim(&mut self, name: &str) -> String {
        // DuckDB has no empty identifiers.
        let base = if name.is_empty() { "_" } else { name };
        let mut candidate = base.to_string();
        let mut number = 2;
        while !self.0.insert(candidate.to_lowercase()) {
            candidate = format!("{base}_{number}");
            number += 1;
        }
        candidate
    }

    pub fn release(&mut self, name: &str) {
        self.0.remove(&name.to_lowercase());
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
        assert_eq!(names.claim("É"), "É");
        assert_eq!(names.claim("é"), "é_2");
        assert_eq!(names.claim("É_2"), "É_2_2");
        assert_eq!(names.claim(""), "_");
        names.release("É");
        assert_eq!(names.claim("é"), "é");
    }
}
