//! Database layers on a store: SQLAlchemy with alembic, Django with its migrations. `make setup` puts them, in the versions of
//! `tools/requirements-orms.txt`, under `.venv/hosts/orms`.

use std::path::Path;
use std::process::Command;

use maniac_sql_tests::Tools;
use maniac_sql_tests::tools::{python, workspace_root};

/// What a script prints, with the extension at hand.
fn run(directory: &Path, script: &str, arguments: &[&str]) -> String {
    let root = workspace_root();
    let output = Command::new(python())
        .arg(root.join("sql-tests/orms").join(script))
        .args(arguments)
        .current_dir(directory)
        .env("PYTHONPATH", root.join(".venv/hosts/orms"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("EXTENSION", Tools::find().sqlite_extension())
        .output()
        .expect("python starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{}: {stdout}{stderr}", output.status);
    stdout.into_owned()
}

#[test]
fn sqlalchemy() {
    let directory = tempfile::tempdir().unwrap();
    let expected = "\
savepoint: UNIQUE constraint failed: customer.name
names: ['ann', 'bob']
orders: [(5, {'a': [1, 2]}, True), (7, None, True)]
cascade: 0
foreign key: FOREIGN KEY constraint failed
pragmas: wal 1
returning: [3, 4]
reflected: ['customer', 'orders'] customer ['name']
SERIALIZABLE: 3
READ UNCOMMITTED: 3
AUTOCOMMIT: 3
busy: database is locked
migrated: [(2, 'bob', 'Wien'), (3, 'x', 'Wien'), (4, 'y', 'Wien'), (5, 'a', 'Wien'), (6, 'b', 'Wien')] ok
branches: 0 5
";
    assert_eq!(run(directory.path(), "alchemy.py", &[]), expected);
}

#[test]
fn django() {
    let directory = tempfile::tempdir().unwrap();
    let expected = "\
savepoint: UNIQUE constraint failed: shop_customer.name
undone
check: CHECK constraint failed: positive
foreign key: FOREIGN KEY constraint failed
[('ann', [1]), ('bob', None)] 400
[('wal',)] [(1,)]
";
    assert_eq!(run(directory.path(), "django_shop.py", &["first"]), expected);
    let expected = "\
Wien 1.50 ann 400
branches: 0 400
[('ok',)] []
[(400, 600.0)]
";
    assert_eq!(run(directory.path(), "django_shop.py", &["second"]), expected);
}
