//! Random SQL over a small set of names, so that most of it means something, and the rest fails as it should.

use maniac_sql_tests::dice::Dice;

use super::settings::Settings;

pub struct Statements<'a> {
    pub dice: &'a mut Dice,
    pub settings: &'a Settings,
}

impl Statements<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        self.dice.below(limit)
    }

    pub fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn table(&mut self) -> String {
        let name = self.pick(&["t0", "t1", "t2", "t3", "w0", "w1", "x0"]);
        let schema = match self.below(8) {
            0 => "main.",
            1 | 2 if self.settings.attached => "other.",
            _ => "",
        };
        format!("{schema}{name}")
    }

    fn key(&mut self) -> i64 {
        match self.below(30) {
            0 => i64::MAX / 3,
            1 => i64::MIN,
            2 => -(self.below(50) as i64),
            _ => self.below(300) as i64,
        }
    }

    fn value(&mut self) -> String {
        match self.below(9) {
            0 => "NULL".into(),
            1 => format!("{}", self.below(120)),
            2 => format!("{}.25", self.below(1000)),
            3 => format!("'w{}'", self.below(40)),
            4 => format!("'Grün {} \u{1F33F}'", self.below(60)),
            5 => format!("zeroblob({})", self.length()),
            6 => format!("x'{:02x}{:02x}'", self.below(256), self.below(256)),
            _ => format!("printf('%.{}c', '{}')", self.length() + 1, self.pick(&["a", "b", "é"])),
        }
    }

    /// Mostly short; now and then longer than a page.
    fn length(&mut self) -> u64 {
        let page = u64::from(self.settings.page_size);
        match self.below(12) {
            0 => page * (1 + self.below(3)) + self.below(100),
            1 | 2 => self.below(page.min(3000)),
            _ => self.below(40),
        }
    }

    pub fn next(&mut self) -> String {
        match self.below(100) {
            0..=19 => self.insert(),
            20..=26 => self.insert_many(),
            27..=37 => self.update(),
            38..=42 => self.delete(),
            43..=50 => self.select(),
            51..=64 => self.transaction(),
            65..=72 => self.savepoint(),
            73..=79 => self.definition(),
            80..=88 => self.full_text(),
            89..=91 => self.boxes(),
            92..=96 => self.pragma(),
            97 => self.pick(&["VACUUM", "VACUUM", "ANALYZE", "REINDEX"]).into(),
            _ => self.upsert(),
        }
    }

    pub fn insert(&mut self) -> String {
        let or = self.pick(&["", "", "", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ROLLBACK", " OR ABORT"]);
        let (table, key) = (self.table(), self.key());
        let (b, c, d) = (self.value(), self.value(), self.value());
        match self.below(6) {
            0 => format!("INSERT{or} INTO {table}(b, c, d) VALUES ({b}, {c}, {d}), ({c}, {b}, {d})"),
            _ => format!("INSERT{or} INTO {table}(a, b, c, d) VALUES ({key}, {b}, {c}, {d})"),
        }
    }

    fn insert_many(&mut self) -> String {
        let or = self.pick(&["", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ROLLBACK"]);
        let (table, first, count, width) = (self.table(), self.below(400), 1 + self.below(250), 1 + self.below(60));
        let value = self.value();
        format!(
            "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first} + {count}) \
             INSERT{or} INTO {table}(a, b, c, d) SELECT i * 7 % 601, 'm' || i, i % {width}, \
             CASE i % 11 WHEN 0 THEN {value} ELSE printf('%.{width}c', i) END FROM n"
        )
    }

    fn condition(&mut self) -> String {
        let key = self.key();
        match self.below(6) {
            0 => format!("a = {key}"),
            1 => format!("a > {key} AND a < {key} / 2 + 300"),
            2 => format!("c < {}", self.below(60)),
            3 => format!("b LIKE 'm{}%'", self.below(10)),
            4 => format!("a % {} = 0", 2 + self.below(9)),
            _ => "d IS NOT NULL".into(),
        }
    }

    fn update(&mut self) -> String {
        let or = self.pick(&["", "", " OR REPLACE", " OR IGNORE", " OR ROLLBACK", " OR FAIL"]);
        let (table, condition, value) = (self.table(), self.condition(), self.value());
        let set = match self.below(5) {
            0 => format!("a = a + {}", self.below(40)),
            1 => format!("c = {value}"),
            2 => format!("d = {value}, c = c + 1"),
            3 => format!("b = b || {value}"),
            _ => format!("d = {value}"),
        };
        let returning = self.pick(&["", "", "", " RETURNING a, length(d)"]);
        format!("UPDATE{or} {table} SET {set} WHERE {condition}{returning}")
    }

    fn delete(&mut self) -> String {
        let (table, condition) = (self.table(), self.condition());
        if self.below(5) == 0 {
            format!("DELETE FROM {table}")
        } else {
            format!("DELETE FROM {table} WHERE {condition}")
        }
    }

    pub fn select(&mut self) -> String {
        let (table, other, condition) = (self.table(), self.table(), self.condition());
        match self.below(5) {
            0 => format!("SELECT a, b, c, length(d) FROM {table} WHERE {condition} ORDER BY a"),
            1 => format!("SELECT count(*), sum(length(b)), max(c), min(a) FROM {table} WHERE {condition}"),
            2 => format!("SELECT c, count(*) FROM {table} GROUP BY c ORDER BY 1, 2"),
            3 => {
                format!("SELECT x.a, y.b FROM {table} AS x JOIN {other} AS y ON x.c = y.c WHERE x.a < 40 ORDER BY 1, 2")
            }
            _ => format!("SELECT * FROM {table} ORDER BY b DESC, a LIMIT 30"),
        }
    }

    fn transaction(&mut self) -> String {
        let begin = ["BEGIN", "BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"];
        match self.below(10) {
            0..=3 => self.pick(&begin).into(),
            4..=7 => "COMMIT".into(),
            _ => "ROLLBACK".into(),
        }
    }

    fn savepoint(&mut self) -> String {
        let name = self.pick(&["s0", "s1", "s2"]);
        match self.below(3) {
            0 => format!("SAVEPOINT {name}"),
            1 => format!("ROLLBACK TO {name}"),
            _ => format!("RELEASE {name}"),
        }
    }

    fn definition(&mut self) -> String {
        let (n, table) = (self.below(4), self.table());
        match self.below(20) {
            0..=5 => self.create_table(),
            6 if self.below(2) == 0 => format!("DROP TABLE {table}"),
            7 => {
                let unique = self.pick(&["", "", " UNIQUE"]);
                let on = self.pick(&["b", "c, b", "length(d)", "c DESC", "d"]);
                let only = self.pick(&["", "", " WHERE c > 10"]);
                format!("CREATE{unique} INDEX i{n} ON {}({on}){only}", table.trim_start_matches("main."))
            }
            8 => format!("DROP INDEX i{n}"),
            9 => format!("ALTER TABLE {table} ADD COLUMN z{n} DEFAULT 'default {n}'"),
            10 => format!("ALTER TABLE {table} DROP COLUMN z{n}"),
            11 => format!("ALTER TABLE {table} RENAME COLUMN z{n} TO z{}", self.below(4)),
            12 => format!("ALTER TABLE {table} RENAME TO t{n}"),
            13 => format!(
                "CREATE TRIGGER g{n} AFTER {} ON {} BEGIN \
                 INSERT OR IGNORE INTO t3(a, b, c) VALUES (new.a + 1000, 'trigger', {n}); END",
                self.pick(&["INSERT", "UPDATE"]),
                self.pick(&["t0", "t1", "w0"])
            ),
            14 => format!(
                "CREATE TRIGGER g{n} BEFORE DELETE ON t{n} WHEN old.c = 7 BEGIN SELECT raise({}, 'not seven'); END",
                self.pick(&["ABORT", "ROLLBACK", "FAIL"])
            ),
            15 => format!("DROP TRIGGER g{n}"),
            16 => format!("CREATE VIEW v{n} AS SELECT a, b FROM t{n} WHERE c IS NOT NULL"),
            17 => format!("SELECT count(*), max(b) FROM v{n}"),
            18 => format!("CREATE TABLE t{n} AS SELECT a, b, c, d FROM {table}"),
            _ => "CREATE TEMP TABLE x0(a INTEGER PRIMARY KEY, b, c, d UNIQUE)".into(),
        }
    }

    /// What there is before the random part starts.
    pub fn beginning(&mut self) -> Vec<String> {
        let databases: &[&str] = if self.settings.attached { &["", "other."] } else { &[""] };
        let mut all = Vec::new();
        for schema in databases {
            all.extend((0..4).map(|n| self.row_table(&format!("{schema}t{n}"))));
            all.extend((0..2).map(|n| self.key_table(&format!("{schema}w{n}"))));
        }
        all.push("CREATE VIRTUAL TABLE f0 USING fts5(b, c)".into());
        all.push("CREATE VIRTUAL TABLE r0 USING rtree(id, x0, x1, y0, y1)".into());
        all
    }

    fn create_table(&mut self) -> String {
        let schema = if self.settings.attached && self.below(3) == 0 { "other." } else { "" };
        let n = self.below(4);
        if self.below(4) == 0 {
            self.key_table(&format!("{schema}w{}", n % 2))
        } else {
            self.row_table(&format!("{schema}t{n}"))
        }
    }

    fn columns(&mut self) -> [&'static str; 3] {
        let b = self.pick(&["b TEXT", "b TEXT COLLATE NOCASE", "b", "b TEXT UNIQUE", "b TEXT NOT NULL"]);
        let c = self.pick(&["c", "c INTEGER CHECK (c < 100)", "c REAL DEFAULT 3.5", "c REFERENCES t0(a)"]);
        let d = self.pick(&["d", "d BLOB", "d, e AS (c || 'v')", "d, e AS (length(d)) STORED", "d, UNIQUE (c, b)"]);
        [b, c, d]
    }

    fn row_table(&mut self, name: &str) -> String {
        let [b, c, d] = self.columns();
        let key = "a INTEGER PRIMARY KEY";
        let a = self.pick(&[key, key, "a INTEGER PRIMARY KEY AUTOINCREMENT", "a", "a UNIQUE"]);
        format!("CREATE TABLE {name}({a}, {b}, {c}, {d})")
    }

    fn key_table(&mut self, name: &str) -> String {
        let [b, c, d] = self.columns();
        let a = self.pick(&["a INTEGER", "a", "a TEXT"]);
        let key = self.pick(&["PRIMARY KEY (a)", "PRIMARY KEY (c, a)", "PRIMARY KEY (a, b DESC)"]);
        let d = d.split(", UNIQUE").next().expect("the first part");
        format!("CREATE TABLE {name}({a}, {b}, {c}, {d}, {key}) WITHOUT ROWID")
    }

    fn full_text(&mut self) -> String {
        match self.below(8) {
            0 => "CREATE VIRTUAL TABLE f0 USING fts5(b, c)".into(),
            1 => format!("SELECT rowid, b FROM f0 WHERE f0 MATCH 'w{}'", self.below(20)),
            2 => format!("DELETE FROM f0 WHERE rowid = {}", self.below(60)),
            3 => self
                .pick(&["INSERT INTO f0(f0) VALUES ('optimize')", "INSERT INTO f0(f0) VALUES ('integrity-check')"])
                .into(),
            4 if self.below(5) == 0 => "DROP TABLE f0".into(),
            _ => format!(
                "INSERT INTO f0(rowid, b, c) VALUES ({}, 'w{} w{} common', 'x{}')",
                self.below(60),
                self.below(20),
                self.below(20),
                self.below(9)
            ),
        }
    }

    fn boxes(&mut self) -> String {
        let (id, at) = (self.below(80), self.below(500));
        match self.below(7) {
            0 => "CREATE VIRTUAL TABLE r0 USING rtree(id, x0, x1, y0, y1)".into(),
            1 => format!("SELECT id FROM r0 WHERE x0 < {at} AND y1 > {at} ORDER BY id"),
            2 => format!("DELETE FROM r0 WHERE id < {id} / 3"),
            3 => format!("UPDATE r0 SET x1 = x1 + 5 WHERE id = {id}"),
            _ => format!("INSERT OR REPLACE INTO r0 VALUES ({id}, {at}, {at} + 10, {id}, {id} + 3)"),
        }
    }

    fn pragma(&mut self) -> String {
        let n = self.below(100);
        match self.below(14) {
            0 => format!("PRAGMA user_version = {n}"),
            1 => "PRAGMA user_version".into(),
            2 => format!("PRAGMA incremental_vacuum({})", n % 20),
            3 => format!("PRAGMA cache_size = {}", 1 + n % 40),
            4 => format!("PRAGMA max_page_count = {}", 20 + n * 8),
            5 => "PRAGMA max_page_count = 1000000".into(),
            6 => format!("PRAGMA cache_spill = {}", n % 20),
            7 => format!("PRAGMA foreign_keys = {}", n % 2),
            8 => "PRAGMA foreign_key_check".into(),
            9 => "PRAGMA page_count".into(),
            10 => "PRAGMA freelist_count".into(),
            11 => "PRAGMA quick_check".into(),
            12 => "PRAGMA shrink_memory".into(),
            _ => format!("PRAGMA application_id = {n}"),
        }
    }

    fn upsert(&mut self) -> String {
        let (table, key, value) = (self.table(), self.key(), self.value());
        format!(
            "INSERT INTO {table}(a, b, c, d) VALUES ({key}, 'up', 1, {value}) ON CONFLICT DO UPDATE SET c = c + 1, d = excluded.d RETURNING c"
        )
    }
}
