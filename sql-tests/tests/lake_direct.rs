//! What a mirror writes into a lake's catalog itself is what DuckLake would have written. Two lakes have a mirror of the
//! same store: one in a DuckDB file, where small batches of new rows go past DuckLake, one in a SQLite file, where
//! everything goes through it. After each step of a random history both have the same rows and statistics; at the end
//! every snapshot shows the rows and columns that the store had at its version, also to a process that has seen nothing of
//! it. And while the process is killed again and again, and others write to the lake, transactions over two tables stay whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const STEPS: u64 = 150;

fn host(tools: &Tools, directory: &std::path::Path) -> Session {
    let mut session = Session::new(Kind::Duckdb, tools, directory);
    session.open("olap.db").unwrap();
    let scanner = tools.duckdb.with_file_name("sqlite_scanner.duckdb_extension");
    session
        .run(&format!(
            "LOAD '{}'; LOAD '{}'; ATTACH 'ducklake:direct.ducklake' AS direct (DATA_PATH 'direct_files'); \
             ATTACH 'ducklake:sqlite:plain.sqlite' AS plain \
             (DATA_PATH 'plain_files', META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 5000)",
            scanner.display(),
            tools.ducklake.display()
        ))
        .unwrap();
    session
}

/// What the catalog says of the tables and of their columns.
fn statistics(duckdb: &mut Session, lake: &str) -> Vec<Vec<Value>> {
    let catalog = format!("__ducklake_metadata_{lake}");
    duckdb
        .run(&format!(
            "SELECT t.table_name, record_count, next_row_id, column_name, contains_null::BOOLEAN, min_value, max_value, \
             contains_nan IS NULL, extra_stats IS NULL \
             FROM {catalog}.ducklake_table AS t JOIN {catalog}.ducklake_table_stats AS n USING (table_id) \
             JOIN {catalog}.ducklake_column AS c USING (table_id) \
             LEFT JOIN {catalog}.ducklake_table_column_stats AS s USING (table_id, column_id) \
             WHERE t.end_snapshot IS NULL AND c.end_snapshot IS NULL AND t.table_name NOT LIKE '@_maniac%' ESCAPE '@' \
             ORDER BY 1, column_order"
        ))
        .unwrap()
}

fn text(value: &Value) -> String {
    match value {
        Value::Integer(digits) => digits.clone(),
        other => panic!("{other:?} is no number"),
    }
}

fn value(dice: &mut Dice, column: &str) -> String {
    if dice.below(8) == 0 {
        return "NULL".to_string();
    }
    match column {
        "n" => (dice.below(2_000_000) as i64 - 1_000_000).to_string(),
        "x" => format!("{:?}", dice.below(4_000) as f64 / 4.0 - 500.0),
        "flag" => dice.below(2).to_string(),
        "day" => format!("'{:04}-{:02}-{:02}'", 1890 + dice.below(200), 1 + dice.below(12), 1 + dice.below(28)),
        "at" => format!("'{:04}-01-01 {:02}:00:00.{}'", 1960 + dice.below(20), dice.below(24), dice.below(1000)),
        _ => ["'it''s'", "''", "'größe'", "'Z'", "'a rather long text, longer than twelve bytes'"]
            [dice.below(5) as usize]
            .to_string(),
    }
}

