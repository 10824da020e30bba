//! A stored CREATE VIEW statement, as other databases can take it.

use super::lexer::{Kind, Token, tokens};

/// What a view is made of. SQLite stores the statement without a schema's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewText {
    /// Names that the statement gives to the columns; none if it leaves them to the query.
    pub columns: Vec<String>,
    /// The query, with names in double quotes that SQLite also takes in brackets or backticks.
    pub query: String,
    /// It has a word `rowid`, which means something else in each database.
    pub has_rowid: bool,
}

impl ViewText {
    pub fn read(sql: &str) -> Option<ViewText> {
        let tokens = tokens(sql)?;
        let [create, view, name, rest @ ..] = tokens.as_slice() else { return None };
        if !create.is("CREATE") || !view.is("VIEW") || !name.can_be_name() {
            return None;
        }
        let (columns, rest) = match rest {
            [open, rest @ ..] if open.is_sign("(") => {
                let close = rest.iter().position(|token| token.is_sign(")"))?;
                let names = rest[..close].iter().filter(|token| token.can_be_name());
                (names.map(Token::unquoted).collect(), &rest[close + 1..])
            }
            _ => (Vec::new(), rest),
        };
        let [keyword, query @ ..] = rest else { return None };
        keyword.is("AS").then(|| ViewText {
            columns,
            query: requoted(sql, keyword.end(), query),
            has_rowid: query.iter().any(|token| {
                matches!(token.kind, Kind::Word | Kind::Name) && token.unquoted().eq_ignore_ascii_case("rowid")
            }),
        })
    }
}

/// The text from `start` on, to whose tokens what lies between them is kept.
fn requoted(sql: &str, start: usize, tokens: &[Token<'_>]) -> String {
    let mut out = String::new();
    let mut at = start;
    for token in tokens {
        out.push_str(&sql[at..token.start]);
        match token.kind {
            Kind::Name => out.push_str(&format!("\"{}\"", token.unquoted().replace('"', "\"\""))),
            _ => out.push_str(token.text),
        }
        at = token.end();
    }
    out.push_str(&sql[at..]);
    out.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_double_quotes() {
        let sql =
            "CREATE VIEW [a b]([x y], `z`) AS /* [c] */ SELECT [d \"e], `f``g`, \"h\", 'i [j]', x'00' FROM t -- [k]";
        let view = ViewText::read(sql).unwrap();
        assert_eq!(view.columns, ["x y", "z"]);
        assert_eq!(view.query, "/* [c] */ SELECT \"d \"\"e\", \"f`g\", \"h\", 'i [j]', x'00' FROM t -- [k]");
        assert!(!view.has_rowid);
    }

    #[test]
    fn rowids_are_seen() {
        let has = |sql: &str| ViewText::read(sql).unwrap().has_rowid;
        assert!(has("CREATE VIEW v AS SELECT t.RowId FROM t"));
        assert!(has("CREATE VIEW v AS SELECT [rowid] FROM t"));
        assert!(!has("CREATE VIEW rowid AS SELECT 'rowid', _rowid_ FROM t"));
    }

    #[test]
    fn what_is_no_view_is_none() {
        for sql in ["CREATE TABLE t(a)", "CREATE VIEW v", "CREATE VIEW v(a SELECT 1", "CREATE VIEW v AS SELECT 'open"] {
            assert_eq!(ViewText::read(sql), None, "{sql}");
        }
    }
}
