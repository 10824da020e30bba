//! The databases, and what is done to each.

use crate::changes::{Change, Table, change, database, replacing};

pub struct World {
    pub name: &'static str,
    pub base: String,
    pub changes: Vec<Change>,
    /// Connections enforce foreign keys.
    pub foreign_keys: bool,
    /// Each n-th pair is tried where nothing else is asked for.
    pub stride: usize,
}

const PLAIN: Table = Table {
    id: "id INTEGER PRIMARY KEY",
    columns: "a TEXT NOT NULL, b TEXT DEFAULT 'given', c",
    further: "",
    options: "",
    text_ids: false,
    keyed: true,
    fixed: false,
};

fn of_table(name: &'static str, table: &Table) -> World {
    World { name, base: table.base(), changes: table.changes(), foreign_keys: false, stride: 13 }
}

pub fn rowid_table() -> World {
    World { stride: 2, ..of_table("rowid_table", &PLAIN) }
}

pub fn keyless_table() -> World {
    of_table("keyless_table", &Table { id: "id", keyed: false, ..PLAIN })
}

pub fn without_rowid_table() -> World {
    let table = Table { id: "id TEXT PRIMARY KEY", options: " WITHOUT ROWID", text_ids: true, ..PLAIN };
    of_table("without_rowid_table", &table)
}

pub fn nocase_table() -> World {
    let table = Table {
        id: "id TEXT COLLATE NOCASE PRIMARY KEY",
        columns: "a TEXT NOT NULL UNIQUE, b TEXT DEFAULT 'given', c",
        text_ids: true,
        fixed: true,
        ..PLAIN
    };
    let mut world = of_table("nocase_table", &table);
    world.changes.push(replacing("spell key anew", "UPDATE t SET id = 'K1' WHERE id = 'k1'"));
    world.changes.push(replacing("spell all keys anew", "UPDATE t SET id = upper(id)"));
    let swap = "UPDATE t SET a = 'x' WHERE id = 'k1'; UPDATE t SET a = 'a:r1:base' WHERE id = 'k2'; \
                UPDATE t SET a = 'a:r2:base' WHERE id = 'k1'";
    world.changes.push(change("swap unique values", swap));
    world
}

pub fn autoincrement_table() -> World {
    let mut world = of_table("autoincrement_table", &Table { id: "id INTEGER PRIMARY KEY AUTOINCREMENT", ..PLAIN });
    let gone = "INSERT INTO t(id, a) VALUES ({n}00, 'gone'); DELETE FROM t WHERE a = 'gone'";
    world.changes.push(change("use a key up", gone));
    world.changes.push(change("set the counter", "UPDATE sqlite_sequence SET seq = {n}000"));
    world
}

pub fn generated_columns() -> World {
    let further = ", g TEXT AS (c || '!') STORED, h AS (upper(b))";
    of_table("generated_columns", &Table { further, fixed: true, ..PLAIN })
}

