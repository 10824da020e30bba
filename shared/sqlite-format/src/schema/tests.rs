use maniac_base::Value;

use super::*;
use crate::Encoding;

fn table(sql: &str) -> Table {
    encoded_table(sql, Encoding::Utf8)
}

fn encoded_table(sql: &str, encoding: Encoding) -> Table {
    let row = SchemaRow {
        rowid: 1,
        kind: "table".into(),
        name: "t".into(),
        table_name: "t".into(),
        root: 2,
        sql: Some(sql.into()),
    };
    Table::from_row(&row, TableKind::Ordinary, encoding).unwrap_or_else(|reason| panic!("{sql}: {reason}"))
}

fn columns(sql: &str) -> Vec<(String, String)> {
    table(sql).columns.into_iter().map(|column| (column.name, column.declared_type)).collect()
}

#[test]
fn only_integer_primary_key_is_the_rowid() {
    for (sql, alias) in [
        ("CREATE TABLE t(a INTEGER PRIMARY KEY)", Some(0)),
        ("CREATE TABLE t(a integer primary key asc)", Some(0)),
        ("CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b)", Some(0)),
        ("CREATE TABLE t(a INTEGER PRIMARY KEY DESC)", None),
        ("CREATE TABLE t(b, a INTEGER, PRIMARY KEY(a DESC))", Some(1)),
        ("CREATE TABLE t(b, \"A\" \"INTEGER\", PRIMARY KEY('a' COLLATE nocase))", Some(1)),
        ("CREATE TABLE t(a INT PRIMARY KEY)", None),
        ("CREATE TABLE t(a INTEGER PRIMARY KEY) WITHOUT ROWID", None),
        ("CREATE TABLE t(a INTEGER, b, PRIMARY KEY(a, b))", None),
    ] {
        assert_eq!(table(sql).rowid_alias, alias, "{sql}");
    }
}

#[test]
fn types_end_where_constraints_start() {
    let sql = "CREATE TABLE t(a, \"b c\" VARCHAR (10 , 2) NOT NULL, c UNSIGNED BIG INT DEFAULT 1 CHECK (c > (1)), \
               d /* x */ DOUBLE PRECISION REFERENCES z(y) ON DELETE SET DEFAULT ON UPDATE SET NULL COLLATE rtrim, \
               e INT GENERATED ALWAYS AS (a + 1) STORED, f GENERATED ALWAYS AS (a), g \"my type\", \
               CONSTRAINT u UNIQUE(a) FOREIGN KEY(a) REFERENCES z CHECK (a), CONSTRAINT zip)";
    let expected = [
        ("a", ""),
        ("b c", "VARCHAR (10 , 2)"),
        ("c", "UNSIGNED BIG INT"),
        ("d", "DOUBLE PRECISION"),
        ("e", "INT"),
        ("f", ""),
        ("g", "my type"),
    ];
    assert_eq!(columns(sql), expected.map(|(a, b)| (a.to_string(), b.to_string())));
    let table = table(sql);
    let generated: Vec<_> = table.columns.iter().map(|column| column.generated).collect();
    assert_eq!(generated[4..6], [Generated::Stored, Generated::Virtual]);
    assert_eq!(table.columns[3].collation, Collation::Rtrim);
    assert_eq!(table.columns[2].default_sql.as_deref(), Some("1"));
    assert!(table.columns[1].not_null && !table.columns[3].not_null);
    assert_eq!(table.stored, [0, 1, 2, 3, 4, 6]);
    assert_eq!(table.key_form(), KeyForm::Rowid);
}

#[test]
fn a_key_without_rowid_comes_first_in_the_record() {
    let sql = "CREATE TABLE t(a, b TEXT COLLATE NOCASE, c, d AS (a), PRIMARY KEY(c DESC, b, c)) STRICT, WITHOUT ROWID";
    let table = table(sql);
    assert_eq!(table.stored, [2, 1, 0]);
    assert_eq!((table.key_position(2), table.key_position(1), table.key_position(0)), (1, 2, 0));
    assert!(table.key[0].descending && table.key[1].collation == Collation::NoCase);
    assert_eq!(table.key_form(), KeyForm::Declared { nullable: false });
    let twice = self::table("CREATE TABLE t(a, b, PRIMARY KEY(a, a COLLATE nocase)) WITHOUT ROWID");
    assert_eq!(twice.stored, [0, 0, 1]);
}

