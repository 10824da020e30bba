//! Whose turn it is, and what goes wrong.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::Files;

/// How likely things are, of a million calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chances {
    /// The process that calls is killed.
    pub kill: u64,
    /// The whole machine stops.
    pub stop: u64,
    /// An fsync fails; of a million of these.
    pub sync_fails: u64,
    /// The clock jumps by up to an hour, in either direction.
    pub clock_jumps: u64,
}

/// How processes came to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which of them were killed.
    pub killed: Vec<bool>,
    /// The machine has stopped.
    pub stopped: bool,
}

/// What a killed process unwinds with.
struct Kill;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn happens(&mut self, in_a_million: u64) -> bool {
        self.below(1_000_000) < in_a_million
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Runs,
    /// Until a moment, or until it is woken at a word.
    Sleeps {
        until: u64,
        word: Option<usize>,
    },
    Over,
}

/// Who holds which byte of which file; by handle.
#[derive(Default)]
pub(super) struct LockTable(HashMap<(u64, u64), (bool, Vec<u64>)>);

impl LockTable {
    pub fn take(&mut self, byte: (u64, u64), handle: u64) -> bool {
        let (alone, holders) = self.0.entry(byte).or_default();
        let free = holders.iter().all(|holder| *holder == handle);
        if free {
            (*alone, *holders) = (true, vec![handle]);
        }
        free
    }

    pub fn share(&mut self, byte: (u64, u64), handle: u64) {
        let (alone, holders) = self.0.entry(byte).or_default();
        if !*alone || holders.is_empty() {
            *alone = false;
            holders.retain(|holder| *holder != handle);
            holders.push(handle);
        }
    }

    pub fn is_held(&self, byte: (u64, u64), handle: u64) -> bool {
        self.0.get(&byte).is_some_and(|(_, holders)| holders.iter().any(|holder| *holder != handle))
    }

    /// One byte of a handle, or all.
    pub fn release(&mut self, handle: u64, byte: Option<u64>) {
        for ((_, at), (_, holders)) in &mut self.0 {
            if byte.is_none_or(|byte| byte == *at) {
                holders.retain(|holder| *holder != handle);
            }
        }
    }
}

pub(super) struct State {
    pub random: Random,
    pub files: Files,
    pub locks: LockTable,
    /// Nanoseconds of the monotonic clock.
    pub now: u64,
    pub boots: u64,
    /// What is to be added to it for the clock's time.
    offset_ms: i64,
    handles: u64,
    processes: Vec<Process>,
    /// Processes that have been killed, and have to notice.
    killed: Vec<bool>,
    stopped: bool,
    running: usize,
    chances: Chances,
    calls: u64,
}

impl State {
    pub fn new_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    pub fn clock_ms(&self) -> i64 {
        1_700_000_000_000 + (self.now / 1_000_000) as i64 + self.offset_ms
    }

    pub fn fails_to_sync(&mut self) -> bool {
        let chance = self.chances.sync_fails;
        self.random.happens(chance)
    }

    /// Gives the turn to somebody who can run, and lets time pass until there is one.
    fn choose(&mut self) {
        loop {
            let now = self.now;
            for process in &mut self.processes {
                if matches!(process, Process::Sleeps { until, .. } if *until <= now) {
                    *process = Process::Runs;
                }
            }
            let able: Vec<usize> = (0..self.processes.len()).filter(|n| self.processes[*n] == Process::Runs).collect();
            if !able.is_empty() {
                self.running = able[self.random.below(able.len() as u64) as usize];
                return;
            }
            let until =
                |process: &Process| if let Process::Sleeps { until, .. } = process { Some(*until) } else { None };
            match self.processes.iter().filter_map(until).min() {
                Some(next) => self.now = self.now.max(next),
                // All are over.
                None => return,
            }
        }
    }
}

/// The machine.
pub struct World {
    state: Mutex<State>,
    turn: Condvar,
}

impl World {
    pub fn new(seed: u64) -> Arc<World> {
        let state = State {
            random: Random(seed),
            files: Files::default(),
            locks: LockTable::default(),
            now: 1_000_000_000,
            boots: 1,
            offset_ms: 0,
            handles: 0,
            processes: Vec::new(),
            killed: Vec::new(),
            stopped: false,
            running: 0,
            chances: Chances::default(),
            calls: 0,
        };
        Arc::new(World { state: Mutex::new(state), turn: Condvar::new() })
    }

