//! TPC-H in a store: the mirrors, native and in a lake, answer its 22 queries as DuckDB's own tables do, before and after
//! SQLite's arithmetic has changed a DECIMAL column.

use maniac_sql_tests::{Kind, Session, Tools, Value, compare};

const MIRRORS: [&str; 2] = ["olap.shop", "lake.laked"];

/// As the benchmark declares them, keys included.
const TABLES: &[(&str, &str)] = &[
    (
        "customer",
        "c_custkey INTEGER PRIMARY KEY, c_name VARCHAR(25), c_address VARCHAR(40), c_nationkey INTEGER, c_phone CHAR(15), \
         c_acctbal DECIMAL(15,2), c_mktsegment CHAR(10), c_comment VARCHAR(117)",
    ),
    (
        "lineitem",
        "l_orderkey INTEGER, l_partkey INTEGER, l_suppkey INTEGER, l_linenumber INTEGER, l_quantity DECIMAL(15,2), \
         l_extendedprice DECIMAL(15,2), l_discount DECIMAL(15,2), l_tax DECIMAL(15,2), l_returnflag CHAR(1), \
         l_linestatus CHAR(1), l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct CHAR(25), \
         l_shipmode CHAR(10), l_comment VARCHAR(44), PRIMARY KEY (l_orderkey, l_linenumber)",
    ),
    ("nation", "n_nationkey INTEGER PRIMARY KEY, n_name CHAR(25), n_regionkey INTEGER, n_comment VARCHAR(152)"),
    (
        "orders",
        "o_orderkey INTEGER PRIMARY KEY, o_custkey INTEGER, o_orderstatus CHAR(1), o_totalprice DECIMAL(15,2), \
         o_orderdate DATE, o_orderpriority CHAR(15), o_clerk CHAR(15), o_shippriority INTEGER, o_comment VARCHAR(79)",
    ),
    (
        "part",
        "p_partkey INTEGER PRIMARY KEY, p_name VARCHAR(55), p_mfgr CHAR(25), p_brand CHAR(10), p_type VARCHAR(25), \
         p_size INTEGER, p_container CHAR(10), p_retailprice DECIMAL(15,2), p_comment VARCHAR(23)",
    ),
    (
        "partsupp",
        "ps_partkey INTEGER, ps_suppkey INTEGER, ps_availqty INTEGER, ps_supplycost DECIMAL(15,2), \
         ps_comment VARCHAR(199), PRIMARY KEY (ps_partkey, ps_suppkey)",
    ),
    ("region", "r_regionkey INTEGER PRIMARY KEY, r_name CHAR(25), r_comment VARCHAR(152)"),
    (
        "supplier",
        "s_suppkey INTEGER PRIMARY KEY, s_name CHAR(25), s_address VARCHAR(40), s_nationkey INTEGER, s_phone CHAR(15), \
         s_acctbal DECIMAL(15,2), s_comment VARCHAR(101)",
    ),
];

/// The queries, each answered by DuckDB's own tables and then by the mirrors. Rows are compared as multisets: where two are
/// equal in what a query orders by, it leaves their order open.
fn compare_queries(duckdb: &mut Session, when: &str) {
    let answer = |duckdb: &mut Session, schema: &str, query: usize| {
        let rows = duckdb.run(&format!("USE {schema}; PRAGMA tpch({query})"));
        let mut rows = rows.unwrap_or_else(|error| panic!("{when}, query {query} in {schema}: {error}"));
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    };
    for query in 1..=22 {
        let own = answer(duckdb, "own.main", query);
        assert!(!own.is_empty(), "{when}, query {query} finds nothing");
        for mirror in MIRRORS {
            let mirrored = answer(duckdb, mirror, query);
            assert!(
                mirrored == own,
                "{when}, query {query}: {mirror} answers {mirrored:?}, DuckDB's own tables {own:?}"
            );
        }
    }
}

