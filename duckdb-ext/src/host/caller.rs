//! Sees to it that DuckDB runs a call on the thread of its caller.
//!
//! DuckDB puts a query's tasks into a queue, from which its workers take them as well as the thread that asked for the
//! query. When a worker takes the one task of a table function, the caller has nothing left but to look for tasks of its
//! own query, without a pause, until the call is over: it burns a core, and what the function asks of DuckDB has one thread
//! less. With two threads it has the worker alone. So the workers are given something to wait for from the call's bind,
//! which is always on the caller's thread, to its start.
//!
//! ```text
//!   caller   bind: hold ──────────────── start: let go ── the call, its queries shared with the workers
//!   workers        _maniac_hold: wait ────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::session::Pending;
use super::{Args, Columns, Producer, Scan, ScanFunction, ScanPlan};
use crate::error::{Error, Result};
use crate::instance::{Instance, Lease};
use crate::schema::ColumnType;

/// How long a bind waits for the workers: they may have other work.
const ARRIVAL: Duration = Duration::from_millis(5);
/// How long workers are held: what is bound may never start.
const LIMIT: Duration = Duration::from_millis(50);

const QUERY: &str = "SELECT count(*) FROM _maniac_hold()";

pub static HOLD: ScanFunction = ScanFunction { name: "_maniac_hold", parameters: &[], bind };

/// Where workers wait.
pub struct Barrier {
    until: Instant,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    arrived: usize,
    released: bool,
}

impl Barrier {
    fn new(until: Instant) -> Barrier {
        Barrier { until, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits for so many workers, for a moment.
    fn await_arrivals(&self, workers: usize) {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while_for(&mut waiting, |waiting| waiting.arrived < workers, ARRIVAL);
    }

    fn wait(&self) {
        let mut waiting = self.waiting.lock();
        waiting.arrived += 1;
        self.changed.notify_all();
        while !waiting.released && !self.changed.wait_until(&mut waiting, self.until).timed_out() {}
    }

    fn release(&self) {
        self.waiting.lock().released = true;
        self.changed.notify_all();
    }
}

/// Workers that wait; they are let go when it is dropped.
pub struct Hold {
    barrier: Arc<Barrier>,
    pending: Option<Pending>,
    _session: Lease,
}

impl Hold {
    /// Whether the workers wait no more.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.barrier.until
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.barrier.release();
        // The query ends before its session goes back; what it says is of no use.
        drop(self.pending.take().map(|pending| pending.finish(QUERY)));
    }
}

/// Has DuckDB's workers wait until the hold is dropped, or for a moment at most.
pub(super) fn hold_workers(instance: &Arc<Instance>) -> Result<Hold> {
    let session = instance.lease()?;
    let threads = session.value("SELECT current_setting('threads')::VARCHAR")?;
    let workers = threads.and_then(|threads| threads.parse::<usize>().ok()).unwrap_or(1).saturating_sub(1);
    let barrier = Arc::new(Barrier::new(Instant::now() + LIMIT));
    let pending = instance.with_barrier(&barrier, || session.start(QUERY))?;
    barrier.await_arrivals(workers);
    Ok(Hold { barrier, pending: Some(pending), _session: session })
}

fn bind(instance: &Arc<Instance>, _: &Args) -> Result<ScanPlan> {
    let barrier = instance.barrier().ok_or_else(|| Error::input("_maniac_hold is the extension's own"))?;
    let start = move |_: &[usize]| -> Result<Box<dyn Scan>> { Ok(Box::new(Holding(barrier.clone()))) };
    Ok(ScanPlan { columns: vec![("nothing".to_string(), ColumnType::Boolean)], start: Box::new(start) })
}

struct Holding(Arc<Barrier>);

impl Scan for Holding {
    fn threads(&self) -> usize {
        // As many as DuckDB has.
        i32::MAX as usize
    }

    fn producer(&self) -> Box<dyn Producer> {
        Box::new(Holder(self.0.clone()))
    }
}

struct Holder(Arc<Barrier>);

impl Producer for Holder {
    fn fill(&mut self, _: usize, _: &mut Columns) -> Result<usize> {
        self.0.wait();
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn workers_wait_until_they_are_released() {
        let barrier = Barrier::new(Instant::now() + Duration::from_secs(3600));
        thread::scope(|scope| {
            let workers = [0, 1].map(|_| scope.spawn(|| barrier.wait()));
            while barrier.waiting.lock().arrived < 2 {
                thread::yield_now();
            }
            assert!(workers.iter().all(|worker| !worker.is_finished()));
            barrier.release();
        });
        // Whoever comes later does not wait.
        barrier.wait();
    }

    #[test]
    fn nobody_waits_for_a_call_that_does_not_come() {
        let barrier = Barrier::new(Instant::now());
        barrier.wait();
        barrier.await_arrivals(2);
        assert!(!barrier.waiting.lock().released);
    }
}