pub fn foreign_keys() -> World {
    let base = "
        CREATE TABLE p(id INTEGER PRIMARY KEY, code TEXT UNIQUE, a);
        CREATE TABLE kid(id INTEGER PRIMARY KEY, p REFERENCES p(id) ON DELETE CASCADE ON UPDATE CASCADE, a);
        CREATE TABLE coded(id INTEGER PRIMARY KEY, code REFERENCES p(code) ON DELETE SET NULL, a);
        CREATE TABLE tree(id INTEGER PRIMARY KEY, up REFERENCES tree(id), a);
        INSERT INTO p VALUES (1, 'one', 'a:p1:base'), (2, 'two', 'a:p2:base'), (3, 'three', 'a:p3:base');
        INSERT INTO kid VALUES (1, 1, 'a:k1:base'), (2, 2, 'a:k2:base');
        INSERT INTO coded VALUES (1, 'one', 'a:c1:base');
        INSERT INTO tree VALUES (1, NULL, 'a:t1:base'), (2, 1, 'a:t2:base');";
    let mut changes = vec![
        change("insert parent", "INSERT INTO p VALUES ({n}0, 'code {s}', 'a:n{s}:{s}')"),
        change(
            "insert both",
            "INSERT INTO p VALUES ({n}0, 'code {s}', 'a:n{s}:{s}'); INSERT INTO kid VALUES ({n}0, {n}0, 'a:m{s}:{s}')",
        ),
        change("insert child of 3", "INSERT INTO kid VALUES ({n}0, 3, 'a:n{s}:{s}')"),
        change("insert child of code", "INSERT INTO coded VALUES ({n}0, 'three', 'a:n{s}:{s}')"),
        change("delete parent without children", "DELETE FROM p WHERE id = 3"),
        change("delete parent", "DELETE FROM p WHERE id = 1"),
        replacing("update parent's key", "UPDATE p SET id = {n}00 WHERE id = 2"),
        change("update parent's code", "UPDATE p SET code = 'drei', a = 'a:p3:{s}' WHERE id = 3"),
        change("update parent", "UPDATE p SET a = 'a:p3:{s}' WHERE id = 3"),
        change("update child", "UPDATE kid SET p = 3, a = 'a:k1:{s}' WHERE id = 1"),
        change("delete child", "DELETE FROM kid WHERE id = 2"),
        change("insert into tree", "INSERT INTO tree VALUES ({n}0, 2, 'a:n{s}:{s}')"),
        change("cut the tree", "DELETE FROM tree WHERE id = 2"),
        replacing("drop children", "DROP TABLE kid"),
        replacing("drop coded", "DROP TABLE coded"),
        replacing("drop all", "DROP TABLE kid; DROP TABLE coded; DROP TABLE p"),
        change("rename parent", "ALTER TABLE p RENAME TO parent"),
        change("rename parent's key", "ALTER TABLE p RENAME COLUMN id TO key"),
        change("rename parent's code", "ALTER TABLE p RENAME COLUMN code TO name"),
        change("rename child", "ALTER TABLE kid RENAME TO kind"),
        change("rename reference", "ALTER TABLE kid RENAME COLUMN p TO parent"),
        change("drop reference", "ALTER TABLE kid DROP COLUMN p"),
        change("add reference", "ALTER TABLE tree ADD COLUMN p REFERENCES p(id)"),
        change(
            "add reference and fill it",
            "ALTER TABLE tree ADD COLUMN p REFERENCES p(id); UPDATE tree SET p = 3, a = 'a:t' || id || ':{s}'",
        ),
        change(
            "create referring table",
            "CREATE TABLE other(x REFERENCES p(id), y); INSERT INTO other VALUES (3, 'y:o{s}:{s}')",
        ),
        replacing(
            "rebuild child without reference",
            "CREATE TABLE new(id INTEGER PRIMARY KEY, p, a); INSERT INTO new SELECT * FROM kid; DROP TABLE kid; \
             ALTER TABLE new RENAME TO kid",
        ),
    ];
    changes.extend(database());
    World { name: "foreign_keys", base: base.into(), changes, foreign_keys: true, stride: 1 }
}

/// Changes of a full-text index with its own content.
fn documents(module: &str) -> Vec<Change> {
    let id = if module == "fts4" { "docid" } else { "rowid" };
    let mut changes = vec![
        change("insert", "INSERT INTO d(title, body) VALUES ('t:n{s}:{s}', 'b:n{s}:{s}')"),
        change("insert one id", "INSERT INTO d(rowid, title, body) VALUES (50, 't:n{s}:{s}', 'b:n{s}:{s}')"),
        change("update", "UPDATE d SET body = 'b:r1:{s}' WHERE rowid = 1"),
        change("update another", "UPDATE d SET title = 't:r2:{s}' WHERE rowid = 2"),
        change(
            "update id",
            format!("UPDATE d SET {id} = {{n}}00, title = 't:m{{s}}:{{s}}', body = 'b:m{{s}}:{{s}}' WHERE rowid = 3"),
        ),
        change("delete", "DELETE FROM d WHERE rowid = 1"),
        change("delete another", "DELETE FROM d WHERE rowid = 4"),
        change("delete all", "DELETE FROM d"),
        change("rebuild", "INSERT INTO d(d) VALUES ('rebuild')"),
        change("optimize", "INSERT INTO d(d) VALUES ('optimize')"),
        replacing("rename", "ALTER TABLE d RENAME TO d2"),
        replacing("rename as this side", "ALTER TABLE d RENAME TO d{s}"),
        replacing("drop", "DROP TABLE d"),
        replacing(
            "drop and create with other columns",
            format!("DROP TABLE d; CREATE VIRTUAL TABLE d USING {module}(z); INSERT INTO d VALUES ('z:n{{s}}:{{s}}')"),
        ),
        replacing(
            "drop and create as it was",
            format!(
                "DROP TABLE d; CREATE VIRTUAL TABLE d USING {module}(title, body); INSERT INTO d VALUES ('t:n{{s}}:{{s}}', 'b')"
            ),
        ),
        change(
            "create with other spaces",
            format!(
                "CREATE TEMP TABLE kept AS SELECT rowid AS id, * FROM d; DROP TABLE d; \
                 CREATE VIRTUAL TABLE d USING {module}( title,  body ); \
                 INSERT INTO d(rowid, title, body) SELECT * FROM kept; DROP TABLE kept"
            ),
        ),
        change("create view", "CREATE VIEW w AS SELECT title FROM d"),
        change(
            "create another",
            format!("CREATE VIRTUAL TABLE e USING {module}(x); INSERT INTO e VALUES ('x:n{{s}}:{{s}}')"),
        ),
        replacing(
            "create a table of that name",
            "DROP TABLE d; CREATE TABLE d(title, body); INSERT INTO d VALUES ('t:z{s}:{s}', 1)",
        ),
        change(
            "create trigger that writes to it",
            "CREATE TRIGGER g AFTER INSERT ON log BEGIN INSERT INTO d(title) VALUES (new.what); END",
        ),
        change("insert a row", "INSERT INTO log VALUES ('what:n{s}:{s}')"),
    ];
    changes.extend(database());
    changes
}

