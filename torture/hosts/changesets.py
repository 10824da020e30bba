"""Hands a store's changesets to the session functions of apsw's SQLite: `changesets.py EXTENSION`, in an empty directory.

Applied, inverted and concatenated there, they must lead from one version of the store to the other. Prints `ok`.
"""

import sys

import apsw

STORE = "file:shop.maniac?vfs=maniac"
FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
TABLES = ["items", "pairs", "rowless", "loose"]
SCHEMA = """
    CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, price REAL);
    CREATE TABLE pairs(a TEXT, b INT, v BLOB, PRIMARY KEY (b, a));
    CREATE TABLE rowless(k TEXT PRIMARY KEY, n) WITHOUT ROWID;
    CREATE TABLE loose(x, y);
"""
FIRST = """
    INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        SELECT i, 'item ' || i, i / 4.0 FROM n;
    INSERT INTO pairs VALUES ('x', 1, x'00ff'), ('x', 2, NULL), ('y', 1, zeroblob(9000));
    INSERT INTO rowless VALUES ('k', 9223372036854775807), ('', 'text');
    INSERT INTO loose VALUES (1, 'same'), (1, 'same'), (NULL, NULL);
"""
SECOND = """
    UPDATE items SET price = price + 1 WHERE id % 7 = 0;
    DELETE FROM items WHERE id > 400;
    UPDATE pairs SET a = 'z' WHERE b = 2;
    INSERT INTO pairs VALUES ('new', 3, 1.5);
    UPDATE rowless SET n = -0.5 WHERE k = 'k';
    DELETE FROM loose WHERE x IS NULL;
    INSERT INTO loose VALUES (2, 'other');
"""


def rows(connection):
    return {table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}"))) for table in TABLES}


def plain():
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA)
    return connection


def apply(changeset, connection):
    def conflict(reason, change):
        raise AssertionError(f"conflict {reason}: {change}")

    apsw.Changeset.apply(changeset, connection, conflict=conflict)


def expect(connection, expected, what):
    assert rows(connection) == expected, f"{what}: {rows(connection)}"


def main():
    loader = apsw.Connection(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(sys.argv[1])
    store = apsw.Connection(STORE, flags=FLAGS)
    versions, states = [], []
    for sql in [SCHEMA, FIRST, SECOND]:
        store.execute(sql)
        versions.append(store.execute("SELECT maniac_head()").get)
        states.append(rows(store))
    assert states[0] != states[1] != states[2]

    def changeset(n, m):
        return store.execute("SELECT maniac_changeset(?, ?)", (versions[n], versions[m])).get

    first, second, both = changeset(0, 1), changeset(1, 2), changeset(0, 2)
    connection = plain()
    apply(first, connection)
    expect(connection, states[1], "the first")
    apply(second, connection)
    expect(connection, states[2], "the second after it")
    apply(apsw.Changeset.invert(second), connection)
    expect(connection, states[1], "the second undone")
    apply(apsw.Changeset.invert(first), connection)
    expect(connection, states[0], "both undone")
    apply(apsw.Changeset.concat(first, second), connection)
    expect(connection, states[2], "both in one")
    apply(apsw.Changeset.invert(both), connection)
    expect(connection, states[0], "the range undone")
    apply(both, connection)
    expect(connection, states[2], "the range")
    print("ok")


if __name__ == "__main__":
    main()
