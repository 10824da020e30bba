//! DuckDB inside Python, in every version that matters: live mirrors never keep a process or a file from closing, and a
//! host that is too old is told so instead of crashing.
//!
//! `make setup` puts the versions under `.venv/hosts/`.

use maniac_sql_tests::python::{Host, LAKE, VERSIONS, WITH_DUCKLAKE, prints};

#[test]
fn a_closed_file_can_be_opened_again_at_once() {
    let mut host = Host::streaming();
    for version in VERSIONS {
        // Around the moment in which the extension lets go of its connections, too.
        let script = format!(
            "
import time
for pause in [0, 0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0]:
    con = connect('{version}.db')
    attach = \"CALL maniac_attach('shop.maniac', mode := 'streaming')\"
    try:
        con.execute(attach)
    except duckdb.Error as error:
        # Within the fifth of a millisecond in which the last connections are closed.
        assert 'close it and open it again' in str(error), error
        con.close()
        con = connect('{version}.db')
        con.execute(attach)
    assert con.execute('SELECT count(*) FROM shop.t').fetchone() == (1000,)
    con.close()
    time.sleep(pause)
print('done')
"
        );
        prints(&host.python(version, &script), "done");
    }
    host.writer.receive().unwrap();
}

#[test]
fn a_process_with_live_mirrors_just_ends() {
    let mut host = Host::streaming();
    for round in 0..3 {
        let script = format!(
            "
con = connect('native{round}.db')
con.execute(f\"LOAD '{{os.environ['DUCKLAKE']}}'\")
con.execute(\"ATTACH 'ducklake:lake{round}.ducklake' AS lake (DATA_PATH 'files{round}')\")
con.execute(\"CALL maniac_attach('shop.maniac', mode := 'streaming')\")
con.execute(\"CALL maniac_attach('shop.maniac', lake := 'lake', schema := 'laked', mode := 'streaming')\")
print(con.execute('SELECT count(*) FROM shop.t').fetchone()[0], con.execute('SELECT count(*) FROM lake.laked.t').fetchone()[0])
"
        );
        prints(&host.python(WITH_DUCKLAKE, &script), "1000 1000");
    }
    for version in VERSIONS {
        let script = format!(
            "
con = connect('{version}.db')
con.execute(\"CALL maniac_attach('shop.maniac', mode := 'streaming')\")
print(con.execute('SELECT count(*) FROM shop.t').fetchone()[0])
"
        );
        prints(&host.python(version, &script), "1000");
    }
    host.writer.receive().unwrap();
}

#[test]
fn two_databases_in_one_process_keep_their_mirrors_apart() {
    let host = Host::new();
    let script = "
one, two = connect('one.db'), connect(':memory:')
one.execute(\"CALL maniac_attach('shop.maniac')\")
two.execute(\"CALL maniac_attach('shop.maniac', schema := 'other')\")
print(one.execute('SELECT name FROM maniac_status()').fetchall(), two.execute('SELECT name FROM maniac_status()').fetchall())
one.close()
print(two.execute(\"CALL maniac_wait('other')\").fetchone()[1], two.execute('SELECT count(*) FROM other.t').fetchone())
";
    for version in VERSIONS {
        prints(&host.python(version, script), "[('shop',)] [('other',)]\nStreaming (1000,)");
        std::fs::remove_file(host.directory.path().join("one.db")).unwrap();
    }
}

#[test]
fn a_detach_ends_whatever_other_connections_ask_of_the_mirror_meanwhile() {
    let mut host = Host::streaming();
    let script = "
import threading
con = connect(':memory:')
for round in range(50):
    con.execute(\"CALL maniac_attach('shop.maniac', mode := 'streaming')\")
    detach = threading.Thread(target=con.cursor().execute, args=[\"CALL maniac_detach('shop')\"])
    detach.start()
    while detach.is_alive():
        for call in ['resume', 'pause']:
            try:
                con.execute(f\"CALL maniac_{call}('shop')\")
            except duckdb.Error:
                pass
    assert con.execute('SELECT count(*) FROM maniac_status()').fetchone() == (0,)
print('done')
";
    for version in VERSIONS {
        prints(&host.python(version, script), "done");
    }
    host.writer.receive().unwrap();
}

#[test]
fn a_detach_from_another_connection_ends_a_first_copy() {
    let mut host = Host::new();
    let rows = 3_000_000;
    host.writer
        .run(&format!(
            "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT i, 'row ' || i FROM n"
        ))
        .unwrap();
    let script = "
import threading
con = connect(':memory:')
other = con.cursor()
outcome = []
def attach():
    try:
        outcome.append(con.execute(\"CALL maniac_attach('shop.maniac')\").fetchall())
    except duckdb.Error as error:
        outcome.append(str(error))
copy = threading.Thread(target=attach)
copy.start()
while other.execute(\"SELECT count(*) FROM maniac_status() WHERE copying LIKE '%0 rows'\").fetchone() == (0,):
    assert copy.is_alive()
print(other.execute(\"CALL maniac_detach('shop')\").fetchone())
copy.join()
print('the mirror was detached while table t was copied: attach it again' in outcome[0])
print(other.execute(\"SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'shop'\").fetchone())
print(other.execute(\"CALL maniac_attach('shop.maniac')\").fetchall()[0][1])
";
    let expected = format!("('shop', 'Detached', 0)\nTrue\n(0,)\n{rows}");
    for version in VERSIONS {
        prints(&host.python(version, script), &expected);
    }
}

#[test]
fn every_duckdb_loads_the_same_file() {
    let mut host = Host::new();
    host.writer.run("UPDATE t SET v = NULL WHERE id <= 10; DELETE FROM t WHERE id > 900").unwrap();
    // Strings that lie in a vector and that don't, NULLs, and a batch of more keys than a list holds.
    let script = "
write('''DROP TABLE IF EXISTS kinds; CREATE TABLE kinds(id INTEGER PRIMARY KEY, s TEXT, made DATETIME, r REAL);
INSERT INTO kinds WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
  SELECT i, CASE i % 3 WHEN 0 THEN 'short ' || i WHEN 1 THEN 'a text that is longer ' || i END,
    datetime(1700000000 + i, 'unixepoch'), i / 4.0 FROM n''')
con = connect(f'{duckdb.__version__}.db')
con.execute(\"CALL maniac_attach('shop.maniac')\")
wrong = '''SELECT count(*) FROM shop.kinds WHERE r <> id / 4 OR made <> make_timestamp((1700000000 + id) * 1000000)
  OR s IS DISTINCT FROM CASE id % 3 WHEN 0 THEN 'short ' || id WHEN 1 THEN 'a text that is longer ' || id END
    || if(id % 2 = 0, ?, '')'''
print(con.execute(wrong, ['']).fetchone())
write(\"UPDATE kinds SET s = s || ' changed' WHERE id % 2 = 0\")
con.execute(\"CALL maniac_wait('shop')\")
print(con.execute(wrong, [' changed']).fetchone(), con.execute('SELECT count(*) FROM shop.kinds').fetchone())
print(duckdb.__version__, con.execute('SELECT count(*), count(v) FROM shop.t').fetchone())
";
    for version in VERSIONS {
        let expected = format!("(0,)\n(0,) (6000,)\n{version} (900, 890)");
        prints(&host.python(version, script), &expected);
    }
}

#[test]
fn a_host_that_is_too_old_is_told_so() {
    let host = Host::new();
    let script = "
try:
    connect(':memory:')
except duckdb.Error as error:
    print('needs DuckDB 1.5 or newer, and this is v1.4.4' in str(error))
";
    prints(&host.python("1.4.4", script), "True");
}

/// A compaction whose commit has to start over because of somebody else's made the database unusable.
#[test]
fn a_mirror_is_maintained_while_its_lake_is_written_to() {
    let host = Host::streaming();
    let output = host.python(
        WITH_DUCKLAKE,
        "
import threading
con = connect('olap.db')
con.execute(f\"LOAD '{os.environ['DUCKLAKE']}'\")
con.execute(\"ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'files')\")
con.execute('SET enable_progress_bar = false; CREATE TABLE lake.own (i INTEGER)')
con.execute(\"CALL maniac_attach('shop.maniac', lake := 'lake')\")
over = threading.Event()
# Of two that commit at once, one may be told so.
def attempt(cursor, sql):
    try:
        cursor.execute(sql)
    except duckdb.Error as error:
        if 'Exceeded the maximum retry count' not in str(error):
            raise
failed = []
def write():
    try:
        cursor = con.cursor()
        while not over.is_set():
            attempt(cursor, 'INSERT INTO lake.own VALUES (1)')
    except duckdb.Error as error:
        failed.append(error)
thread = threading.Thread(target=write)
thread.start()
try:
    for round in range(6):
        attempt(con, \"CALL maniac_maintain('shop')\")
finally:
    over.set()
    thread.join()
print(failed, con.execute('SELECT count(*) > 0 FROM lake.own').fetchone())
",
    );
    prints(&output, "[] (True,)");
}

/// A flush drops the tables that hold the inlined rows of a table's older shapes, and DuckLake mixes up what an open
/// transaction and a later one know of them: the one missed rows, or the other one failed.
#[test]
fn an_open_transaction_reads_the_same_after_a_mirror_is_maintained() {
    let script = "
for round, first in enumerate([other, con]):
    commit(f'INSERT INTO t(id) VALUES ({2000 + round})')
    commit(f'ALTER TABLE t ADD COLUMN w{round}; INSERT INTO t(id) VALUES ({3000 + round})')
    other.execute('BEGIN')
    before = rows(other)
    con.execute(\"CALL maniac_maintain('shop')\")
    rows(first)
    print(before == rows(con), before == rows(other), before == rows(con))
    other.execute('COMMIT')
    print(before == rows(other), before[0])
";
    let output = Host::new().python(WITH_DUCKLAKE, &format!("{LAKE}{script}"));
    prints(&output, "True True True\nTrue 1002\nTrue True True\nTrue 1004");
}

/// When somebody else flushes, what DuckLake then keeps for the whole process may name tables that are gone: the mirror
/// follows nevertheless, and is maintained, after which the lake can be read again.
#[test]
fn a_mirror_outlives_what_ducklake_wrongly_remembers_of_a_flush() {
    let script = "
for round, work in enumerate([\"commit('UPDATE t SET v = 1')\", \"con.execute(\\\"CALL maniac_maintain('shop')\\\")\"]):
    commit(f'INSERT INTO t(id) VALUES ({2000 + round})')
    commit(f'ALTER TABLE t ADD COLUMN w{round}; INSERT INTO t(id) VALUES ({3000 + round})')
    other.execute('BEGIN')
    before = rows(other)
    con.execute(\"CALL ducklake_flush_inlined_data('lake')\")
    rows(other)
    other.execute('COMMIT')
    try:
        print(rows(con))
    except duckdb.Error as error:
        print('does not exist' in str(error))
    commit(f'INSERT INTO t(id) VALUES ({4000 + round})')
    exec(work)
    print(rows(con), con.execute('SELECT errors, repaired_tables FROM maniac_status()').fetchone())
";
    let output = Host::new().python(WITH_DUCKLAKE, &format!("{LAKE}{script}"));
    prints(&output, "True\n(1003, 509500) (0, 0)\nTrue\n(1006, 518503) (0, 0)");
}
