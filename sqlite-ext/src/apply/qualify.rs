//! Names the schema in a statement that comes without one, since SQLite looks for a bare name among TEMP objects first.

/// The statement with its object's name in that schema, where it is one of those that a schema is made and changed with
/// and doesn't name a schema itself.
pub fn qualified(sql: &str, schema: &str) -> String {
    match place(sql) {
        Some(at) => format!("{}{}.{}", &sql[..at], super::table::quote(schema), &sql[at..]),
        None => sql.to_owned(),
    }
}

/// Where the object's name starts.
fn place(sql: &str) -> Option<usize> {
    let mut words = Words { sql, at: 0 };
    let first = words.next().to_ascii_uppercase();
    match first.as_str() {
        "CREATE" | "DROP" => {
            if !words.take("UNIQUE") {
                words.take("VIRTUAL");
            }
            if !["TABLE", "INDEX", "VIEW", "TRIGGER"].into_iter().any(|kind| words.take(kind)) {
                return None;
            }
            // `if` can be a name, too.
            let before = words.at;
            let exists = words.take("IF") && {
                words.take("NOT");
                words.take("EXISTS")
            };
            if !exists {
                words.at = before;
            }
        }
        "ALTER" if words.take("TABLE") => {}
        "INSERT" if words.take("INTO") => {}
        "DELETE" if words.take("FROM") => {}
        _ => return None,
    }
    words.skip_space();
    let name = words.at;
    words.pass_name()?;
    words.skip_space();
    (!sql[words.at..].starts_with('.')).then_some(name)
}

struct Words<'s> {
    sql: &'s str,
    at: usize,
}

impl<'s> Words<'s> {
    fn rest(&self) -> &'s str {
        &self.sql[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.sql.len() - self.rest().trim_ascii_start().len();
    }

    fn next(&mut self) -> &'s str {
        self.skip_space();
        let end = self.rest().find(|c: char| !is_word(c)).unwrap_or(self.rest().len());
        let word = &self.rest()[..end];
        self.at += end;
        word
    }

    fn take(&mut self, keyword: &str) -> bool {
        let before = self.at;
        let taken = self.next().eq_ignore_ascii_case(keyword);
        if !taken {
            self.at = before;
        }
        taken
    }

    fn pass_name(&mut self) -> Option<()> {
        let close = match self.rest().chars().next()? {
            '[' => ']',
            quote @ ('"' | '`' | '\'') => quote,
            _ => return (!self.next().is_empty()).then_some(()),
        };
        self.at += 1;
        loop {
            self.at += self.rest().find(close)? + 1;
            // A doubled quote stands for itself.
            if close == ']' || !self.rest().starts_with(close) {
                return Some(());
            }
            self.at += 1;
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::qualified;

    #[test]
    fn the_name_gets_its_schema() {
        for (bare, expected) in [
            ("CREATE TABLE t(a)", "CREATE TABLE \"main\".t(a)"),
            ("CREATE TABLE\n  if(a)", "CREATE TABLE\n  \"main\".if(a)"),
            ("CREATE TABLE IF NOT EXISTS t(a)", "CREATE TABLE IF NOT EXISTS \"main\".t(a)"),
            ("CREATE UNIQUE INDEX [a ] ] ON t(a)", "CREATE UNIQUE INDEX \"main\".[a ] ] ON t(a)"),
            ("CREATE INDEX \"a\"\"b.\" ON t(a)", "CREATE INDEX \"main\".\"a\"\"b.\" ON t(a)"),
            ("CREATE VIRTUAL TABLE 'x' USING fts5(b)", "CREATE VIRTUAL TABLE \"main\".'x' USING fts5(b)"),
            ("CREATE VIEW view AS SELECT 1", "CREATE VIEW \"main\".view AS SELECT 1"),
            (
                "CREATE TRIGGER grüße AFTER INSERT ON t BEGIN SELECT 1; END",
                "CREATE TRIGGER \"main\".grüße AFTER INSERT ON t BEGIN SELECT 1; END",
            ),
            ("DROP INDEX IF EXISTS \"i\"", "DROP INDEX IF EXISTS \"main\".\"i\""),
            ("ALTER TABLE \"t\" RENAME TO \"u\"", "ALTER TABLE \"main\".\"t\" RENAME TO \"u\""),
            ("INSERT INTO \"t\"(\"a\") SELECT 1", "INSERT INTO \"main\".\"t\"(\"a\") SELECT 1"),
            ("DELETE FROM \"t\"", "DELETE FROM \"main\".\"t\""),
        ] {
            assert_eq!(qualified(bare, "main"), expected);
            assert_eq!(qualified(expected, "main"), expected, "already there");
        }
        assert_eq!(qualified("SELECT 1", "main"), "SELECT 1");
    }
}
