//! Several writers that commit on a machine in memory which goes wrong by a seed: processes are
//! killed at any call, the machine stops, fsyncs fail, writes are lost or come in another order.
//!
//! Each transaction sets the same row of `t0` and `t1` to its number, and counts itself in `t2`.
//! Some are on two branches at once, some keep the lock for the next one, some are rolled back.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are. A failure prints its seed.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{PAGE, Tables, changes_of, count_change, difference, first_page, read_table, tables_of, write_table};
use maniac_base::{BranchId, Version};
use maniac_connection::{ConnectionError, ConnectionId, Database, Level, Local, Process, Target};
use maniac_disk::sim::{Chances, Sim, World, each_seed};
use maniac_store::{Durability, EntryKind, LogError, OpenOptions, Store, StoreError};

const SLOTS: u64 = 10;
const COUNT: i64 = 0;

/// What a writer was told of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: it was killed first.
    Nothing,
    Committed(Durability),
    Failed(String),
}

/// What an observer from outside knows.
#[derive(Default)]
struct Ledger {
    /// By number: the branches of a transaction, and what its writer was told.
    transactions: HashMap<i64, (Vec<BranchId>, Told)>,
    last: i64,
}

impl Ledger {
    fn begin(&mut self, branches: &[BranchId]) -> i64 {
        self.last += 1;
        self.transactions.insert(self.last, (branches.to_vec(), Told::Nothing));
        self.last
    }

    fn tell(&mut self, id: i64, told: Told) {
        self.transactions.get_mut(&id).expect("it has begun").1 = told;
    }
}

fn open_store(world: &Arc<World>, process: usize) -> Result<Arc<Store>, StoreError> {
    let options = OpenOptions { create: true, ..OpenOptions::default() };
    Store::open_on(Sim::process(world, process), Path::new("/s.maniac"), options)
}

fn by_disk(error: &ConnectionError) -> bool {
    let disk = |error: &StoreError| matches!(error, StoreError::Log(LogError::Io { .. } | LogError::Lost { .. }));
    match error {
        ConnectionError::Store(error) => disk(error),
        // A page of a version that the disk has lost.
        ConnectionError::Page(_) => true,
        _ => false,
    }
}

/// One connection with databases on some branches.
struct Writer<'w> {
    world: &'w World,
    process: Arc<Process>,
    databases: Vec<Database>,
    durability: Durability,
    syncs_fail: bool,
}

impl Writer<'_> {
    /// A transaction on all its branches. Begun, it is in the ledger.
    fn write(&mut self, ledger: &Mutex<Ledger>) -> Result<(), ConnectionError> {
        // Always in the same order, so that no two of them wait for each other.
        for database in &mut self.databases {
            if database.level() < Level::Reserved {
                database.begin(Duration::from_secs(10), &|| false)?;
            }
        }
        if self.world.below(8) == 0 {
            return self.give_up();
        }
        let branches: Vec<_> = self.databases.iter().map(Database::branch).collect();
        let id = ledger.lock().unwrap().begin(&branches);
        let slot = 1 + self.world.below(SLOTS) as i64;
        let outcome = self.commit(id, slot);
        let told = match &outcome {
            Ok(true) => Told::Committed(self.durability),
            Ok(false) => Told::Failed("it was rolled back".into()),
            Err(error) => Told::Failed(error.to_string()),
        };
        ledger.lock().unwrap().tell(id, told);
        outcome.map(drop)
    }

    /// Reads what it could have built on, and doesn't: then others have to see it, too, unless the
    /// disk fails to take it.
    fn give_up(&mut self) -> Result<(), ConnectionError> {
        for database in &mut self.databases {
            let seen = read_table(database, 2)?;
            database.unlock();
            let shown = read_table(database, 2)?;
            assert!(shown.get(&COUNT) >= seen.get(&COUNT) || self.syncs_fail);
        }
        Ok(())
    }

    /// False if it has rolled back.
    fn commit(&mut self, id: i64, slot: i64) -> Result<bool, ConnectionError> {
        for database in &mut self.databases {
            for table in 0..2 {
                let mut rows = read_table(database, table)?;
                rows.insert(slot, id);
                write_table(database, table, &rows)?;
            }
            let mut rows = read_table(database, 2)?;
            *rows.entry(COUNT).or_default() += 1;
            write_table(database, 2, &rows)?;
        }
        if self.world.below(8) == 0 {
            self.unlock();
            return Ok(false);
        }
        let group = (self.databases.len() > 1 && self.world.below(2) == 0).then_some(&b"g"[..]);
        if let Some(name) = group {
            self.process.open_group(name);
        }
        for database in &mut self.databases {
            count_change(database)?;
            database.journalled().store(true, Ordering::Relaxed);
            database.lock(Level::Exclusive, Some(ConnectionId(1)))?;
        }
        for database in &mut self.databases {
            database.commit(group)?;
        }
        if let Some(name) = group {
            self.process.commit_group(name)?;
        }
        self.databases.iter_mut().try_for_each(Database::commit_is_over)?;
        Ok(true)
    }

    fn unlock(&mut self) {
        self.databases.iter_mut().for_each(|database| drop(database.unlock()));
    }
}

