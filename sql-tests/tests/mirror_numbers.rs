//! Random numbers, and now and then a text, in columns of all numeric types: whatever type a mirror's column has by then, it shows
//! the numbers that SQLite shows, natively and in a lake, and it has become text only where there is no other way.
//!
//! What SQLite shows is its own text for the value. Which type a first copy takes is told by a model that knows the rules of
//! `docs/types.md` and those texts. `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are.

use std::collections::BTreeMap;

use maniac_sql_tests::dice::Dice;
use maniac_sql_tests::{Kind, Session, Tools, Value};

const CASES: u64 = 8;
const ROUNDS: u64 = 6;
const ROWS: u64 = 12;

/// Where the tables are: name of the mirror, schema, arguments.
const MIRRORS: [(&str, &str, &str); 2] =
    [("shop", "shop", ""), ("laked", "lake.laked", ", lake := 'lake', schema := 'laked'")];

#[test]
fn a_mirror_shows_the_numbers_that_sqlite_shows() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let (first, cases) = (number("MANIAC_SEED", 1), number("MANIAC_CASES", CASES));
    let mut compared = 0;
    for seed in first..first + cases {
        println!("mirror_numbers: MANIAC_SEED={seed} MANIAC_CASES=1 runs this case alone");
        compared += Case::new(seed).run();
    }
    println!("{compared} values compared");
    assert!(compared > 0);
}

/// A number as it is shown: its digits without zeroes at either end, and the power of ten behind them.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Shown {
    /// Reads what SQLite or DuckDB print; `None` for infinities and other texts.
    fn read(text: &str) -> Option<Shown> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.parse::<i64>().ok()? - fraction.len() as i64;
        Some(Shown { negative, digits, exponent }.normal())
    }

    fn normal(mut self) -> Shown {
        while self.digits.ends_with('0') {
            self.digits.pop();
            self.exponent += 1;
        }
        self.digits = self.digits.trim_start_matches('0').to_string();
        if self.digits.is_empty() {
            (self.negative, self.exponent) = (false, 0);
        }
        self
    }

    fn scale(&self) -> i64 {
        (-self.exponent).max(0)
    }

    fn whole(&self) -> i64 {
        (self.digits.len() as i64 + self.exponent).max(0)
    }

    /// Half away from zero.
    fn rounded(&self, scale: i64) -> Shown {
        let surplus = self.scale() - scale;
        if surplus <= 0 {
            return self.clone();
        }
        let padded = format!("{:0>1$}", self.digits, surplus as usize + 1);
        let (kept, rest) = padded.split_at(padded.len() - surplus as usize);
        let up = u128::from(rest.as_bytes()[0] >= b'5');
        let digits = (kept.parse::<u128>().unwrap() + up).to_string();
        Shown { digits, exponent: self.exponent + surplus, ..self.clone() }.normal()
    }
}

/// A value in SQLite.
#[derive(Clone, Debug)]
struct Held {
    class: String,
    text: String,
    real: Option<f64>,
}

impl Held {
    /// SQLite 3.40.1 itself is not sure of the 15th digit where the next ones are 5000.
    fn is_tie(&self) -> bool {
        self.real.is_some_and(|real| {
            let written = format!("{real:.18e}").replace(['.', '-'], "");
            matches!(written.get(15..19), Some("5000" | "4999"))
        })
    }
}

struct Column {
    declared: String,
    /// Its types so far, by mirror.
    types: [String; 2],
}

struct Case {
    dice: Dice,
    writer: Session,
    duckdb: Session,
    policies: [&'static str; 2],
    columns: Vec<Column>,
    /// Of a hundred values, so many are texts and blobs.
    strangers: u64,
    compared: usize,
    _directory: tempfile::TempDir,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut dice = Dice::seeded(seed);
        let (tools, directory) = (Tools::find(), tempfile::tempdir().unwrap());
        let mut writer = Session::new(Kind::Sqlite, &tools, directory.path());
        writer.open("file:shop.maniac?vfs=maniac").unwrap();
        let columns: Vec<Column> = (0..8).map(|_| column(&mut dice)).collect();
        let declared = columns.iter().enumerate().map(|(n, column)| format!("c{n} {}", column.declared));
        let declared = declared.collect::<Vec<_>>().join(", ");
        writer.run(&format!("CREATE TABLE t(id INTEGER PRIMARY KEY, {declared})")).unwrap();
        let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
        duckdb.open("olap.db").unwrap();
        let lake = tools.ducklake.display();
        duckdb.run(&format!("LOAD '{lake}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')")).unwrap();
        let policies = [(); 2].map(|()| *dice.pick(&["widen", "round"]));
        let strangers = *dice.pick(&[0, 0, 0, 3]);
        Case { dice, writer, duckdb, policies, columns, strangers, compared: 0, _directory: directory }
    }

