//! Random changes, many of values that do not fit, in mirrors with `on_mismatch := 'null'`: the mirror and its rejects
//! together always have what the source has, whatever was netted, deleted, repaired, renamed or caught up with.

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools};

const ROUNDS: u64 = 25;

/// Tables with each form of key, the same columns otherwise: the name, its definition and its key as JSON.
const TABLES: &[(&str, &str, &str)] = &[
    ("by_rowid", "(k INTEGER PRIMARY KEY, p INTEGER, n INTEGER, s TEXT)", "json_object('k', k)"),
    ("by_text", "(k TEXT, p INTEGER, n INTEGER, s TEXT, PRIMARY KEY (p, k))", "json_object('k', k, 'p', p)"),
    ("rowless", "(k INTEGER, p INTEGER, n INTEGER, s TEXT, PRIMARY KEY (k)) WITHOUT ROWID", "json_object('k', k)"),
    ("keyless", "(k INTEGER, p INTEGER, n INTEGER, s TEXT)", "json_object('_rowid_', rowid)"),
];

#[test]
fn a_mirror_and_its_rejects_have_what_the_source_has() {
    let mut dice = Dice::new("mirror_rejects", 5);
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    for (name, definition, _) in TABLES {
        writer
            .run(&format!("CREATE TABLE {name}{definition}; INSERT INTO {name} VALUES (1, 1, 'first', 's');"))
            .unwrap();
    }
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db").unwrap();
    let lake =
        format!("LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files');", tools.ducklake.display());
    let attach = "CALL maniac_attach('shop.maniac', on_mismatch := 'null'); \
                  CALL maniac_attach('shop.maniac', lake := 'lake', schema := 'laked', on_mismatch := 'null');";
    duckdb.run(&format!("{lake} {attach}")).unwrap();

    for round in 0..ROUNDS {
        let away = dice.below(4) == 0;
        if away {
            duckdb.run("CALL maniac_detach('shop'); CALL maniac_detach('laked');").unwrap();
        }
        for _ in 0..=dice.below(5) {
            let statements: Vec<String> = (0..=dice.below(4)).map(|_| change(&mut dice)).collect();
            writer.run(&format!("BEGIN; {}; COMMIT;", statements.join("; "))).unwrap();
        }
        if dice.below(10) == 0 {
            let table = TABLES[dice.below(TABLES.len() as u64) as usize].0;
            let column = ["late", "later"][dice.below(2) as usize];
            writer
                .run(&format!("ALTER TABLE {table} ADD COLUMN {column}{round} INTEGER DEFAULT 'none'; ALTER TABLE {table} DROP COLUMN {column}{round};"))
                .unwrap();
        }
        if away {
            duckdb.run(attach).unwrap();
        }
        duckdb.run("CALL maniac_wait('shop'); CALL maniac_wait('laked');").unwrap();
        for schema in ["shop", "lake.laked"] {
            for (name, _, key) in TABLES {
                let fitting = "coalesce(CASE typeof(n) WHEN 'integer' THEN n END, '-')";
                let expected =
                    texts(&mut writer, &format!("SELECT k || '/' || p || '/' || {fitting} || '/' || s FROM {name}"));
                let got = texts(
                    &mut duckdb,
                    &format!(
                        "SELECT k || '/' || p || '/' || coalesce(n::VARCHAR, '-') || '/' || s FROM {schema}.{name}"
                    ),
                );
                assert_eq!(got, expected, "round {round}: {schema}.{name}");
                let expected = texts(
                    &mut writer,
                    &format!(
                        "SELECT {key} || ' ' || typeof(n) || ' ' || n FROM {name} WHERE typeof(n) NOT IN ('integer', 'null')"
                    ),
                );
                let got = texts(
                    &mut duckdb,
                    &format!(
                        "SELECT key::VARCHAR || ' ' || value_type || ' ' || value FROM {schema}._maniac_rejects WHERE table_name = '{name}' AND column_name = 'n'"
                    ),
                );
                assert_eq!(got, expected, "round {round}: rejects of {schema}.{name}");
            }
            let widened = "SELECT sum(widened_columns + errors)::VARCHAR FROM maniac_status()";
            assert_eq!(texts(&mut duckdb, widened), ["0"], "round {round}");
        }
    }
    duckdb.exit().unwrap();
    writer.exit().unwrap();
}

/// A change of a random table; keys are few, so that rows are met again.
fn change(dice: &mut Dice) -> String {
    let table = TABLES[dice.below(TABLES.len() as u64) as usize].0;
    let (k, p) = (dice.below(12), dice.below(3));
    let value = |dice: &mut Dice| match dice.below(4) {
        0 => format!("'text {}'", dice.below(100)),
        1 => format!("{}.5", dice.below(100)),
        2 => "NULL".to_string(),
        _ => dice.below(100).to_string(),
    };
    match dice.below(7) {
        0 | 1 => format!("INSERT OR REPLACE INTO {table} VALUES ({k}, {p}, {}, 's')", value(dice)),
        2 => format!("UPDATE {table} SET n = {} WHERE k = {k}", value(dice)),
        3 => format!("UPDATE {table} SET s = 's{p}' WHERE k < {k}"),
        4 => format!("UPDATE OR REPLACE {table} SET k = {k} WHERE k = {p}"),
        5 => format!("UPDATE {table} SET n = {}, s = 'both' WHERE p = {p}", value(dice)),
        _ => format!("DELETE FROM {table} WHERE k = {k}"),
    }
}

/// The only column of a query's rows, in a stable order.
fn texts(session: &mut Session, query: &str) -> Vec<String> {
    let rows = session.run(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut texts: Vec<String> = rows.iter().map(|row| row[0].to_string()).collect();
    texts.sort_unstable();
    texts
}
