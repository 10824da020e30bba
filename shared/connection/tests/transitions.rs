//! Each state of a connection, and each way from one to another, on a machine in memory.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Rows, count_change, counter, first_page, read_table, table_page, write_table};
use maniac_base::Version;
use maniac_connection::{Committer, ConnectionError, ConnectionId, Database, Level, Local, Process, Target};
use maniac_disk::sim::{Chances, Sim, World};
use maniac_store::{Commit, Durability, Losses, OpenOptions, Store, StoreError};

/// A process with a store open.
struct Host {
    process: Arc<Process>,
    store: Arc<Store>,
}

impl Host {
    fn on(world: &Arc<World>) -> Host {
        let store = Store::open_on(
            Sim::process(world, 0),
            Path::new("/s.maniac"),
            OpenOptions { create: true, ..OpenOptions::default() },
        );
        Host { process: Process::new(|_| ()), store: store.unwrap() }
    }

    fn open_with(&self, branch: &str, committer: Arc<dyn Committer>) -> Database {
        let branch = self.store.branch(branch).unwrap().id;
        let target = Target { branch, at: None, read_only: false };
        Database::open(&self.process, committer, self.store.clone(), target)
    }

    fn open(&self, branch: &str) -> Database {
        self.open_with(branch, Arc::new(Local))
    }

    fn head(&self, branch: &str) -> Version {
        self.store.branch(branch).unwrap().head
    }

    /// A branch with an empty database.
    fn with_database() -> Host {
        Host::with_database_on(&World::new(1))
    }

    fn with_database_on(world: &Arc<World>) -> Host {
        let host = Host::on(world);
        let mut database = host.open("main");
        database.lock(Level::Reserved, None).unwrap();
        (0..common::TABLES).for_each(|n| write_table(&mut database, n, &Rows::new()).unwrap());
        database.write(&first_page(1), 0).unwrap();
        database.commit(None).unwrap();
        database.unlock();
        host
    }
}

fn rows(v: i64) -> Rows {
    Rows::from([(1, v)])
}

/// Writes what will be committed.
fn change(database: &mut Database, v: i64) {
    write_table(database, 0, &rows(v)).unwrap();
    count_change(database).unwrap();
}

fn begin(database: &mut Database) {
    database.lock(Level::Reserved, None).unwrap();
}

#[test]
fn a_reader_sees_one_version_until_it_lets_go() {
    let host = Host::with_database();
    let (mut reader, mut writer) = (host.open("main"), host.open("main"));
    assert_eq!(reader.level(), Level::Unlocked);
    reader.lock(Level::Shared, None).unwrap();
    let before = reader.version().unwrap();
    begin(&mut writer);
    change(&mut writer, 7);
    writer.commit(None).unwrap();
    assert_eq!((reader.level(), reader.version().unwrap()), (Level::Shared, before));
    assert_eq!(read_table(&mut reader, 0).unwrap(), Rows::new());
    assert!(reader.unlock().is_none(), "it has not asked to write");
    assert_eq!(reader.version().unwrap(), before.next(), "unlocked, it sees the newest");
    reader.lock(Level::Shared, None).unwrap();
    assert_eq!(read_table(&mut reader, 0).unwrap(), rows(7));
}

#[test]
fn one_writer_at_a_time_and_the_next_one_has_a_turn() {
    let host = Host::with_database();
    let (mut first, mut second) = (host.open("main"), host.open("main"));
    begin(&mut first);
    assert!(matches!(second.lock(Level::Reserved, None), Err(ConnectionError::Busy)));
    assert_eq!(second.level(), Level::Shared, "what it had it has");
    assert!(second.unlock().is_some());
    assert!(second.unlock().is_none(), "the turn is given once");
    assert!(second.begin(Duration::ZERO, &|| false).unwrap_err().is_busy());
    first.unlock();
    second.begin(Duration::ZERO, &|| false).unwrap();
    assert_eq!(second.level(), Level::Reserved);
}