    fn run(mut self) -> usize {
        for _ in 0..self.dice.below(ROWS) {
            self.change();
        }
        for place in 0..2 {
            self.attach(place);
            self.check_first_types(place);
        }
        for _ in 0..ROUNDS {
            for _ in 0..=self.dice.below(6) {
                self.change();
            }
            for (place, (name, ..)) in MIRRORS.into_iter().enumerate() {
                self.duckdb.run(&format!("CALL maniac_wait('{name}')")).unwrap();
                self.check(place);
            }
        }
        self.duckdb.run("CALL maniac_maintain('laked', step := 'flush')").unwrap();
        self.check(1);
        let (name, schema, _) = MIRRORS[0];
        self.duckdb.run(&format!("CALL maniac_detach('{name}'); DROP SCHEMA {schema} CASCADE")).unwrap();
        self.attach(0);
        self.columns.iter_mut().for_each(|column| column.types[0].clear());
        self.check_first_types(0);
        self.duckdb.exit().unwrap();
        self.writer.exit().unwrap();
        self.compared
    }

    fn attach(&mut self, place: usize) {
        let (policy, arguments) = (self.policies[place], MIRRORS[place].2);
        let sql = format!("CALL maniac_attach('shop.maniac', on_mismatch := '{policy}'{arguments})");
        self.duckdb.run(&sql).unwrap();
    }

    /// One transaction.
    fn change(&mut self) {
        let id = self.dice.below(ROWS);
        let n = self.dice.below(self.columns.len() as u64) as usize;
        let sql = match self.dice.below(10) {
            0 => format!("DELETE FROM t WHERE id = {id}"),
            1..=4 => {
                let value = self.value();
                format!("UPDATE t SET c{n} = {value} WHERE id % 4 = {}", id % 4)
            }
            5 => format!("UPDATE t SET c{n} = c{n} + 1 WHERE typeof(c{n}) IN ('integer', 'real')"),
            6 => format!("UPDATE t SET c{n} = c{n} * 1.1 WHERE typeof(c{n}) IN ('integer', 'real')"),
            _ => {
                let values: Vec<String> = (0..self.columns.len()).map(|_| self.value()).collect();
                format!("INSERT OR REPLACE INTO t VALUES ({id}, {})", values.join(", "))
            }
        };
        self.writer.run(&sql).unwrap();
    }

    /// A literal.
    fn value(&mut self) -> String {
        let dice = &mut self.dice;
        if dice.chance(self.strangers) {
            return dice.pick(&["'many'", "x'00ff'", "''"]).to_string();
        }
        let cents = (dice.below(2_000_000) as f64 - 1_000_000.0) / 100.0;
        match dice.below(24) {
            0..=2 => "NULL".to_string(),
            3..=7 => (dice.below(200) as i64 - 100).to_string(),
            8..=10 => format!("{cents:?}"),
            11..=13 => format!("{:?}", cents + 0.1 + 0.2),
            14 => format!("{:?}", cents / 7.0),
            15 => dice.pick(&["0", "1", "0.5", "-0.5", "2.5", "0.125"]).to_string(),
            16 => (9_007_199_254_740_990 + dice.below(6)).to_string(),
            17 => dice.pick(&["9223372036854775807", "-9223372036854775808", "1e19", "-1e20", "3e38"]).to_string(),
            18 if dice.chance(30) => dice.pick(&["9e999", "-9e999", "1e300", "1e-300"]).to_string(),
            19 if dice.chance(30) => {
                let real = f64::from_bits((dice.below(1 << 32) << 32) | dice.below(1 << 32));
                if real.is_finite() { format!("{real:?}") } else { "0.1".to_string() }
            }
            _ => format!("{:?}", cents * 10f64.powi(dice.below(12) as i32 - 4)),
        }
    }

