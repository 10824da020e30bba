"""Waits to write for an hour, and is interrupted: prints the exception. Arguments: the extension, the store's URI."""
import sys
import threading
import time

import apsw

first = apsw.Connection(":memory:")
first.enable_load_extension(True)
first.load_extension(sys.argv[1])
connection = apsw.Connection(sys.argv[2], flags=apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE)
connection.set_busy_timeout(3_600_000)
waiting = threading.Event()


def interrupt():
    waiting.wait()
    # Until the statement runs an interrupt is forgotten; so it is told again.
    while not done.is_set():
        connection.interrupt()
        time.sleep(0.05)


done = threading.Event()
thread = threading.Thread(target=interrupt)
thread.start()
try:
    waiting.set()
    connection.execute("INSERT INTO ledger VALUES ('interrupted', 1)").fetchall()
    print("it was written")
except Exception as error:
    print(type(error).__name__)
done.set()
thread.join()
