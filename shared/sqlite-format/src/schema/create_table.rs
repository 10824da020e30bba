//! Reads the text of a CREATE TABLE statement as `sqlite_schema` keeps it.
//!
//! SQLite wrote that text only after parsing it, and may be newer than this code, so what isn't about a column's storage
//! or its key is skipped over rather than judged: checks, foreign keys, conflict clauses, whatever comes next. Quirks
//! that decide how rows are stored are followed to the letter; they are named where they are.

use super::affinity::{affinity_of, declared_type};
use super::lexer::{Token, tokens};
use super::{Affinity, Collation, Column, Generated, KeyPart};

/// What the text says, before the parts are put together.
pub(super) struct Definition {
    pub columns: Vec<Column>,
    /// Declared primary key, in its order.
    pub key: Vec<KeyPart>,
    pub has_key: bool,
    /// The column that is another name of the rowid, were this a rowid table.
    pub rowid_alias: Option<usize>,
    pub without_rowid: bool,
    pub strict: bool,
}

/// Words that end a column's type, since SQLite doesn't take them as names.
const AFTER_TYPE: [&str; 10] =
    ["constraint", "default", "null", "not", "primary", "unique", "check", "references", "collate", "as"];
pub(super) const TABLE_CONSTRAINTS: [&str; 5] = ["constraint", "primary", "unique", "check", "foreign"];

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    at: usize,
    definition: Definition,
}

/// Reads a CREATE TABLE statement, or says what stood in the way.
pub(super) fn parse(text: &str) -> Result<Definition, String> {
    let tokens = tokens(text).ok_or("a quote is not closed")?;
    let definition = Definition {
        columns: Vec::new(),
        key: Vec::new(),
        has_key: false,
        rowid_alias: None,
        without_rowid: false,
        strict: false,
    };
    let mut parser = Parser { text, tokens, at: 0, definition };
    parser.statement()?;
    Ok(parser.definition)
}

