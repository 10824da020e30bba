//! Flushes of a lake whose commit DuckLake 1.5.5 has to start over, since somebody else has committed to any table meanwhile:
//! it then brings deleted rows back for good, without an error. A mirror's own flushes are not started over; what those of
//! others have done to its tables is noticed, and copied anew.

use maniac_sql_tests::python::{Host, LAKE, WITH_DUCKLAKE, prints};

/// What the mirror shows, what its tables hold, and whether DuckLake's statistics agree with that.
const LOOK: &str = "
import threading, time
con.execute('CREATE TABLE lake.own(i INTEGER)')
MIRROR = ['t', '_maniac_state', '_maniac_columns', '_maniac_rejects']
def counts(table, schema='shop'):
    try:
        told = con.execute(f'SELECT count(*) FROM lake.{schema}.{table}').fetchone()[0]
    except duckdb.Error as error:
        # Fewer than none.
        told = str(error)
    return told, con.execute(f'SELECT count(*) FROM (FROM lake.{schema}.{table} LIMIT 1000000)').fetchone()[0]
def damaged():
    return [table for table in MIRROR if len(set(counts(table))) > 1]
# Runs a flush whose commit has to start over.
def flush():
    other.execute('BEGIN')
    other.execute(\"CALL ducklake_flush_inlined_data('lake')\").fetchall()
    con.execute('INSERT INTO lake.own VALUES (1)')
    other.execute('COMMIT')
def wait_for_repair():
    deadline = time.time() + 30
    while con.execute('SELECT repaired_tables FROM maniac_status()').fetchone() == (0,) and time.time() < deadline:
        time.sleep(0.1)
";

#[test]
fn a_mirrors_own_flushes_are_right_beside_other_writers() {
    let script = "
over, others, refused, failed = threading.Event(), [0], [0], []
def others_write(cursor):
    while not over.is_set():
        try:
            cursor.execute('INSERT INTO lake.own VALUES (1)')
            others[0] += 1
        except duckdb.Error as error:
            # Of two commits at once the later one may be told so.
            if 'maximum retry count' not in str(error):
                failed.append(str(error))
        time.sleep(0.03)
thread = threading.Thread(target=others_write, args=[con.cursor()])
thread.start()
# A slow machine has fewer rounds.
wrong, round, end = [], 0, time.time() + 20
while round < 3 or round < 40 and time.time() < end:
    commit(f\"UPDATE t SET v = 'v{round}' WHERE id % 50 = {round % 7}; DELETE FROM t WHERE id = {round + 1};\"
           f\"INSERT INTO t(id, v) VALUES ({5000 + round}, 'new')\")
    try:
        con.execute(\"CALL maniac_maintain('shop', step := 'flush')\")
    except duckdb.Error as error:
        # A flush is refused rather than started over; what comes before and behind it is tried ten times.
        assert 'Exceeded the maximum retry count' in str(error), error
        refused[0] += 1
    shown = rows(con)
    if damaged() or shown[0] != 1000:
        wrong.append((round, shown, damaged()))
    round += 1
over.set()
thread.join()
print(wrong, failed, others[0] >= round)
print(con.execute('SELECT repaired_tables FROM maniac_status()').fetchone())
";
    let output = Host::new().python(WITH_DUCKLAKE, &format!("{LAKE}{LOOK}{script}"));
    prints(&output, "[] [] True\n(0,)");
}

#[test]
fn damage_by_somebody_elses_flush_is_noticed_and_mended() {
    let script = "
before = rows(con)
for round in range(5):
    commit(f\"UPDATE t SET v = 'v{round}' WHERE id <= 3\")
con.execute(\"CALL maniac_pause('shop')\")
flush()
print(damaged(), counts('t'))
con.execute(\"CALL maniac_resume('shop')\")
wait_for_repair()
print(damaged(), rows(con) == before, con.execute(\"SELECT id, v FROM lake.shop.t WHERE id <= 4 ORDER BY ALL\").fetchall())
print(con.execute('SELECT state, repaired_tables, errors FROM maniac_status()').fetchall())
# The mirror goes on as ever, and a flush that did no harm costs no copy.
commit(\"UPDATE t SET v = 'last' WHERE id = 3\")
con.execute('SET ducklake_max_retry_count = 0')
con.execute(\"CALL ducklake_flush_inlined_data('lake')\")
time.sleep(11)
print(damaged(), con.execute('SELECT repaired_tables FROM maniac_status()').fetchone(), rows(con) == before)
";
    let output = Host::new().python(WITH_DUCKLAKE, &format!("{LAKE}{LOOK}{script}"));
    prints(
        &output,
        "['t'] (997, 1002)\n[] True [(1, 'v4'), (2, 'v4'), (3, 'v4'), (4, 'row 4')]\n[('Streaming', 1, 0)]\n[] (1,) True",
    );
}

/// The mirror's own tables are damaged too, once they are in files.
#[test]
fn damage_to_what_a_mirror_remembers_is_mended_while_it_is_attached_and_when_it_is_attached_again() {
    let script = "
for again in [False, True]:
    con.execute(\"CALL maniac_maintain('shop', step := 'flush')\")
    for round in range(4):
        commit(f\"ALTER TABLE t ADD COLUMN c{int(again)}{round}; UPDATE t SET v = 'v{round}' WHERE id <= 3\")
    before = rows(con)
    con.execute(\"CALL maniac_detach('shop')\" if again else \"CALL maniac_pause('shop')\")
    flush()
    print('_maniac_columns' in damaged())
    if again:
        con.execute(\"CALL maniac_attach('shop.maniac', lake := 'lake', maintain_every_s := 0)\")
    else:
        con.execute(\"CALL maniac_resume('shop')\")
        wait_for_repair()
    commit(\"INSERT INTO t(id) VALUES (9999); DELETE FROM t WHERE id = 9999\")
    columns = con.execute('SELECT count(*), count(DISTINCT column_name) FROM lake.shop._maniac_columns').fetchone()
    print(damaged(), rows(con) == before, columns, con.execute('SELECT state, errors FROM maniac_status()').fetchall())
";
    let output = Host::new().python(WITH_DUCKLAKE, &format!("{LAKE}{LOOK}{script}"));
    prints(&output, "True\n[] True (6, 6) [('Streaming', 0)]\nTrue\n[] True (10, 10) [('Streaming', 0)]");
}
