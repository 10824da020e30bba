//! Branches that change FTS5, FTS4, R-Tree and ordinary tables at random are merged at random. After each merge every
//! table holds what a model by document says, every index finds what is there, and all of SQLite's checks pass: on the
//! connection that merged, which had used the indexes before, and on a new one.
//!
//! `MANIAC_SEED` chooses the first history, `MANIAC_CASES` how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools};

const SCHEMA: &str = "
    CREATE VIRTUAL TABLE docs USING fts5(title, body, prefix = '1');
    CREATE VIRTUAL TABLE tags USING fts4(title TEXT, body TEXT);
    CREATE VIRTUAL TABLE boxes USING rtree(id, a, b, +name TEXT);
    CREATE TABLE texts(id INTEGER PRIMARY KEY, body TEXT);
    CREATE VIRTUAL TABLE found USING fts5(body, content = 'texts', content_rowid = 'id');
    CREATE TRIGGER found_i AFTER INSERT ON texts BEGIN INSERT INTO found(rowid, body) VALUES (new.id, new.body); END;
    CREATE TRIGGER found_d AFTER DELETE ON texts
      BEGIN INSERT INTO found(found, rowid, body) VALUES ('delete', old.id, old.body); END;
    CREATE TRIGGER found_u AFTER UPDATE ON texts
      BEGIN INSERT INTO found(found, rowid, body) VALUES ('delete', old.id, old.body);
      INSERT INTO found(rowid, body) VALUES (new.id, new.body); END;
    CREATE VIRTUAL TABLE bare USING fts5(body, content = '');";

const WORDS: [&str; 6] = ["aa", "ab", "bb", "cc", "dd", "ee"];

/// A table with an id and the columns that are written.
struct Table {
    name: &'static str,
    id: &'static str,
    columns: &'static [&'static str],
    /// The index to search, and what it calls the id.
    index: Option<(&'static str, &'static str)>,
    /// Rows that both sides add under one id are different rows.
    appends: bool,
    /// Its ids, so that those of different tables don't meet.
    first_id: i64,
}

const TABLES: [Table; 4] = [
    Table {
        name: "docs",
        id: "rowid",
        columns: &["title", "body"],
        index: Some(("docs", "rowid")),
        appends: true,
        first_id: 1,
    },
    Table {
        name: "tags",
        id: "docid",
        columns: &["title", "body"],
        index: Some(("tags", "docid")),
        appends: true,
        first_id: 1,
    },
    Table { name: "boxes", id: "id", columns: &["a", "b", "name"], index: None, appends: false, first_id: 1 },
    Table {
        name: "texts",
        id: "id",
        columns: &["body"],
        index: Some(("found", "rowid")),
        appends: false,
        first_id: 1_000_000,
    },
];
const IDS: u64 = 14;

/// Rows by id, each as SQL literals.
type Rows = BTreeMap<i64, Vec<String>>;

/// What a branch holds.
#[derive(Clone, Default, PartialEq)]
struct Model {
    tables: [Rows; 4],
    /// The contentless index.
    bare: Rows,
    /// The settings of `docs`.
    settings: BTreeMap<&'static str, u64>,
}

struct Branch {
    name: &'static str,
    session: Session,
    model: Model,
}

fn text(session: &mut Session, sql: &str) -> String {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter()
        .map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("|")
}

fn words(dice: &mut Dice) -> String {
    if dice.chance(8) {
        return "NULL".into();
    }
    let words: Vec<&str> = (0..dice.below(5)).map(|_| *dice.pick(&WORDS)).collect();
    format!("'{}'", words.join(" "))
}

fn row(table: &Table, dice: &mut Dice) -> Vec<String> {
    if table.name == "boxes" {
        let a = dice.below(100);
        return vec![format!("{a}.0"), format!("{}.0", a + dice.below(50)), words(dice)];
    }
    table.columns.iter().map(|_| words(dice)).collect()
}

