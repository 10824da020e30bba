//! Changes that many worlds share.

/// What one branch does.
#[derive(Clone, Debug)]
pub struct Change {
    pub name: String,
    /// `{s}` stands for the side, `l` or `r`, `{n}` for its number, 1 or 2.
    pub sql: String,
    /// The table is another one afterwards, or none: a conflict with it is about all of its rows.
    pub replaces: bool,
}

pub fn change(name: &str, sql: impl Into<String>) -> Change {
    Change { name: name.to_owned(), sql: sql.into(), replaces: false }
}

pub fn replacing(name: &str, sql: impl Into<String>) -> Change {
    Change { replaces: true, ..change(name, sql) }
}

/// A table `t` with the columns id, a, b and c, and what is around it.
pub struct Table {
    /// The column `id` with its type and constraints.
    pub id: &'static str,
    /// The columns a, b and c.
    pub columns: &'static str,
    /// Behind the columns: generated columns and constraints of the table.
    pub further: &'static str,
    /// Behind the parenthesis.
    pub options: &'static str,
    /// The ids are texts.
    pub text_ids: bool,
    /// A row with another id is another row.
    pub keyed: bool,
    /// Columns a and b are kept from being dropped.
    pub fixed: bool,
}

const INDEX: &str = "CREATE INDEX t_a ON t(a);";
const VIEW: &str = "CREATE VIEW v AS SELECT id, a FROM t;";
const TRIGGER: &str =
    "CREATE TRIGGER g AFTER UPDATE OF a ON t BEGIN INSERT INTO log(what) VALUES ('log.' || new.a); END;";

impl Table {
    fn id(&self, number: &str) -> String {
        if self.text_ids { format!("'k{number}'") } else { number.to_owned() }
    }

    fn create_as(&self, name: &str) -> String {
        let Table { id, columns, further, options, .. } = self;
        format!("CREATE TABLE {name}({id}, {columns}{further}){options};")
    }

    fn row(&self, number: &str, row: &str, by: &str) -> String {
        let id = self.id(number);
        format!("INSERT INTO t(id, a, b, c) VALUES ({id}, 'a:{row}:{by}', 'b:{row}:{by}', 'c:{row}:{by}');")
    }

    /// Gives a row another id. Where that is its key, it is another row from then on, and says so.
    fn moved(&self, to: &str, from: &str, row: &str) -> String {
        let row = if self.keyed { row.to_owned() } else { format!("r{from}") };
        format!(
            "UPDATE t SET id = {}, a = 'a:{row}:{{s}}', b = 'b:{row}:{{s}}', c = 'c:{row}:{{s}}' WHERE id = {}",
            self.id(to),
            self.id(from)
        )
    }

    /// What all branches start from. A row that is gone leaves a gap among the rowids.
    pub fn base(&self) -> String {
        let rows: String = ["1", "2", "9", "3", "4"].map(|n| self.row(n, &format!("r{n}"), "base")).concat();
        format!(
            "{} {rows} DELETE FROM t WHERE id = {}; CREATE TABLE log(what); INSERT INTO log VALUES ('log:r1:base');
             CREATE TABLE child(id INTEGER PRIMARY KEY, t REFERENCES t(id), note);
             INSERT INTO child VALUES (1, {}, 'note:c1:base'), (2, NULL, 'note:c2:base');
             UPDATE t SET c = NULL WHERE id = {};
             {INDEX} {VIEW} {TRIGGER} PRAGMA user_version = 7;",
            self.create_as("t"),
            self.id("9"),
            self.id("1"),
            self.id("4"),
        )
    }

    /// The way that SQLite's documentation gives for what ALTER TABLE can't do.
    fn rebuilt(&self, definition: &str, into: &str, select: &str, after: &str) -> String {
        format!(
            "DROP VIEW v; CREATE TABLE new_t({definition}; INSERT INTO new_t({into}) SELECT {select} FROM t;
             DROP TABLE t; ALTER TABLE new_t RENAME TO t; {INDEX} {VIEW} {TRIGGER} {after}"
        )
    }

    pub fn changes(&self) -> Vec<Change> {
        let mut changes = self.row_changes();
        changes.extend(self.column_changes());
        changes.extend(self.table_changes());
        changes.extend(objects());
        changes.extend(database());
        changes
    }

