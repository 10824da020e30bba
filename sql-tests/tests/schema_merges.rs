//! Two branches change the schema, and rows with it, at random; then each is merged into the other. Whatever the pair of
//! changes is,
//!
//! - both directions have the same conflicts, or give the same tables, rows and objects;
//! - what a merge leaves is sound: SQLite's integrity check passes, every view, trigger and index that compiled before does,
//!   and so does ALTER TABLE, no key with AUTOINCREMENT can be given twice;
//! - where the message of a conflict advises 'ours' and 'theirs' both work, and 'ours' here gives what 'theirs' gives there;
//! - where one branch did nothing, it becomes what the other one is.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::histories::{literal, quote};
use maniac_sql_tests::{Kind, Session, Tools};

const STORE: &str = "file:shop.maniac?vfs=maniac";

const BASE: &str = "
    PRAGMA synchronous = OFF;
    CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT DEFAULT 3, c, CHECK (b IS NULL OR b < 1000));
    CREATE TABLE p(k TEXT COLLATE NOCASE PRIMARY KEY, v, w TEXT) WITHOUT ROWID;
    CREATE TABLE loose(x, y);
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE);
    CREATE TABLE child(id INTEGER PRIMARY KEY, t REFERENCES t(id), note);
    CREATE INDEX t_a ON t(a);
    CREATE INDEX loose_xy ON loose(x, y) WHERE y > 0;
    CREATE VIEW names AS SELECT id, a FROM t;
    CREATE VIEW joined AS SELECT t.id, loose.x FROM t JOIN loose ON loose.y = t.b;
    CREATE TRIGGER t_log AFTER UPDATE OF a ON t BEGIN INSERT INTO loose(x, y) VALUES (new.a, new.id); END;
    CREATE TRIGGER names_i INSTEAD OF INSERT ON names BEGIN INSERT INTO t(id, a) VALUES (new.id, new.a); END;
    CREATE VIRTUAL TABLE docs USING fts5(body);
    INSERT INTO t VALUES (1, 'a1', 1, 'c1'), (2, 'a2', 2, 'c2'), (3, 'a3', 3, 'c3');
    INSERT INTO p VALUES ('k1', 1, 'w1'), ('k2', 2, 'w2');
    INSERT INTO loose VALUES ('x1', 1), ('x2', 2);
    INSERT INTO counted(v) VALUES ('v1'), ('v2'), ('v3'), ('v4'); DELETE FROM counted WHERE id > 2;
    INSERT INTO child VALUES (1, 1, 'n1'), (2, 2, NULL);
    INSERT INTO docs VALUES ('some words'), ('other words');
    PRAGMA user_version = 1;";

fn strings(session: &mut Session, sql: &str) -> Vec<Vec<String>> {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
}

fn column(session: &mut Session, sql: &str) -> Vec<String> {
    strings(session, sql).into_iter().filter_map(|row| row.into_iter().next()).collect()
}

/// Ordinary tables of the application's own.
fn tables(session: &mut Session) -> Vec<String> {
    let own = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND name NOT LIKE 'docs%' ORDER BY name";
    column(session, own)
}

fn columns(session: &mut Session, table: &str) -> Vec<String> {
    // A view may be broken.
    let names = session.run(&format!("SELECT name FROM pragma_table_xinfo({}) WHERE hidden = 0", literal(table)));
    names.unwrap_or_default().iter().filter_map(|row| row.first()).map(ToString::to_string).collect()
}

