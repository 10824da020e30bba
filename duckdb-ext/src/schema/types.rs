//! The DuckDB type of a column, from the type that SQLite has it declared with.

use std::fmt;
use std::str::FromStr;

use super::decimal::MAX_WIDTH;
use crate::source::GENERATED;

/// Types that mirrors use. Every value of SQLite fits VARCHAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnType {
    Boolean,
    BigInt,
    HugeInt,
    Double,
    Decimal {
        width: u8,
        scale: u8,
    },
    #[default]
    Varchar,
    Blob,
    Date,
    Time,
    Timestamp,
    Uuid,
    Json,
}

impl ColumnType {
    /// The type for a declaration. Names with a meaning of their own come first; the rest goes by SQLite's rules for
    /// column affinity (datatype3.html, section 3.1), in their order, except that a name which says nothing, like
    /// `STRING`, gives VARCHAR: such columns hold text more often than numbers.
    pub fn of_declared(declared: &str) -> ColumnType {
        let declared = declared.strip_suffix(GENERATED).unwrap_or(declared);
        let upper = declared.trim().to_ascii_uppercase();
        let (name, arguments) = match upper.split_once('(') {
            Some((name, rest)) => (name.trim(), rest.split(')').next().unwrap_or("")),
            None => (upper.as_str(), ""),
        };
        match name {
            "BOOLEAN" | "BOOL" => return ColumnType::Boolean,
            "DATE" => return ColumnType::Date,
            "TIME" => return ColumnType::Time,
            "DATETIME" | "TIMESTAMP" => return ColumnType::Timestamp,
            "JSON" => return ColumnType::Json,
            "UUID" => return ColumnType::Uuid,
            "DECIMAL" | "NUMERIC" | "DEC" | "NUMBER" | "NUM" => return Self::decimal(arguments),
            _ => {}
        }
        let has = |part: &str| name.contains(part);
        if has("INT") {
            ColumnType::BigInt
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            ColumnType::Varchar
        } else if has("BLOB") {
            ColumnType::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            ColumnType::Double
        } else {
            ColumnType::Varchar
        }
    }

    /// DECIMAL(p, s) as declared; without a precision, or beyond DuckDB's, the values are doubles as in SQLite itself.
    fn decimal(arguments: &str) -> ColumnType {
        let mut numbers = arguments.split(',').map(|n| n.trim().parse::<u8>());
        let (width, scale) = match (numbers.next(), numbers.next()) {
            (Some(Ok(width)), None) => (width, 0),
            (Some(Ok(width)), Some(Ok(scale))) => (width, scale),
            _ => return ColumnType::Double,
        };
        match (1..=MAX_WIDTH).contains(&width) && scale <= width {
            true => ColumnType::Decimal { width, scale },
            false => ColumnType::Double,
        }
    }
}

/// The type's name in DuckDB's SQL.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Boolean => f.write_str("BOOLEAN"),
            ColumnType::BigInt => f.write_str("BIGINT"),
            ColumnType::HugeInt => f.write_str("HUGEINT"),
            ColumnType::Double => f.write_str("DOUBLE"),
            ColumnType::Decimal { width, scale } => write!(f, "DECIMAL({width},{scale})"),
            ColumnType::Varchar => f.write_str("VARCHAR"),
            ColumnType::Blob => f.write_str("BLOB"),
            ColumnType::Date => f.write_str("DATE"),
            ColumnType::Time => f.write_str("TIME"),
            ColumnType::Timestamp => f.write_str("TIMESTAMP"),
            ColumnType::Uuid => f.write_str("UUID"),
            ColumnType::Json => f.write_str("JSON"),
        }
    }
}

/// Reads what `Display` wrote.
impl FromStr for ColumnType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "BOOLEAN" => ColumnType::Boolean,
            "BIGINT" => ColumnType::BigInt,
            "HUGEINT" => ColumnType::HugeInt,
            "DOUBLE" => ColumnType::Double,
            "VARCHAR" => ColumnType::Varchar,
            "BLOB" => ColumnType::Blob,
            "DATE" => ColumnType::Date,
            "TIME" => ColumnType::Time,
            "TIMESTAMP" => ColumnType::Timestamp,
            "UUID" => ColumnType::Uuid,
            "JSON" => ColumnType::Json,
            _ => match text.strip_prefix("DECIMAL(").and_then(|rest| rest.strip_suffix(')')).map(Self::decimal) {
                Some(decimal @ ColumnType::Decimal { .. }) => decimal,
                _ => return Err(()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_become_what_users_expect() {
        let decimal = |width, scale| ColumnType::Decimal { width, scale };
        let table = [
            ("INTEGER", ColumnType::BigInt),
            ("int", ColumnType::BigInt),
            ("UNSIGNED BIG INT", ColumnType::BigInt),
            ("tinyint(1)", ColumnType::BigInt),
            ("REAL", ColumnType::Double),
            ("double precision", ColumnType::Double),
            ("FLOAT", ColumnType::Double),
            ("TEXT", ColumnType::Varchar),
            ("VARCHAR(255)", ColumnType::Varchar),
            ("NATIVE CHARACTER(70)", ColumnType::Varchar),
            ("CLOB", ColumnType::Varchar),
            ("BLOB", ColumnType::Blob),
            ("", ColumnType::Varchar),
            ("GENERATED ALWAYS", ColumnType::Varchar),
            ("DATE GENERATED ALWAYS", ColumnType::Date),
            ("DECIMAL(10,2) GENERATED ALWAYS", decimal(10, 2)),
            ("ANY", ColumnType::Varchar),
            ("STRING", ColumnType::Varchar),
            ("BOOLEAN", ColumnType::Boolean),
            ("DECIMAL(10,2)", decimal(10, 2)),
            ("decimal(10, 2)", decimal(10, 2)),
            ("NUMERIC(5)", decimal(5, 0)),
            ("NUMERIC", ColumnType::Double),
            ("DECIMAL(60,2)", ColumnType::Double),
            ("DECIMAL(4,9)", ColumnType::Double),
            ("DATE", ColumnType::Date),
            ("DATETIME", ColumnType::Timestamp),
            ("timestamp", ColumnType::Timestamp),
            ("TIME", ColumnType::Time),
            ("JSON", ColumnType::Json),
            ("UUID", ColumnType::Uuid),
            ("POINT", ColumnType::BigInt),
        ];
        for (declared, expected) in table {
            assert_eq!(ColumnType::of_declared(declared), expected, "{declared}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for declared in ["INT", "REAL", "TEXT", "BLOB", "BOOL", "DATE", "TIME", "DATETIME", "JSON", "UUID", "DEC(9,3)"]
        {
            let column = ColumnType::of_declared(declared);
            assert_eq!(column.to_string().parse(), Ok(column));
        }
        assert_eq!("HUGEINT".parse(), Ok(ColumnType::HugeInt));
        assert_eq!("TINYINT".parse::<ColumnType>(), Err(()));
    }
}
