//! Values for the columns of random tables, and what a mirror shows of a value in a column of a type (`docs/types.md`).

use crate::dice::Dice;
use crate::value::shown_decimal;

/// Declared types and the types that mirrors have for them.
pub const DECLARED: &[(&str, &str)] = &[
    ("INTEGER", "BIGINT"),
    ("BIGINT", "BIGINT"),
    ("REAL", "DOUBLE"),
    ("DOUBLE", "DOUBLE"),
    ("NUMERIC", "DOUBLE"),
    ("TEXT", "VARCHAR"),
    ("VARCHAR(20)", "VARCHAR"),
    ("", "VARCHAR"),
    ("BLOB", "BLOB"),
    ("BOOLEAN", "BOOLEAN"),
    ("DECIMAL(9, 2)", "DECIMAL(9,2)"),
    ("NUMERIC(30,4)", "DECIMAL(30,4)"),
    ("DECIMAL(4)", "DECIMAL(4,0)"),
    ("DATE", "DATE"),
    ("TIME", "TIME"),
    ("DATETIME", "TIMESTAMP"),
    ("TIMESTAMP", "TIMESTAMP"),
    ("JSON", "JSON"),
    ("UUID", "UUID"),
];

/// What CREATE TABLE AS declares, and what STRICT tables have besides.
const OTHERS: &[(&str, &str)] = &[("INT", "BIGINT"), ("NUM", "DOUBLE"), ("ANY", "VARCHAR")];

pub fn mirror_type(declared: &str) -> &'static str {
    let found = DECLARED.iter().chain(OTHERS).find(|(name, _)| name.eq_ignore_ascii_case(declared));
    found.unwrap_or_else(|| panic!("no random table declares {declared:?}")).1
}

/// Whether a column of a mirror's type may be widened to another one: numbers stay numbers and dates become times, unless they
/// become text.
pub fn may_become(mirror: &str, wider: &str) -> bool {
    let is_decimal = |name: &str| name.starts_with("DECIMAL(");
    match mirror {
        _ if wider == "VARCHAR" => true,
        "BOOLEAN" | "BIGINT" | "DOUBLE" => matches!(wider, "BIGINT" | "DOUBLE" | "HUGEINT") || is_decimal(wider),
        "DATE" => wider == "TIMESTAMP",
        _ => is_decimal(mirror) && (wider == "DOUBLE" || is_decimal(wider)),
    }
}