    fn row_changes(&self) -> Vec<Change> {
        let at = |n: &str| format!("WHERE id = {}", self.id(n));
        vec![
            change("insert", self.row("{n}0", "n{s}", "{s}")),
            change("insert one key", self.row("50", "n", "{s}")),
            change("update a", format!("UPDATE t SET a = 'a:r1:{{s}}' {}", at("1"))),
            change("update c", format!("UPDATE t SET c = 'c:r1:{{s}}' {}", at("1"))),
            change("set c to null", format!("UPDATE t SET c = NULL {}", at("2"))),
            change("insert without c", format!("INSERT INTO t(id, a) VALUES ({}, 'a:n{{s}}:{{s}}')", self.id("{n}1"))),
            change("update another", format!("UPDATE t SET b = 'b:r3:{{s}}' {}", at("3"))),
            change(
                "update b to that of another",
                format!("UPDATE t SET b = 'same' {} OR id = {}", at("2"), self.id("3")),
            ),
            change("update all", "UPDATE t SET c = 'c:' || substr(c, 3, 2) || ':{s}'"),
            change("update key", self.moved("6{n}", "2", "m{s}")),
            change("update to one key", self.moved("70", "{n}", "m")),
            change("delete", format!("DELETE FROM t {}", at("1"))),
            change("delete another", format!("DELETE FROM t {}", at("4"))),
            change("delete all", "DELETE FROM t"),
            change("insert a child", "INSERT INTO child VALUES ({n}0, NULL, 'note:n{s}:{s}')"),
            change("delete children", "DELETE FROM child"),
        ]
    }

    fn column_changes(&self) -> Vec<Change> {
        let mut changes = vec![
            change("add column", "ALTER TABLE t ADD COLUMN n TEXT DEFAULT 'n'"),
            change("add column of this side", "ALTER TABLE t ADD COLUMN n{s} TEXT DEFAULT 'n'"),
            change("add column defined by this side", "ALTER TABLE t ADD COLUMN n TEXT DEFAULT 'n{s}'"),
            change(
                "add column and fill it",
                "ALTER TABLE t ADD COLUMN n; UPDATE t SET n = 'n:' || substr(c, 3, 2) || ':{s}'",
            ),
            change("add column with a reference", "ALTER TABLE t ADD COLUMN n REFERENCES child(id)"),
            change("rename column a", "ALTER TABLE t RENAME COLUMN a TO a2"),
            change("rename column b", "ALTER TABLE t RENAME COLUMN b TO b2"),
            change("rename column b as this side", "ALTER TABLE t RENAME COLUMN b TO b{s}"),
            change("rename column id", "ALTER TABLE t RENAME COLUMN id TO key"),
        ];
        if !self.fixed {
            changes.extend([
                change("drop column b", "ALTER TABLE t DROP COLUMN b"),
                change("drop column c", "ALTER TABLE t DROP COLUMN c"),
                change(
                    "drop column a",
                    "DROP INDEX t_a; DROP VIEW v; DROP TRIGGER g; ALTER TABLE t DROP COLUMN a; CREATE VIEW v AS SELECT id FROM t",
                ),
                change("drop column b and add it", "ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b DEFAULT 'new'"),
            ]);
        }
        changes
    }

