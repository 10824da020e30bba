//! Random histories with changes of the schema, mirrored into native tables and a DuckLake through random batches, pauses,
//! detaches and kills; some with many tables, some with transactions of thousands of rows, some with misfits that are all
//! numbers. Whatever version a mirror shows, its tables, columns, types and rows are those of SQLite at that version. What it
//! shows is read in one transaction, also while the mirror follows.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are, `MANIAC_STEPS` how long each is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::histories::content::{self, Source, Terms};
use maniac_sql_tests::histories::values::Misfits;
use maniac_sql_tests::histories::{Historian, Log};
use maniac_sql_tests::{Kind, Session, Tools, Value};

const STORE: &str = "file:shop.maniac?vfs=maniac";

/// How often in a row a reader may meet what passes with its transaction.
const MOST_RETRIES: usize = 3;

/// So many versions of the source are kept in memory.
const MOST_SOURCES: usize = 10;

/// A mirror, its name and where its tables are.
const MIRRORS: [(&str, &str); 2] = [("shop", "shop"), ("laked", "lake.laked")];

#[derive(Clone, Copy, Default)]
struct Mirror {
    attached: bool,
    paused: bool,
    /// The newest version that it was seen to show.
    shown: i64,
}

struct Case {
    tools: Tools,
    dice: Dice,
    historian: Historian,
    log: Log,
    writer: Session,
    brancher: Session,
    reader: Session,
    duckdb: Session,
    mirrors: [Mirror; 2],
    policies: [&'static str; 2],
    terms: [Terms; 2],
    lake_loaded: bool,
    sources: BTreeMap<i64, Rc<Source>>,
    /// Values compared.
    compared: usize,
}

impl Case {
    fn new(seed: u64, directory: &std::path::Path) -> Case {
        let tools = Tools::find();
        let mut dice = Dice::seeded(seed);
        let session = |kind| Session::new(kind, &tools, directory);
        let mut writer = session(Kind::Sqlite);
        writer.open(STORE).unwrap();
        let page_size = dice.pick(&[512, 1024, 4096, 4096, 65536]);
        let encoding = dice.pick(&["UTF-8", "UTF-8", "UTF-8", "UTF-16le"]);
        let vacuum = dice.pick(&["NONE", "NONE", "FULL"]);
        let setup = format!(
            "PRAGMA page_size = {page_size}; PRAGMA encoding = '{encoding}'; PRAGMA auto_vacuum = {vacuum}; \
             PRAGMA synchronous = OFF;"
        );
        writer.run(&setup).unwrap();
        let mut log = Log::default();
        log.add(setup);
        let all_fit = dice.chance(30);
        let policies = [(); 2].map(|()| *dice.pick(&["null", "round", "widen", "widen"]));
        // A comparison reads all rows.
        let large = if dice.chance(25) { 1 + dice.below(3) } else { 0 };
        let historian = Historian {
            dice: Dice::seeded(dice.below(u64::MAX)),
            misfits: match all_fit {
                true => Misfits::NONE,
                false => Misfits { percent: *dice.pick(&[1, 5, 20]), numbers: dice.chance(50) },
            },
            clashing: !all_fit && dice.chance(25),
            tables: *dice.pick(&[6, 6, 6, 40]),
            large,
            statements: 0,
            refused: 0,
        };
        let mut case = Case {
            historian,
            log,
            writer,
            brancher: session(Kind::Sqlite),
            reader: session(Kind::Sqlite),
            duckdb: session(Kind::Duckdb),
            mirrors: [Mirror::default(); 2],
            policies,
            terms: policies.map(|policy| Terms { all_fit, rounds: policy == "round", rejects: policy == "null" }),
            lake_loaded: false,
            sources: BTreeMap::new(),
            compared: 0,
            tools,
            dice,
        };
        for _ in 0..1 + case.dice.below(case.historian.tables as u64 / 2) {
            case.historian.create_table(&mut case.writer, &mut case.log);
        }
        case.writer.run("SELECT maniac_branch_create('side')").unwrap();
        case.brancher.open(&format!("{STORE}&branch=side")).unwrap();
        case.duckdb.open("olap.db").unwrap();
        case
    }

    fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.write();
            match self.dice.below(26) {
                0..=3 => self.attach_some(),
                4 => self.pause_or_resume(),
                5 => self.detach(),
                6 | 7 => self.kill(),
                8 | 9 => self.check_waited(),
                10..=13 => self.check_in_stream(),
                14 => self.maintain(),
                15 => self.check_at_rest(),
                _ => {}
            }
        }
        self.check_at_rest();
        self.check_the_past();
        self.duckdb.exit().unwrap();
        self.brancher.exit().unwrap();
        self.reader.exit().unwrap();
        self.writer.exit().unwrap();
    }

    /// Some transactions.
    fn write(&mut self) {
        match self.dice.below(20) {
            0 => {
                self.writer.run("VACUUM").unwrap();
                self.log.add("VACUUM;");
            }
            1 | 2 => {
                self.log.add("-- on another branch:");
                for _ in 0..1 + self.dice.below(3) {
                    self.historian.transact(&mut self.brancher, &mut self.log, 10);
                }
                self.log.add("-- back on main");
            }
            3 => {
                // Many small ones.
                for _ in 0..5 + self.dice.below(60) {
                    self.historian.statement(&mut self.writer, &mut self.log, 0);
                }
            }
            4 => {
                // As a migration does.
                for _ in 0..5 + self.dice.below(25) {
                    self.historian.statement(&mut self.writer, &mut self.log, 70);
                }
            }
            _ => {
                let ddl = *self.dice.pick(&[0, 0, 5, 30]);
                for _ in 0..1 + self.dice.below(5) {
                    self.historian.transact(&mut self.writer, &mut self.log, ddl);
                }
            }
        }
    }

    fn head(&mut self) -> i64 {
        integer(&self.writer.run("SELECT maniac_head()").unwrap()[0][0])
    }

    fn attach_some(&mut self) {
        for place in 0..MIRRORS.len() {
            if !self.mirrors[place].attached && self.dice.chance(70) {
                self.attach(place);
            }
        }
    }

    fn attach_statement(&mut self, place: usize) -> String {
        let (name, _) = MIRRORS[place];
        let dice = &mut self.dice;
        let mut sql =
            format!("CALL maniac_attach('shop.maniac', schema := '{name}', on_mismatch := '{}'", self.policies[place]);
        sql +=
            &format!(", batch_size := {}, batch_timeout_ms := {}", 1 + dice.below(50), dice.pick(&[0, 1, 10, 50, 200]));
        if dice.chance(40) {
            sql += ", mode := 'streaming'";
        }
        if place == 1 {
            sql += &format!(", lake := 'lake', maintain_every_s := {}", dice.pick(&[0, 0, 1]));
        }
        sql + ")"
    }

    fn attach(&mut self, place: usize) {
        if !self.lake_loaded {
            self.duck(&format!(
                "LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')",
                self.tools.ducklake.display()
            ));
            self.lake_loaded = true;
        }
        let sql = self.attach_statement(place);
        if self.dice.chance(10) {
            // Killed somewhere on its way.
            self.log.add(format!("{sql} -- killed"));
            self.duckdb.send(&sql).unwrap();
            std::thread::sleep(Duration::from_millis(self.dice.below(60)));
            return self.kill();
        }
        self.duck(&sql);
        self.mirrors[place] = Mirror { attached: true, paused: false, ..self.mirrors[place] };
    }

    fn pause_or_resume(&mut self) {
        for (place, (name, _)) in MIRRORS.into_iter().enumerate() {
            if self.mirrors[place].attached && self.dice.chance(60) {
                let verb = if self.mirrors[place].paused { "resume" } else { "pause" };
                self.duck(&format!("CALL maniac_{verb}('{name}')"));
                self.mirrors[place].paused ^= true;
            }
        }
    }

    fn detach(&mut self) {
        let place = self.dice.below(2) as usize;
        if self.mirrors[place].attached {
            self.duck(&format!("CALL maniac_detach('{}')", MIRRORS[place].0));
            self.mirrors[place].attached = false;
        }
    }

    /// Whatever the mirrors are at.
    fn kill(&mut self) {
        if self.duckdb.process_id().is_some() {
            self.log.add("-- duckdb is killed");
            self.duckdb.kill().unwrap();
        }
        self.lake_loaded = false;
        self.mirrors.iter_mut().for_each(|mirror| mirror.attached = false);
    }

    fn maintain(&mut self) {
        if self.mirrors[1].attached {
            self.duck("CALL maniac_maintain('laked')");
        }
    }

    /// Runs a statement in DuckDB that must succeed.
    fn duck(&mut self, sql: &str) -> Vec<Vec<Value>> {
        self.log.add(format!("-- duckdb: {sql}"));
        self.duckdb.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The source at a version.
    fn source(&mut self, version: i64) -> Rc<Source> {
        if let Some(source) = self.sources.get(&version) {
            return source.clone();
        }
        self.reader.open(&format!("{STORE}&at={version}")).unwrap();
        let source = Rc::new(content::source(&mut self.reader).unwrap());
        // Some have thousands of rows.
        if self.sources.len() == MOST_SOURCES {
            self.sources.clear();
        }
        self.sources.insert(version, source.clone());
        source
    }

    /// What a mirror shows, in one transaction, and which version it says that it is.
    fn check(&mut self, place: usize, while_reading: impl FnOnce(&mut Case)) -> i64 {
        let (name, schema) = MIRRORS[place];
        let mut while_reading = Some(while_reading);
        let mut attempts = 0;
        let (state, shown) = loop {
            self.duckdb.run("BEGIN").unwrap();
            let state = match place {
                0 => format!("SELECT version FROM {schema}._maniac_state"),
                _ => "SELECT id FROM lake.current_snapshot()".to_string(),
            };
            let state = integer(&self.duckdb.run(&state).unwrap()[0][0]);
            if let Some(while_reading) = while_reading.take() {
                while_reading(self);
            }
            let shown = content::shown(&mut self.duckdb, schema, "");
            self.duckdb.run(if shown.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
            match shown {
                Ok(shown) => break (state, shown),
                Err(error) if passes(&error) && attempts < MOST_RETRIES => attempts += 1,
                Err(error) => panic!("{schema}: {error}"),
            }
        };
        let version = if place == 0 { state } else { self.version_of_snapshot(name, state) };
        self.log.add(format!("-- {schema} shows version {version}"));
        assert!(
            version >= self.mirrors[place].shown,
            "{schema} showed {} before and now {version}",
            self.mirrors[place].shown
        );
        self.mirrors[place].shown = version;
        self.compare(place, version, &shown);
        version
    }

    fn compare(&mut self, place: usize, version: i64, shown: &content::Shown) {
        let source = self.source(version);
        match content::differences(&source, shown, self.terms[place]) {
            Ok(compared) => self.compared += compared,
            Err(message) => panic!("{} at version {version}: {message}", MIRRORS[place].1),
        }
    }

    /// The version that the lake's snapshot shows: the newest that a mark of the mirror names up to there.
    fn version_of_snapshot(&mut self, name: &str, snapshot: i64) -> i64 {
        let info = "TRY_CAST(commit_extra_info AS JSON)";
        let rows = self.duckdb.run(&format!(
            "SELECT max(({info}->>'version')::BIGINT) FROM lake.snapshots() \
             WHERE snapshot_id <= {snapshot} AND ({info}->>'schema') = '{name}'"
        ));
        integer(&rows.unwrap()[0][0])
    }

    /// Wherever the mirrors are.
    fn check_in_stream(&mut self) {
        let place = self.dice.below(2) as usize;
        if self.mirrors[place].attached {
            let meanwhile = self.dice.chance(50);
            self.check(place, |case| {
                if meanwhile {
                    case.write();
                }
            });
        }
    }

    /// After some version is there.
    fn check_waited(&mut self) {
        let place = self.dice.below(2) as usize;
        let Mirror { attached: true, paused: false, .. } = self.mirrors[place] else { return };
        let head = self.head();
        let version = head - self.dice.below(20.min(head as u64)) as i64;
        self.write();
        self.duck(&format!("CALL maniac_wait('{}', version := {version})", MIRRORS[place].0));
        // Versions of other branches come to no mirror of this one.
        let of_main = self
            .writer
            .run(&format!("SELECT max(version) FROM maniac_log('main') WHERE version <= {version}"))
            .unwrap();
        let shown = self.check(place, |_| {});
        assert!(
            shown >= integer(&of_main[0][0]),
            "{} was waited for until {version} and shows {shown}",
            MIRRORS[place].1
        );
    }

    /// When everything is there.
    fn check_at_rest(&mut self) {
        while let Some(place) = self.mirrors.iter().position(|mirror| !mirror.attached) {
            self.attach(place);
        }
        for (place, (name, _)) in MIRRORS.into_iter().enumerate() {
            if std::mem::take(&mut self.mirrors[place].paused) {
                self.duck(&format!("CALL maniac_resume('{name}')"));
            }
            self.duck(&format!("CALL maniac_wait('{name}')"));
        }
        let head = self.head();
        for (place, (name, schema)) in MIRRORS.into_iter().enumerate() {
            let mut attempts = 0;
            let shown = loop {
                match content::shown(&mut self.duckdb, schema, "") {
                    Ok(shown) => break shown,
                    Err(error) if passes(&error) && attempts < MOST_RETRIES => attempts += 1,
                    Err(error) => panic!("{schema}: {error}"),
                }
            };
            self.compare(place, head, &shown);
            let strays = content::strays(&mut self.duckdb, schema, &shown).unwrap();
            assert!(strays.is_empty(), "{schema} has or lacks the tables {strays:?}");
            let status = self.duckdb.run(&format!(
                "SELECT state, errors, last_error, repaired_tables, widened_columns, rejected_values FROM maniac_status() WHERE name = '{name}'"
            ));
            let status = status.unwrap();
            let [Value::Text(state), errors, last, repaired, widened, rejected] = status[0].as_slice() else {
                panic!("{status:?}")
            };
            assert!(state == "Streaming" && integer(errors) == 0, "{schema}: {state}, {errors} errors: {last}");
            assert!(integer(repaired) == 0 || self.historian.clashing, "{schema}: {repaired} tables were repaired");
            assert!(integer(widened) == 0 || !self.terms[place].all_fit, "{schema}: {widened} columns were widened");
            assert!(integer(rejected) == 0 || self.terms[place].rejects, "{schema}: {rejected} values were put aside");
        }
    }

    /// Snapshots of the lake for earlier versions.
    fn check_the_past(&mut self) {
        let head = self.head() as u64;
        for _ in 0..6 {
            let asked = self.dice.below(head) as i64 + 1;
            let found = self.duckdb.run(&format!("FROM maniac_snapshot('laked', {asked})"));
            let (snapshot, version) = match &found {
                Ok(rows) => (integer(&rows[0][0]), integer(&rows[0][1])),
                Err(error) if error.to_string().contains("it was not mirrored yet") => continue,
                Err(error) => panic!("snapshot of version {asked}: {error}"),
            };
            assert!(version <= asked, "asked for version {asked}, got {version}");
            let at = format!(" AT (VERSION => {snapshot})");
            match content::shown(&mut self.duckdb, "lake.laked", &at) {
                Ok(shown) => self.compare(1, version, &shown),
                // Of what a transaction of this test's has read of that version before a flush, and read again after it: open in
                // design note 035.
                Err(error) if error.to_string().contains("ducklake_inlined_data_") => {}
                Err(error) => panic!("snapshot {snapshot}, version {version}: {error}"),
            }
        }
    }
}

/// DuckLake 1.5.5 has just seen the first inline deletion of a table, or is dropping a table of inlined rows (design note 035). The
/// next transaction is well.
fn passes(error: &impl std::fmt::Display) -> bool {
    let error = error.to_string();
    let passes = error.contains("ducklake_inlined_");
    if passes {
        println!("asked again: {error}");
    }
    passes
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(digits) => digits.parse().unwrap(),
        other => panic!("an integer: {other:?}"),
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn a_mirror_at_a_version_is_sqlite_at_that_version() {
    let (first, cases, steps) = (number("MANIAC_SEED", 1), number("MANIAC_CASES", 6), number("MANIAC_STEPS", 25));
    println!("mirror_histories: MANIAC_SEED={first} MANIAC_CASES={cases} MANIAC_STEPS={steps}");
    let (mut statements, mut compared) = (0, 0);
    for seed in first..first + cases {
        let directory = tempfile::Builder::new().prefix("maniac-histories-").tempdir().unwrap();
        let mut case = Case::new(seed, directory.path());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case.run(steps))) {
            println!("{}", case.log.text());
            let message = panic.downcast::<String>().map_or_else(|_| "see above".to_string(), |message| *message);
            if std::env::var_os("MANIAC_SLT_KEEP").is_some() {
                println!("kept: {}", directory.keep().display());
            }
            panic!("{message}\nMANIAC_SEED={seed} MANIAC_CASES=1 MANIAC_STEPS={steps} runs this one alone");
        }
        statements += case.historian.statements;
        compared += case.compared;
    }
    println!("{statements} statements, {compared} values compared");
    assert!(compared > 0);
}
