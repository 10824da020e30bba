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

/// Whether a statement has this word in it, not as a part of a text or of a name in quotes.
pub fn has_keyword(statement: &str, keyword: &str) -> bool {
    tokens(statement).is_some_and(|tokens| tokens.iter().any(|token| token.is(keyword)))
}

#[cfg(test)]
mod tests {
    use super::{has_keyword, same_statement};

    #[test]
    fn keywords_are_bare_words() {
        assert!(has_keyword("CREATE TABLE t(id INTEGER PRIMARY KEY autoincrement)", "autoincrement"));
        assert!(!has_keyword("CREATE TABLE t(\"autoincrement\" -- autoincrement\n)", "autoincrement"));
    }

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
