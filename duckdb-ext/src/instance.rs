//! What the extension keeps for one database instance: connections, mirrors, and the thread that lets go of them.
//!
//! A process may have several instances at once, so that nothing of this is in a static: functions reach their instance
//! through what was registered with them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};

use crate::error::{Error, Result};
use crate::host::{Barrier, Busy, Hold, Loans, Prepared, Session, busy};
use crate::mirror::Mirror;
use crate::source::Source;

/// Mirrors that one instance can have: connections cannot be opened later (see `host::entry`), so they are opened ahead.
pub const MIRROR_LIMIT: usize = 32;
/// Connections besides those of mirrors: for calls that read or write for a moment, for changes of a lake's tables, and for the
/// reaper.
pub const OWN_SESSIONS: usize = 6;

/// How often the reaper looks whether the user's connections are gone. A look costs 0.4 ms of processor time.
const REAPER_PERIOD: Duration = Duration::from_millis(40);
const CONNECTION_COUNT: &str = "SELECT count::VARCHAR FROM duckdb_connection_count()";
/// Looks in a row that must agree, so that a host which closes one connection to open the next is not cut off.
const REAPER_LOOKS: u32 = 2;
/// Every so many looks, one is made while no mirror has a transaction open: DuckLake's transactions hold connections
/// of their own, which would pass for the user's.
const REAPER_QUIET_EVERY: u32 = 12;

/// How long a look waits for that moment.
const REAPER_PATIENCE: Duration = Duration::from_millis(20);

/// How long a store that a query has read stays open for the next one.
const KEEP_OPEN: Duration = Duration::from_secs(5);

pub struct Instance {
    idle: Mutex<Idle>,
    settled: Condvar,
    mirrors: Mutex<BTreeMap<String, Arc<Mirror>>>,
    /// By the lower-case names of the lakes that have had a mirror; see `lake`.
    lakes: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    /// Held for reading by each transaction of a mirror.
    quiet: RwLock<()>,
    /// Transactions of mirrors that are open now.
    open: AtomicU32,
    /// The store that a query has read last, and when.
    last_read: Mutex<Option<(Instant, Arc<dyn Source>)>>,
    /// Where workers of DuckDB are about to wait, and those that do.
    barrier: Mutex<Option<Arc<Barrier>>>,
    hold: Mutex<Option<Hold>>,
    /// What the statements of its sessions name by number.
    pub loans: Arc<Loans>,
}

/// Idle connections.
enum Idle {
    Open(Vec<Session>),
    /// The instance is being let go, if nobody comes back meanwhile: who wants a connection waits.
    Leaving(Vec<Session>),
    Gone,
}

/// A connection on loan; it goes back when dropped.
pub struct Lease {
    session: Option<Session>,
    instance: Weak<Instance>,
}

/// Proof that a mirror's transaction is announced to the reaper and to the process's exit.
pub struct Work<'a> {
    _busy: Busy,
    _quiet: RwLockReadGuard<'a, ()>,
    open: &'a AtomicU32,
}

impl Instance {
    /// Starts with the connections that the extension has in the instance, and starts the reaper.
    pub fn start(mut sessions: Vec<Session>, loans: Arc<Loans>) -> Result<Arc<Instance>> {
        let own = sessions.len() + 1;
        let reaper = sessions.pop().ok_or_else(|| Error::input("no connection is left for the reaper"))?;
        let instance = Arc::new(Instance {
            idle: Mutex::new(Idle::Open(sessions)),
            settled: Condvar::new(),
            mirrors: Mutex::default(),
            lakes: Mutex::default(),
            quiet: RwLock::new(()),
            open: AtomicU32::new(0),
            last_read: Mutex::default(),
            barrier: Mutex::default(),
            hold: Mutex::default(),
            loans,
        });
        let weak = Arc::downgrade(&instance);
        thread::Builder::new()
            .name("maniac-reaper".to_string())
            .spawn(move || reap(reaper, &weak, own))
            .map_err(|error| Error::input(format!("cannot start a thread: {error}")))?;
        Ok(instance)
    }

    /// Adds a connection to the idle ones.
    pub fn keep(&self, session: Session) {
        if let Idle::Open(idle) | Idle::Leaving(idle) = &mut *self.idle.lock() {
            idle.push(session);
        }
    }