/// A process that commits some transactions, and ends when the disk fails it.
fn write(world: &Arc<World>, process: usize, ledger: &Mutex<Ledger>, syncs_fail: bool) -> Result<(), ConnectionError> {
    let store = open_store(world, process)?;
    let shared = Process::new(|_| ());
    for _ in 0..2 + world.below(4) {
        let mut branches: Vec<_> = store.branches()?.iter().map(|branch| branch.id).collect();
        if branches.len() < 3 && world.below(3) == 0 {
            match store.branch_create(&format!("b{}", world.below(1000)), "main", None) {
                Err(StoreError::BranchExists { .. }) | Ok(_) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        if branches.len() == 1 || world.below(3) > 0 {
            branches = vec![branches[world.below(branches.len() as u64) as usize]];
        }
        let durability = if world.below(4) == 0 { Durability::Off } else { Durability::Full };
        let open = |branch: BranchId| {
            let target = Target { branch, at: None, read_only: false };
            let mut database = Database::open(&shared, Arc::new(Local), store.clone(), target);
            database.set_durability(durability);
            database
        };
        let databases = branches.into_iter().map(open).collect();
        let mut writer = Writer { world, process: shared.clone(), databases, durability, syncs_fail };
        for _ in 0..1 + world.below(4) {
            if let Err(error) = writer.write(ledger) {
                writer.unlock();
                // The disk has failed, and the next one tries again; or others were faster.
                if !by_disk(&error) && !error.is_busy() {
                    return Err(error);
                }
            } else if world.below(3) > 0 {
                writer.unlock();
            }
            look(&mut writer)?;
        }
    }
    Ok(())
}

/// What a connection reads is one version, whatever others do.
fn look(writer: &mut Writer<'_>) -> Result<(), ConnectionError> {
    for database in &mut writer.databases {
        if database.level() > Level::Shared {
            continue;
        }
        database.lock(Level::Shared, None)?;
        let version = database.version()?;
        let (one, other) = (read_table(database, 0)?, read_table(database, 1)?);
        assert_eq!(one, other, "version {version}");
        database.unlock();
        assert!(database.version()? >= version, "the head went back from {version}");
    }
    Ok(())
}

/// Compares the store with the ledger, and forgets of the ledger what may have been lost.
fn check(world: &Arc<World>, ledger: &mut Ledger, stopped: bool) {
    let store = open_store(world, 0).unwrap();
    // What a killed process has written counts.
    for branch in store.branches().unwrap() {
        store.publish_left_over(branch.id).unwrap();
    }
    let mut found: HashMap<i64, Vec<BranchId>> = HashMap::new();
    for branch in store.branches().unwrap() {
        let mut before = Tables::default();
        for entry in store.entries(branch.id, Version(0)).unwrap().map(Result::unwrap) {
            if entry.kind != EntryKind::Transaction {
                continue;
            }
            let version = entry.version;
            let tables = tables_of(&store.snapshot(branch.id, version).unwrap());
            assert_eq!(tables[0], tables[1], "version {version} in part");
            assert!(!entry.derived, "version {version}");
            let changes = difference(&before, &tables);
            assert_eq!(changes_of(&entry.changeset), changes, "version {version}");
            let count = |tables: &Tables| tables[2].get(&COUNT).copied().unwrap_or(0);
            assert_eq!(count(&tables), count(&before) + i64::from(!changes.is_empty()));
            if let Some((_, _, _, Some(id))) = changes.iter().find(|(table, ..)| table == "t0")
                && entry.branch == branch.id
            {
                found.entry(*id).or_default().push(branch.id);
            }
            before = tables;
        }
    }
    for (id, (branches, told)) in &mut ledger.transactions {
        let there = found.get_mut(id).is_some_and(|found| {
            found.sort_unstable_by_key(|branch| branch.0);
            assert_eq!(found, branches, "transaction {id} is on some of its branches");
            true
        });
        match told {
            Told::Committed(durability) if stopped && *durability != Durability::Full => (),
            Told::Committed(_) => assert!(there, "transaction {id} is gone"),
            // The disk has failed to take it, and may have it all the same: that it is gone was
            // not on disk yet.
            Told::Failed(_) if stopped => (),
            Told::Failed(reason) => assert!(!there, "transaction {id} is there: {reason}"),
            Told::Nothing => (),
        }
        // Whatever is there has been seen, and after a stop it is on disk.
        *told = match (there, &told) {
            (false, _) => Told::Failed("it was not there before".into()),
            (true, Told::Committed(Durability::Full)) => Told::Committed(Durability::Full),
            (true, _) if stopped => Told::Committed(Durability::Full),
            (true, _) => Told::Committed(Durability::Off),
        };
    }
}

/// A store with empty tables, on disk.
fn set_up(world: &Arc<World>) {
    let run = Box::new(|process| {
        let store = open_store(world, process).unwrap();
        let target = Target { branch: store.branch("main").unwrap().id, at: None, read_only: false };
        let mut database = Database::open(&Process::new(|_| ()), Arc::new(Local), store, target);
        database.lock(Level::Reserved, None).unwrap();
        for n in 0..common::TABLES {
            database.write(&common::table_page(&common::Rows::new()), ((1 + n) * PAGE) as u64).unwrap();
        }
        database.write(&first_page(1), 0).unwrap();
        database.commit(None).unwrap();
    });
    world.run(Chances::default(), vec![run]);
}

fn case(seed: u64) -> u64 {
    let world = World::new(seed);
    set_up(&world);
    let mut ledger = Ledger::default();
    for _ in 0..3 {
        let chances = Chances {
            kill: [0, 0, 800, 3_000][world.below(4) as usize],
            stop: [0, 300, 1_500][world.below(3) as usize],
            sync_fails: [0, 0, 30_000][world.below(3) as usize],
            clock_jumps: [0, 5_000][world.below(2) as usize],
        };
        let shared = Mutex::new(std::mem::take(&mut ledger));
        let count = 1 + world.below(4);
        let writers = (0..count).map(|_| {
            let (world, shared) = (&world, &shared);
            Box::new(move |n| {
                if let Err(error) = write(world, n, shared, chances.sync_fails > 0) {
                    assert!(by_disk(&error), "{error}");
                }
            }) as Box<dyn FnOnce(usize) + Send>
        });
        let ended = world.run(chances, writers.collect());
        ledger = shared.into_inner().unwrap();
        check(&world, &mut ledger, ended.stopped);
    }
    ledger.transactions.values().filter(|(_, told)| matches!(told, Told::Committed(_))).count() as u64
}

#[test]
fn what_was_acknowledged_is_there_and_nothing_in_part() {
    let made = each_seed("simulation", 200, case);
    let commits: u64 = made.iter().sum();
    println!("simulation: {commits} commits");
    assert!(commits > made.len() as u64, "writers that write");
}
