//! Random calls of several connections in two processes, one after the other, against a model that
//! knows versions and who writes.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are. A failure prints its seed.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use common::{Tables, changes_of, counter, difference, first_page, read_table, tables_of, write_table};
use maniac_base::{BranchId, Version};
use maniac_connection::{ConnectionError, ConnectionId, Database, Level, Local, Process, Target};
use maniac_disk::sim::{Chances, Sim, World, each_seed};
use maniac_store::{Durability, EntryKind, LogError, OpenOptions, Store, StoreError};

/// The connections: in which process, and with which branches open.
const CONNECTIONS: [(usize, &[usize]); 5] = [(0, &[0, 1]), (0, &[0, 1, 2]), (0, &[2]), (1, &[0]), (1, &[1, 2, 0])];
const BRANCHES: usize = 3;

/// What a version holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    tables: Tables,
    counter: u32,
}

/// A database that a connection has open, and what the model knows of it.
struct Handle {
    database: Database,
    connection: usize,
    branch: usize,
    level: Level,
    /// What it reads from, from SHARED on.
    base: Version,
    /// What it has written since.
    written: Option<Tables>,
    /// It has committed under the lock that it still has.
    committed: bool,
    /// It has synced what it has written, and others are to follow.
    joined: bool,
}

struct Model<'w> {
    world: &'w World,
    stores: [Arc<Store>; 2],
    processes: [Arc<Process>; 2],
    branches: Vec<BranchId>,
    heads: Vec<Version>,
    writers: [Option<usize>; BRANCHES],
    contents: HashMap<(usize, Version), Content>,
    handles: Vec<Handle>,
    commits: u64,
}

fn by_disk(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Store(StoreError::Log(LogError::Io { .. } | LogError::Lost { .. })))
}

