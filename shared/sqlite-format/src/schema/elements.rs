//! The parts of a CREATE TABLE statement as they are written.

use super::create_table::TABLE_CONSTRAINTS;
use super::lexer::{Token, tokens};

/// A CREATE TABLE statement, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableText<'t> {
    pub columns: Vec<ColumnText<'t>>,
    /// Constraints of the table.
    pub constraints: Vec<&'t str>,
    /// What stands behind the closing parenthesis.
    pub options: &'t str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnText<'t> {
    /// As written, with its quotes.
    pub name: &'t str,
    /// Its type and constraints.
    pub definition: &'t str,
}

impl<'t> TableText<'t> {
    /// Nothing where the statement is of another kind, or cannot be read.
    pub fn read(sql: &'t str) -> Option<TableText<'t>> {
        let tokens = tokens(sql)?;
        let open = tokens.iter().position(|token| token.is_sign("("))?;
        let head = &tokens[..open];
        if !head.first()?.is("create") || !head.iter().take(3).any(|token| token.is("table")) {
            return None;
        }
        let mut table = TableText { columns: Vec::new(), constraints: Vec::new(), options: "" };
        let (mut depth, mut first) = (0usize, open + 1);
        for (at, token) in tokens.iter().enumerate().skip(open + 1) {
            if token.is_sign("(") {
                depth += 1;
            } else if depth > 0 {
                depth -= usize::from(token.is_sign(")"));
            } else if token.is_sign(",") || token.is_sign(")") {
                table.add(sql, &tokens[first..at]);
                first = at + 1;
                if token.is_sign(")") {
                    table.options = text(sql, &tokens[first..]);
                    return Some(table);
                }
            }
        }
        None
    }

    fn add(&mut self, sql: &'t str, element: &[Token<'t>]) {
        match element {
            [] => {}
            [first, ..] if first.is_any(&TABLE_CONSTRAINTS) => self.constraints.push(text(sql, element)),
            [name, rest @ ..] => self.columns.push(ColumnText { name: name.text, definition: text(sql, rest) }),
        }
    }
}

fn text<'t>(sql: &'t str, tokens: &[Token<'t>]) -> &'t str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => &sql[first.start..last.end()],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_constraints_and_options() {
        let sql = "create table \"t\" (id INTEGER PRIMARY KEY, -- the key\n [a b] DECIMAL(1, 2) DEFAULT (f(1,2)),\n c, \
                   UNIQUE(c, id), CHECK (c > 0)) STRICT";
        let table = TableText::read(sql).unwrap();
        let columns: Vec<_> = table.columns.iter().map(|column| (column.name, column.definition)).collect();
        assert_eq!(columns, [("id", "INTEGER PRIMARY KEY"), ("[a b]", "DECIMAL(1, 2) DEFAULT (f(1,2))"), ("c", "")]);
        assert_eq!(table.constraints, ["UNIQUE(c, id)", "CHECK (c > 0)"]);
        assert_eq!(table.options, "STRICT");
    }

    #[test]
    fn other_statements_are_none() {
        assert!(TableText::read("CREATE VIEW v(a) AS SELECT 1").is_none());
        assert!(TableText::read("CREATE VIRTUAL TABLE v USING fts5(a").is_none());
        assert!(TableText::read("CREATE TABLE t(a, b").is_none());
    }
}