/// A change of a schema that has some tables, as statements that are made together. SQLite may refuse it.
fn change(session: &mut Session, dice: &mut Dice) -> String {
    const NEW_COLUMNS: [&str; 3] = ["n1", "n2", "a"];
    const DEFINITIONS: [&str; 6] =
        ["", "TEXT", "INT DEFAULT 5", "TEXT NOT NULL DEFAULT 'x'", "text not  null default 'x'", "REFERENCES t(id)"];
    const NEW_TABLES: [&str; 3] = ["fresh", "t2", "names"];
    let tables = tables(session);
    if tables.is_empty() {
        return "CREATE TABLE t(id INTEGER PRIMARY KEY, a)".into();
    }
    // Half of the changes meet in one table.
    let hot = tables.iter().find(|table| *table == "t").filter(|_| dice.chance(50));
    let table = hot.unwrap_or_else(|| dice.pick(&tables)).clone();
    let all = columns(session, &table);
    let column = quote(dice.pick::<String>(&all));
    let (name, fresh) = (quote(&table), *dice.pick(&NEW_TABLES));
    let kind_and_name = |session: &mut Session, dice: &mut Dice| {
        let objects = strings(
            session,
            "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('index', 'view', 'trigger') AND sql IS NOT NULL",
        );
        (!objects.is_empty()).then(|| dice.pick(&objects).clone())
    };
    match dice.below(26) {
        0..=3 => format!("ALTER TABLE {name} ADD COLUMN {} {}", dice.pick(&NEW_COLUMNS), dice.pick(&DEFINITIONS)),
        4 | 5 => format!("ALTER TABLE {name} DROP COLUMN {column}"),
        6 | 7 => format!("ALTER TABLE {name} RENAME COLUMN {column} TO {}", dice.pick(&["n1", "n2", "r"])),
        8 => format!("ALTER TABLE {name} RENAME TO {fresh}"),
        9 => format!("DROP TABLE {name}"),
        10 => {
            let sql = dice.pick(&["(id INTEGER PRIMARY KEY, a)", "(k, v)", "(  id integer primary key, a )"]);
            format!("CREATE TABLE {fresh}{sql}; INSERT INTO {fresh} VALUES ({}, 'new')", dice.below(3))
        }
        // A migration that copies a table: into one with another key, with a column that no row may lack, or as it was.
        11 | 12 => {
            let list: Vec<String> = all.iter().map(|name| quote(name)).collect();
            let (list, rest) = (list.join(", "), list[1..].join(", "));
            let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
            let (definition, values) = match dice.below(4) {
                0 => (format!("key_of INTEGER PRIMARY KEY, {list}"), format!("row_number() OVER (), {list}")),
                1 => (format!("{}{rest}, must INT NOT NULL", quote(&all[0])), format!("{list}, 7")),
                2 => (format!("{} TEXT PRIMARY KEY{rest}", quote(&all[0])), list.clone()),
                _ => (format!("{} INTEGER PRIMARY KEY{rest}, CHECK (1)", quote(&all[0])), list.clone()),
            };
            format!(
                "CREATE TABLE copied({definition}); INSERT INTO copied SELECT {values} FROM {name}; DROP TABLE {name}; \
                 ALTER TABLE copied RENAME TO {name}"
            )
        }
        13 => format!("CREATE INDEX {} ON {name}({column})", dice.pick(&["i1", "i2", "names"])),
        14 => format!("CREATE VIEW {} AS SELECT {column} FROM {name}", dice.pick(&["v1", "v2", "fresh"])),
        15 => format!(
            "CREATE TRIGGER {} AFTER {} ON {name} BEGIN UPDATE {name} SET {column} = 1 WHERE 0; END",
            dice.pick(&["g1", "g2"]),
            dice.pick(&["INSERT", "UPDATE", "DELETE"])
        ),
        16 => match kind_and_name(session, dice) {
            Some(object) => format!("DROP {} {}", object[0], quote(&object[1])),
            None => String::new(),
        },
        // The same object with other spaces, or with another text.
        17 | 18 => match kind_and_name(session, dice) {
            Some(object) => {
                let sql = object[2].replace(['\n', '\\'], " ");
                let sql = match (object[0].as_str(), dice.chance(50)) {
                    (_, true) => sql.replacen(' ', "   ", 2).replace(" ON ", "  on "),
                    ("view", false) => format!("{sql} WHERE {}", dice.pick(&["1", "0"])),
                    ("index", false) if !sql.contains("WHERE") => format!("{sql} WHERE {}", dice.pick(&["1", "0"])),
                    ("trigger", false) => sql.replace("END", &format!("SELECT {}; END", dice.below(2))),
                    _ => sql,
                };
                format!("DROP {} {}; {sql}", object[0], quote(&object[1]))
            }
            None => String::new(),
        },
        19 => format!("PRAGMA {} = {}", dice.pick(&["user_version", "application_id"]), dice.below(3)),
        20 => format!("INSERT INTO docs VALUES ('words {}')", dice.below(3)),
        21 => "INSERT INTO counted(v) VALUES ('gone'); DELETE FROM counted WHERE v = 'gone'".into(),
        22 => format!("DELETE FROM {name} WHERE rowid = {}", 1 + dice.below(2)),
        23 => format!("INSERT INTO {name}({column}) VALUES ({})", dice.below(9)),
        _ => format!("UPDATE {name} SET {column} = {} WHERE {} = {column}", dice.below(9), column),
    }
}