impl<'w> Model<'w> {
    fn new(world: &'w Arc<World>) -> Model<'w> {
        let open = || {
            Store::open_on(
                Sim::process(world, 0),
                Path::new("/s.maniac"),
                OpenOptions { create: true, ..OpenOptions::default() },
            )
        };
        let stores = [open().unwrap(), open().unwrap()];
        let processes = [Process::new(|_| ()), Process::new(|_| ())];
        let main = stores[0].branch("main").unwrap().id;
        let target = |branch| Target { branch, at: None, read_only: false };
        let mut first = Database::open(&processes[0], Arc::new(Local), stores[0].clone(), target(main));
        first.lock(Level::Reserved, None).unwrap();
        (0..common::TABLES).for_each(|n| write_table(&mut first, n, &Default::default()).unwrap());
        first.write(&first_page(0), 0).unwrap();
        first.commit(None).unwrap();
        let head = first.version().unwrap();
        drop(first);
        let branches: Vec<_> = ["main", "b1", "b2"]
            .iter()
            .map(|name| {
                if *name != "main" {
                    stores[0].branch_create(name, "main", None).unwrap();
                }
                stores[0].branch(name).unwrap().id
            })
            .collect();
        let mut handles = Vec::new();
        for (connection, (process, opened)) in CONNECTIONS.iter().enumerate() {
            for branch in *opened {
                let (process, store) = (&processes[*process], stores[*process].clone());
                let mut database = Database::open(process, Arc::new(Local), store, target(branches[*branch]));
                let durability = [Durability::Full, Durability::Normal, Durability::Off][world.below(3) as usize];
                database.set_durability(durability);
                let (level, base, written) = (Level::Unlocked, head, None);
                let (branch, committed, joined) = (*branch, false, false);
                handles.push(Handle { database, connection, branch, level, base, written, committed, joined });
            }
        }
        let contents = (0..BRANCHES).map(|branch| ((branch, head), Content::default())).collect();
        let (heads, writers) = (vec![head; BRANCHES], [None; BRANCHES]);
        Model { world, stores, processes, branches, heads, writers, contents, handles, commits: 0 }
    }

    fn below(&self, bound: usize) -> usize {
        self.world.below(bound as u64) as usize
    }

    fn step(&mut self) {
        let n = self.below(self.handles.len());
        match self.below(16) {
            0 => self.lock(n, Level::Shared),
            1..=4 => self.lock(n, Level::Reserved),
            5..=8 => self.write(n),
            9..=11 => self.commit(self.handles[n].connection),
            12 => self.roll_back(n),
            13 => self.stop_writing(n),
            _ => self.unlock(n),
        }
        self.check(n);
        self.check(self.below(self.handles.len()));
    }

    fn lock(&mut self, n: usize, level: Level) {
        let handle = &mut self.handles[n];
        let outcome = handle.database.lock(level, None);
        if handle.level == Level::Unlocked {
            (handle.level, handle.base) = (Level::Shared, self.heads[handle.branch]);
        }
        if level == Level::Shared || handle.level >= Level::Reserved {
            return outcome.unwrap();
        }
        match self.writers[handle.branch] {
            Some(_) => assert!(matches!(outcome, Err(ConnectionError::Busy)), "{outcome:?}"),
            None if handle.base != self.heads[handle.branch] => match outcome {
                Err(ConnectionError::Stale { base, head }) => {
                    assert_eq!((base, head), (handle.base, self.heads[handle.branch]));
                }
                other => panic!("{other:?}"),
            },
            None => {
                outcome.unwrap();
                (handle.level, self.writers[handle.branch]) = (Level::Reserved, Some(n));
            }
        }
    }

    fn write(&mut self, n: usize) {
        let (table, key, value) = (self.below(common::TABLES), self.below(12) as i64, self.below(1000) as i64);
        let content = &self.contents[&(self.handles[n].branch, self.handles[n].base)];
        let handle = &mut self.handles[n];
        let before = match &handle.written {
            Some(tables) if !handle.joined => tables,
            _ => &content.tables,
        };
        let mut tables = before.clone();
        match value % 4 {
            0 => drop(tables[table].remove(&key)),
            _ => drop(tables[table].insert(key, value)),
        }
        let outcome = write_table(&mut handle.database, table, &tables[table]);
        if handle.level < Level::Reserved {
            return assert!(matches!(outcome, Err(ConnectionError::ReadOnly)));
        }
        outcome.unwrap();
        // What was synced before is given up by that.
        (handle.written, handle.joined) = (Some(tables), false);
    }

    /// A connection commits all that it has written, as SQLite does.
    fn commit(&mut self, connection: usize) {
        let ours: Vec<usize> = (0..self.handles.len())
            .filter(|n| self.handles[*n].connection == connection && self.handles[*n].written.is_some())
            .collect();
        let process = self.processes[CONNECTIONS[connection].0].clone();
        let group = (ours.len() > 1 && self.below(2) == 0).then_some(&b"group"[..]);
        let journalled = self.below(2) == 0;
        for handle in self.handles.iter_mut().filter(|handle| handle.connection == connection) {
            handle.database.journalled().store(journalled && handle.written.is_some(), Ordering::Relaxed);
        }
        if let Some(name) = group {
            process.open_group(name);
        }
        for n in &ours {
            let handle = &mut self.handles[*n];
            let base = &self.contents[&(handle.branch, handle.base)];
            // In exclusive locking mode SQLite counts only the first change.
            if !handle.committed || self.world.below(2) == 0 {
                handle.database.write(&first_page(base.counter + 1), 0).unwrap();
            }
            handle.database.lock(Level::Exclusive, Some(ConnectionId(connection))).unwrap();
            handle.level = Level::Exclusive;
        }
        let mut outcome = Ok(());
        for n in &ours {
            let synced = self.handles[*n].database.commit(group);
            if let Err(error) = synced {
                outcome = Err(error);
                break;
            }
            self.handles[*n].joined = true;
        }
        let left = (group.is_some() && self.below(3) == 0).then(|| ours[self.below(ours.len())]);
        if let Some(left) = left {
            self.roll_back(left);
        }
        if let (Ok(()), Some(name)) = (&outcome, group) {
            ours.iter().filter(|n| Some(**n) != left).for_each(|n| self.check(*n));
            outcome = process.commit_group(name);
        }
        for n in &ours {
            if outcome.is_ok() {
                outcome = self.handles[*n].database.commit_is_over();
            }
        }
        match outcome {
            Ok(()) => ours.iter().filter(|n| Some(**n) != left).for_each(|n| self.has_committed(*n)),
            Err(error) => {
                assert!(by_disk(&error), "{error}");
                ours.iter().for_each(|n| self.roll_back(*n));
            }
        }
    }

    fn has_committed(&mut self, n: usize) {
        let handle = &mut self.handles[n];
        handle.joined = false;
        let Some(tables) = handle.written.take() else { return };
        let before = &self.contents[&(handle.branch, handle.base)];
        let content = Content { tables, counter: counter(&mut handle.database).unwrap() };
        if content == *before {
            return assert!(handle.committed, "the host has counted");
        }
        assert_eq!(content.counter, before.counter + 1);
        let version = handle.database.version().unwrap();
        assert!(self.heads.iter().all(|head| *head != version), "{version} is new");
        assert_eq!(self.stores[0].branch_by_id(self.branches[handle.branch]).unwrap().head, version);
        (handle.base, handle.committed, self.heads[handle.branch]) = (version, true, version);
        self.contents.insert((handle.branch, version), content);
        self.commits += 1;
    }

    /// SQLite puts the old pages back.
    fn roll_back(&mut self, n: usize) {
        let handle = &mut self.handles[n];
        if handle.written.take().is_none() {
            return;
        }
        handle.joined = false;
        let base = &self.contents[&(handle.branch, handle.base)];
        for (table, rows) in base.tables.iter().enumerate() {
            write_table(&mut handle.database, table, rows).unwrap();
        }
        handle.database.write(&first_page(base.counter), 0).unwrap();
        if !handle.committed && self.world.below(4) == 0 {
            // A page that is not in use may keep anything.
            handle.database.write(&[7; common::PAGE], 5 * common::PAGE as u64).unwrap();
        }
        handle.database.commit(None).unwrap();
    }

    fn stop_writing(&mut self, n: usize) {
        let handle = &mut self.handles[n];
        handle.database.stop_writing();
        if handle.level >= Level::Reserved {
            self.writers[handle.branch] = None;
            (handle.level, handle.written, handle.committed, handle.joined) = (Level::Shared, None, false, false);
        }
    }

    fn unlock(&mut self, n: usize) {
        self.stop_writing(n);
        let handle = &mut self.handles[n];
        handle.database.unlock();
        handle.level = Level::Unlocked;
    }

    /// A connection sees what it has to see.
    fn check(&mut self, n: usize) {
        let handle = &mut self.handles[n];
        assert_eq!(handle.database.level(), handle.level);
        let version = if handle.level == Level::Unlocked { self.heads[handle.branch] } else { handle.base };
        let content = &self.contents[&(handle.branch, version)];
        let tables = match &handle.written {
            Some(tables) if !handle.joined => tables,
            _ => &content.tables,
        };
        for (n, rows) in tables.iter().enumerate() {
            assert_eq!(read_table(&mut handle.database, n).unwrap(), *rows, "t{n} at {version}");
        }
        assert_eq!(handle.database.version().unwrap(), version);
    }

    /// The log has every version, and the rows that each has changed.
    fn check_log(&self) {
        for (n, branch) in self.branches.iter().enumerate() {
            let mut before = Tables::default();
            for entry in self.stores[1].entries(*branch, Version(0)).unwrap().map(Result::unwrap) {
                if entry.kind != EntryKind::Transaction {
                    continue;
                }
                let tables = tables_of(&self.stores[1].snapshot(*branch, entry.version).unwrap());
                assert_eq!(tables, self.contents[&(n, entry.version)].tables, "version {}", entry.version);
                assert!(!entry.derived && entry.unreadable.is_empty(), "version {}", entry.version);
                assert_eq!(changes_of(&entry.changeset), difference(&before, &tables), "version {}", entry.version);
                before = tables;
            }
            assert_eq!(before, self.contents[&(n, self.heads[n])].tables);
        }
    }
}

fn case(seed: u64) -> u64 {
    let world = World::new(seed);
    let sync_fails = [0, 0, 20_000][world.below(3) as usize];
    let commits = Mutex::new(0);
    let (inner, counted) = (&world, &commits);
    let mut model = None;
    // The disk doesn't fail before there is a store.
    let set_up = Box::new(|_: usize| model = Some(Model::new(inner)));
    world.run(Chances::default(), vec![set_up]);
    let run = Box::new(move |_: usize| {
        let mut model = model.expect("set up");
        (0..400).for_each(|_| model.step());
        (0..model.handles.len()).for_each(|n| model.unlock(n));
        model.check_log();
        *counted.lock().unwrap() = model.commits;
    });
    world.run(Chances { sync_fails, ..Chances::default() }, vec![run]);
    commits.into_inner().unwrap()
}

#[test]
fn connections_do_what_the_model_says() {
    let made = each_seed("model", 300, case);
    let commits: u64 = made.iter().sum();
    println!("model: {commits} commits");
    assert!(commits > made.len() as u64, "connections that commit");
}