fn of_documents(name: &'static str, module: &str) -> World {
    let rows =
        (1..=4).map(|n| format!("INSERT INTO d(rowid, title, body) VALUES ({n}, 't:r{n}:base', 'b:r{n}:base');"));
    let base = format!(
        "CREATE VIRTUAL TABLE d USING {module}(title, body); CREATE TABLE log(what); {}",
        rows.collect::<String>()
    );
    World { name, base, changes: documents(module), foreign_keys: false, stride: 1 }
}

pub fn fts5_documents() -> World {
    let mut world = of_documents("fts5_documents", "fts5");
    world.changes.push(change("set", "INSERT INTO d(d, rank) VALUES ('automerge', {n} + 1)"));
    world.changes.push(change("set one", "INSERT INTO d(d, rank) VALUES ('usermerge', 5)"));
    world
}

pub fn fts4_documents() -> World {
    of_documents("fts4_documents", "fts4")
}

pub fn fts5_of_a_table() -> World {
    let triggers = "
        CREATE TRIGGER d_i AFTER INSERT ON t BEGIN INSERT INTO d(rowid, body) VALUES (new.id, new.body); END;
        CREATE TRIGGER d_d AFTER DELETE ON t BEGIN INSERT INTO d(d, rowid, body) VALUES ('delete', old.id, old.body); END;
        CREATE TRIGGER d_u AFTER UPDATE ON t BEGIN INSERT INTO d(d, rowid, body) VALUES ('delete', old.id, old.body);
          INSERT INTO d(rowid, body) VALUES (new.id, new.body); END;";
    let create = "CREATE VIRTUAL TABLE d USING fts5(body, content = 't', content_rowid = 'id');";
    let base = format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT, other); {create} {triggers}
         INSERT INTO t VALUES (1, 'b:r1:base', 'o:r1:base'), (2, 'b:r2:base', 'o:r2:base'), (3, 'b:r3:base', 'o:r3:base');"
    );
    let mut changes = vec![
        change("insert", "INSERT INTO t VALUES ({n}0, 'b:n{s}:{s}', 1)"),
        change("insert one key", "INSERT INTO t VALUES (50, 'b:n:{s}', 1)"),
        change("update", "UPDATE t SET body = 'b:r1:{s}' WHERE id = 1"),
        change("update another", "UPDATE t SET body = 'b:r2:{s}' WHERE id = 2"),
        change("update another column", "UPDATE t SET other = 'o:r1:{s}' WHERE id = 1"),
        change("update key", "UPDATE t SET id = {n}00, body = 'b:m{s}:{s}', other = 'o:m{s}:{s}' WHERE id = 3"),
        change("delete", "DELETE FROM t WHERE id = 1"),
        change("delete all", "DELETE FROM t"),
        change("rebuild", "INSERT INTO d(d) VALUES ('rebuild')"),
        change("optimize", "INSERT INTO d(d) VALUES ('optimize')"),
        change("set", "INSERT INTO d(d, rank) VALUES ('automerge', {n} + 1)"),
        replacing("drop index", "DROP TRIGGER d_i; DROP TRIGGER d_d; DROP TRIGGER d_u; DROP TABLE d"),
        replacing(
            "rename index",
            format!(
                "DROP TRIGGER d_i; DROP TRIGGER d_d; DROP TRIGGER d_u; ALTER TABLE d RENAME TO d2; {}",
                triggers.replace("INTO d(d,", "INTO d2(d2,").replace("INTO d(", "INTO d2("),
            ),
        ),
        replacing("drop and create as it was", format!("DROP TABLE d; {create} INSERT INTO d(d) VALUES ('rebuild')")),
        change("add column", "ALTER TABLE t ADD COLUMN n{s} DEFAULT 1"),
        change("rename another column", "ALTER TABLE t RENAME COLUMN other TO more"),
        change("drop another column", "ALTER TABLE t DROP COLUMN other"),
        change(
            "create with other spaces",
            format!("DROP TABLE d; {} INSERT INTO d(d) VALUES ('rebuild')", create.replace(", ", ",  ")),
        ),
        replacing("drop all", "DROP TABLE t; DROP TABLE d"),
        change("create view", "CREATE VIEW w AS SELECT other FROM t"),
        change(
            "index another column",
            "DROP TRIGGER d_i; DROP TRIGGER d_d; DROP TRIGGER d_u; DROP TABLE d;
             CREATE VIRTUAL TABLE d USING fts5(other, content = 't', content_rowid = 'id');
             INSERT INTO d(d) VALUES ('rebuild')",
        ),
        change(
            "create an index of another column",
            "CREATE VIRTUAL TABLE e USING fts5(other, content = 't', content_rowid = 'id');
             INSERT INTO e(e) VALUES ('rebuild')",
        ),
        change(
            "create another index",
            "CREATE VIRTUAL TABLE e USING fts5(body, content = 't', content_rowid = 'id', prefix = 1); INSERT INTO e(e) VALUES ('rebuild')",
        ),
    ];
    changes.extend(database());
    World { name: "fts5_of_a_table", base, changes, foreign_keys: false, stride: 1 }
}