#[test]
fn a_declared_key_may_hold_null_unless_something_forbids_it() {
    for (sql, nullable) in [
        ("CREATE TABLE t(a TEXT PRIMARY KEY)", true),
        ("CREATE TABLE t(a TEXT PRIMARY KEY NOT NULL)", false),
        ("CREATE TABLE t(a TEXT NOT NULL, b, PRIMARY KEY(a, b))", true),
        ("CREATE TABLE t(a TEXT PRIMARY KEY) STRICT", false),
        ("CREATE TABLE t(a INTEGER PRIMARY KEY)", false),
    ] {
        assert_eq!(table(sql).key_form(), KeyForm::Declared { nullable }, "{sql}");
    }
}

#[test]
fn defaults_are_what_sqlite_gives_to_rows_written_before() {
    for (definition, expected) in [
        ("INT DEFAULT 5", Value::Integer(5)),
        ("INT DEFAULT -5", Value::Integer(-5)),
        ("INT DEFAULT '5'", Value::Integer(5)),
        ("REAL DEFAULT 5", Value::Real(5.0)),
        ("TEXT DEFAULT 5", Value::text("5")),
        ("TEXT DEFAULT 1.50", Value::text("1.50")),
        ("DEFAULT 'it''s'", Value::text("it's")),
        ("DEFAULT word", Value::text("word")),
        ("DEFAULT \"quoted word\"", Value::text("quoted word")),
        ("DEFAULT x'00fF'", Value::Blob(vec![0, 255].into())),
        ("DEFAULT TRUE", Value::Integer(1)),
        ("DEFAULT NULL", Value::Null),
        ("DEFAULT (-(-7))", Value::Integer(7)),
        ("DEFAULT -9223372036854775808", Value::Integer(i64::MIN)),
        ("DEFAULT 9223372036854775808", Value::Real(9223372036854775808.0)),
        ("DEFAULT 0x10", Value::Integer(16)),
        ("DEFAULT +.5e1", Value::Real(5.0)),
        ("NUMERIC DEFAULT 2.0", Value::Integer(2)),
        ("DEFAULT (CAST('12abc' AS INTEGER))", Value::Integer(12)),
        ("DEFAULT (CAST('1e3' AS INTEGER))", Value::Integer(1000)),
        ("DEFAULT (CAST((CAST(12 AS VARCHAR(10))) AS DECIMAL(5, 2)))", Value::Integer(12)),
        ("DEFAULT (CAST('1e3x' AS INTEGER))", Value::Integer(1)),
        ("DEFAULT (CAST(x'316533' AS INTEGER))", Value::Integer(1)),
        ("DEFAULT (CAST(x'316533' AS NUMERIC))", Value::Integer(1000)),
        ("DEFAULT (CAST(' -99999999999999999999x' AS INTEGER))", Value::Integer(i64::MIN)),
        ("DEFAULT (- '12abc')", Value::Integer(-12)),
        ("REAL DEFAULT (- '1e2abc')", Value::Real(-100.0)),
        ("DEFAULT (- x'ff31')", Value::Integer(0)),
        ("TEXT DEFAULT (- '1.0')", Value::text("-1")),
        ("DEFAULT (CAST(x'61' AS TEXT))", Value::text("a")),
    ] {
        let table = table(&format!("CREATE TABLE t(a, b {definition})"));
        assert_eq!(table.columns[1].default, Some(expected), "{definition}");
    }
    let strict = table("CREATE TABLE t(a, b ANY DEFAULT '12') STRICT");
    assert_eq!(strict.columns[1].default, Some(Value::text("12")), "ANY keeps a value as it is");
    for definition in ["DEFAULT CURRENT_TIMESTAMP", "DEFAULT (random())", "DEFAULT (1 + 1)", ""] {
        let table = table(&format!("CREATE TABLE t(a, b {definition})"));
        assert_eq!(table.columns[1].default, None, "{definition}");
    }
}