    /// Runs processes until all have ended, and says how. If the machine stops, all are killed, and what was not on disk may
    /// be gone, or not.
    ///
    /// Each process is given its number, for `Sim::new`. One that panics takes the test with it.
    pub fn run<'a>(&self, chances: Chances, processes: Vec<Box<dyn FnOnce(usize) + Send + 'a>>) -> Ended {
        {
            let mut state = self.state();
            state.chances = chances;
            state.processes = vec![Process::Runs; processes.len()];
            state.killed = vec![false; processes.len()];
            state.stopped = false;
            state.choose();
        }
        let killed = std::thread::scope(|scope| {
            let threads: Vec<_> = processes
                .into_iter()
                .enumerate()
                .map(|(n, process)| {
                    scope.spawn(move || {
                        drop(self.until_turn(n));
                        let outcome = catch_unwind(AssertUnwindSafe(|| process(n)));
                        let mut state = self.state();
                        state.processes[n] = Process::Over;
                        state.choose();
                        self.turn.notify_all();
                        drop(state);
                        match outcome {
                            Ok(()) => false,
                            Err(panic) if panic.is::<Kill>() => true,
                            Err(panic) => resume_unwind(panic),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let mut state = self.state();
        state.chances = Chances::default();
        let stopped = state.stopped;
        if stopped {
            let State { files, random, locks, boots, .. } = &mut *state;
            files.stop(random);
            *locks = LockTable::default();
            *boots += 1;
        }
        Ended { killed, stopped }
    }

    /// A number below `bound`, by the seed.
    pub fn below(&self, bound: u64) -> u64 {
        self.state().random.below(bound)
    }

    /// Calls that processes made so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until_turn(&self, process: usize) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while state.running != process {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// A call of the disk: something may go wrong, others may come first.
    pub(super) fn step(&self, process: usize) -> io::Result<()> {
        let mut state = self.state();
        if process >= state.processes.len() || state.processes[process] == Process::Over {
            // Outside of `run`.
            return Ok(());
        }
        state.calls += 1;
        state.now += 200 + state.random.below(5_000);
        let Chances { kill, stop, clock_jumps, .. } = state.chances;
        if state.random.happens(clock_jumps) {
            state.offset_ms += state.random.below(7_200_000) as i64 - 3_600_000;
        }
        if state.random.happens(20_000) {
            // The system writes back as it likes.
            let State { files, random, .. } = &mut *state;
            files.write_back(random);
        }
        if !state.killed[process] && state.random.happens(kill) {
            state.killed[process] = true;
        }
        if state.random.happens(stop) {
            state.killed.fill(true);
            state.stopped = true;
            // Nobody is asleep any more.
            state.processes.iter_mut().filter(|process| **process != Process::Over).for_each(|it| *it = Process::Runs);
        }
        self.hand_over(state, process)
    }

    /// Lets somebody else run, and comes back when it is this one's turn again.
    fn hand_over(&self, mut state: MutexGuard<'_, State>, process: usize) -> io::Result<()> {
        if !std::thread::panicking() {
            state.choose();
            if state.running != process {
                self.turn.notify_all();
                while state.running != process {
                    state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        if state.killed[process] {
            drop(state);
            if std::thread::panicking() {
                // What is dropped on the way out does nothing any more.
                return Err(io::Error::other("the process has been killed"));
            }
            resume_unwind(Box::new(Kill));
        }
        Ok(())
    }

    pub(super) fn sleep(&self, process: usize, duration: Duration) {
        let mut state = self.state();
        if process < state.processes.len() && !std::thread::panicking() {
            let until = state.now.saturating_add(duration.as_nanos() as u64);
            state.processes[process] = Process::Sleeps { until, word: None };
            let _ = self.hand_over(state, process);
        }
    }

    pub(super) fn wait(&self, process: usize, word: &AtomicU32, value: u32, timeout: Duration) {
        let mut state = self.state();
        if process < state.processes.len() && !std::thread::panicking() && word.load(SeqCst) == value {
            let until = state.now.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX / 2));
            state.processes[process] = Process::Sleeps { until, word: Some(std::ptr::from_ref(word).addr()) };
            let _ = self.hand_over(state, process);
        }
    }

    pub(super) fn wake(&self, process: usize, word: &AtomicU32, count: u32) {
        {
            let mut state = self.state();
            let address = Some(std::ptr::from_ref(word).addr());
            let waits = |it: &&mut Process| matches!(it, Process::Sleeps { word, .. } if *word == address);
            state.processes.iter_mut().filter(waits).take(count as usize).for_each(|it| *it = Process::Runs);
        }
        let _ = self.step(process);
    }
}
