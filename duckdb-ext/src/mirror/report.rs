//! What is known of a mirror at one moment.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use maniac_base::Version;

use crate::apply::{Applied, Differing, OfferedView, Tally};
use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Copying,
    Streaming,
    CatchingUp,
    Paused,
    Error,
    Detached,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Failures in a row after which those who wait are told; before, they are likely conflicts that pass.
const TOLERATED_FAILURES: u32 = 5;

/// What comes after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Failures in a row.
    pub failures: u32,
    /// When the thread tries again, in ms since 1970.
    pub at_ms: i64,
}

/// The state of a mirror at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    pub state: State,
    /// The newest version of the branch that the mirror shows.
    pub applied: Version,
    /// The store's version up to which the branch has nothing that the mirror lacks.
    pub complete: Version,
    pub applied_time_ms: i64,
    pub transactions: u64,
    pub rows: u64,
    pub batches: u64,
    pub widened: u64,
    /// Columns that have been widened, now or before the mirror was attached, or have other names.
    pub differing: Vec<Differing>,
    /// The source's views.
    pub views: Vec<OfferedView>,
    pub rounded: u64,
    pub rejected: u64,
    pub repaired: u64,
    pub errors: u64,
    pub last_error: Option<String>,
    /// How often the thread has begun to apply what is there, or to find that there is nothing.
    tries: u64,
    /// Which of these has failed last.
    failed_try: u64,
    /// After a failure that may pass.
    pub retry: Option<Retry>,
    /// The store's version up to which the branch has nothing to go on with, because it can't be read.
    pub stuck: Option<Version>,
    /// The table that the first copy is at, and its rows so far.
    pub copying: Option<(String, Arc<Tally>)>,
    /// When maintenance in a lake, or a step of it, last ended well, in ms since 1970.
    pub maintained_ms: Option<i64>,
    /// The scheduled maintenance in a lake has failed; when it is tried again, in ms since 1970. Batches go on meanwhile.
    pub unmaintained: Option<i64>,
    /// In a lake: whether new rows may go past DuckLake, or why not.
    pub direct_writes: Option<String>,
    /// Transactions applied in the seconds just past, with the time of each batch.
    recent: VecDeque<(Instant, u64)>,
}

/// Over how long the rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(10);

impl Report {
    /// Of a mirror that is about to be copied.
    pub fn new() -> Report {
        Report {
            state: State::Copying,
            applied: Version(0),
            complete: Version(0),
            applied_time_ms: 0,
            transactions: 0,
            rows: 0,
            batches: 0,
            widened: 0,
            differing: Vec::new(),
            views: Vec::new(),
            rounded: 0,
            rejected: 0,
            repaired: 0,
            errors: 0,
            last_error: None,
            retry: None,
            stuck: None,
            copying: None,
            maintained_ms: None,
            unmaintained: None,
            direct_writes: None,
            tries: 0,
            failed_try: 0,
            recent: VecDeque::new(),
        }
    }

    /// The thread begins to apply what is there.
    pub fn begin(&mut self) {
        self.tries += 1;
    }

    /// The number of the newest try, which may be under way.
    pub fn newest_try(&self) -> u64 {
        self.tries
    }

    /// Whether what has failed last tells nothing of a try after the one of the number: a few failures are likely conflicts that
    /// pass, and what an earlier try met may have passed, or been mended while it was under way.
    pub fn may_have_passed(&self, since: u64) -> bool {
        self.retry.is_some_and(|retry| retry.failures < TOLERATED_FAILURES || self.failed_try <= since)
    }

    /// Reports a failure, and when there is another try.
    pub fn failed(&mut self, error: &Error, retry: Option<Retry>) {
        self.errors += 1;
        self.last_error = Some(error.to_string());
        self.retry = retry;
        self.failed_try = self.tries;
        self.stuck = None;
        self.state = State::Error;
    }

    /// Reports that nothing is wrong now.
    pub fn well(&mut self, state: State) {
        self.retry = None;
        self.stuck = None;
        self.state = state;
    }

    /// Whether the thread does nothing until it is told to: one that gave up is as still as a paused one.
    pub fn is_still(&self) -> bool {
        match self.state {
            State::Error => self.retry.is_none(),
            state => state == State::Paused,
        }
    }

    /// The state to show, and when what has failed is tried again: one whose maintenance fails is not well, though it follows.
    pub fn shown(&self) -> (State, Option<i64>) {
        match (self.state, self.unmaintained) {
            (State::Streaming | State::CatchingUp, Some(at_ms)) => (State::Error, Some(at_ms)),
            (state, _) => (state, self.retry.map(|retry| retry.at_ms)),
        }
    }

    /// Whether it has failed for a reason that does not pass by itself.
    pub fn has_given_up(&self) -> bool {
        self.state == State::Error && self.retry.is_none() && self.stuck.is_none()
    }

    /// Counts a batch that was applied.
    pub fn count(&mut self, transactions: u64, applied: Applied) {
        let now = Instant::now();
        self.transactions += transactions;
        self.rows += applied.rows;
        self.batches += 1;
        self.widened += applied.widened;
        self.rounded += applied.rounded;
        self.rejected += applied.rejected;
        self.repaired += applied.repaired;
        self.recent.push_back((now, transactions));
        while self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.recent.pop_front();
        }
    }

    /// Transactions per second over the last ten seconds.
    pub fn rate(&self) -> f64 {
        let now = Instant::now();
        let recent = self.recent.iter().filter(|(at, _)| now.duration_since(*at) <= RATE_WINDOW);
        recent.map(|(_, transactions)| *transactions).sum::<u64>() as f64 / RATE_WINDOW.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_was_under_way_already_tells_nothing() {
        let fail = |report: &mut Report| {
            let failures = report.retry.map_or(0, |retry| retry.failures) + 1;
            report.failed(&Error::input("it is detached"), Some(Retry { failures, at_ms: 0 }));
        };
        let mut report = Report::new();
        for _ in 0..10 {
            report.begin();
            fail(&mut report);
        }
        // Somebody mends it and waits.
        let since = report.newest_try();
        assert!(report.may_have_passed(since));
        report.begin();
        fail(&mut report);
        assert!(!report.may_have_passed(since), "that try came after it");

        report.begin();
        let since = report.newest_try();
        fail(&mut report);
        assert!(report.may_have_passed(since), "that try was under way");
        report.begin();
        assert!(report.may_have_passed(since), "the next one is about to tell");
        fail(&mut report);
        assert!(!report.may_have_passed(since));
    }

    #[test]
    fn a_few_failures_are_tolerated() {
        let mut report = Report::new();
        for failures in 1..=TOLERATED_FAILURES {
            report.begin();
            report.failed(&Error::input("somebody else was first"), Some(Retry { failures, at_ms: 0 }));
            assert_eq!(report.may_have_passed(0), failures < TOLERATED_FAILURES);
        }
    }
}