/// As `sqlite3` 3.40.1 and 3.53.1 show them in rows that were there before the column.
#[test]
fn casts_of_a_default_know_the_encoding() {
    let blob = |bytes: &[u8]| Value::Blob(bytes.to_vec().into());
    for (definition, utf8, utf16) in [
        ("DEFAULT (CAST(x'ff6100' AS TEXT))", Value::Text(b"\xffa\0".into()), Value::text("\u{fffd}a")),
        ("DEFAULT (CAST(x'61' AS TEXT))", Value::text("a"), Value::text("")),
        ("DEFAULT (CAST(x'31003200' AS TEXT))", Value::text("1\x002\x00"), Value::text("1\x002\x00")),
        ("INT DEFAULT (CAST(x'31323334' AS TEXT))", Value::Integer(1234), Value::Integer(1234)),
        ("DEFAULT (CAST(CAST(x'ff61' AS BLOB) AS TEXT))", Value::Text(b"\xffa".into()), Value::text("\u{fffd}a")),
        ("DEFAULT (CAST('é1' AS BLOB))", blob("é1".as_bytes()), blob(b"\xe9\x001\0")),
        ("TEXT DEFAULT (CAST(1.5 AS BLOB))", blob(b"1.5"), blob(b"1\0.\x005\0")),
        ("DEFAULT (CAST(- x'3132' AS BLOB))", blob(b"-12"), blob(b"-\x001\x002\0")),
        ("DEFAULT (CAST(CAST(x'ff6100' AS TEXT) AS BLOB))", blob(b"\xffa\0"), blob(b"\xfd\xffa\0")),
        ("DEFAULT (CAST(CAST('é' AS BLOB) AS TEXT))", Value::text("é"), Value::text("é")),
        ("DEFAULT (CAST(CAST('12' AS BLOB) AS REAL))", Value::Real(12.0), Value::Real(12.0)),
        ("DEFAULT (- CAST('12' AS BLOB))", Value::Integer(-12), Value::Integer(-12)),
        ("DEFAULT (CAST(x'3132' AS INTEGER))", Value::Integer(12), Value::Integer(12)),
        ("TEXT DEFAULT x'4142'", blob(b"AB"), blob(b"AB")),
    ] {
        let default = |encoding| {
            let table = encoded_table(&format!("CREATE TABLE t(a, b {definition})"), encoding);
            table.columns[1].default.clone()
        };
        assert_eq!(default(Encoding::Utf8), Some(utf8), "{definition}");
        assert_eq!(default(Encoding::Utf16Le), Some(utf16.clone()), "{definition}");
        if !matches!(utf16, Value::Blob(_)) {
            assert_eq!(default(Encoding::Utf16Be), Some(utf16), "{definition}");
        }
    }
    let big_endian = encoded_table("CREATE TABLE t(a, b DEFAULT (CAST('é1' AS BLOB)))", Encoding::Utf16Be);
    assert_eq!(big_endian.columns[1].default, Some(blob(b"\0\xe9\x001")));
}

#[test]
fn shadow_and_internal_tables_are_marked() {
    let row = |name: &str, root: u32, sql: &str| SchemaRow {
        rowid: 1,
        kind: "table".into(),
        name: name.into(),
        table_name: name.into(),
        root,
        sql: Some(sql.into()),
    };
    let rows = vec![
        row("my_docs", 0, "CREATE VIRTUAL TABLE my_docs USING fts5(body)"),
        row("my_docs_data", 2, "CREATE TABLE 'my_docs_data'(id INTEGER PRIMARY KEY, block BLOB)"),
        row("my_docs_other", 3, "CREATE TABLE my_docs_other(a)"),
        row("sqlite_sequence", 4, "CREATE TABLE sqlite_sequence(name,seq)"),
    ];
    let schema = Schema::from_rows(rows, Encoding::Utf8).unwrap();
    let kinds: Vec<_> = schema.tables.iter().map(|table| table.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            TableKind::Virtual { module: "fts5".into() },
            TableKind::Shadow { of: "my_docs".into() },
            TableKind::Ordinary,
            TableKind::Internal,
        ]
    );
}

#[test]
fn text_that_is_no_table_is_an_error() {
    for sql in [
        "",
        "CREATE",
        "CREATE TABLE t",
        "CREATE TABLE t(",
        "CREATE TABLE t()",
        "CREATE TABLE t(a DEFAULT",
        "CREATE TABLE t(a, PRIMARY KEY(b))",
        "CREATE TABLE t(a CHECK (",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE t(a) WITHOUT ROWID",
        "CREATE TABLE t(a 'open",
    ] {
        let row = SchemaRow {
            rowid: 1,
            kind: "table".into(),
            name: "t".into(),
            table_name: "t".into(),
            root: 2,
            sql: Some(sql.into()),
        };
        assert!(Table::from_row(&row, TableKind::Ordinary, Encoding::Utf8).is_err(), "{sql}");
    }
}
