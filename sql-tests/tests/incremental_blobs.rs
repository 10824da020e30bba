//! Blobs read and written piece by piece, through apsw: the same bytes as in a plain file, in other connections too, and a
//! change of the row in the stream, though most of the pieces touch nothing but overflow pages.

use std::process::Command;

use maniac_sql_tests::{Tools, workspace_root};

const SCRIPT: &str = r#"
import apsw, sys

loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
loader.load_extension(sys.argv[1])
FLAGS = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE

def rows(db):
    return db.execute("SELECT id, v, n FROM b ORDER BY id").fetchall()

def work(uri):
    db = apsw.Connection(uri, flags=FLAGS)
    db.execute("CREATE TABLE b(id INTEGER PRIMARY KEY, v BLOB, n INTEGER);"
               "INSERT INTO b VALUES (1, zeroblob(200000), 7), (2, zeroblob(10), 8)")
    seen = []
    for row, place, piece in [(1, 0, b"first"), (1, 199990, b"last bytes"), (1, 100000, bytes(range(256)) * 40), (2, 3, b"mid")]:
        with db.blob_open("main", "b", "v", row, True) as blob:
            blob.seek(place)
            blob.write(piece)
        with db.blob_open("main", "b", "v", row, False) as blob:
            blob.seek(place)
            assert blob.read(len(piece)) == piece, (row, place)
        seen.append(rows(db))
    # Taken back with its transaction.
    db.execute("BEGIN")
    with db.blob_open("main", "b", "v", 1, True) as blob:
        blob.write(b"never")
    db.execute("ROLLBACK")
    assert rows(db) == seen[-1]
    # A handle whose row was changed behind its back is of no more use.
    blob = db.blob_open("main", "b", "v", 2, True)
    db.execute("UPDATE b SET n = 9 WHERE id = 2")
    try:
        blob.write(b"x")
        refused = "not at all"
    except apsw.AbortError:
        refused = "aborted"
    try:
        blob.close()
    except apsw.AbortError:
        pass
    seen.append((refused, rows(db), db.execute("PRAGMA integrity_check").fetchall()))
    return db, seen

_, plain = work("file:plain.db")
store, ours = work("file:shop.maniac?vfs=maniac")
assert ours == plain, "a store has other bytes than a plain file"
other = apsw.Connection("file:shop.maniac?vfs=maniac", flags=FLAGS)
assert rows(other) == plain[-1][1], "another connection sees other bytes"

# Version 1 made the table and 2 its rows; each piece and the update are one more.
changes = other.execute("SELECT version, op, key, new ->> 'v' FROM maniac_changes(2, 7)").fetchall()
assert [(version, op) for version, op, *_ in changes] == [(n, "UPDATE") for n in range(3, 8)], changes
for n in range(4):
    row = 1 if n < 3 else 2
    wanted = next(v for id, v, _ in plain[n] if id == row)
    assert changes[n][3].lower() == f"x'{wanted.hex()}'", f"version {n + 3}"
print("the same")
"#;

#[test]
fn pieces_of_blobs_are_written_as_in_a_plain_file_and_told() {
    let (tools, directory) = (Tools::find(), tempfile::tempdir().unwrap());
    let output = Command::new(workspace_root().join(".venv/bin/python"))
        .args(["-c", SCRIPT])
        .arg(tools.sqlite_extension())
        .current_dir(directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "the same\n", "{errors}");
}