/// The module of a CREATE VIRTUAL TABLE statement.
pub(super) fn virtual_module(text: &str) -> Option<String> {
    let tokens = tokens(text)?;
    let is_virtual = tokens.first()?.is("create") && tokens.get(1)?.is("virtual");
    let using = tokens.iter().position(|token| token.is("using")).filter(|_| is_virtual)?;
    Some(tokens.get(using + 1)?.unquoted())
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn accept(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(keyword));
        self.at += usize::from(found);
        found
    }

    fn accept_sign(&mut self, sign: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is_sign(sign));
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> Result<Token<'t>, String> {
        let token = self.peek().filter(Token::can_be_name).ok_or("a name is missing")?;
        self.at += 1;
        Ok(token)
    }

    /// Steps behind the parenthesis that closes the one at the current token.
    fn skip_parentheses(&mut self) -> Result<(), String> {
        let mut depth = 0usize;
        while let Some(token) = self.peek() {
            self.at += 1;
            if token.is_sign("(") {
                depth += 1;
            } else if token.is_sign(")") {
                depth = depth.checked_sub(1).ok_or("an unexpected closing parenthesis")?;
                if depth == 0 {
                    return Ok(());
                }
            }
        }
        Err("a parenthesis is not closed".into())
    }

    fn statement(&mut self) -> Result<(), String> {
        if !self.accept("create") {
            return Err("not a CREATE TABLE statement".into());
        }
        if !self.accept("temp") {
            self.accept("temporary");
        }
        if !self.accept("table") {
            return Err("not a CREATE TABLE statement".into());
        }
        if self.accept("if") {
            self.at += 2;
        }
        self.name()?;
        if self.accept_sign(".") {
            self.name()?;
        }
        if !self.accept_sign("(") {
            return Err("the column list is missing".into());
        }
        self.elements()?;
        self.options();
        if self.definition.columns.is_empty() {
            return Err("no columns".into());
        }
        Ok(())
    }

    fn elements(&mut self) -> Result<(), String> {
        loop {
            let token = self.peek().ok_or("the column list is not closed")?;
            if token.is_sign(")") {
                self.at += 1;
                return Ok(());
            }
            if token.is_sign(",") {
                self.at += 1;
            } else if token.is_any(&TABLE_CONSTRAINTS) {
                self.table_constraint()?;
            } else {
                self.column()?;
            }
        }
    }

    fn options(&mut self) {
        while let Some(token) = self.peek() {
            self.at += 1;
            if token.is("without") && self.accept("rowid") {
                self.definition.without_rowid = true;
            } else if token.is("strict") {
                self.definition.strict = true;
            }
        }
    }

    fn column(&mut self) -> Result<(), String> {
        let name = self.name()?.unquoted();
        let start = self.peek().map_or(self.text.len(), |token| token.start);
        let mut end = start;
        while let Some(token) = self.peek().filter(|token| token.can_be_name() && !token.is_any(&AFTER_TYPE)) {
            self.at += 1;
            end = token.end();
        }
        if end > start && self.peek().is_some_and(|token| token.is_sign("(")) {
            self.skip_parentheses()?;
            end = self.tokens[self.at - 1].end();
        }
        let declared = declared_type(&self.text[start..end]);
        self.definition.columns.push(Column {
            name,
            affinity: affinity_of(&declared),
            declared_type: declared,
            not_null: false,
            default: None,
            default_sql: None,
            collation: Collation::Binary,
            generated: Generated::No,
        });
        self.column_constraints()
    }

    fn column_constraints(&mut self) -> Result<(), String> {
        let index = self.definition.columns.len() - 1;
        while let Some(token) = self.peek() {
            if token.is_sign(",") || token.is_sign(")") {
                return Ok(());
            }
            // What may follow a column without a comma belongs to the table.
            if token.is("foreign") {
                return Ok(());
            }
            if token.is_sign("(") {
                self.skip_parentheses()?;
                continue;
            }
            self.at += 1;
            if token.is("constraint") {
                self.name()?;
            } else if token.is("set") {
                // ON DELETE SET NULL, SET DEFAULT: not the column's own.
                self.at += 1;
            } else if token.is("not") {
                if self.accept("null") {
                    self.definition.columns[index].not_null = true;
                }
            } else if token.is("default") {
                self.default_value(index)?;
            } else if token.is("collate") {
                self.definition.columns[index].collation = Collation::named(&self.name()?.unquoted());
            } else if token.is("primary") && self.accept("key") {
                let descending = self.accept("desc");
                self.definition.has_key = true;
                let column = &self.definition.columns[index];
                // A column's own DESC keeps it from being the rowid: a mistake of early SQLite that files depend on.
                if is_integer(column) && !descending {
                    self.definition.rowid_alias = Some(index);
                }
                self.definition.key = vec![KeyPart { column: index, collation: Collation::Unset, descending }];
            } else if token.is("as") {
                self.skip_parentheses()?;
                let stored = self.accept("stored");
                self.definition.columns[index].generated = if stored { Generated::Stored } else { Generated::Virtual };
            }
        }
        Err("the column list is not closed".into())
    }

    /// `DEFAULT (expression)`, `DEFAULT literal`, `DEFAULT -literal` or `DEFAULT word`.
    fn default_value(&mut self, column: usize) -> Result<(), String> {
        let first = self.at;
        if self.peek().is_some_and(|token| token.is_sign("(")) {
            self.skip_parentheses()?;
        } else {
            while self.peek().is_some_and(|token| token.is_sign("-") || token.is_sign("+")) {
                self.at += 1;
            }
            self.at += 1;
        }
        let tokens = self.tokens.get(first..self.at).ok_or("a default value is missing")?;
        let (Some(start), Some(end)) = (tokens.first(), tokens.last()) else {
            return Err("a default value is missing".into());
        };
        let definition = &mut self.definition.columns[column];
        definition.default_sql = Some(self.text[start.start..end.end()].to_string());
        Ok(())
    }

    fn table_constraint(&mut self) -> Result<(), String> {
        if self.accept("constraint") {
            self.name()?;
            return Ok(());
        }
        let token = self.peek().ok_or("the column list is not closed")?;
        self.at += 1;
        if token.is("primary") && self.accept("key") {
            self.table_key()?;
        }
        while let Some(token) = self.peek() {
            if token.is_sign(",") || token.is_sign(")") || token.is_any(&TABLE_CONSTRAINTS) {
                break;
            }
            if token.is_sign("(") {
                self.skip_parentheses()?;
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// The columns of `PRIMARY KEY (...)`.
    fn table_key(&mut self) -> Result<(), String> {
        let open = self.at;
        self.skip_parentheses()?;
        let inside = self.tokens.get(open + 1..self.at - 1).ok_or("a key has no columns")?.to_vec();
        self.definition.has_key = true;
        self.definition.key.clear();
        for term in inside.split(|token| token.is_sign(",")) {
            // A name may stand in parentheses of its own.
            let mut words = term.iter().filter(|token| !token.is_sign("(") && !token.is_sign(")"));
            let Some(name) = words.next().filter(|token| token.can_be_name()) else {
                return Err("a key has an expression in it".into());
            };
            let name = name.unquoted();
            let column = self.definition.columns.iter().position(|column| column.name.eq_ignore_ascii_case(&name));
            let column = column.ok_or_else(|| format!("the key names {name}, which is no column"))?;
            let mut part = KeyPart { column, collation: Collation::Unset, descending: false };
            while let Some(word) = words.next() {
                if word.is("collate") {
                    let collation = words.next().ok_or("a collation is missing")?;
                    part.collation = Collation::named(&collation.unquoted());
                } else if word.is("desc") {
                    part.descending = true;
                }
            }
            self.definition.key.push(part);
        }
        // Unlike on a column, DESC makes no difference here.
        if let [only] = &self.definition.key[..]
            && is_integer(&self.definition.columns[only.column])
        {
            self.definition.rowid_alias = Some(only.column);
        }
        Ok(())
    }
}

/// Only the very word makes a rowid: INT, BIGINT and the like don't.
fn is_integer(column: &Column) -> bool {
    column.declared_type.eq_ignore_ascii_case("integer")
}

/// The affinity of a column of a STRICT table, where ANY means that a value stays as it is.
pub(super) fn strict_affinity(column: &Column) -> Affinity {
    if column.declared_type.eq_ignore_ascii_case("any") { Affinity::Blob } else { column.affinity }
}