    /// Borrows a connection.
    pub fn lease(self: &Arc<Self>) -> Result<Lease> {
        let mut idle = self.idle.lock();
        self.settled.wait_while(&mut idle, |idle| matches!(idle, Idle::Leaving(_)));
        let Idle::Open(sessions) = &mut *idle else {
            return Err(Error::input(
                "maniac has let go of this database, because it had no open connection for a while: close it and open it again",
            ));
        };
        match sessions.pop() {
            Some(session) => Ok(Lease { session: Some(session), instance: Arc::downgrade(self) }),
            None => Err(Error::input(format!(
                "all of maniac's connections are in use (there can be {MIRROR_LIMIT} mirrors in one DuckDB): detach a \
                 mirror with maniac_detach first"
            ))),
        }
    }

    /// Held by the one mirror that is at work in the lake of that name: mirrors take turns in it, since a compaction fails when
    /// others commit meanwhile (design note 034). To be locked before anything else that is waited for.
    pub fn lake(&self, name: &str) -> Arc<Mutex<()>> {
        self.lakes.lock().entry(name.to_lowercase()).or_default().clone()
    }

    /// To be held around a mirror's transaction; `None` when the process is ending.
    pub fn work(&self) -> Option<Work<'_>> {
        let work = Work { _busy: busy()?, _quiet: self.quiet.read(), open: &self.open };
        self.open.fetch_add(1, Ordering::AcqRel);
        Some(work)
    }

    /// The mirror of that name.
    pub fn mirror(&self, name: &str) -> Result<Arc<Mirror>> {
        let mirrors = self.mirrors.lock();
        if let Some(mirror) = mirrors.get(&name.to_lowercase()) {
            return Ok(mirror.clone());
        }
        let known: Vec<&str> = mirrors.values().map(|mirror| mirror.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
        Err(Error::input(format!("no mirror named {name} is attached (attached: {known}): CALL maniac_attach first")))
    }

    pub fn mirrors(&self) -> Vec<Arc<Mirror>> {
        self.mirrors.lock().values().cloned().collect()
    }

    /// Takes the mirror's name.
    pub fn add(&self, mirror: &Arc<Mirror>) -> Result<()> {
        let mut mirrors = self.mirrors.lock();
        if let Some(other) = mirrors.get(&mirror.name.to_lowercase()) {
            return Err(Error::input(format!(
                "a mirror named {} is attached already (of {}): detach it with CALL maniac_detach('{}'), or choose \
                 another name with schema := '...'",
                other.name, other.location, other.name
            )));
        }
        mirrors.insert(mirror.name.to_lowercase(), mirror.clone());
        Ok(())
    }

    pub fn remove(&self, mirror: &Arc<Mirror>) {
        let mut mirrors = self.mirrors.lock();
        let key = mirror.name.to_lowercase();
        if mirrors.get(&key).is_some_and(|known| Arc::ptr_eq(known, mirror)) {
            mirrors.remove(&key);
        }
    }

    /// Keeps the store of a query open for some seconds: opening it again would read all that its log tells of pages.
    pub fn keep_open(&self, source: &Arc<dyn Source>) {
        *self.last_read.lock() = Some((Instant::now(), source.clone()));
    }

    /// Lets go of the store that was kept open, if nobody has read it for so long.
    pub fn close_idle(&self, for_so_long: Duration) {
        let idle = self.last_read.lock().take_if(|(last, _)| last.elapsed() >= for_so_long);
        // Files are closed after the lock is free.
        drop(idle);
    }

    /// Makes the barrier known to what runs in between.
    pub fn with_barrier<T>(&self, barrier: &Arc<Barrier>, run: impl FnOnce() -> T) -> T {
        *self.barrier.lock() = Some(barrier.clone());
        let done = run();
        *self.barrier.lock() = None;
        done
    }

    pub fn barrier(&self) -> Option<Arc<Barrier>> {
        self.barrier.lock().clone()
    }

    /// Keeps workers waiting, or lets them go. Those of another call are let go too, which costs it some speed at worst.
    pub fn set_hold(&self, hold: Option<Hold>) {
        let before = std::mem::replace(&mut *self.hold.lock(), hold);
        // Its query ends after the lock is free.
        drop(before);
    }

    /// Ends the query of workers that have waited for too long: their call was bound and not started.
    fn end_hold(&self) {
        let over = self.hold.lock().take_if(|hold| hold.is_over());
        drop(over);
    }

    /// Ends all mirrors, and closes all connections but the caller's, unless there are others than the extension's by
    /// then: since DuckDB 2.0, who opens a database that is open gets the same instance, in which the extension is not
    /// loaded again. Returns whether it has.
    fn let_go(&self, is_alone: impl FnOnce() -> bool) -> bool {
        self.close_idle(Duration::ZERO);
        // Nothing new starts.
        self.exchange(|idle| match idle {
            Idle::Open(sessions) => Idle::Leaving(sessions),
            other => other,
        });
        let hold = self.hold.lock().take();
        match busy() {
            Some(_busy) => drop(hold),
            None => std::mem::forget(hold),
        }
        for mirror in self.mirrors() {
            mirror.stop();
            self.remove(&mirror);
        }
        if !is_alone() {
            self.exchange(|idle| match idle {
                Idle::Leaving(sessions) => Idle::Open(sessions),
                other => other,
            });
            return false;
        }
        let mut gone = Idle::Gone;
        self.exchange(|idle| {
            gone = idle;
            Idle::Gone
        });
        match busy() {
            Some(_busy) => drop(gone),
            None => std::mem::forget(gone),
        }
        true
    }

    fn exchange(&self, exchange: impl FnOnce(Idle) -> Idle) {
        let mut idle = self.idle.lock();
        *idle = exchange(std::mem::replace(&mut *idle, Idle::Gone));
        self.settled.notify_all();
    }
}