/// A text that is a date or a time: as DATE, as TIME, as TIMESTAMP.
type Moment = (&'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);

const MOMENTS: &[Moment] = &[
    ("2024-02-29", Some("2024-02-29"), None, Some("2024-02-29 00:00:00")),
    ("2024-02-29 00:00", None, None, Some("2024-02-29 00:00:00")),
    ("1969-07-20", Some("1969-07-20"), None, Some("1969-07-20 00:00:00")),
    ("9999-12-31", Some("9999-12-31"), None, Some("9999-12-31 00:00:00")),
    ("2024-02-29 12:30", None, None, Some("2024-02-29 12:30:00")),
    ("2024-02-29T23:59:59.123456Z", None, None, Some("2024-02-29 23:59:59.123456")),
    ("2024-03-01 00:15:00+02:00", None, None, Some("2024-02-29 22:15:00")),
    ("1969-12-31 23:59:59.5", None, None, Some("1969-12-31 23:59:59.5")),
    ("00:00", None, Some("00:00:00"), None),
    ("23:59:59", None, Some("23:59:59"), None),
    ("12:30:00.001", None, Some("12:30:00.001"), None),
];

/// Numbers that SQLite's modifier `auto` reads as times of the years 1 to 9999: as TIMESTAMP, as DATE. There are no others here,
/// whatever they stand for.
const NUMBERED: &[(f64, &str, Option<&str>)] = &[
    (2_460_369.5, "2024-02-29 00:00:00", Some("2024-02-29")),
    (2_460_370.25, "2024-02-29 18:00:00", None),
    (1_721_425.5, "0001-01-01 00:00:00", Some("0001-01-01")),
    (1_709_164_800.0, "2024-02-29 00:00:00", Some("2024-02-29")),
    (1_709_210_096.125, "2024-02-29 12:34:56.125", None),
    (4_294_967_296.0, "2106-02-07 06:28:16", None),
    (123_456_789.0, "1973-11-29 21:33:09", None),
    (-86_400.0, "1969-12-31 00:00:00", Some("1969-12-31")),
    (-7.0, "1969-12-31 23:59:53", None),
    (-3.0, "1969-12-31 23:59:57", None),
    (-2.0, "1969-12-31 23:59:58", None),
    (-1.0, "1969-12-31 23:59:59", None),
    (-1.25, "1969-12-31 23:59:58.75", None),
    (-0.1234567, "1969-12-31 23:59:59.877", None),
    (-0.01, "1969-12-31 23:59:59.99", None),
];

const JSON: &[&str] = &["{}", "[1, 2.5, null]", "{\"a\": {\"b\": \"c d\"}}", "\"text\"", "null", "true"];

const UUIDS: &[&str] = &[
    "00112233-4455-6677-8899-aabbccddeeff",
    "00112233-4455-6677-8899-aabbccddee00",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "00000000-0000-0000-0000-000000000000",
];

/// The declared types among them that are for numbers.
const NUMBERS: &[&str] =
    &["INTEGER", "BIGINT", "REAL", "NUMERIC", "BOOLEAN", "DECIMAL(9, 2)", "NUMERIC(30,4)", "DECIMAL(4)"];

/// Numbers that hardly any type takes.
const ODD_NUMBERS: &[&str] = &[
    "1.5",
    "-0.1234567",
    "1e15",
    "9e999",
    "-9e999",
    "9007199254740993",
    "-9223372036854775808",
    "12345678901234",
    "2",
];

/// Other values that hardly any type takes.
const ODD: &[&str] = &[
    "'twelve'",
    "''",
    "x'ff'",
    "x'00112233445566778899aabbccddeeff'",
    "zeroblob(16)",
    "'2024-02-30'",
    "'2024-1-1'",
    "'24:00'",
    "'2024-02-29 12:30:00.1234567'",
    "'{broken'",
    "'0123456789'",
    "CAST(x'ff6100' AS TEXT)",
    "'00112233-4455-6677-8899-AABBCCDDEEFF'",
];

const TEXTS: &[&str] = &[
    "'a'",
    "''",
    "'it''s \"q\" \\x41'",
    "'größe 名前 🦆'",
    "'one' || char(10) || 'two'",
    "'a' || char(0) || 'b'",
    "'12'",
    "'NULL'",
    "printf('%.*c', 700, 'l')",
    "printf('%.*c', 9000, 'o')",
];

/// A literal of a value that a column of that mirror type holds.
pub fn fitting(dice: &mut Dice, mirror: &str) -> String {
    let moment = |dice: &mut Dice, fits: fn(&Moment) -> bool| {
        let fitting: Vec<&str> = MOMENTS.iter().filter(|moment| fits(moment)).map(|moment| moment.0).collect();
        format!("'{}'", dice.pick(&fitting))
    };
    let literal = match mirror {
        "BIGINT" if dice.chance(80) => return (dice.below(30) as i64 - 3).to_string(),
        "BIGINT" => dice.pick(&["9223372036854775807", "-9223372036854775808", "4294967296", "'17'", "3.0"]),
        "DOUBLE" => dice.pick(&["0.5", "-1.25", "0.1", "7", "0", "1e300", "5e-324", "9007199254740992", "9e999"]),
        "BOOLEAN" => dice.pick(&["0", "1", "TRUE", "FALSE"]),
        "BLOB" => dice.pick(&["x''", "x'00'", "x'00ff27225c'", "zeroblob(3000)", "CAST('abc' AS BLOB)"]),
        "DECIMAL(9,2)" | "DECIMAL(30,4)" => {
            dice.pick(&["0", "1.25", "-7", "1234567.89", "0.1", "-0.01", "0.30000000000000004", "46929.479999999996"])
        }
        "DECIMAL(4,0)" => dice.pick(&["0", "9999", "-1", "12.0"]),
        "DATE" if dice.chance(20) => dice.pick(&["2460369.5", "1721425.5", "1709164800", "-86400"]),
        "DATE" => return moment(dice, |moment| moment.1.is_some()),
        "TIME" => return moment(dice, |moment| moment.2.is_some()),
        "TIMESTAMP" if dice.chance(20) => dice.pick(&["2460370.25", "1709210096.125", "1709164800", "-86400"]),
        "TIMESTAMP" => return moment(dice, |moment| moment.3.is_some()),
        "JSON" if dice.chance(20) => dice.pick(&["12", "0.5", "-1e300"]),
        "JSON" => return format!("'{}'", dice.pick(JSON)),
        "UUID" if dice.chance(20) => dice.pick(&["x'00112233445566778899aabbccddee11'", "zeroblob(16)"]),
        "UUID" => return format!("'{}'", dice.pick(UUIDS)),
        _ => dice.pick(TEXTS),
    };
    literal.to_string()
}

/// Values that hardly fit their columns.
#[derive(Debug, Clone, Copy)]
pub struct Misfits {
    /// Of a hundred values, so many.
    pub percent: u64,
    /// They are numbers, and most columns are of numbers too.
    pub numbers: bool,
}

impl Misfits {
    pub const NONE: Misfits = Misfits { percent: 0, numbers: false };

    /// A literal of some value, which most columns can't hold.
    pub fn odd(self, dice: &mut Dice) -> String {
        let declared = match (self.numbers, dice.chance(60)) {
            (true, true) => return dice.pick(ODD_NUMBERS).to_string(),
            (false, true) => return dice.pick(&[ODD, ODD_NUMBERS].concat()).to_string(),
            (true, false) => dice.pick::<&str>(NUMBERS),
            (false, false) => dice.pick(DECLARED).0,
        };
        fitting(dice, mirror_type(declared))
    }

    /// The declared type of a column.
    pub fn declared(self, dice: &mut Dice) -> &'static str {
        if self.numbers && dice.chance(80) { dice.pick::<&str>(NUMBERS) } else { dice.pick(DECLARED).0 }
    }
}

