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
pub struct Names {
    taken: HashSet<String>,
    /// They are the columns of a table in a DuckLake.
    in_lake: bool,
}

/// Columns that tables of inlined rows cannot have in a lake's catalog: DuckLake 1.0 adds the first three itself, a catalog in
/// SQLite has integers alone in the next, and PostgreSQL has the others in every table. They are left alone whatever the
/// catalog is, so that a table has the same columns in all lakes.
const NOT_INLINED: [&str; 10] =
    ["row_id", "begin_snapshot", "end_snapshot", "rowid", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
/// How the columns begin that DuckLake adds to data files, and from version 1.1 on to tables of inlined rows.
const LAKE_PREFIX: &str = "_ducklake_";

impl Names {
    /// The names of the columns of one table.
    pub fn of_columns(in_lake: bool) -> Names {
        Names { in_lake, ..Names::default() }
    }

    /// The name itself, or with the first free number behind it. It is in use from now on.
    pub fn claim(&mut self, name: &str) -> String {
        // DuckDB has no empty identifiers.
        let base = if name.is_empty() { "_" } else { name };
        let base = if self.in_lake && has_lake_prefix(base) { base.trim_start_matches('_') } else { base };
        let mut candidate = base.to_string();
        let mut number = 2;
        while self.is_reserved(&candidate) || !self.taken.insert(candidate.to_ascii_lowercase()) {
            candidate = format!("{base}_{number}");
            number += 1;
        }
        candidate
    }

    /// Whether `claim` would give the name itself.
    pub fn is_free(&self, name: &str) -> bool {
        !name.is_empty() && !self.is_reserved(name) && !self.taken.contains(&name.to_ascii_lowercase())
    }

    pub fn release(&mut self, name: &str) {
        self.taken.remove(&name.to_ascii_lowercase());
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.in_lake && NOT_INLINED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
    }
}

fn has_lake_prefix(name: &str) -> bool {
    name.get(..LAKE_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(LAKE_PREFIX))
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
    fn columns_in_a_lake_leave_its_own_names_alone() {
        let mut names = Names::of_columns(true);
        assert_eq!(names.claim("Row_ID"), "Row_ID_2");
        assert_eq!(names.claim("row_id_2"), "row_id_2_2");
        assert_eq!(names.claim("_DuckLake_internal_row_id"), "DuckLake_internal_row_id");
        assert_eq!(names.claim("_rowid_"), "_rowid_");
        assert_eq!(Names::of_columns(false).claim("row_id"), "row_id");
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
