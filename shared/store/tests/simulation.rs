//! Several writers on a machine in memory that goes wrong by a seed: processes are killed at any call, the machine stops,
//! fsyncs fail, writes are lost or come in another order, the clock jumps.
//!
//! `MANIAC_SEED` sets the first case, `MANIAC_CASES` how many there are. A failure prints its seed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use maniac_base::{BranchId, PageNo, PageSource, Version};
use maniac_disk::sim::{Chances, Sim, World, each_seed};
use maniac_store::{
    Commit, Durability, EntryKind, Limits, LogError, OpenOptions, Payload, Retention, Store, StoreError, Transaction,
};

const PATH: &str = "/s.maniac";
const PAGES: u64 = 6;

/// What a writer was told of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: it was killed first.
    Nothing,
    /// It has this version.
    Committed(Version, Durability),
    Failed(String),
}

/// What an observer from outside knows.
#[derive(Default)]
struct Ledger {
    /// By the number that each transaction fills its pages with.
    transactions: HashMap<u64, (BranchId, Vec<PageNo>, Told)>,
    last: u64,
}

impl Ledger {
    fn begin(&mut self, branch: BranchId, pages: &[PageNo]) -> u64 {
        self.last += 1;
        self.transactions.insert(self.last, (branch, pages.to_vec(), Told::Nothing));
        self.last
    }

    fn tell(&mut self, id: u64, told: Told) {
        self.transactions.get_mut(&id).expect("it has begun").2 = told;
    }
}

fn open(world: &Arc<World>, process: usize) -> Result<Arc<Store>, StoreError> {
    // So that some of the log can go.
    let limits = Limits { segment: 2_000, ..Limits::default() };
    Store::open_on(Sim::process(world, process), Path::new(PATH), OpenOptions { create: true, limits })
}

fn image(id: u64) -> [u8; 512] {
    let mut page = [0; 512];
    page[..8].copy_from_slice(&id.to_le_bytes());
    // Now and then a page changes all over, so that it is stored as a whole.
    if id.is_multiple_of(3) {
        page[8..].fill(id as u8);
    }
    page
}

/// A process that commits some transactions, and ends when the store refuses one for good.
fn write(world: &Arc<World>, process: usize, ledger: &Mutex<Ledger>) -> Result<(), StoreError> {
    let store = open(world, process)?;
    let mut seen = Version(0);
    for _ in 0..4 + world.below(8) {
        let branches = store.branches()?;
        if branches.len() < 3 && world.below(6) == 0 {
            let name = format!("b{}", world.below(1000));
            match store.branch_create(&name, "main", None) {
                Err(StoreError::BranchExists { .. }) | Ok(_) => (),
                Err(error) => return Err(error),
            }
            continue;
        }
        if world.below(20) == 0 {
            // Few versions, so that much goes.
            match store.retain(Retention::Versions(world.below(8))) {
                Ok(()) | Err(StoreError::Log(LogError::Io { .. } | LogError::Lost { .. })) => (),
                Err(error) => return Err(error),
            }
            continue;
        }
        if world.below(5) == 0 {
            match store.checkpoint() {
                Ok(_) | Err(StoreError::Log(LogError::Io { .. } | LogError::Lost { .. })) => (),
                Err(error) => return Err(error),
            }
            continue;
        }
        let branch = branches[world.below(branches.len() as u64) as usize].id;
        let mut lock = store.write_lock(branch)?;
        while !lock.try_acquire()? {
            lock.turn().wait(Duration::from_secs(10), &|| false);
        }
        store.publish_left_over(branch)?;
        let base = store.snapshot_to_write(branch)?;
        assert!(base.version() >= Version(0));
        let mut pages: Vec<PageNo> = (0..1 + world.below(3)).map(|_| PageNo(1 + world.below(PAGES) as u32)).collect();
        pages.sort_unstable();
        pages.dedup();
        let id = ledger.lock().unwrap().begin(branch, &pages);
        let durability = if world.below(4) == 0 { Durability::Off } else { Durability::Full };
        let outcome = (|| {
            let mut transaction = Transaction::new(base);
            for page in &pages {
                transaction.write(*page, &image(id))?;
            }
            let changed = transaction.changed()?;
            let payload = Payload { changeset: id.to_le_bytes().to_vec(), ..Payload::default() };
            let commit = Commit { transaction: &transaction, lock: &lock, changed: &changed, payload: &payload };
            store.commit(&[commit], durability, &mut |_, _| ())
        })();
        lock.release();
        match outcome {
            Ok(versions) => ledger.lock().unwrap().tell(id, Told::Committed(versions[0], durability)),
            Err(error) => {
                ledger.lock().unwrap().tell(id, Told::Failed(error.to_string()));
                // The disk has failed; the next one tries again.
                if !matches!(error, StoreError::Log(LogError::Io { .. } | LogError::Lost { .. })) {
                    return Err(error);
                }
            }
        }
        let head = store.refresh()?;
        assert!(head >= seen, "the head went back from {seen} to {head}");
        seen = head;
    }
    Ok(())
}