    /// What the column holds, by row.
    fn held(&mut self, n: usize) -> BTreeMap<String, Held> {
        let sql = format!("SELECT id, typeof(c{n}), CAST(c{n} AS TEXT), c{n} FROM t WHERE typeof(c{n}) <> 'blob'");
        let rows = self.writer.run(&sql).unwrap();
        let held = rows.iter().map(|row| {
            let real = if let Value::Real(real) = row[3] { Some(real) } else { None };
            (row[0].to_string(), Held { class: plain(&row[1]), text: plain(&row[2]), real })
        });
        held.collect()
    }

    /// Compares the column types of a first copy with the model's, and all values.
    fn check_first_types(&mut self, place: usize) {
        self.check(place);
        for n in 0..self.columns.len() {
            let held: Vec<Held> = self.held(n).into_values().collect();
            let blobs = self.writer.run(&format!("SELECT count(*) FROM t WHERE typeof(c{n}) = 'blob'")).unwrap();
            if held.iter().any(Held::is_tie) {
                continue;
            }
            let column = &self.columns[n];
            let strangers = blobs[0][0].to_string() != "0" || held.iter().any(|held| held.class == "text");
            let rounds = self.policies[place] == "round";
            let expected = narrowest(&column.declared, &held, strangers, rounds, place == 1);
            assert_eq!(column.types[place], expected, "c{n} {} with {held:?}", column.declared);
        }
    }

    fn check(&mut self, place: usize) {
        let (_, schema, _) = MIRRORS[place];
        let described = self.duckdb.run(&format!("SELECT column_type FROM (DESCRIBE {schema}.t)")).unwrap();
        for n in 0..self.columns.len() {
            let now = plain(&described[n + 1][0]);
            let held = self.held(n);
            let column = &mut self.columns[n];
            let before = std::mem::replace(&mut column.types[place], now.clone());
            let what = format!("{schema} c{n} {}, {before} before and {now} now", column.declared);
            assert!(rank(&column.declared, &now) >= rank(&column.declared, &before), "{what}: went back");
            let rounds = self.policies[place] == "round" && column.declared.starts_with("DECIMAL(");
            let rows = self.duckdb.run(&format!("SELECT id, CAST(c{n} AS VARCHAR) FROM {schema}.t")).unwrap();
            let shown: BTreeMap<String, String> = rows.iter().map(|row| (row[0].to_string(), plain(&row[1]))).collect();
            for (id, held) in &held {
                let shown = shown.get(id).unwrap_or_else(|| panic!("{what}: no row {id}"));
                assert!(is_shown(held, shown, &now, rounds), "{what}: row {id} is {held:?}, shown as {shown}");
                self.compared += 1;
            }
        }
    }
}

fn column(dice: &mut Dice) -> Column {
    let declared = match dice.below(8) {
        0 => "BOOLEAN".to_string(),
        1 | 2 => "INTEGER".to_string(),
        3 => "NUMERIC".to_string(),
        4 => "REAL".to_string(),
        _ => {
            let most = if dice.chance(30) { 38 } else { 12 };
            let width = 1 + dice.below(most);
            format!("DECIMAL({width},{})", dice.below(width + 1))
        }
    };
    Column { declared, types: Default::default() }
}

/// Whether a mirror's text stands for what SQLite holds.
fn is_shown(held: &Held, shown: &str, mirror: &str, rounds: bool) -> bool {
    let same = || Shown::read(&held.text) == Shown::read(shown);
    match (held.class.as_str(), mirror) {
        ("null", _) => shown == "NULL",
        ("text", _) => mirror == "VARCHAR" && shown == held.text,
        (_, "BOOLEAN") => (shown, held.text.as_str()) == ("true", "1") || (shown, held.text.as_str()) == ("false", "0"),
        ("real", "DOUBLE" | "VARCHAR") => shown.parse().ok() == held.real,
        (_, decimal) if decimal.starts_with("DECIMAL") && rounds && !held.is_tie() => {
            let (_, scale) = digits_of(decimal);
            Shown::read(&held.text).map(|number| number.rounded(scale)) == Shown::read(shown)
        }
        _ => held.is_tie() || same(),
    }
}

