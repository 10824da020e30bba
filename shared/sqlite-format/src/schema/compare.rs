//! Whether two texts of `sqlite_schema` say the same.

use super::lexer::{Kind, Token, tokens};

/// Whether two statements differ in white space, comments and the letter case of bare words alone. Texts that cannot be
/// split into tokens are the same only if they are equal.
pub fn same_statement(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (tokens(one), tokens(other)) else { return false };
    one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| same_token(one, other))
}

fn same_token(one: &Token<'_>, other: &Token<'_>) -> bool {
    match (one.kind, other.kind) {
        (Kind::Word, Kind::Word) | (Kind::Blob, Kind::Blob) => one.text.eq_ignore_ascii_case(other.text),
        (Kind::Name, Kind::Name) => one.unquoted() == other.unquoted(),
        (one_kind, other_kind) => one_kind == other_kind && one.text == other.text,
    }
}

/// The three-way merge of a statement in which both sides have put other tokens in the place of some, as ALTER TABLE does
/// where it renames something. Nothing where either did more, or both did it in one place.
pub fn merged_statement(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let (base, here, there) = (tokens(base)?, tokens(ours)?, tokens(theirs)?);
    if base.len() != here.len() || base.len() != there.len() {
        return None;
    }
    let (mut merged, mut copied) = (String::with_capacity(ours.len()), 0);
    for ((base, here), there) in base.iter().zip(&here).zip(&there) {
        merged.push_str(&ours[copied..here.start]);
        copied = here.end();
        let chosen = if same_token(there, base) || same_token(here, there) {
            here
        } else if same_token(here, base) {
            there
        } else {
            return None;
        };
        merged.push_str(chosen.text);
    }
    merged.push_str(&ours[copied..]);
    Some(merged)
}

/// Whether a statement has this word in it, not as a part of a text or of a name in quotes.
pub fn has_keyword(statement: &str, keyword: &str) -> bool {
    tokens(statement).is_some_and(|tokens| tokens.iter().any(|token| token.is(keyword)))
}

#[cfg(test)]
mod tests {
    use super::{has_keyword, merged_statement, same_statement};

    #[test]
    fn names_that_both_have_replaced_come_together() {
        let base = "CREATE VIEW v AS SELECT t.a, u.b FROM t, u";
        let ours = "CREATE VIEW v AS SELECT t.\"x\", u.b /* mine */ FROM t, u";
        let merged = merged_statement(base, ours, "CREATE VIEW v AS SELECT t.a, u.y FROM t, u");
        assert_eq!(merged.as_deref(), Some("CREATE VIEW v AS SELECT t.\"x\", u.y /* mine */ FROM t, u"));
        assert_eq!(merged_statement(base, ours, "CREATE VIEW v AS SELECT t.z, u.b FROM t, u"), None);
        assert_eq!(merged_statement(base, ours, "CREATE VIEW v AS SELECT t.a FROM t, u"), None);
    }

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
