"""A host of SQLite that is driven over pipes: `host.py sqlite3|apsw EXTENSION`.

Each line of input is SQL, or `.open URI`, or `.fork`, which goes on in a child of this process while the parent waits
for it. Each is answered by `rows N` and N lines of values with tabs between them, or by `error CODE MESSAGE` with the
extended result code.
"""

import os
import sys


class Sqlite3:
    """Python's own module, which links the system's library."""

    def __init__(self, extension):
        import sqlite3

        self.module = sqlite3
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(extension)
        self.connection = None

    def open(self, uri):
        # No transactions of the module's own making.
        self.connection = self.module.connect(uri, uri=True, isolation_level=None, timeout=0)

    def run(self, sql):
        return self.connection.execute(sql).fetchall()

    def code(self, error):
        return getattr(error, "sqlite_errorcode", 1)


class Apsw:
    """A module with a newer SQLite linked into it."""

    def __init__(self, extension):
        import apsw

        self.module = apsw
        loader = apsw.Connection(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(extension)
        self.connection = None

    def open(self, uri):
        flags = self.module.SQLITE_OPEN_READWRITE | self.module.SQLITE_OPEN_CREATE | self.module.SQLITE_OPEN_URI
        self.connection = self.module.Connection(uri, flags=flags)

    def run(self, sql):
        return list(self.connection.execute(sql))

    def code(self, error):
        return getattr(error, "extendedresult", 1)


def answer(host, line):
    try:
        if line == ".fork":
            child = os.fork()
            if child:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            rows = []
        elif line.startswith(".open "):
            host.open(line[6:])
            rows = []
        else:
            rows = host.run(line)
    except Exception as error:  # noqa: BLE001: whatever it is, the test reads it
        return f"error {host.code(error)} {error}\n"
    lines = ["\t".join("NULL" if value is None else str(value) for value in row) for row in rows]
    return "".join(f"{line}\n" for line in [f"rows {len(lines)}", *lines])


def main():
    host = {"sqlite3": Sqlite3, "apsw": Apsw}[sys.argv[1]](sys.argv[2])
    # Unbuffered reads: a child must not inherit lines that its parent has read ahead.
    for line in iter(lambda: sys.stdin.buffer.raw.readline().decode(), ""):
        sys.stdout.write(answer(host, line.rstrip("\n")))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