/// The types of the DECIMAL columns, and the sum of the prices of the orders.
fn assert_decimals(duckdb: &mut Session, when: &str) {
    let sum = |schema: &str| format!("SELECT typeof(sum(o_totalprice)), sum(o_totalprice) FROM {schema}.orders");
    let own = duckdb.run(&sum("own.main")).unwrap();
    for mirror in MIRRORS {
        let types = duckdb.run(&format!(
            "SELECT column_name, column_type FROM (DESCRIBE {mirror}.orders) WHERE column_type LIKE 'DECIMAL%'"
        ));
        let price = [Value::Text("o_totalprice".into()), Value::Text("DECIMAL(15,2)".into())];
        assert_eq!(types.unwrap(), [price], "{when}, in {mirror}");
        assert_eq!(duckdb.run(&sum(mirror)).unwrap(), own, "{when}, in {mirror}");
    }
    let widened =
        duckdb.run("SELECT sum(widened_columns), sum(rejected_values), sum(rounded_values) FROM maniac_status()");
    assert_eq!(widened.unwrap(), [[(); 3].map(|()| Value::Integer("0".into()))], "{when}: widened, rejected, rounded");
}

#[test]
fn the_queries_answer_as_duckdbs_own_tables_do() {
    let tools = Tools::find();
    let directory = tempfile::tempdir().unwrap();
    let mut duckdb = Session::new(Kind::Duckdb, &tools, directory.path());
    duckdb.open("olap.db").unwrap();
    duckdb
        .run(&format!(
            "LOAD '{}'; ATTACH 'own.db' AS own; USE own; CALL dbgen(sf = 0.01); USE olap;",
            tools.duckdb_tool("tpch").display()
        ))
        .unwrap();
    let mut sqlite = Session::new(Kind::Sqlite, &tools, directory.path());
    sqlite.open("file:shop.maniac?vfs=maniac").unwrap();
    for (table, columns) in TABLES {
        duckdb.run(&format!("COPY own.{table} TO '{table}.csv' (HEADER false)")).unwrap();
        sqlite.run(&format!("CREATE TABLE {table}({columns})")).unwrap();
        sqlite.run(&format!(".import --csv {table}.csv {table}")).unwrap();
    }
    duckdb
        .run(&format!(
            "LOAD '{}'; ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files'); CALL maniac_attach('shop.maniac'); \
             CALL maniac_attach('shop.maniac', lake := 'lake', schema := 'laked')",
            tools.ducklake.display()
        ))
        .unwrap();
    let wait = "CALL maniac_wait('shop'); CALL maniac_wait('laked')";
    duckdb.run(wait).unwrap();
    assert_decimals(&mut duckdb, "copied");
    compare_queries(&mut duckdb, "copied");

    for amount in ["1", "0.1"] {
        let (update, when) =
            (format!("SET o_totalprice = o_totalprice + {amount}"), format!("{amount} more for all orders"));
        sqlite.run(&format!("UPDATE orders {update}")).unwrap();
        duckdb.run(&format!("UPDATE own.orders {update}; {wait}")).unwrap();
        assert_decimals(&mut duckdb, &when);
        compare_queries(&mut duckdb, &when);
    }
    // Such as 173665.46999999997, which SQLite's shell shows as 173665.47.
    let crooked =
        sqlite.run("SELECT count(*) > 1000 FROM orders WHERE o_totalprice <> round(o_totalprice, 2)").unwrap();
    assert_eq!(crooked, [[Value::Integer("1".into())]], "prices with more digits than two");

    // Row by row, and many of them: the mirrors follow these.
    for price in ["l_extendedprice * 1.1", "l_extendedprice / 3 + 0.07"] {
        let share = "l_orderkey % 50 = 7";
        sqlite.run(&format!("UPDATE lineitem SET l_extendedprice = round({price}, 2) WHERE {share}")).unwrap();
    }
    sqlite.run("DELETE FROM orders WHERE o_orderkey % 100 = 3").unwrap();
    duckdb.run("DELETE FROM own.orders WHERE o_orderkey % 100 = 3").unwrap();
    duckdb.run(&format!("{wait}; USE olap")).unwrap();
    for mirror in MIRRORS {
        assert_eq!(compare::all(&mut sqlite, &mut duckdb, mirror).unwrap(), TABLES.len());
    }
    assert_decimals(&mut duckdb, "after rows were followed");
    duckdb.exit().unwrap();
    sqlite.exit().unwrap();
}