/// A literal for a column of a key: of few values, so that rows are met again, no two of which are one in the mirror.
pub fn key(dice: &mut Dice, mirror: &str) -> String {
    let literal = match mirror {
        "BIGINT" => return dice.below(25).to_string(),
        "DOUBLE" => dice.pick(&["0.5", "-1.25", "0.1", "7", "0", "1e300"]),
        "VARCHAR" if dice.chance(70) => return format!("'k{}'", dice.below(20)),
        "VARCHAR" => dice.pick(&["'K1'", "'K2'", "''", "'ä'", "'it''s'", "'a' || char(0) || 'b'", "'k1 '"]),
        "BLOB" => dice.pick(&["x''", "x'00'", "x'00ff27225c'", "x'6b31'", "zeroblob(30)"]),
        "DATE" => dice.pick(&["'2024-02-29'", "'1969-07-20'", "'9999-12-31'", "-86400"]),
        "TIMESTAMP" => dice.pick(&["'2024-02-29'", "'2024-02-29 12:30'", "'1969-12-31 23:59:59.5'", "'9999-12-31'"]),
        "UUID" => return format!("'{}'", dice.pick(UUIDS)),
        _ => return fitting(dice, mirror),
    };
    literal.to_string()
}

/// A literal for a column of a key that may be one with another in the mirror, though not in SQLite; or the same to SQLite
/// in another form.
pub fn clashing_key(dice: &mut Dice) -> String {
    dice.pick(&[
        "1",
        "1.0",
        "'1'",
        "x'31'",
        "2",
        "2.5",
        "'2.5'",
        "'k1'",
        "'K1'",
        "x'6b31'",
        "'k1 '",
        "'2024-02-29'",
        "'2024-02-29 00:00'",
        "'twelve'",
        "TRUE",
        "'00112233-4455-6677-8899-AABBCCDDEEFF'",
        "CAST(x'6bff' AS TEXT)",
        "x'6bff'",
    ])
    .to_string()
}