    fn table_changes(&self) -> Vec<Change> {
        let Table { id, columns, further, options, .. } = self;
        let all = "id, a, b, c";
        vec![
            change("rename table", "ALTER TABLE t RENAME TO t2"),
            change("rename table as this side", "ALTER TABLE t RENAME TO t{s}"),
            replacing("drop table", "DROP VIEW v; DROP TABLE t"),
            replacing(
                "drop and create table with other columns",
                format!(
                    "DROP TABLE t; CREATE TABLE t({id}, a, z{{s}}); INSERT INTO t VALUES ({}, 'a:z{{s}}:{{s}}', 'z:z{{s}}:{{s}}')",
                    self.id("{n}00")
                ),
            ),
            replacing(
                "drop and create table as it was",
                format!("DROP TABLE t; {} {INDEX} {TRIGGER} {}", self.create_as("t"), self.row("{n}00", "z{s}", "{s}")),
            ),
            change("rebuild", self.rebuilt(&format!("{id}, {columns}{further}){options}"), all, all, "")),
            change(
                "rebuild with other spaces",
                self.rebuilt(&format!("\n  {id} ,  {columns} /* no change */ {further}\n){options}"), all, all, ""),
            ),
            change("rebuild with another row", {
                let after = self.row("{n}00", "n{s}", "{s}");
                self.rebuilt(&format!("{id}, {columns}{further}){options}"), all, all, &after)
            }),
            change(
                "rebuild with a check",
                self.rebuilt(&format!("{id}, {columns}{further}, CHECK (a <> 'never')){options}"), all, all, ""),
            ),
            change(
                "rebuild with a check of this side",
                self.rebuilt(&format!("{id}, {columns}{further}, CHECK (a <> '{{s}}')){options}"), all, all, ""),
            ),
            change(
                "rebuild with columns in another order",
                self.rebuilt(
                    &format!("{id}, c, b TEXT DEFAULT 'given', a TEXT NOT NULL{further}){options}"),
                    all,
                    all,
                    "",
                ),
            ),
            change(
                "rebuild with another type",
                self.rebuilt(
                    &format!("{id}, a TEXT NOT NULL, b VARCHAR(9) NOT NULL DEFAULT 'given', c{further}){options}"),
                    all,
                    all,
                    "",
                ),
            ),
            change(
                "rebuild with a check of b",
                self.rebuilt(&format!("{id}, {columns}{further}, CHECK (b <> 'same')){options}"), all, all, ""),
            ),
            change(
                "rebuild with unique b",
                self.rebuilt(&format!("{id}, {columns}{further}, UNIQUE (b)){options}"), all, all, ""),
            ),
            change(
                "fill c and rebuild with it not null",
                format!(
                    "UPDATE t SET c = 'c:r4:{{s}}' WHERE c IS NULL; {}",
                    self.rebuilt(
                        &format!("{id}, {}{further}){options}", columns.replace(", c", ", c NOT NULL")),
                        all,
                        all,
                        ""
                    ),
                ),
            ),
            replacing(
                "rebuild with a new key",
                self.rebuilt(&format!("id, {columns}{further}, pk INTEGER PRIMARY KEY)"), all, all, ""),
            ),
            replacing(
                "rebuild with a key of two columns",
                self.rebuilt(&format!("id, {columns}{further}, PRIMARY KEY (a, b)) WITHOUT ROWID"), all, all, ""),
            ),
            replacing("rebuild without a key", self.rebuilt(&format!("id, {columns}{further})"), all, all, "")),
            replacing("create table", "CREATE TABLE fresh(x, y); INSERT INTO fresh VALUES ('x:f{s}:{s}', 1)"),
            replacing(
                "create table with a key",
                "CREATE TABLE fresh(x INTEGER PRIMARY KEY, y); INSERT INTO fresh VALUES ({n}, 'y:f{s}:{s}')",
            ),
            change(
                "create table of this side",
                "CREATE TABLE fresh{s}(x, y); INSERT INTO fresh{s} VALUES (1, 'y:f{s}:{s}')",
            ),
            change(
                "create table where another is renamed to",
                "CREATE TABLE t2(x, y); INSERT INTO t2 VALUES (1, 'y:f{s}:{s}')",
            ),
            replacing("drop the child", "DROP TABLE child"),
            change("rename the child", "ALTER TABLE child RENAME TO kid"),
            replacing("drop the log and its trigger", "DROP TRIGGER g; DROP TABLE log"),
        ]
    }
}

/// Changes of what is around a table.
fn objects() -> Vec<Change> {
    vec![
        change("create index", "CREATE INDEX i ON t(b)"),
        change("create index of this side", "CREATE INDEX i ON t(b) WHERE b <> '{s}'"),
        change("create unique index", "CREATE UNIQUE INDEX u ON t(b)"),
        change("create index on an expression", "CREATE INDEX i ON t(upper(c))"),
        change("drop index", "DROP INDEX t_a"),
        change("change index", "DROP INDEX t_a; CREATE INDEX t_a ON t(a, b)"),
        change("respace index", "DROP INDEX t_a; CREATE  INDEX t_a\n ON t ( a )"),
        change("create view", "CREATE VIEW w AS SELECT b, c FROM t"),
        change("create view of this side", "CREATE VIEW w AS SELECT '{s}' FROM t"),
        change("create view of a view", "CREATE VIEW w AS SELECT id FROM v"),
        change("create view of all columns", "CREATE VIEW w AS SELECT * FROM t"),
        change("drop view", "DROP VIEW v"),
        change("change view", "DROP VIEW v; CREATE VIEW v AS SELECT id, a, c FROM t"),
        change("respace view", "DROP VIEW v; CREATE VIEW v AS\n  SELECT id,a FROM t"),
        change("create trigger", "CREATE TRIGGER h AFTER DELETE ON t BEGIN INSERT INTO log VALUES (old.c); END"),
        change(
            "create trigger of this side",
            "CREATE TRIGGER h AFTER DELETE ON t BEGIN INSERT INTO log VALUES ('{s}' || old.b); END",
        ),
        change(
            "create trigger on the view",
            "CREATE TRIGGER h INSTEAD OF DELETE ON v BEGIN DELETE FROM t WHERE id = old.id; END",
        ),
        change("drop trigger", "DROP TRIGGER g"),
        change("change trigger", format!("DROP TRIGGER g; {}", TRIGGER.replace("UPDATE OF a", "UPDATE"))),
        change("respace trigger", format!("DROP TRIGGER g; {}", TRIGGER.replace(" BEGIN ", "\nBEGIN\n  "))),
    ]
}

/// Changes of the whole database.
pub fn database() -> Vec<Change> {
    vec![
        change("nothing", ""),
        change("VACUUM", "VACUUM"),
        change("ANALYZE", "ANALYZE"),
        change("user_version", "PRAGMA user_version = 8"),
        change("user_version of this side", "PRAGMA user_version = 1{n}"),
        change("application_id", "PRAGMA application_id = 2{n}"),
    ]
}
