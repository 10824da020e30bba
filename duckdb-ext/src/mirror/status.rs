//! What SQL sees and asks of a mirror: shared between its thread and the functions.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use maniac_base::Version;
use parking_lot::{Condvar, Mutex};

use super::report::{Report, State};
use crate::apply::{Done, Order, Tally};
use crate::error::{Error, Result};
use crate::source::{Identity, Source};
use crate::target::Target;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Commits that one batch may hold while the mirror keeps up.
    pub batch_size: usize,
    /// The least time between two batches, in which commits gather; zero applies each commit at once.
    pub batch_timeout: Duration,
    /// Whether small batches may go past DuckLake into a lake's catalog.
    pub direct_writes: bool,
}

/// What the user wants of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Run,
    Pause,
    Stop,
}

pub struct Mirror {
    pub name: String,
    pub location: String,
    pub branch: String,
    pub target: Target,
    pub settings: Settings,
    pub source: Arc<dyn Source>,
    /// For a target in a lake, what is held while at work there.
    pub turn: Option<Arc<Mutex<()>>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    wish: Wish,
    /// Somebody waits for this version: apply up to it without waiting for company.
    urgent: Version,
    report: Report,
    /// Somebody waits: what failed is tried again at once.
    hurry: bool,
    /// Maintenance that somebody has asked for and waits for.
    order: Option<Order>,
    /// What came of it.
    answer: Option<Result<Vec<Done>>>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    pub fn new(
        name: String,
        identity: &Identity,
        target: Target,
        settings: Settings,
        source: Arc<dyn Source>,
        turn: Option<Arc<Mutex<()>>>,
    ) -> Mirror {
        Mirror {
            name,
            location: identity.location.clone(),
            branch: identity.branch.clone(),
            target,
            settings,
            source,
            turn,
            inner: Mutex::new(Inner {
                wish: Wish::Run,
                urgent: Version(0),
                hurry: false,
                report: Report::new(),
                order: None,
                answer: None,
                thread: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub fn report(&self) -> Report {
        self.inner.lock().report.clone()
    }

    pub fn wish(&self) -> Wish {
        self.inner.lock().wish
    }

    pub fn is_urgent(&self) -> bool {
        let inner = self.inner.lock();
        inner.urgent > inner.report.complete
    }

    /// The thread begins to apply what is there.
    pub fn begin(&self) {
        self.inner.lock().report.begin();
    }

    /// Changes the report and wakes those that wait for it.
    pub fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.inner.lock().report);
        self.changed.notify_all();
    }

    pub fn set_thread(&self, thread: JoinHandle<()>) {
        self.inner.lock().thread = Some(thread);
    }

    /// The state of a mirror that has everything up to `complete` and whose thread has yet to look.
    pub fn beginning(&self, complete: Version) -> State {
        match self.source.head() {
            Ok(head) if head <= complete => State::Streaming,
            // What is wrong with the source is for the thread to meet and report.
            Ok(_) | Err(_) => State::CatchingUp,
        }
    }

    /// Pauses or resumes; the thread follows after the batch under way.
    pub fn ask(&self, wish: Wish) -> Result<()> {
        let beginning = self.beginning(self.report().complete);
        {
            let mut inner = self.inner.lock();
            if inner.report.state == State::Detached || inner.report.state == State::Copying {
                return Err(Error::input(format!("mirror {} is not running: it is {}", self.name, inner.report.state)));
            }
            if inner.wish == Wish::Stop {
                return Err(Error::input(format!("mirror {} is being detached by another call", self.name)));
            }
            inner.wish = wish;
            if wish == Wish::Run {
                // At once, so that who waits next is not told of the pause that just ended.
                inner.report.state = beginning;
                inner.report.retry = None;
            }
        }
        self.wake();
        let mut inner = self.inner.lock();
        let reached = |report: &Report| match wish {
            Wish::Pause => report.is_still() || report.state == State::Detached,
            Wish::Run | Wish::Stop => true,
        };
        while inner.wish == wish && !reached(&inner.report) {
            self.changed.wait(&mut inner);
        }
        Ok(())
    }

    /// Reports the table that is copied now, whose copy ends at once if the mirror is not wanted any more.
    pub fn copying(&self, table: &str, tally: Arc<Tally>) {
        let mut inner = self.inner.lock();
        if inner.wish == Wish::Stop {
            tally.end();
        }
        inner.report.copying = Some((table.to_string(), tally));
    }

    /// Ends the thread after the batch under way, or the copy that is made before there is one, and returns when it has
    /// ended.
    pub fn stop(&self) {
        let thread = {
            let mut inner = self.inner.lock();
            inner.wish = Wish::Stop;
            if let Some((_, tally)) = &inner.report.copying {
                tally.end();
            }
            inner.thread.take()
        };
        self.wake();
        match thread {
            // A thread that panicked has ended too, and has reported it.
            Some(thread) => drop(thread.join()),
            // There is none yet, or another call waits for it.
            None => {
                let mut inner = self.inner.lock();
                while inner.report.state != State::Detached {
                    self.changed.wait(&mut inner);
                }
            }
        }
    }

    /// Reports that the mirror is none any more.
    pub fn end(&self) {
        self.update(|report| report.state = State::Detached);
    }

    /// Waits until the mirror shows everything of its branch up to `version`.
    pub fn wait(&self, version: Version, timeout: Duration) -> Result<Report> {
        let deadline = Instant::now() + timeout;
        let since = {
            let mut inner = self.inner.lock();
            inner.urgent = inner.urgent.max(version);
            inner.hurry = true;
            inner.report.newest_try()
        };
        self.wake();
        let mut inner = self.inner.lock();
        loop {
            let report = &inner.report;
            if report.complete >= version {
                return Ok(report.clone());
            }
            let refuse = |why: &str| {
                Error::input(format!(
                    "mirror {} does not show version {version} but {}: {why}",
                    self.name, report.complete
                ))
            };
            match report.state {
                State::Paused => return Err(refuse(&format!("it is paused; CALL maniac_resume('{}')", self.name))),
                State::Detached => return Err(refuse("it was detached")),
                // What is committed after that may mend it, and the thread is about to see.
                State::Error if report.stuck.is_some_and(|stuck| stuck < version) => {}
                // The next try is about to tell.
                State::Error if report.may_have_passed(since) => {}
                State::Error => {
                    return Err(refuse(report.last_error.as_deref().unwrap_or("it failed")));
                }
                _ => {}
            }
            if self.changed.wait_until(&mut inner, deadline).timed_out() && inner.report.complete < version {
                let report = &inner.report;
                let reason = report.last_error.as_ref().map_or(String::new(), |error| format!("; last error: {error}"));
                return Err(Error::input(format!(
                    "mirror {} shows version {} and not yet {version} after {} ms (state {}){reason}. Give it longer \
                     with timeout_ms := ...",
                    self.name,
                    report.complete,
                    timeout.as_millis(),
                    report.state
                )));
            }
        }
    }

    /// Has the thread maintain the mirror between two batches, and returns when it has.
    pub fn maintain(&self, order: Order) -> Result<Vec<Done>> {
        {
            let mut inner = self.inner.lock();
            if inner.report.state == State::Copying {
                return Err(Error::input(format!("mirror {} is still being copied", self.name)));
            }
            if inner.order.is_some() || inner.answer.is_some() {
                return Err(Error::input(format!("mirror {} is being maintained for another call already", self.name)));
            }
            inner.order = Some(order);
        }
        self.wake();
        let mut inner = self.inner.lock();
        loop {
            if let Some(answer) = inner.answer.take() {
                return answer;
            }
            if inner.report.state == State::Detached {
                inner.order = None;
                return Err(Error::input(format!("mirror {} was detached", self.name)));
            }
            self.changed.wait(&mut inner);
        }
    }

    /// What is to be maintained now. To be answered.
    pub fn order(&self) -> Option<Order> {
        self.inner.lock().order.clone()
    }

    pub fn answer(&self, answer: Result<Vec<Done>>) {
        {
            let mut inner = self.inner.lock();
            inner.order = None;
            inner.answer = Some(answer);
        }
        self.changed.notify_all();
    }

    /// Whether the thread has to look up from waiting for commits.
    pub fn is_called(&self) -> bool {
        let inner = self.inner.lock();
        inner.wish != Wish::Run || inner.order.is_some()
    }

    /// Sleeps until `deadline`, or until somebody waits or wishes something else.
    pub fn rest(&self, deadline: Instant) {
        let mut inner = self.inner.lock();
        while inner.wish == Wish::Run
            && inner.order.is_none()
            && !inner.hurry
            && !self.changed.wait_until(&mut inner, deadline).timed_out()
        {}
        inner.hurry = false;
    }

    /// Reports the pause and sleeps for as long as it is wished.
    pub fn rest_paused(&self) {
        let mut inner = self.inner.lock();
        // Who resumed a moment ago must not be told of the pause; who resumed and paused again before this thread woke must.
        while inner.wish == Wish::Pause && inner.order.is_none() {
            if !inner.report.is_still() {
                inner.report.state = State::Paused;
                inner.report.retry = None;
                self.changed.notify_all();
            }
            self.changed.wait(&mut inner);
        }
    }

    /// Stops applying for a reason that does not pass by itself; `maniac_resume` tries again. Who sees the report's state
    /// can be sure that what is wished from then on counts.
    pub fn give_up(&self, change: impl FnOnce(&mut Report)) {
        let mut inner = self.inner.lock();
        if inner.wish == Wish::Run {
            inner.wish = Wish::Pause;
        }
        change(&mut inner.report);
        self.changed.notify_all();
    }

    fn wake(&self) {
        self.changed.notify_all();
        self.source.interrupt();
    }
}
