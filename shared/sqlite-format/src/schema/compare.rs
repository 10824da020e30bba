//! Whether two texts of `sqlite_schema` say the same.

use super::lexer::{Kind, tokens};

/// Whether two statements differ in white space, comments and the letter case of bare words alone. Texts that cannot be
/// split into tokens are the same only if they are equal.
pub fn same_statement(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (tokens(one), tokens(other)) else { return false };
    one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| match (one.kind, other.kind) {
            (Kind::Word, Kind::Word) | (Kind::Blob, Kind::Blob) => one.text.eq_ignore_ascii_case(other.text),
            (Kind::Name, Kind::Name) => one.unquoted() == other.unquoted(),
            (one_kind, other_kind) => one_kind == other_kind && one.text == other.text,
        })
}

#[cfg(test)]
mod tests {
    use super::same_statement;

    #[test]
    fn space_comments_and_case_say_nothing() {
        assert!(same_statement("CREATE TABLE t(a INT, b)", "create table T ( a int -- one\n, /* two */ b )"));
        assert!(same_statement("CREATE TABLE \"t\"(a)", "CREATE TABLE [t](a)"));
    }

    #[test]
    fn texts_and_names_in_quotes_do() {
        assert!(!same_statement("CREATE TABLE t(a DEFAULT 'x')", "CREATE TABLE t(a DEFAULT 'X')"));
        assert!(!same_statement("CREATE VIEW v AS SELECT \"x\"", "CREATE VIEW v AS SELECT x"));
        assert!(!same_statement("CREATE TABLE t(a)", "CREATE TABLE t(a, b)"));
        assert!(!same_statement("CREATE VIEW v AS SELECT 'open", "CREATE VIEW v AS  SELECT 'open"));
    }
}