/// A value as SQLite has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    /// SQLite's name of its type.
    pub fn class(&self) -> &'static str {
        match self {
            Cell::Null => "null",
            Cell::Integer(_) => "integer",
            Cell::Real(_) => "real",
            Cell::Text(_) => "text",
            Cell::Blob(_) => "blob",
        }
    }

    /// What a mirror's VARCHAR column shows.
    pub fn as_text(&self) -> Vec<u8> {
        match self {
            Cell::Null => b"NULL".to_vec(),
            Cell::Integer(number) => number.to_string().into_bytes(),
            Cell::Real(number) if number.is_infinite() => if *number > 0.0 { "Inf" } else { "-Inf" }.into(),
            Cell::Real(number) => format!("{number:?}").into_bytes(),
            Cell::Text(text) if std::str::from_utf8(text).is_ok() => text.clone(),
            Cell::Text(bytes) | Cell::Blob(bytes) => {
                let shown = |byte: &u8| match byte {
                    b'\\' | b'\'' | b'"' => format!("\\x{byte:02X}"),
                    b' '..=b'~' => char::from(*byte).to_string(),
                    _ => format!("\\x{byte:02X}"),
                };
                bytes.iter().map(shown).collect::<String>().into_bytes()
            }
        }
    }

    /// What a mirror's column shows of the value, which isn't NULL: the bytes of its text, or of a BLOB; `None` if the
    /// column can't hold it.
    pub fn shown(&self, mirror: &str) -> Option<Vec<u8>> {
        let text = match self {
            Cell::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let moment = || MOMENTS.iter().find(|moment| Some(moment.0) == text);
        let numbered = |number: f64| NUMBERED.iter().find(|numbered| numbered.0 == number);
        let shown = match (mirror, self) {
            ("VARCHAR", _) => return Some(self.as_text()),
            ("BLOB", Cell::Blob(bytes)) => return Some(bytes.clone()),
            ("BIGINT", Cell::Integer(number)) => number.to_string(),
            ("DOUBLE", Cell::Real(number)) => format!("{number:?}"),
            ("DOUBLE", Cell::Integer(number)) if number.unsigned_abs() <= 1 << 53 => format!("{:?}", *number as f64),
            ("HUGEINT", Cell::Integer(_) | Cell::Real(_)) => self.decimal("DECIMAL(38,0)")?,
            ("BOOLEAN", Cell::Integer(0)) => "false".to_string(),
            ("BOOLEAN", Cell::Integer(1)) => "true".to_string(),
            ("DATE", Cell::Text(_)) => moment()?.1?.to_string(),
            ("DATE", Cell::Integer(number)) => numbered(*number as f64)?.2?.to_string(),
            ("DATE", Cell::Real(number)) => numbered(*number)?.2?.to_string(),
            ("TIMESTAMP", Cell::Integer(number)) => numbered(*number as f64)?.1.to_string(),
            ("TIMESTAMP", Cell::Real(number)) => numbered(*number)?.1.to_string(),
            ("TIME", Cell::Text(_)) => moment()?.2?.to_string(),
            ("TIMESTAMP", Cell::Text(_)) => moment()?.3?.to_string(),
            ("JSON", Cell::Text(_)) => text.filter(|text| JSON.contains(text))?.to_string(),
            ("JSON", Cell::Integer(number)) => number.to_string(),
            ("JSON", Cell::Real(number)) if number.is_finite() => format!("{number:?}"),
            ("UUID", Cell::Text(_)) => text.map(str::to_lowercase).filter(|text| UUIDS.contains(&text.as_str()))?,
            ("UUID", Cell::Blob(bytes)) if bytes.len() == 16 => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
            }
            (decimal, Cell::Integer(_) | Cell::Real(_)) if decimal.starts_with("DECIMAL") => self.decimal(decimal)?,
            _ => return None,
        };
        Some(shown.into_bytes())
    }

    /// What a DECIMAL column shows of a number that it can't hold, if its values are rounded: half away from zero.
    pub fn rounded(&self, mirror: &str) -> Option<Vec<u8>> {
        let (_, scale) = mirror.strip_prefix("DECIMAL(")?.strip_suffix(')')?.split_once(',')?;
        let Cell::Real(number) = self else { return None };
        let text = shown_decimal(*number);
        let (whole, fraction) = text.split_once('.')?;
        let (kept, rest) = fraction.split_at_checked(scale.parse().ok()?)?;
        let units = format!("{whole}{kept}").trim_start_matches('-').parse::<i128>().ok()?;
        let units = units + i128::from(rest.as_bytes().first()? >= &b'5');
        let digits = format!("{:0>1$}", units, kept.len() + 1);
        let (whole, kept) = digits.split_at(digits.len() - kept.len());
        let sign = if text.starts_with('-') { "-" } else { "" };
        Cell::Real(format!("{sign}{whole}.{kept}0").parse().ok()?).decimal(mirror).map(String::into_bytes)
    }

    /// A number as DECIMAL(p,s), if that has all the digits that SQLite shows.
    fn decimal(&self, mirror: &str) -> Option<String> {
        let (width, scale) = mirror.strip_prefix("DECIMAL(")?.strip_suffix(')')?.split_once(',')?;
        let (width, scale): (usize, usize) = (width.parse().ok()?, scale.parse().ok()?);
        let text = match self {
            Cell::Integer(number) => number.to_string(),
            Cell::Real(number) if number.is_finite() => shown_decimal(*number),
            _ => return None,
        };
        let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.len() > scale || whole.trim_start_matches('0').len() > width - scale {
            return None;
        }
        let point = if scale > 0 { "." } else { "" };
        let sign = if whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0') { "" } else { sign };
        Some(format!("{sign}{whole}{point}{fraction:0<scale$}"))
    }
}