pub fn fts5_contentless() -> World {
    let create = "CREATE VIRTUAL TABLE d USING fts5(body, content = '', contentless_delete = 1);";
    let rows = "CREATE TABLE t(x); INSERT INTO d(rowid, body) VALUES (1, 'one'), (2, 'two'), (3, 'three');";
    let base = format!("{create} {rows}");
    let mut changes = vec![
        change("insert", "INSERT INTO d(rowid, body) VALUES ({n}0, 'fresh {s}')"),
        change("update", "UPDATE d SET body = 'changed {s}' WHERE rowid = 1"),
        change("delete", "DELETE FROM d WHERE rowid = 2"),
        change("optimize", "INSERT INTO d(d) VALUES ('optimize')"),
        change("set", "INSERT INTO d(d, rank) VALUES ('automerge', {n} + 1)"),
        replacing("rename", "ALTER TABLE d RENAME TO d2"),
        replacing("drop", "DROP TABLE d"),
        replacing(
            "drop and create with other columns",
            "DROP TABLE d; CREATE VIRTUAL TABLE d USING fts5(x{s}); INSERT INTO d VALUES ('x:n{s}:{s}')",
        ),
        replacing(
            "drop and create as it was",
            format!("DROP TABLE d; {create} INSERT INTO d(rowid, body) VALUES (1, '{{s}}')"),
        ),
        change("insert a row", "INSERT INTO t VALUES ('x:n{s}:{s}')"),
    ];
    changes.extend(database());
    World { name: "fts5_contentless", base, changes, foreign_keys: false, stride: 1 }
}

pub fn rtree() -> World {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
                SELECT i, i, i + 1, 'n:r' || i || ':base' FROM n";
    let base = format!("CREATE VIRTUAL TABLE d USING rtree(id, a, b, +name TEXT); INSERT INTO d {rows};");
    let mut changes = vec![
        change("insert", "INSERT INTO d VALUES ({n}000, 5, 6, 'n:n{s}:{s}')"),
        change("insert one id", "INSERT INTO d VALUES (5000, 5, {n}0, 'n:n:{s}')"),
        change("update", "UPDATE d SET name = 'n:r1:{s}' WHERE id = 1"),
        change("move", "UPDATE d SET a = a - {n}0, name = 'n:r1:{s}' WHERE id = 1"),
        change("move another", "UPDATE d SET b = b + 10, name = 'n:r150:{s}' WHERE id = 150"),
        change("update id", "UPDATE d SET id = {n}000, name = 'n:m{s}:{s}' WHERE id = 3"),
        change("delete", "DELETE FROM d WHERE id = 1"),
        change("delete many", "DELETE FROM d WHERE id BETWEEN 20 AND 120"),
        change("delete all", "DELETE FROM d"),
        replacing("rename", "ALTER TABLE d RENAME TO d2"),
        replacing("drop", "DROP TABLE d"),
        replacing(
            "drop and create with other columns",
            "DROP TABLE d; CREATE VIRTUAL TABLE d USING rtree(id, x, y); INSERT INTO d VALUES ({n}, 1, 2)",
        ),
        replacing(
            "drop and create as it was",
            "DROP TABLE d; CREATE VIRTUAL TABLE d USING rtree(id, a, b, +name TEXT); INSERT INTO d VALUES ({n}, 1, 2, 'n:n{s}:{s}')",
        ),
        change("create view", "CREATE VIEW w AS SELECT name FROM d"),
        change("create another", "CREATE VIRTUAL TABLE e USING rtree_i32(id, a, b); INSERT INTO e VALUES ({n}, 1, 2)"),
    ];
    changes.extend(database());
    World { name: "rtree", base, changes, foreign_keys: false, stride: 1 }
}