impl Lease {
    /// Looks into all databases, as DuckDB's lists of tables and schemas do, while no mirror of the instance has a
    /// transaction open: another connection's look at a lake whose schema is being changed has crashed DuckLake 1.5.5, and
    /// put a new table into no schema. Not to be called with `Instance::work` held.
    pub fn look_around<T>(&self, look: impl FnOnce(&Session) -> T) -> T {
        let instance = self.instance.upgrade();
        let _quiet = instance.as_ref().map(|instance| instance.quiet.write());
        look(self)
    }

    /// Another connection of the instance, if one is left.
    pub fn another(&self) -> Option<Lease> {
        self.instance.upgrade()?.lease().ok()
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        match &self.session {
            Some(session) => session,
            None => unreachable!("a lease has its session until it is dropped"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (Some(session), Some(instance)) = (self.session.take(), self.instance.upgrade()) {
            instance.keep(session);
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a look has found no connections but the extension's.
fn is_alone(look: &Result<Option<String>>, own: usize) -> bool {
    match look {
        Ok(Some(count)) => count.parse().is_ok_and(|count: usize| count <= own),
        Ok(None) => false,
        // A database that was shut down answers nothing any more.
        Err(_) => true,
    }
}

/// Waits until the extension's connections are the only ones, and lets go of them. A held connection keeps the database
/// open: its file would stay locked after the user has closed it, and opening it again in this process would hang.
fn reap(session: Session, instance: &Weak<Instance>, own: usize) {
    let mut alone = 0;
    let mut looks = 0u32;
    let mut count: Option<Prepared<'_>> = None;
    loop {
        thread::sleep(REAPER_PERIOD);
        let Some(instance) = instance.upgrade() else { return };
        looks = looks.wrapping_add(1);
        instance.close_idle(KEEP_OPEN);
        let quiet = match instance.open.load(Ordering::Acquire) > 0 && looks.is_multiple_of(REAPER_QUIET_EVERY) {
            // While this waits, no mirror begins a transaction, and one that is open may last.
            true => instance.quiet.try_write_for(REAPER_PATIENCE),
            false => None,
        };
        let Some(working) = busy() else {
            std::mem::forget(count);
            std::mem::forget(session);
            return;
        };
        let connections = match &count {
            Some(count) => count.value(),
            None => session.prepared(CONNECTION_COUNT).and_then(|prepared| count.insert(prepared).value()),
        };
        drop(quiet);
        instance.end_hold();
        drop(working);
        if !is_alone(&connections, own) {
            alone = 0;
            continue;
        }
        alone += 1;
        if alone >= REAPER_LOOKS {
            // The mirrors' last transactions are over then, so that no connection of DuckLake's is left.
            let look = || match (busy(), &count) {
                (Some(_busy), Some(count)) => is_alone(&count.value(), own),
                _ => true,
            };
            if instance.let_go(look) {
                break;
            }
            alone = 0;
        }
    }
    // The last connection ends the database instance, on this thread.
    match busy() {
        Some(_busy) => {
            drop(count);
            drop(session);
        }
        None => {
            std::mem::forget(count);
            std::mem::forget(session);
        }
    }
}