/// Digits before and behind the point of a DECIMAL.
fn digits_of(decimal: &str) -> (i64, i64) {
    let digits = decimal.strip_prefix("DECIMAL(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let (width, scale) = digits.split_once(',').unwrap();
    let (width, scale): (i64, i64) = (width.parse().unwrap(), scale.parse().unwrap());
    (width - scale, scale)
}

/// How far a type is on the way of a column that is declared so.
fn rank(declared: &str, mirror: &str) -> (i64, i64, i64) {
    let ladder = match declared.starts_with("DECIMAL(") {
        true => ["", "DECIMAL", "DOUBLE", "VARCHAR", "", ""],
        false => ["BOOLEAN", "BIGINT", "DOUBLE", "HUGEINT", "DECIMAL", "VARCHAR"],
    };
    if mirror.is_empty() {
        return (-1, 0, 0);
    }
    let name = mirror.split('(').next().unwrap();
    let step = ladder.iter().position(|step| *step == name).unwrap_or_else(|| panic!("{declared} became {mirror}"));
    let (whole, scale) = if name == "DECIMAL" { digits_of(mirror) } else { (0, 0) };
    (step as i64, scale, whole)
}

/// The type that a column gets which holds these values from the start.
fn narrowest(declared: &str, held: &[Held], strangers: bool, rounds: bool, lake: bool) -> String {
    let (fits_first, decimal_room) = match declared {
        "BOOLEAN" => ("BOOLEAN", (19, 0)),
        "INTEGER" => ("BIGINT", (19, 0)),
        "NUMERIC" | "REAL" => ("DOUBLE", (19, 0)),
        decimal => (decimal, digits_of(decimal)),
    };
    if strangers {
        return "VARCHAR".to_string();
    }
    let is_decimal = declared.starts_with("DECIMAL(");
    let numbers = held.iter().filter(|held| held.class != "null");
    let shown: Option<Vec<Shown>> = numbers.clone().map(|held| Shown::read(&held.text)).collect();
    let reals = numbers.clone().any(|held| held.class == "real");
    let integers = || numbers.clone().filter(|held| held.class == "integer");
    let largest = integers().map(|held| held.text.parse::<i64>().unwrap().unsigned_abs()).max().unwrap_or(0);
    let decimal = shown.and_then(|shown| {
        let shown: Vec<Shown> =
            shown.into_iter().map(|n| if rounds && is_decimal { n.rounded(decimal_room.1) } else { n }).collect();
        let most = |digits: fn(&Shown) -> i64| shown.iter().map(digits).max().unwrap_or(0);
        let (whole, scale) = (most(Shown::whole), most(Shown::scale).max(decimal_room.1));
        let room = decimal_room.0.max(whole).min(38 - scale);
        (scale <= 38 && room >= whole).then_some((whole, room, scale))
    });
    let double = largest <= 1 << 53;
    if is_decimal {
        return match decimal {
            Some((_, whole, scale)) => format!("DECIMAL({},{scale})", whole + scale),
            None if double => "DOUBLE".to_string(),
            None => "VARCHAR".to_string(),
        };
    }
    let ladder = [
        ("BOOLEAN", !reals && integers().all(|held| held.text == "0" || held.text == "1")),
        ("BIGINT", !reals),
        ("DOUBLE", double),
        ("HUGEINT", !lake && decimal.is_some_and(|(.., scale)| scale == 0)),
    ];
    let steps = ladder.iter().skip_while(|(name, _)| *name != fits_first);
    match (steps.clone().find(|(_, fits)| *fits), decimal) {
        (Some((name, _)), _) => name.to_string(),
        (None, Some((_, whole, scale))) => format!("DECIMAL({},{scale})", whole + scale),
        (None, None) => "VARCHAR".to_string(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    }
}
