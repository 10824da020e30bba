//! The arguments of CREATE VIRTUAL TABLE, as SQLite hands them to a module: text between commas.

use super::lexer::{Kind, Token, tokens};

/// What CREATE VIRTUAL TABLE says after USING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleCall {
    /// In lower case.
    pub module: String,
    pub arguments: Vec<ModuleArgument>,
}

/// One argument, as FTS and R-Tree read theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleArgument {
    /// The first word or string, without its quotes; empty where there is none.
    pub name: String,
    /// What follows `name =`, without its quotes if it is one string.
    pub value: Option<String>,
    /// As written.
    pub text: String,
}

impl ModuleCall {
    pub fn parse(sql: &str) -> Option<ModuleCall> {
        let tokens = tokens(sql)?;
        let is_virtual = tokens.first()?.is("create") && tokens.get(1)?.is("virtual");
        let using = tokens.iter().position(|token| token.is("using")).filter(|_| is_virtual)?;
        let module = tokens.get(using + 1)?.unquoted().to_ascii_lowercase();
        let mut arguments = Vec::new();
        let (mut depth, mut start) = (0_u32, using + 3);
        for (i, token) in tokens.iter().enumerate().skip(using + 2) {
            let ends = (depth == 1 && (token.is_sign(",") || token.is_sign(")"))) && i >= start;
            if ends && (i > start || token.is_sign(",")) {
                arguments.push(ModuleArgument::new(sql, &tokens[start..i]));
            }
            match token.text {
                "(" if token.kind == Kind::Other => depth += 1,
                ")" if token.kind == Kind::Other => depth = depth.saturating_sub(1),
                _ => {}
            }
            if ends {
                start = i + 1;
            }
        }
        Some(ModuleCall { module, arguments })
    }

    /// The value of `name = value`, whatever the case of the name.
    pub fn option(&self, name: &str) -> Option<&str> {
        let found = self.arguments.iter().find(|argument| argument.name.eq_ignore_ascii_case(name));
        found.and_then(|argument| argument.value.as_deref())
    }
}

impl ModuleArgument {
    fn new(sql: &str, tokens: &[Token<'_>]) -> ModuleArgument {
        let name = tokens.first().filter(|token| token.can_be_name()).map(Token::unquoted).unwrap_or_default();
        let text = match tokens {
            [first, .., last] => sql[first.start..last.end()].to_owned(),
            [only] => only.text.to_owned(),
            [] => String::new(),
        };
        let value = tokens.get(1).filter(|sign| sign.is_sign("=")).map(|_| match &tokens[2..] {
            [only] => only.unquoted(),
            [first, .., last] => sql[first.start..last.end()].to_owned(),
            [] => String::new(),
        });
        ModuleArgument { name, value, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_lies_between_commas() {
        let call = ModuleCall::parse(
            "CREATE VIRTUAL TABLE \"x, y\" USING FTS5(title, \"a \"\"b\", c UNINDEXED, content='', prefix = '2 3', \
             tokenize = \"unicode61 remove_diacritics 2\", content_rowid=id)",
        )
        .unwrap();
        assert_eq!(call.module, "fts5");
        let names: Vec<_> = call.arguments.iter().map(|argument| argument.name.as_str()).collect();
        assert_eq!(names, ["title", "a \"b", "c", "content", "prefix", "tokenize", "content_rowid"]);
        assert_eq!(call.option("content"), Some(""));
        assert_eq!(call.option("CONTENT_ROWID"), Some("id"));
        assert_eq!(call.option("tokenize"), Some("unicode61 remove_diacritics 2"));
        assert_eq!(call.option("title"), None);
        assert_eq!(call.arguments[2].text, "c UNINDEXED");
        let call = ModuleCall::parse("CREATE VIRTUAL TABLE r USING rtree(id, a, b, +f(x, y))").unwrap();
        assert_eq!(call.arguments.len(), 4);
        assert_eq!(call.arguments[3].text, "+f(x, y)");
        for none in ["CREATE VIRTUAL TABLE t USING m", "CREATE VIRTUAL TABLE t USING m()"] {
            assert_eq!(ModuleCall::parse(none).unwrap().arguments, [], "{none}");
        }
        assert_eq!(ModuleCall::parse("CREATE TABLE t(a)"), None);
    }
}