/// Compares the store with the ledger, and forgets of the ledger what may have been lost.
fn check(world: &Arc<World>, ledger: &mut Ledger, stopped: bool) {
    let store = open(world, 0).unwrap();
    // What a killed process has written counts.
    for branch in store.branches().unwrap() {
        store.publish_left_over(branch.id).unwrap();
    }
    let mut found: HashMap<u64, Version> = HashMap::new();
    // What is in front of that nobody was to keep.
    let mut oldest = Version(0);
    for branch in store.branches().unwrap() {
        let mut shown: HashMap<PageNo, u64> = HashMap::new();
        let entries = |after| store.entries(branch.id, after).unwrap().collect::<Result<Vec<_>, StoreError>>();
        let entries = match entries(Version(0)) {
            Err(StoreError::Forgotten { oldest: first, .. }) => {
                oldest = first;
                entries(oldest).unwrap()
            }
            entries => entries.unwrap(),
        };
        let head = store.snapshot(branch.id, store.head()).unwrap();
        for page in (1..=head.page_count()).map(PageNo) {
            let bytes = head.page(page).unwrap();
            let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let is_right = id == 0 && bytes.iter().all(|byte| *byte == 0)
                || bytes[..] == image(id) && ledger.transactions[&id].1.contains(&page);
            assert!(is_right, "page {page} of the head of {}", branch.name);
        }
        for entry in entries {
            if entry.kind != EntryKind::Transaction {
                continue;
            }
            let id = u64::from_le_bytes(entry.changeset[..].try_into().unwrap());
            let (of, pages, _) = &ledger.transactions[&id];
            assert_eq!((*of, pages), (entry.branch, &entry.pages), "version {}", entry.version);
            shown.extend(pages.iter().map(|page| (*page, id)));
            found.insert(id, entry.version);
            let snapshot = store.snapshot(branch.id, entry.version).unwrap();
            assert_eq!(snapshot.version(), entry.version);
            for (page, id) in &shown {
                assert!(snapshot.page(*page).unwrap()[..] == image(*id), "page {page} of version {}", entry.version);
            }
        }
    }
    for (id, (branch, _, told)) in &ledger.transactions {
        match told {
            Told::Committed(_, durability) if stopped && *durability != Durability::Full => (),
            Told::Committed(version, _) if *version <= oldest => (),
            Told::Committed(version, _) => {
                assert_eq!(found.get(id), Some(version), "transaction {id} on branch {branch} is gone");
            }
            // The disk has failed to take it, and may have it all the same: that it is gone was not on disk yet.
            Told::Failed(_) if stopped => (),
            Told::Failed(reason) => {
                assert_eq!(found.get(id), None, "transaction {id} on branch {branch} is there: {reason}");
            }
            Told::Nothing => (),
        }
    }
    // Whatever is there has been seen, and after a stop it is on disk.
    for (id, (_, _, told)) in &mut ledger.transactions {
        *told = match (found.get(id), &told) {
            (None, Told::Committed(version, durability)) if *version <= oldest => {
                Told::Committed(*version, *durability)
            }
            // It may be gone because it is old.
            (None, Told::Nothing) if oldest > Version(0) => Told::Nothing,
            (None, _) => Told::Failed("it was not there before".into()),
            (Some(version), Told::Committed(_, Durability::Full)) => Told::Committed(*version, Durability::Full),
            (Some(version), _) if stopped => Told::Committed(*version, Durability::Full),
            (Some(version), _) => Told::Committed(*version, Durability::Off),
        };
    }
}

fn case(seed: u64) -> u64 {
    let world = World::new(seed);
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
                if let Err(error) = write(world, n, shared) {
                    let by_disk = matches!(error, StoreError::Log(LogError::Io { .. } | LogError::Lost { .. }));
                    assert!(by_disk, "{error}");
                }
            }) as Box<dyn FnOnce(usize) + Send>
        });
        let ended = world.run(chances, writers.collect());
        ledger = shared.into_inner().unwrap();
        check(&world, &mut ledger, ended.stopped);
    }
    world.calls()
}

#[test]
fn what_was_acknowledged_is_there() {
    let calls: u64 = each_seed("simulation", 300, case).iter().sum();
    println!("simulation: {calls} calls of the machine");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=20 {
        assert_eq!(case(seed), case(seed), "seed {seed}");
    }
}