/// What a branch holds, as far as it is the same whichever branch merged the other: columns without their order, rows without
/// the rowids that nothing refers to.
fn state(session: &mut Session) -> Vec<String> {
    let mut state = Vec::new();
    for table in tables(session) {
        let mut names = columns(session, &table);
        names.sort();
        let info = format!(
            "SELECT name, upper(type), \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo({}) ORDER BY name",
            literal(&table)
        );
        state.extend(strings(session, &info).into_iter().map(|row| format!("{table}: column {}", row.join(" "))));
        let values: Vec<String> = names.iter().map(|name| format!("quote({})", quote(name))).collect();
        let rows = format!("SELECT {} FROM {} ORDER BY 1", values.join(" || ' ' || "), quote(&table));
        state.extend(column(session, &rows).into_iter().map(|row| format!("{table}: {row}")));
        let text = column(session, &format!("SELECT sql FROM sqlite_schema WHERE name = {}", literal(&table))).concat();
        let mut words: Vec<String> = text
            .to_lowercase()
            .split(|c: char| c.is_whitespace() || "(),\"\\".contains(c))
            .map(str::to_owned)
            .collect();
        words.sort();
        state.push(format!("{table}: {}", words.join(" ").trim()));
    }
    let objects =
        "SELECT type || ' ' || name || ' ' || sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL";
    let spaceless =
        |text: String| text.to_lowercase().replace("\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    state.extend(column(session, objects).into_iter().map(spaceless));
    if !column(session, "SELECT 1 FROM sqlite_schema WHERE name = 'docs'").is_empty() {
        state.extend(column(session, "SELECT 'docs: ' || body FROM docs"));
    }
    for pragma in ["user_version", "application_id"] {
        state.extend(column(session, &format!("PRAGMA {pragma}")).into_iter().map(|value| format!("{pragma} {value}")));
    }
    state.extend(counters(session).into_iter().map(|(table, counter)| format!("{table}: counter {counter}")));
    state.sort();
    state
}

fn counters(session: &mut Session) -> BTreeMap<String, i64> {
    if column(session, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").is_empty() {
        return BTreeMap::new();
    }
    let rows = strings(session, "SELECT name, seq FROM sqlite_sequence");
    rows.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
}

/// What doesn't compile: views, statements that fire triggers, and ALTER TABLE.
fn faults(session: &mut Session) -> BTreeSet<String> {
    let mut faults = BTreeSet::new();
    let mut check = |session: &mut Session, what: String, sql: String| {
        if let Err(error) = session.run(&sql) {
            let words = error.to_string();
            // The reason stands behind the line's number. Tables may have other names before the merge.
            let reason =
                words.split_once("line ").and_then(|(_, rest)| rest.split_once(": ")).map_or("", |found| found.1);
            if !words.contains("cannot modify") {
                faults.insert(format!("{what}: {}", reason.lines().next().unwrap_or_default()));
            }
        }
    };
    let views = column(session, "SELECT name FROM sqlite_schema WHERE type = 'view'");
    for view in &views {
        check(session, format!("view {view}"), format!("SELECT * FROM {} LIMIT 0", quote(view)));
    }
    for table in tables(session).into_iter().chain(views) {
        let names = columns(session, &table);
        let sets: Vec<String> = names.iter().map(|name| format!("{0} = {0}", quote(name))).collect();
        let name = quote(&table);
        let list = names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
        for sql in [
            format!("INSERT INTO {name}({list}) SELECT {list} FROM {name} WHERE 0"),
            format!("DELETE FROM {name} WHERE 0"),
            format!("UPDATE {name} SET {} WHERE 0", sets.join(", ")),
        ] {
            check(session, sql[..6].to_owned(), sql);
        }
    }
    let alter = "SAVEPOINT probe; CREATE TABLE probe(x); ALTER TABLE probe RENAME TO probed;";
    check(session, "ALTER TABLE".into(), alter.into());
    // The command line goes on behind a failure; without the savepoint there is nothing to undo.
    let _ = session.run("ROLLBACK TO probe; RELEASE probe");
    faults
}

fn assert_sound(session: &mut Session, before: &BTreeSet<String>, what: &str) {
    assert_eq!(column(session, "PRAGMA integrity_check"), ["ok"], "{what}");
    let broken: Vec<_> = faults(session).difference(before).cloned().collect();
    assert!(broken.is_empty(), "{what}: doesn't compile: {broken:?}");
    if !column(session, "SELECT 1 FROM sqlite_schema WHERE name = 'docs'").is_empty() {
        session
            .run("INSERT INTO docs(docs) VALUES ('integrity-check')")
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// The outcome of a merge: what the branch holds, or the conflicts and the message.
enum Outcome {
    Merged(Vec<String>),
    Refused { conflicts: Vec<String>, message: String },
}

struct Case {
    session: Session,
    /// What was done, for a failure.
    log: Vec<String>,
    branches: u32,
    /// One of the branches has something that doesn't compile.
    broken: bool,
    /// What the message of a conflict advises to the left branch.
    advised: Vec<&'static str>,
}

fn advises(message: &str, policy: &str) -> bool {
    message.split("on_conflict").nth(1).is_some_and(|advice| advice.contains(&format!("'{policy}'")))
}

impl Case {
    fn open(&mut self, branch: &str) {
        self.session.open(&format!("{STORE}&branch={branch}")).unwrap();
    }

    /// Merges one branch into a copy of another.
    fn merge(&mut self, into: &str, from: &str, policy: &str) -> Outcome {
        self.branches += 1;
        let copy = format!("copy{}", self.branches);
        self.open(into);
        let before = faults(&mut self.session);
        let mut least = counters(&mut self.session);
        self.open(from);
        for (table, counter) in counters(&mut self.session) {
            let known = least.entry(table).or_insert(counter);
            *known = counter.max(*known);
        }
        self.open(into);
        self.session.run(&format!("SELECT maniac_branch_create('{copy}', '{into}')")).unwrap();
        self.open(&copy);
        let what = format!("{from} into {into}, {policy}");
        let held = state(&mut self.session);
        match self.session.run(&format!("SELECT maniac_merge('{from}', '{policy}')")) {
            Ok(_) => {
                self.open(&copy);
                assert_sound(&mut self.session, &before, &what);
                for (table, counter) in counters(&mut self.session) {
                    assert!(least.get(&table).is_none_or(|least| *least <= counter), "{what}: counter of {table}");
                }
                Outcome::Merged(state(&mut self.session))
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("nothing changed"), "{what}: {message}");
                let listed =
                    "SELECT DISTINCT kind || ' ' || key FROM maniac_conflicts WHERE kind = 'schema' ORDER BY 1";
                let mut conflicts = column(&mut self.session, listed);
                if conflicts.is_empty() {
                    conflicts = column(&mut self.session, "SELECT DISTINCT kind FROM maniac_conflicts ORDER BY 1");
                }
                assert!(!conflicts.is_empty(), "{what}: no conflict is listed");
                let reasons = "SELECT count(*) FROM maniac_conflicts WHERE kind = 'schema' AND ifnull(reason, '') = ''";
                assert_eq!(column(&mut self.session, reasons), ["0"], "{what}");
                assert_eq!(state(&mut self.session), held, "{what}: {message}");
                Outcome::Refused { conflicts, message }
            }
        }
    }

    /// What both directions have to agree in; says how it went.
    fn both_ways(&mut self, ours: &str, theirs: &str) -> &'static str {
        match (self.merge("left", "right", ours), self.merge("right", "left", theirs)) {
            (Outcome::Merged(one), Outcome::Merged(other)) => {
                let differ = |one: &[String], other: &[String]| -> Vec<String> {
                    one.iter().filter(|line| !other.contains(line)).cloned().collect()
                };
                let (left, right) = (differ(&one, &other), differ(&other, &one));
                assert!(one == other, "{ours} and {theirs} differ:\n{left:#?}\n{right:#?}");
                "merged"
            }
            (
                Outcome::Refused { conflicts, message },
                Outcome::Refused { conflicts: others, message: other_message },
            ) => {
                assert_eq!(conflicts, others, "{ours} and {theirs}:\n{message}\n{other_message}");
                for policy in ["ours", "theirs"] {
                    let other = if policy == "ours" { "theirs" } else { "ours" };
                    let advised = advises(&message, policy);
                    assert_eq!(advised, advises(&other_message, other), "{policy}: {message}\n{other_message}");
                    self.advised.extend(advised.then_some(policy));
                }
                if self.advised.is_empty() { "refused" } else { "advised" }
            }
            (Outcome::Merged(_), Outcome::Refused { message, .. })
            | (Outcome::Refused { message, .. }, Outcome::Merged(_)) => {
                panic!("{ours} and {theirs}: one direction merges, the other has: {message}")
            }
        }
    }

    fn run(&mut self, dice: &mut Dice) -> &'static str {
        self.session.open(STORE).unwrap();
        self.session.run(BASE).unwrap();
        self.session.run("SELECT maniac_branch_create('left'); SELECT maniac_branch_create('right')").unwrap();
        let alone = dice.chance(10);
        for branch in ["left", "right"] {
            self.open(branch);
            let changes = if alone && branch == "right" { 0 } else { 1 + dice.below(4) };
            for _ in 0..changes {
                let sql = change(&mut self.session, dice);
                let done = self.session.run(&format!("BEGIN; {sql}"));
                let refused = done.is_err();
                // SQLite lets a table go that a view needs. A branch that is broken itself is a case of its own.
                let broken = !refused && !faults(&mut self.session).is_empty();
                let kept = !refused && (!broken || dice.chance(3));
                self.broken |= kept && broken;
                let note = match (refused, kept) {
                    (true, _) => "refused by SQLite: ",
                    (false, false) => "undone, since it breaks something: ",
                    (false, true) => "",
                };
                self.log.push(format!("{branch}: {note}{sql}"));
                self.session.run(if kept { "COMMIT" } else { "ROLLBACK" }).unwrap();
            }
        }
        if self.broken {
            // What was broken before stays so; nothing else may break.
            self.merge("left", "right", "abort");
            self.merge("right", "left", "abort");
            return "broken before";
        }
        let how = self.both_ways("abort", "abort");
        if alone {
            self.open("left");
            let left = state(&mut self.session);
            assert_eq!(how, "merged", "one branch alone changed something");
            let Outcome::Merged(right) = self.merge("right", "left", "abort") else { panic!("merged before") };
            assert_eq!(left, right, "one branch alone changed something");
        }
        for policy in std::mem::take(&mut self.advised) {
            let other = if policy == "ours" { "theirs" } else { "ours" };
            assert_eq!(self.both_ways(policy, other), "merged", "what the message advises");
        }
        how
    }
}

#[test]
fn both_directions_of_a_merge_agree_and_leave_a_sound_schema() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let (first, cases) = (number("MANIAC_SEED").unwrap_or(1), number("MANIAC_CASES").unwrap_or(60));
    println!("schema_merges: MANIAC_SEED={first} MANIAC_CASES={cases}");
    let tools = Tools::find();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in first..first + cases {
        let directory = tempfile::tempdir().unwrap();
        let session = Session::new(Kind::Sqlite, &tools, directory.path());
        let mut case = Case { session, log: Vec::new(), branches: 0, broken: false, advised: Vec::new() };
        let outcome = catch_unwind(AssertUnwindSafe(|| case.run(&mut Dice::seeded(seed))));
        let Ok(how) = outcome else {
            panic!("{}\nMANIAC_SEED={seed} MANIAC_CASES=1 runs this one alone", case.log.join(";\n"))
        };
        *counts.entry(how).or_default() += 1;
    }
    println!("{counts:?}");
    let seen = ["merged", "advised"].iter().all(|how| counts.contains_key(how));
    assert!(seen || cases < 60, "pairs of each kind: {counts:?}");
}
