//! Two branches written to at random: `maniac_diff` says what SQL says, a changeset applied to an older state gives the
//! newer one, and merging both ways makes the branches equal.

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools};

const TABLES: [&str; 3] = ["t", "words", "notes"];
const SCHEMA: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INTEGER); \
     CREATE TABLE words(k TEXT PRIMARY KEY, v) WITHOUT ROWID; CREATE TABLE notes(body TEXT); CREATE INDEX t_b ON t(b); \
     INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i, 'row ' || i, i FROM n; \
     INSERT INTO words SELECT 'k' || id, id FROM t WHERE id % 3 = 0;";

fn text(session: &mut Session, sql: &str) -> String {
    let rows = session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| row.iter().map(|value| format!("{value} ")).collect::<String>()).collect::<Vec<_>>().join("|")
}

fn write(session: &mut Session, dice: &mut Dice) {
    let (n, m) = (dice.below(2500), dice.below(40) + 1);
    let sql = match dice.below(9) {
        0 => format!("UPDATE t SET a = 'changed {m}' WHERE id BETWEEN {n} AND {n} + {m}"),
        1 => format!("DELETE FROM t WHERE id BETWEEN {n} AND {n} + {m}"),
        2 => format!("INSERT OR IGNORE INTO t VALUES ({n}, 'new {m}', {m}), ({n} + 3000, 'far', {n})"),
        3 => format!("UPDATE t SET a = hex(zeroblob({m} * 300)) WHERE id = {n}"),
        4 => format!("UPDATE OR IGNORE t SET id = id + 10000 WHERE id % 97 = {m}"),
        5 => format!("UPDATE words SET v = {n} WHERE v % 41 = {m}"),
        6 => format!("INSERT OR REPLACE INTO words VALUES ('k{n}', {m}), ('w' || {n}, 1.5)"),
        7 => format!("INSERT INTO notes VALUES ('note {n}'), ('note {m}')"),
        _ => format!("DELETE FROM notes WHERE rowid % 7 = {m} % 7; DELETE FROM words WHERE k LIKE 'k{m}%'"),
    };
    session.run(&format!("BEGIN; {sql}; COMMIT;")).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The keys of the rows that differ, as SQL finds them and as `maniac_diff` does.
fn check_difference(session: &mut Session) {
    for (table, key) in [("t", "id"), ("words", "k"), ("notes", "_rowid_")] {
        let (one, other) =
            (format!("SELECT {key} AS k, * FROM main.{table}"), format!("SELECT {key} AS k, * FROM dev.{table}"));
        let by_sql = format!(
            "SELECT DISTINCT k FROM (SELECT k FROM ({one} EXCEPT {other}) UNION SELECT k FROM ({other} EXCEPT {one})) ORDER BY k"
        );
        let by_pages = format!("SELECT key ->> '$.{key}' AS k FROM maniac_diff('main', 'dev', '{table}') ORDER BY k");
        assert_eq!(text(session, &by_pages), text(session, &by_sql), "{table}");
    }
}

#[test]
fn differences_changesets_and_merges_agree_with_sql() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let open = |branch: &str| {
        let mut session = Session::new(Kind::Sqlite, &tools, directory.path());
        session.open(&format!("file:shop.maniac?vfs=maniac&branch={branch}")).unwrap();
        session
    };
    let mut dice = Dice::new("branches_differ", 7);
    let mut main = open("main");
    main.run(SCHEMA).unwrap();
    text(&mut main, "SELECT maniac_branch_create('dev')");
    main.run("ATTACH 'file:shop.maniac?vfs=maniac&branch=dev' AS dev").unwrap();
    let mut dev = open("dev");
    for round in 0..12 {
        let start = text(&mut main, "SELECT maniac_head()");
        for _ in 0..=dice.below(6) {
            write(&mut main, &mut dice);
            write(&mut dev, &mut dice);
            check_difference(&mut main);
        }
        let copy = format!("copy{round}");
        text(&mut main, &format!("SELECT maniac_branch_create('{copy}', 'main', {start})"));
        let changeset = text(&mut main, &format!("SELECT hex(maniac_changeset({start}, maniac_head()))"));
        let mut copied = open(&copy);
        text(&mut copied, &format!("SELECT maniac_apply(x'{}')", changeset.trim()));
        assert_eq!(
            text(&mut main, &format!("SELECT count(*) FROM maniac_diff('main', '{copy}')")).trim(),
            "0",
            "{copy}"
        );
        copied.exit().unwrap();
        if round % 3 == 2 {
            let way = if dice.below(2) == 0 { "ours" } else { "theirs" };
            text(&mut main, &format!("SELECT maniac_merge('dev', '{way}')"));
            text(&mut dev, "SELECT maniac_merge('main')");
            assert_eq!(
                text(&mut main, "SELECT count(*) FROM maniac_diff('main', 'dev')").trim(),
                "0",
                "round {round}, {way}"
            );
        }
    }
    for session in [&mut main, &mut dev] {
        assert_eq!(text(session, "PRAGMA integrity_check").trim(), "ok");
        for table in TABLES {
            assert_ne!(text(session, &format!("SELECT count(*) FROM {table}")).trim(), "0", "{table}");
        }
        session.exit().unwrap();
    }
}