#[test]
fn a_snapshot_that_is_not_the_head_cannot_be_written_on() {
    let host = Host::with_database();
    let (mut late, mut writer) = (host.open("main"), host.open("main"));
    late.lock(Level::Shared, None).unwrap();
    let base = late.version().unwrap();
    begin(&mut writer);
    change(&mut writer, 1);
    writer.commit(None).unwrap();
    writer.unlock();
    let error = late.lock(Level::Reserved, None).unwrap_err();
    assert!(matches!(error, ConnectionError::Stale { base: b, head } if b == base && head == base.next()), "{error}");
    assert_eq!(late.version().unwrap(), base);
    assert!(late.unlock().is_some());
    begin(&mut late);
    assert_eq!(read_table(&mut late, 0).unwrap(), rows(1));
}

#[test]
fn nothing_is_written_without_the_right_to() {
    let host = Host::with_database();
    let page = table_page(&rows(1));
    let mut database = host.open("main");
    for level in [Level::Unlocked, Level::Shared] {
        database.lock(level, None).unwrap();
        assert!(matches!(database.write(&page, 512), Err(ConnectionError::ReadOnly)), "{level:?}");
        assert!(matches!(database.truncate(512), Err(ConnectionError::ReadOnly)), "{level:?}");
    }
    begin(&mut database);
    assert!(matches!(database.write(&page, 100), Err(ConnectionError::PartOfPage)));
    assert!(matches!(database.write(&page, 512 << 32), Err(ConnectionError::TooManyPages)));
    database.unlock();
    let branch = host.store.branch("main").unwrap().id;
    for (at, read_only) in [(Some(host.head("main")), false), (None, true)] {
        let target = Target { branch, at, read_only };
        let mut reader = Database::open(&host.process, Arc::new(Local), host.store.clone(), target);
        assert!(reader.is_read_only());
        reader.lock(Level::Reserved, None).unwrap();
        assert!(matches!(reader.write(&page, 512), Err(ConnectionError::ReadOnly)));
    }
}

#[test]
fn a_commit_is_seen_by_those_who_come_after() {
    let host = Host::with_database();
    let mut database = host.open("main");
    let base = host.head("main");
    begin(&mut database);
    database.lock(Level::Exclusive, None).unwrap();
    change(&mut database, 3);
    assert_eq!(host.head("main"), base);
    database.commit(None).unwrap();
    assert_eq!((host.head("main"), database.version().unwrap()), (base.next(), base.next()));
    assert_eq!(database.level(), Level::Exclusive, "the host still has its lock");
    database.commit_is_over().unwrap();
    database.commit(None).unwrap();
    assert_eq!(host.head("main"), base.next(), "nothing was written since");
    database.stop_writing();
    assert_eq!(database.level(), Level::Shared);
    assert_eq!(read_table(&mut database, 0).unwrap(), rows(3));
}

#[test]
fn a_lock_that_is_kept_counts_each_change() {
    let host = Host::with_database();
    let mut database = host.open("main");
    begin(&mut database);
    change(&mut database, 1);
    database.commit(None).unwrap();
    let counted = counter(&mut database).unwrap();
    for n in 1..4 {
        // In exclusive locking mode SQLite counts only once.
        write_table(&mut database, 0, &rows(10 + i64::from(n))).unwrap();
        database.commit(None).unwrap();
        assert_eq!(counter(&mut database).unwrap(), counted + n);
        assert_eq!(database.version().unwrap(), host.head("main"));
    }
    write_table(&mut database, 0, &rows(13)).unwrap();
    let head = host.head("main");
    database.commit(None).unwrap();
    assert_eq!(host.head("main"), head, "the same page again is no change");
}

#[test]
fn a_rollback_leaves_no_version() {
    let host = Host::with_database();
    let mut database = host.open("main");
    let base = host.head("main");
    let first = first_page(counter(&mut database).unwrap());
    begin(&mut database);
    change(&mut database, 5);
    assert_eq!(read_table(&mut database, 0).unwrap(), rows(5), "a writer sees what it has written");
    // SQLite puts back what it has a copy of. A page that was free may keep anything.
    database.write(&first, 0).unwrap();
    write_table(&mut database, 0, &Rows::new()).unwrap();
    database.write(&[9; 512], 4 * 512).unwrap();
    database.commit(None).unwrap();
    assert_eq!((host.head("main"), database.level()), (base, Level::Reserved));
    assert_eq!(database.size().unwrap(), 4 * 512);
    change(&mut database, 6);
    database.commit(None).unwrap();
    assert_eq!(host.head("main"), base.next());
}