fn insert(dice: &mut Dice, table: &str, columns: &[String], rows: u64) -> String {
    let row = |dice: &mut Dice| {
        let values: Vec<String> = columns.iter().map(|column| value(dice, column)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(|_| row(dice)).collect();
    format!("INSERT INTO {table}({}) VALUES {}", columns.join(", "), rows.join(", "))
}

#[test]
fn catalogs_say_the_same_with_and_without_ducklake() {
    let mut dice = Dice::new("lake_direct", 22);
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    writer
        .run(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, x REAL, flag BOOLEAN, day DATE, at DATETIME, v TEXT); \
             CREATE TABLE few(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE other(id INTEGER PRIMARY KEY, v TEXT, d DECIMAL(9, 2))",
        )
        .unwrap();
    let mut duckdb = host(&tools, directory.path());
    for lake in ["direct", "plain"] {
        let attach = format!(
            "CALL maniac_attach('shop.maniac', lake := '{lake}', schema := '{lake}', mode := 'streaming', maintain_every_s := 0)"
        );
        duckdb.run(&format!("{attach}; CREATE TABLE {lake}.main.foreign_one(v INTEGER)")).unwrap();
    }

    let mut columns: Vec<String> = ["n", "x", "flag", "day", "at", "v"].map(str::to_string).into();
    let few = ["v".to_string()];
    let mut direct = 0;
    let mut history = BTreeMap::new();
    for step in 0..STEPS {
        let statement = match dice.below(26) {
            0 => "UPDATE t SET n = n + 1 WHERE id % 7 = 3".to_string(),
            1 => "DELETE FROM t WHERE id % 11 = 5".to_string(),
            2 => insert(&mut dice, "t", &columns, 30),
            3 => "INSERT INTO other(v, d) VALUES ('decimal', 1.25)".to_string(),
            4 if columns.len() < 8 => {
                columns.push(format!("v{}", columns.len()));
                format!("ALTER TABLE t ADD COLUMN {} TEXT", columns[columns.len() - 1])
            }
            5 => {
                for lake in ["direct", "plain"] {
                    duckdb.run(&format!("CALL maniac_maintain('{lake}', step := 'flush')")).unwrap();
                }
                insert(&mut dice, "t", &columns, 1)
            }
            // After others the mirror leaves everything to DuckLake for a while.
            6 if step > STEPS / 2 => {
                for lake in ["direct", "plain"] {
                    duckdb.run(&format!("INSERT INTO {lake}.main.foreign_one VALUES ({step})")).unwrap();
                }
                insert(&mut dice, "few", &few, 1)
            }
            7 => {
                format!("BEGIN; {}; {}; COMMIT", insert(&mut dice, "t", &columns, 1), insert(&mut dice, "few", &few, 2))
            }
            8..11 => insert(&mut dice, "few", &few, 1),
            _ => {
                let rows = 1 + dice.below(3);
                insert(&mut dice, "t", &columns, rows)
            }
        };
        writer.run(&statement).unwrap();
        duckdb.run("CALL maniac_wait('direct'); CALL maniac_wait('plain')").unwrap();
        let past_ducklake =
            "SELECT (SELECT id FROM direct.current_snapshot()) > (SELECT id FROM direct.last_committed_snapshot())";
        let is_direct = duckdb.run(past_ducklake).unwrap()[0][0] == Value::Boolean(true);
        direct += u64::from(is_direct);
        // The new schema version after a change of the tables.
        assert!(is_direct || !statement.starts_with("ALTER"), "step {step}: {statement}");
        let (a, b) = (statistics(&mut duckdb, "direct"), statistics(&mut duckdb, "plain"));
        assert_eq!(a, b, "step {step}: {statement}");
        let counts = writer
            .run("SELECT maniac_head(), count(*), ifnull(sum(id), 0), (SELECT count(*) FROM pragma_table_info('t')) FROM t")
            .unwrap();
        history.insert(text(&counts[0][0]), counts[0][1..].to_vec());
        if step % 10 == 0 || step + 1 == STEPS {
            for lake in ["direct", "plain"] {
                let schema = format!("{lake}.{lake}");
                compare::all(&mut writer, &mut duckdb, &schema).unwrap_or_else(|error| panic!("step {step}: {error}"));
            }
        }
    }
    assert!(direct > STEPS / 5, "{direct} of {STEPS} steps went past DuckLake");

    duckdb.exit().unwrap();
    let mut duckdb = host(&tools, directory.path());
    compare::all(&mut writer, &mut duckdb, "direct.direct").unwrap();
    // What statistics answer, and what files are passed over by, is right.
    let questions = "SELECT count(*), min(n), max(n), min(\"at\"), max(day), max(x), min(v), count(flag) FROM direct.direct.t \
                     WHERE n BETWEEN -900000 AND 900000";
    assert_eq!(duckdb.run(questions).unwrap(), duckdb.run(&questions.replace("direct.direct", "plain.plain")).unwrap());
    travel(&mut duckdb, &history);
    duckdb.exit().unwrap();

    // DuckLake alone, of the one pinned release that there is one for, reads, compacts and travels in the lake.
    let mut ducklake = Session::new(Kind::PlainDuckdb, &tools, directory.path());
    let attach = format!(
        "LOAD '{}'; ATTACH 'ducklake:direct.ducklake' AS direct (DATA_PATH 'direct_files'); \
         SET ducklake_max_retry_count = 0",
        tools.ducklake.display()
    );
    ducklake.run(&attach).unwrap();
    travel(&mut ducklake, &history);
    for compaction in ["flush_inlined_data", "merge_adjacent_files", "rewrite_data_files"] {
        ducklake.run(&format!("CALL ducklake_{compaction}('direct')")).unwrap();
        compare::all(&mut writer, &mut ducklake, "direct.direct").unwrap_or_else(|e| panic!("{compaction}: {e}"));
        travel(&mut ducklake, &history);
    }
    ducklake.exit().unwrap();

    // And the mirror goes on.
    let mut duckdb = host(&tools, directory.path());
    duckdb.run("CALL maniac_attach('shop.maniac', lake := 'direct', schema := 'direct')").unwrap();
    writer.run("DELETE FROM t WHERE id % 2 = 0; UPDATE few SET v = 'last'").unwrap();
    duckdb.run("CALL maniac_wait('direct')").unwrap();
    compare::all(&mut writer, &mut duckdb, "direct.direct").unwrap();
    travel(&mut duckdb, &history);
    assert_eq!(duckdb.run("SELECT repaired_tables FROM maniac_status()").unwrap(), [[Value::Integer("0".into())]]);
}

/// Every snapshot shows what the store had at its version.
fn travel(duckdb: &mut Session, history: &BTreeMap<String, Vec<Value>>) {
    let marked = duckdb
        .run(
            "SELECT snapshot_id, (commit_extra_info::JSON->>'version')::BIGINT FROM direct.snapshots() \
             WHERE commit_extra_info::JSON->>'version' IS NOT NULL ORDER BY 1",
        )
        .unwrap();
    let mut looked_at = 0;
    for row in marked {
        let (snapshot, Some(counts)) = (&row[0], history.get(&text(&row[1]))) else { continue };
        let at = format!("direct.direct.t AT (VERSION => {})", text(snapshot));
        let then =
            format!("SELECT count(*), ifnull(sum(id), 0), (SELECT count(*) FROM (DESCRIBE FROM {at})) FROM {at}");
        assert_eq!(duckdb.run(&then).unwrap()[0], *counts, "snapshot {snapshot:?}");
        looked_at += 1;
    }
    assert!(looked_at >= STEPS, "{looked_at} snapshots of {STEPS} steps");
}

/// Ends the stream however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn new_rows_of_two_tables_come_together_through_kills_and_other_writers() {
    let mut dice = Dice::new("lake_direct_kills", 23);
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    writer
        .run("CREATE TABLE a(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE b(id INTEGER PRIMARY KEY, v REAL)")
        .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                writer.run("BEGIN; INSERT INTO a(v) VALUES ('one'); INSERT INTO b(v) VALUES (0.5); COMMIT").unwrap();
                std::thread::sleep(Duration::from_millis(4));
            }
        });
        let ended = Stop(&stop);
        let rounds = 4;
        let (mut queries, mut others, mut past_ducklake) = (0, 0, 0);
        let mut duckdb = host(&tools, directory.path());
        duckdb.run("CREATE TABLE direct.main.foreign_one(v INTEGER)").unwrap();
        for round in 0..=rounds {
            let attach = "CALL maniac_attach('shop.maniac', lake := 'direct', mode := 'streaming')";
            duckdb.run(attach).unwrap_or_else(|error| panic!("round {round}: {error}"));
            let until = Instant::now() + Duration::from_millis(800 + dice.below(600));
            while Instant::now() < until {
                let same = "SELECT (SELECT count(*) FROM direct.shop.a) = (SELECT count(*) FROM direct.shop.b), \
                            (SELECT max(id) FROM direct.shop.a) IS NOT DISTINCT FROM (SELECT max(id) FROM direct.shop.b)";
                assert_eq!(duckdb.run(same).unwrap()[0], [Value::Boolean(true), Value::Boolean(true)], "round {round}");
                let past = duckdb
                    .run("SELECT (SELECT id FROM direct.current_snapshot()) > (SELECT id FROM direct.last_committed_snapshot())")
                    .unwrap();
                past_ducklake += u64::from(past[0][0] == Value::Boolean(true));
                queries += 1;
                // Others come late: after them everything goes through DuckLake for a while.
                if round == rounds && dice.below(8) == 0 {
                    // DuckLake gives up where too many commits come in between, and then nothing is written.
                    match duckdb.run("INSERT INTO direct.main.foreign_one VALUES (1)") {
                        Ok(_) => others += 1,
                        Err(error) => assert!(error.to_string().contains("maximum retry count"), "{error}"),
                    }
                }
            }
            if round < rounds {
                duckdb.kill().unwrap();
                duckdb = host(&tools, directory.path());
            }
        }
        drop(ended);
        stream.join().unwrap();
        duckdb.run("CALL maniac_wait('shop')").unwrap();
        let mut reader = Session::new(Kind::Sqlite, &tools, directory.path());
        reader.open("file:shop.maniac?vfs=maniac").unwrap();
        assert_eq!(compare::all(&mut reader, &mut duckdb, "direct.shop").unwrap(), 2);
        let status = duckdb
            .run("SELECT repaired_tables, errors, (SELECT count(*) FROM direct.main.foreign_one) FROM maniac_status()")
            .unwrap();
        let expected = ["0".to_string(), "0".to_string(), others.to_string()].map(Value::Integer);
        assert_eq!(status, [expected], "repaired tables, errors, rows of others");
        let rows = duckdb
            .run(
                "SELECT record_count FROM __ducklake_metadata_direct.ducklake_table_stats JOIN \
            __ducklake_metadata_direct.ducklake_table USING (table_id) WHERE table_name = 'a' AND end_snapshot IS NULL",
            )
            .unwrap();
        assert_eq!(rows, reader.run("SELECT count(*) FROM a").unwrap(), "rows as the catalog counts them");
        // How many batches come together, and go DuckLake's own way, depends on the machine.
        assert!(past_ducklake >= 10, "{past_ducklake} of {queries} looks showed a batch that went past DuckLake");
        duckdb.exit().unwrap();
    });
}