/// One statement on one table, and the same in the model.
fn change(branch: &mut Branch, dice: &mut Dice) -> String {
    let n = dice.below(4) as usize;
    let (table, rows) = (&TABLES[n], &mut branch.model.tables[n]);
    let Table { name, id, columns, .. } = table;
    let key = table.first_id + dice.below(IDS) as i64;
    let exists = rows.contains_key(&key);
    let names = columns.join(", ");
    match dice.below(10) {
        0..=2 if !exists => {
            let row = row(table, dice);
            let sql = format!("INSERT INTO {name}({id}, {names}) VALUES ({key}, {})", row.join(", "));
            rows.insert(key, row);
            sql
        }
        3 if table.first_id == 1 => {
            let row = row(table, dice);
            let sql = format!("INSERT INTO {name}({names}) VALUES ({})", row.join(", "));
            rows.insert(rows.keys().last().map_or(1, |last| last + 1), row);
            sql
        }
        0..=6 if exists => {
            let (column, fresh) = (dice.below(columns.len() as u64) as usize, row(table, dice));
            if *name == "boxes" && column < 2 {
                rows.insert(key, fresh.clone());
                let sets: Vec<_> =
                    columns.iter().zip(&fresh).map(|(column, value)| format!("{column} = {value}")).collect();
                return format!("UPDATE boxes SET {} WHERE id = {key}", sets.join(", "));
            }
            rows.get_mut(&key).expect("it exists")[column].clone_from(&fresh[column]);
            format!("UPDATE {name} SET {} = {} WHERE {id} = {key}", columns[column], fresh[column])
        }
        7 if *name == "boxes" && dice.chance(30) => {
            let low = 100 + dice.below(300) as i64;
            rows.retain(|id, _| !(low..low + 20).contains(id));
            format!("DELETE FROM boxes WHERE id BETWEEN {low} AND {low} + 19")
        }
        7 => {
            rows.remove(&key);
            format!("DELETE FROM {name} WHERE {id} = {key}")
        }
        8 => {
            let command = *dice.pick(&["rebuild", "optimize"]);
            let index = *dice.pick(&["docs", "tags", "found"]);
            format!("INSERT INTO {index}({index}) VALUES ('{command}')")
        }
        9 if dice.chance(20) => {
            let (setting, value) = (*dice.pick(&["automerge", "usermerge"]), 2 + dice.below(8));
            branch.model.settings.insert(setting, value);
            format!("INSERT INTO docs(docs, rank) VALUES ('{setting}', {value})")
        }
        9 if dice.chance(10) => {
            // Without content NULL is no different from an empty text.
            let body = words(dice).replace("NULL", "''");
            let sql = format!("INSERT INTO bare(rowid, body) VALUES ({}, {body})", branch.model.bare.len() + 1);
            branch.model.bare.insert(branch.model.bare.len() as i64 + 1, vec![body]);
            sql
        }
        _ => format!("DELETE FROM {name} WHERE {id} = -1"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    Abort,
    Ours,
    Theirs,
}

/// What a merge has to give: the state and the number of conflicts, or nothing where it is refused.
fn merged(base: &Model, ours: &Model, theirs: &Model, policy: Policy) -> (Option<Model>, u64) {
    let (mut result, mut conflicts) = (ours.clone(), 0);
    // Documents under the ids of rows that both sides added to another table belong to these.
    let added_twice = |id: i64| {
        let added = |side: &Model, n: usize| side.tables[n].contains_key(&id) && !base.tables[n].contains_key(&id);
        (0..4).any(|n| !TABLES[n].appends && added(ours, n) && added(theirs, n))
    };
    for (n, table) in TABLES.iter().enumerate() {
        let (before, there) = (&base.tables[n], &theirs.tables[n]);
        let mut appended = Vec::new();
        let ids: BTreeSet<i64> = before.keys().chain(there.keys()).copied().collect();
        for id in ids {
            let (old, here, new) = (before.get(&id), ours.tables[n].get(&id), there.get(&id));
            if new == old || new == here {
                continue;
            }
            if here != old {
                if let (true, None, Some(_), Some(new)) = (table.appends && !added_twice(id), old, here, new) {
                    appended.push(new.clone());
                    continue;
                }
                conflicts += 1;
                if policy != Policy::Theirs {
                    continue;
                }
            }
            match new {
                Some(row) => drop(result.tables[n].insert(id, row.clone())),
                None => drop(result.tables[n].remove(&id)),
            }
        }
        for row in appended {
            let id = result.tables[n].keys().last().map_or(1, |last| last + 1);
            result.tables[n].insert(id, row);
        }
    }
    for (setting, value) in &theirs.settings {
        let (old, here) = (base.settings.get(setting), ours.settings.get(setting));
        if Some(value) == old || Some(value) == here {
            continue;
        }
        if here != old {
            conflicts += 1;
            if policy != Policy::Theirs {
                continue;
            }
        }
        result.settings.insert(setting, *value);
    }
    let contradict = theirs.bare != base.bare && ours.bare != base.bare && theirs.bare != ours.bare;
    if theirs.bare != base.bare {
        result.bare = theirs.bare.clone();
    }
    let refused = contradict || policy == Policy::Abort && conflicts > 0;
    ((!refused).then_some(result), conflicts + u64::from(contradict))
}

fn expected(rows: &Rows) -> String {
    let line = |(id, row): (&i64, &Vec<String>)| format!("{id} {}", row.join(" "));
    rows.iter().map(line).collect::<Vec<_>>().join("|")
}

/// Everything that can be asked of a branch's state.
fn check(session: &mut Session, model: &Model) {
    for (n, table) in TABLES.iter().enumerate() {
        let Table { name, id, columns, index, .. } = table;
        let quoted: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
        let sql = format!("SELECT {id}, {} FROM {name} ORDER BY {id}", quoted.join(", "));
        assert_eq!(text(session, &sql), expected(&model.tables[n]), "{name}");
        let Some((index, id)) = index else { continue };
        for word in WORDS {
            let sql = format!("SELECT {id} FROM {index} WHERE {index} MATCH '{word}' ORDER BY {id}");
            let has = |row: &Vec<String>| row.iter().any(|cell| cell.contains(word));
            let ids = model.tables[n].iter().filter(|(_, row)| has(row)).map(|(id, _)| id.to_string());
            assert_eq!(text(session, &sql), ids.collect::<Vec<_>>().join("|"), "{index} MATCH {word}");
        }
    }
    for low in [0, 30, 70] {
        let sql = format!("SELECT count(*) FROM boxes WHERE a >= {low} AND b <= {low} + 40");
        let inside = |row: &&Vec<String>| {
            let number = |cell: &str| cell.parse::<f64>().expect("a number");
            number(&row[0]) >= f64::from(low) && number(&row[1]) <= f64::from(low) + 40.0
        };
        assert_eq!(text(session, &sql), model.tables[2].values().filter(inside).count().to_string(), "{sql}");
    }
    for word in WORDS {
        let ids = model.bare.iter().filter(|(_, row)| row[0].contains(word)).map(|(id, _)| id.to_string());
        let sql = format!("SELECT rowid FROM bare WHERE bare MATCH '{word}' ORDER BY rowid");
        assert_eq!(text(session, &sql), ids.collect::<Vec<_>>().join("|"), "bare MATCH {word}");
    }
    let settings = model.settings.iter().map(|(setting, value)| format!("{setting} {value}"));
    let sql = "SELECT k, v FROM docs_config WHERE k <> 'version' ORDER BY k";
    assert_eq!(text(session, sql), settings.collect::<Vec<_>>().join("|"), "settings");
    for index in ["docs", "tags", "bare"] {
        text(session, &format!("INSERT INTO {index}({index}) VALUES ('integrity-check')"));
    }
    text(session, "INSERT INTO found(found, rank) VALUES ('integrity-check', 1)");
    assert_eq!(text(session, "SELECT rtreecheck('boxes')"), "ok");
    assert_eq!(text(session, "PRAGMA integrity_check"), "ok");
}

#[derive(Default, Debug)]
struct Counts {
    merges: u32,
    without_conflicts: u32,
    with_conflicts: u32,
    refused: u32,
}

fn open(tools: &Tools, directory: &Path, branch: &str) -> Session {
    let mut session = Session::new(Kind::Sqlite, tools, directory);
    session.open(&format!("file:shop.maniac?vfs=maniac&branch={branch}")).unwrap();
    session.run("PRAGMA synchronous = OFF").unwrap();
    session
}

fn history(tools: &Tools, seed: u64, counts: &mut Counts) {
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::seeded(seed);
    let mut first = Branch { name: "main", session: open(tools, directory.path(), "main"), model: Model::default() };
    first.session.run(SCHEMA).unwrap();
    for _ in 0..dice.below(60) {
        let sql = change(&mut first, &mut dice);
        first.session.run(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    if dice.chance(40) {
        // So many that the tree has inner nodes.
        let many = "INSERT INTO boxes WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
             SELECT i, i, i + 1, NULL FROM n";
        first.session.run(many).unwrap();
        first.model.tables[2]
            .extend((100..=400).map(|i| (i, vec![format!("{i}.0"), format!("{}.0", i + 1), "NULL".into()])));
    }
    text(&mut first.session, "SELECT maniac_branch_create('dev')");
    let mut base = first.model.clone();
    let dev = Branch { name: "dev", session: open(tools, directory.path(), "dev"), model: base.clone() };
    let mut branches = [first, dev];
    for branch in &mut branches {
        check(&mut branch.session, &branch.model);
    }
    for _ in 0..4 {
        for branch in &mut branches {
            for _ in 0..dice.below(20) {
                let sql = change(branch, &mut dice);
                branch.session.run(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
        if dice.chance(50) {
            branches.reverse();
        }
        let [ours, theirs] = &mut branches;
        let policy = *dice.pick(&[Policy::Abort, Policy::Ours, Policy::Theirs]);
        let way = format!("{policy:?}").to_lowercase();
        let (state, conflicts) = merged(&base, &ours.model, &theirs.model, policy);
        let sql = format!("SELECT maniac_merge('{}', '{way}') ->> '$.conflicts'", theirs.name);
        let result = ours.session.run(&sql);
        counts.merges += 1;
        match state {
            Some(state) => {
                let listed = text(&mut ours.session, "SELECT * FROM maniac_conflicts");
                let rows = result.unwrap_or_else(|error| panic!("{way}: {error}, {listed}"));
                assert_eq!(rows[0][0].to_string(), conflicts.to_string(), "conflicts with {way}: {listed}");
                ours.model = state;
                base = theirs.model.clone();
                counts.without_conflicts += u32::from(conflicts == 0);
                counts.with_conflicts += u32::from(conflicts > 0);
            }
            None => {
                assert!(result.is_err(), "{way}: {conflicts} conflicts");
                counts.refused += 1;
            }
        }
        check(&mut ours.session, &ours.model);
        check(&mut open(tools, directory.path(), ours.name), &ours.model);
    }
}

#[test]
fn merged_indexes_are_sound_and_hold_what_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let (first, cases) = (number("MANIAC_SEED").unwrap_or(1), number("MANIAC_CASES").unwrap_or(40));
    println!("virtual_merges: MANIAC_SEED={first} MANIAC_CASES={cases}");
    let tools = Tools::find();
    let mut counts = Counts::default();
    for seed in first..first + cases {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut counted = Counts::default();
            history(&tools, seed, &mut counted);
            counted
        }));
        let Ok(one) = outcome else { panic!("MANIAC_SEED={seed} MANIAC_CASES=1 runs this one alone") };
        counts.merges += one.merges;
        counts.without_conflicts += one.without_conflicts;
        counts.with_conflicts += one.with_conflicts;
        counts.refused += one.refused;
    }
    println!("{counts:?}");
    let least = counts.without_conflicts.min(counts.with_conflicts).min(counts.refused);
    assert!(least > 0 || cases < 40, "merges of each kind");
}
