//! A store where nothing can be written: every kind of host reads it, and says clearly that it cannot write.
//!
//! Two ways to get there: a bind mount that is read-only, in a mount namespace of the host's own, which needs
//! privileges, and permissions, which bind everybody but root. What cannot be had is said, and the other way tested.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use maniac_torture::host::{Host, HostKind};

const READONLY: i32 = 8;

/// How a host is kept from writing to `store`: a wrapper for its command line.
fn wrappers(store: &Path) -> Vec<(&'static str, Vec<String>)> {
    let path = store.display();
    let mount = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path} && exec \"$@\"");
    let mount = ["unshare", "-m", "sh", "-c", &mount, "sh"].map(String::from).to_vec();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(String::from).to_vec();
    let works = |wrapper: &[String], unless: &str| {
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).args(["test", "!", "-w", unless]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let lock = store.join("LOCK");
    let all =
        [("read-only mount", mount), ("permissions, as another user", nobody), ("permissions", vec!["env".into()])];
    let possible: Vec<_> = all.into_iter().filter(|(_, wrapper)| works(wrapper, &lock.to_string_lossy())).collect();
    assert!(!possible.is_empty(), "neither mounts nor permissions keep this user from writing");
    possible
}

/// A store in a place that other users can reach, with three rows, whose writer is still there.
fn store(directory: &Path) -> Host {
    allow(directory, 0o755);
    let mut writer = Host::start(HostKind::Rust, directory);
    writer.open("file:shop.maniac?vfs=maniac").unwrap();
    writer.run("CREATE TABLE t(x)").unwrap();
    writer.run("INSERT INTO t VALUES (1), (2), (3)").unwrap();
    writer.value("SELECT maniac_branch_create('dev')");
    for place in ["shop.maniac", "shop.maniac/log"] {
        allow(&directory.join(place), 0o755);
    }
    writer
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
}

/// Reading works, `rows` are there, and writing is refused by name.
fn reads_only(host: &mut Host, uri: &str, rows: u32, what: &str) {
    host.open(uri).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_eq!(host.value("SELECT count(*) FROM t"), rows.to_string(), "{what}");
    assert_eq!(host.value("PRAGMA integrity_check"), "ok", "{what}");
    for sql in ["INSERT INTO t VALUES (0)", "CREATE TABLE u(x)", "PRAGMA user_version = 3"] {
        let error = host.run(sql).expect_err(what);
        assert!(error.code & 0xff == READONLY || error.message.contains("readonly database"), "{what}: {error:?}");
    }
    let error = host.run("SELECT maniac_branch_create('more')").expect_err(what);
    assert!(error.message.contains("no permission to write to"), "{what}: {error:?}");
}

#[test]
fn a_reader_follows_a_live_writer() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = store(directory.path());
    let mut rows = 3;
    for (what, wrapper) in wrappers(&directory.path().join("shop.maniac")) {
        println!("tested with: {what}");
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        for kind in [HostKind::Python, HostKind::Apsw, HostKind::Rust] {
            let what = format!("{what}, {kind:?}");
            let mut reader = Host::start_under(kind, directory.path(), &wrapper);
            reads_only(&mut reader, "file:shop.maniac?vfs=maniac", rows, &what);
            reader.run("BEGIN").unwrap();
            assert_eq!(reader.value("SELECT count(*) FROM t"), rows.to_string(), "{what}");
            for _ in 0..50 {
                writer.run("INSERT INTO t VALUES (4)").unwrap();
                assert_eq!(reader.value("SELECT count(*) FROM t"), rows.to_string(), "{what}: one version throughout");
            }
            rows += 50;
            reader.run("COMMIT").unwrap();
            assert_eq!(
                reader.value("SELECT count(*) FROM t"),
                rows.to_string(),
                "{what}: what the writer did meanwhile"
            );
            reads_only(&mut reader, "file:shop.maniac?vfs=maniac&branch=dev", 3, &what);
        }
    }
}

#[test]
fn nobody_else_needs_to_be_there() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let head = directory.path().join("shop.maniac/HEAD");
    for without_head in [false, true] {
        if without_head {
            std::fs::remove_file(&head).unwrap();
        }
        for (what, wrapper) in wrappers(&directory.path().join("shop.maniac")) {
            let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
            for kind in [HostKind::Python, HostKind::Apsw, HostKind::Rust] {
                let what = format!("{what}, {kind:?}, HEAD missing: {without_head}");
                let mut reader = Host::start_under(kind, directory.path(), &wrapper);
                reads_only(&mut reader, "file:shop.maniac?vfs=maniac", 3, &what);
            }
        }
    }
    assert!(!head.exists(), "a reader has written");
}

/// What a writer has promised in `HEAD` holds where and while it was running. A reader that finds none reads the log.
#[test]
fn a_reader_without_a_head_follows_whoever_writes_later() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let copied = directory.path().join("copy");
    for without_head in [false, true] {
        let tried = wrappers(&directory.path().join("shop.maniac")).len();
        for way in 0..tried {
            for kind in [HostKind::Python, HostKind::Apsw, HostKind::Rust] {
                let copy = copied.join("shop.maniac");
                std::fs::create_dir_all(&copied).unwrap();
                let status =
                    Command::new("cp").arg("-rp").arg(directory.path().join("shop.maniac")).arg(&copy).status();
                assert!(status.unwrap().success());
                if without_head {
                    std::fs::remove_file(copy.join("HEAD")).unwrap();
                }
                let (what, wrapper) = wrappers(&copy).remove(way);
                let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
                let what = format!("{what}, {kind:?}, HEAD missing: {without_head}");
                let mut reader = Host::start_under(kind, &copied, &wrapper);
                reads_only(&mut reader, "file:shop.maniac?vfs=maniac", 3, &what);
                let mut writer = Host::start(HostKind::Rust, &copied);
                writer.open("file:shop.maniac?vfs=maniac").unwrap();
                for rows in 4..20 {
                    // One of them is large, and has a segment of its own.
                    let filler = if rows == 10 { "randomblob(20000000)" } else { "1" };
                    writer.run(&format!("INSERT INTO t VALUES ({filler})")).unwrap();
                    assert_eq!(reader.value("SELECT count(*) FROM t"), rows.to_string(), "{what}");
                }
                writer.value("SELECT maniac_branch_create('late')");
                reads_only(&mut reader, "file:shop.maniac?vfs=maniac&branch=late", 19, &what);
                std::fs::remove_dir_all(&copied).unwrap();
            }
        }
    }
}