#[test]
fn what_is_not_committed_goes_with_the_lock() {
    let host = Host::with_database();
    let (mut database, mut other) = (host.open("main"), host.open("main"));
    let base = host.head("main");
    for stop in [Database::stop_writing, |database: &mut Database| drop(database.unlock())] {
        begin(&mut database);
        change(&mut database, 5);
        stop(&mut database);
        assert_eq!(read_table(&mut database, 0).unwrap(), Rows::new());
        assert_eq!(database.version().unwrap(), base);
        begin(&mut other);
        other.unlock();
    }
}

#[test]
fn a_database_ends_where_its_first_page_says() {
    let host = Host::with_database();
    let mut database = host.open("main");
    begin(&mut database);
    change(&mut database, 1);
    database.write(&[0; 512], 6 * 512).unwrap();
    assert_eq!(database.size().unwrap(), 7 * 512);
    database.commit(None).unwrap();
    assert_eq!(database.size().unwrap(), 4 * 512);
    // After the commit SQLite cuts off what is gone already.
    database.truncate(4 * 512).unwrap();
    database.truncate(3 * 512).unwrap();
    assert_eq!(database.size().unwrap(), 3 * 512);
    database.unlock();
    assert_eq!(database.size().unwrap(), 4 * 512);
    let mut beyond = [1; 600];
    assert!(!database.read(&mut beyond, 4 * 512 - 100).unwrap());
    assert!(beyond[100..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_wish_for_a_wal_file_is_not_kept_and_the_host_reads_again() {
    let host = Host::with_database();
    let mut database = host.open("main");
    begin(&mut database);
    let mut page = first_page(9);
    page[18..20].fill(2);
    database.write(&page, 0).unwrap();
    database.commit(None).unwrap();
    let mut bytes = [0; 2];
    database.read(&mut bytes, 18).unwrap();
    assert_eq!(bytes, [1, 1]);
    let mut look = || {
        let mut bytes = [0; 16];
        database.read(&mut bytes, 24).unwrap();
        u32::from_be_bytes(bytes[..4].try_into().unwrap())
    };
    assert_eq!((look(), look()), (9 ^ 0x8000_0000, 9), "told once that its cache doesn't hold");
}

/// Fails as told.
struct Fails(fn() -> ConnectionError);

impl Committer for Fails {
    fn commit(
        &self,
        _: &[Commit<'_>],
        _: Durability,
        _: &mut dyn FnMut(&[Version], Losses),
    ) -> Result<Vec<Version>, ConnectionError> {
        Err((self.0)())
    }
}

fn stale() -> ConnectionError {
    StoreError::Stale { branch: "main".into(), base: Version(1), head: Version(2) }.into()
}

fn unavailable() -> ConnectionError {
    ConnectionError::Unavailable { reason: "no leader".into() }
}

#[test]
fn a_commit_that_is_refused_can_be_rolled_back_and_run_again() {
    let host = Host::with_database();
    let base = host.head("main");
    for (n, (fails, busy)) in [(stale as fn() -> _, true), (unavailable, false)].into_iter().enumerate() {
        let mut database = host.open_with("main", Arc::new(Fails(fails)));
        begin(&mut database);
        change(&mut database, 4);
        assert_eq!(database.commit(None).unwrap_err().is_busy(), busy);
        assert_eq!(database.level(), Level::Reserved);
        assert_eq!(read_table(&mut database, 0).unwrap(), rows(4), "the transaction is still there");
        write_table(&mut database, 0, &Rows::new()).unwrap();
        database.write(&first_page(1), 0).unwrap();
        database.commit(None).unwrap();
        database.unlock();
        assert_eq!(host.head("main"), base, "case {n}");
    }
    let mut database = host.open("main");
    begin(&mut database);
    change(&mut database, 4);
    database.commit(None).unwrap();
    let entry = host.store.entries(host.store.branch("main").unwrap().id, base).unwrap().next().unwrap().unwrap();
    assert_eq!(common::changes_of(&entry.changeset), [("t0".to_owned(), 1, None, Some(4))]);
}

#[test]
fn after_a_panic_nothing_works_until_all_is_let_go_of() {
    let host = Host::with_database();
    let base = host.head("main");
    let mut database = host.open_with("main", Arc::new(Fails(|| panic!("on purpose"))));
    begin(&mut database);
    change(&mut database, 4);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| database.commit(None)));
    assert!(panicked.is_err());
    let broken = |outcome: Result<(), ConnectionError>| matches!(outcome, Err(ConnectionError::Broken));
    assert!(broken(database.commit(None)));
    assert!(broken(database.commit_is_over()));
    assert!(broken(database.write(&[0; 512], 0)));
    assert!(broken(database.truncate(0)));
    assert!(broken(database.read(&mut [0; 4], 0).map(drop)));
    assert!(broken(database.size().map(drop)));
    assert!(broken(database.lock(Level::Shared, None)));
    database.stop_writing();
    assert!(broken(database.lock(Level::Shared, None)));
    database.unlock();
    begin(&mut database);
    assert_eq!(database.version().unwrap(), base);
}

/// Two branches with a database each, open by one connection that has written to both.
fn two(host: &Host, journalled: [bool; 2]) -> [Database; 2] {
    two_with(host, journalled, Arc::new(Local))
}

fn two_with(host: &Host, journalled: [bool; 2], committer: Arc<dyn Committer>) -> [Database; 2] {
    let mut both = ["main", "dev"].map(|branch| host.open_with(branch, committer.clone()));
    for (n, database) in both.iter_mut().enumerate() {
        database.journalled().store(journalled[n], Ordering::Relaxed);
        begin(database);
        change(database, 20 + n as i64);
    }
    for database in &mut both {
        database.lock(Level::Exclusive, Some(ConnectionId(1))).unwrap();
    }
    both
}

fn with_branch() -> Host {
    let host = Host::with_database();
    host.store.branch_create("dev", "main", None).unwrap();
    host
}

/// Both are versions of one commit, and go on from there.
fn check_two(host: &Host, both: &mut [Database; 2], base: Version) {
    assert_eq!([host.head("main"), host.head("dev")], [base.next(), base.next().next()]);
    for (n, database) in both.iter_mut().enumerate() {
        database.commit_is_over().unwrap();
        assert_eq!(database.level(), Level::Exclusive);
        assert_eq!(read_table(database, 0).unwrap(), rows(20 + n as i64));
        change(database, 30);
        assert!(database.version().unwrap() > base);
        database.unlock();
    }
}

#[test]
fn a_named_group_commits_when_it_is_told_to() {
    let host = with_branch();
    let base = host.store.head();
    let mut both = two(&host, [true, true]);
    host.process.open_group(b"all");
    for database in &mut both {
        database.commit(Some(b"all")).unwrap();
        assert_eq!(host.store.head(), base);
        assert_eq!(read_table(database, 0).unwrap(), Rows::new(), "between the sync and the commit");
    }
    host.process.commit_group(b"another").unwrap();
    assert_eq!(host.store.head(), base);
    host.process.commit_group(b"all").unwrap();
    check_two(&host, &mut both, base);
}

#[test]
fn one_that_rolls_back_has_left_its_group() {
    let host = with_branch();
    let base = host.store.head();
    let mut both = two(&host, [true, true]);
    host.process.open_group(b"all");
    both.iter_mut().for_each(|database| database.commit(Some(b"all")).unwrap());
    write_table(&mut both[0], 0, &Rows::new()).unwrap();
    both[0].commit(None).unwrap();
    host.process.commit_group(b"all").unwrap();
    assert_eq!(host.head("dev"), base.next());
    assert!(host.head("main") < base);
    both[0].commit_is_over().unwrap();
    both[0].unlock();
    both[1].unlock();
    begin(&mut both[0]);
}

#[test]
fn a_group_that_is_not_known_here_commits_with_the_connection() {
    let host = with_branch();
    let base = host.store.head();
    let mut both = two(&host, [true, true]);
    both[0].commit(Some(b"elsewhere")).unwrap();
    assert_eq!(host.store.head(), base);
    both[1].commit(Some(b"elsewhere")).unwrap();
    check_two(&host, &mut both, base);
}

#[test]
fn databases_of_one_connection_commit_with_the_last_of_them() {
    for journalled in [[true, true], [false, false]] {
        let host = with_branch();
        let base = host.store.head();
        let mut both = two(&host, journalled);
        both[0].commit(None).unwrap();
        assert_eq!(host.store.head(), base);
        both[1].commit(None).unwrap();
        check_two(&host, &mut both, base);
    }
}

#[test]
fn a_writer_that_changed_nothing_is_not_waited_for_in_the_end() {
    let host = with_branch();
    let base = host.store.head();
    let mut both = two(&host, [false, false]);
    // Rolled back to where it began, so that it has nothing to sync.
    both[1].stop_writing();
    both[1].lock(Level::Exclusive, Some(ConnectionId(1))).unwrap();
    both[0].commit(None).unwrap();
    assert_eq!(host.store.head(), base, "it might still come");
    both[1].commit(None).unwrap();
    both[0].commit_is_over().unwrap();
    assert_eq!(host.head("main"), base.next());
    both[1].commit_is_over().unwrap();
    // With journals it is known from the start.
    both[0].journalled().store(true, Ordering::Relaxed);
    change(&mut both[0], 21);
    both[0].commit(None).unwrap();
    assert_eq!(host.head("main"), base.next().next());
}

#[test]
fn a_commit_of_several_that_fails_counts_for_none() {
    let host = with_branch();
    let base = host.store.head();
    let mut both = two_with(&host, [true, true], Arc::new(Fails(unavailable)));
    both[0].commit(None).unwrap();
    assert!(matches!(both[1].commit(None), Err(ConnectionError::Unavailable { .. })));
    // The host rolls both back, and neither is taken up by what comes next.
    for database in &mut both {
        write_table(database, 0, &Rows::new()).unwrap();
        database.commit(None).unwrap();
        database.unlock();
    }
    assert_eq!(host.store.head(), base);
    let mut other = two(&host, [true, true]);
    other.iter_mut().for_each(|database| database.commit(None).unwrap());
    check_two(&host, &mut other, base);
}

/// The lock goes on to a waiter before the commit is on disk, and a host in exclusive locking mode
/// goes on without a new one.
#[test]
fn a_lock_that_was_handed_on_is_not_taken_for_granted() {
    let world = World::new(1);
    let host = Host::with_database_on(&world);
    let base = host.head("main");
    let open = |process: usize| {
        let store = Store::open_on(Sim::process(&world, process), Path::new("/s.maniac"), OpenOptions::default());
        Host { process: Process::new(|_| ()), store: store.unwrap() }.open("main")
    };
    let sleep = |process: usize, ms: u64| Sim::process(&world, process).sleep(Duration::from_millis(ms));
    let keeps = Box::new(|process: usize| {
        let mut database = open(process);
        begin(&mut database);
        sleep(process, 10);
        change(&mut database, 1);
        database.commit(None).unwrap();
        sleep(process, 10);
        // Another connection of this process may have looked; and the counter is the other's, too.
        database.store().refresh().unwrap();
        change(&mut database, 3);
        let error = database.commit(None).unwrap_err();
        let head = base.next().next();
        let overtaken = ConnectionError::Overtaken { base: base.next(), head };
        assert_eq!(error.to_string(), overtaken.to_string());
        assert_eq!(read_table(&mut database, 0).unwrap(), rows(3), "it can be rolled back");
        write_table(&mut database, 0, &rows(1)).unwrap();
        database.write(&first_page(2), 0).unwrap();
        database.commit(None).unwrap();
        assert_eq!(database.version().unwrap(), base.next());
        database.unlock();
        assert_eq!(read_table(&mut database, 0).unwrap(), rows(2));
    });
    let waits = Box::new(|process: usize| {
        let mut database = open(process);
        sleep(process, 1);
        database.begin(Duration::from_secs(1), &|| false).unwrap();
        assert_eq!(read_table(&mut database, 0).unwrap(), rows(1));
        change(&mut database, 2);
        database.commit(None).unwrap();
        database.unlock();
    });
    world.run(Chances::default(), vec![keeps, waits]);
    assert_eq!(host.head("main"), base.next().next());
}

/// Commits, and keeps what it was told.
#[derive(Default)]
struct Remembers(Mutex<Vec<(usize, Durability)>>);

impl Committer for Remembers {
    fn commit(
        &self,
        commits: &[Commit<'_>],
        durability: Durability,
        written: &mut dyn FnMut(&[Version], Losses),
    ) -> Result<Vec<Version>, ConnectionError> {
        self.0.lock().unwrap().push((commits.len(), durability));
        Local.commit(commits, durability, written)
    }
}

#[test]
fn a_commit_of_several_is_as_durable_as_the_strictest_of_them() {
    use Durability::{Full, Normal, Off};
    for (asked, expected) in [([Off, Full], Full), ([Normal, Off], Normal), ([Off, Off], Off), ([Full, Normal], Full)] {
        let host = with_branch();
        let committer = Arc::new(Remembers::default());
        let mut both = two_with(&host, [true, true], committer.clone());
        for (database, durability) in both.iter_mut().zip(asked) {
            database.set_durability(durability);
            database.commit(None).unwrap();
        }
        assert_eq!(*committer.0.lock().unwrap(), [(2, expected)], "{asked:?}");
    }
}

/// Fails once.
#[derive(Default)]
struct FailsFirst(AtomicBool);

impl Committer for FailsFirst {
    fn commit(
        &self,
        commits: &[Commit<'_>],
        durability: Durability,
        written: &mut dyn FnMut(&[Version], Losses),
    ) -> Result<Vec<Version>, ConnectionError> {
        if self.0.swap(true, Ordering::Relaxed) {
            Local.commit(commits, durability, written)
        } else {
            Err(unavailable())
        }
    }
}

#[test]
fn what_was_ready_for_a_commit_that_failed_waits_for_no_other() {
    let host = with_branch();
    let base = host.store.head();
    let mut both = two_with(&host, [true, true], Arc::new(FailsFirst::default()));
    both[0].commit(None).unwrap();
    assert!(both[1].commit(None).is_err());
    both[0].commit_is_over().unwrap();
    assert_eq!(host.store.head(), base);
}

#[test]
fn a_commit_notes_what_it_merges() {
    let host = with_branch();
    let mut dev = host.open("dev");
    begin(&mut dev);
    change(&mut dev, 1);
    dev.commit(None).unwrap();
    let merged = (dev.branch(), dev.version().unwrap());
    let mut main = host.open("main");
    main.set_merged(Some(merged));
    begin(&mut main);
    change(&mut main, 2);
    main.commit(None).unwrap();
    let snapshot = |database: &mut Database| host.store.snapshot(database.branch(), host.store.head()).unwrap();
    let ancestor = snapshot(&mut main).common_ancestor(&snapshot(&mut dev)).unwrap();
    assert_eq!((ancestor.branch(), ancestor.version()), merged);
}

#[test]
fn a_host_reads_again_when_the_disk_has_lost_something() {
    let world = World::new(1);
    let host = Host::with_database_on(&world);
    let base = host.head("main");
    let always = Chances { sync_fails: 1_000_000, ..Chances::default() };
    let run = Box::new(|_: usize| {
        let mut database = host.open("main");
        begin(&mut database);
        change(&mut database, 1);
        database.commit(None).unwrap_err();
        assert_eq!(read_table(&mut database, 0).unwrap(), rows(1), "it can be rolled back");
        database.unlock();
        database.lock(Level::Shared, None).unwrap();
        assert_eq!(database.version().unwrap(), base);
        let mut look = || {
            let mut bytes = [0; 16];
            database.read(&mut bytes, 24).unwrap();
            u32::from_be_bytes(bytes[..4].try_into().unwrap())
        };
        assert_eq!((look(), look()), (1 ^ 0x8000_0000, 1));
    });
    world.run(always, vec![run]);
}

/// A process that died between writing an entry and making it visible is in nobody's way.
#[test]
fn what_a_dead_writer_left_behind_can_be_written_on() {
    let mut left_behind = 0;
    for seed in 1..=60 {
        let world = World::new(seed);
        let base = Host::with_database_on(&world).head("main");
        let dies = Box::new(|process: usize| {
            let store = Store::open_on(Sim::process(&world, process), Path::new("/s.maniac"), OpenOptions::default());
            let host = Host { process: Process::new(|_| ()), store: store.unwrap() };
            let mut database = host.open("main");
            begin(&mut database);
            change(&mut database, 1);
            database.commit(None).unwrap();
        });
        world.run(Chances { kill: 40_000, ..Chances::default() }, vec![dies]);
        let host = Host::on(&world);
        let visible = host.store.head();
        let mut database = host.open("main");
        database.begin(Duration::ZERO, &|| false).unwrap();
        let found = read_table(&mut database, 0).unwrap();
        assert_eq!(found, if database.version().unwrap() == base { Rows::new() } else { rows(1) });
        left_behind += u32::from(database.version().unwrap() > visible);
        change(&mut database, 2);
        database.commit(None).unwrap();
    }
    assert!(left_behind > 0, "some die at that moment");
}
