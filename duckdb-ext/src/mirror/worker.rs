//! A mirror's thread: waits for commits, gathers them into batches, applies them, and recovers from what goes wrong.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use maniac_base::Version;

use super::report::{Retry, State};
use super::status::{Mirror, Wish};
use crate::apply::{Applier, Done, MaintenanceStep, Order};
use crate::error::{Error, Result};
use crate::host::busy;
use crate::instance::Instance;
use crate::source::Coalesce;
use crate::source::{Commit, now_ms};

/// Bytes of changes in memory that a batch may hold; a single larger transaction is applied alone.
const BATCH_MEMORY: usize = 96 << 20;
/// Commits of a batch while the mirror is behind: fewer, larger transactions are what lets it catch up.
const CATCH_UP_COMMITS: usize = 20_000;
/// Waits after a failure: doubled up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A mirror without commits for so long rests, and writes down where it stands.
const QUIET: Duration = Duration::from_secs(4);
/// The longest sleep without a look at the store. Commits and wishes wake the thread at once; this is only for what
/// cannot, such as a store on a file system that does not share memory between machines.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Starts the thread of a mirror that was just attached.
pub fn start(instance: &Arc<Instance>, mirror: &Arc<Mirror>, applier: Applier) -> Result<()> {
    let at = applier.version();
    let beginning = mirror.beginning(at);
    let (differing, direct_writes, views) = (applier.differing(), applier.direct_writes(), applier.views());
    mirror.update(|report| {
        report.differing = differing;
        report.views = views;
        report.direct_writes = direct_writes;
        report.applied = at;
        report.complete = at;
        report.state = beginning;
        report.copying = None;
    });
    let (weak, worker) = (Arc::downgrade(instance), mirror.clone());
    let thread = thread::Builder::new()
        .name(format!("maniac {}", mirror.name))
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&weak, &worker, applier)));
            worker.update(|report| {
                report.state = State::Detached;
                if outcome.is_err() {
                    report.errors += 1;
                    report.last_error = Some("the mirror's thread panicked; this is a defect".to_string());
                }
            });
        })
        .map_err(|error| Error::input(format!("cannot start a thread: {error}")))?;
    mirror.set_thread(thread);
    Ok(())
}

fn run(instance: &Weak<Instance>, mirror: &Mirror, mut applier: Applier) {
    // Whatever the store's head is, the first look does not wait for it to move.
    let mut seen = Version(0);
    let mut last_batch: Option<Instant> = None;
    let mut schedule = Schedule::new(&applier);
    loop {
        if let Some(order) = mirror.order() {
            match maintain(instance, mirror, &mut applier, &order) {
                Ok(ControlFlow::Continue(answer)) => mirror.answer(answer),
                _ => break,
            }
        }
        match mirror.wish() {
            Wish::Run => {}
            Wish::Pause => {
                mirror.rest_paused();
                if mirror.wish() == Wish::Pause {
                    continue;
                }
                let beginning = mirror.beginning(mirror.report().complete);
                mirror.update(|report| {
                    report.state = beginning;
                    report.retry = None;
                });
                seen = Version(0);
                continue;
            }
            Wish::Stop => break,
        }
        mirror.begin();
        let outcome = match schedule.is_due() {
            true => scheduled(instance, mirror, &mut applier, &mut schedule),
            false => step(instance, mirror, &mut applier, &mut seen, &mut last_batch),
        };
        let outcome = match outcome {
            Err(Error::Forgotten(_)) => catch_up(instance, mirror, &mut applier),
            outcome => outcome,
        };
        match outcome {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            // Only another commit can change that, for which the next step waits.
            Err(error @ Error::Unreadable { .. }) => mirror.update(|report| {
                report.retry = None;
                if report.stuck.replace(seen).is_none() {
                    report.errors += 1;
                }
                report.state = State::Error;
                report.last_error = Some(error.to_string());
            }),
            Err(error) if error.is_final() => mirror.give_up(|report| report.failed(&error, None)),
            Err(error) => {
                let failures = mirror.report().retry.map_or(0, |retry| retry.failures) + 1;
                let wait = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(LONGEST_RETRY);
                let retry = Retry { failures, at_ms: now_ms() + wait.as_millis() as i64 };
                mirror.update(|report| report.failed(&error, Some(retry)));
                mirror.rest(Instant::now() + wait);
            }
        }
    }
    leave(instance, mirror, applier);
}

/// Copies the tables anew, since the store does not keep what follows the version that they show.
fn catch_up(instance: &Weak<Instance>, mirror: &Mirror, applier: &mut Applier) -> Result<ControlFlow<()>> {
    let copied = at_work(instance, mirror, || applier.catch_up_by_copy())?;
    let (version, differing) = (applier.version(), applier.differing());
    mirror.update(|report| {
        report.differing = differing;
        report.applied = version;
        report.complete = report.complete.max(version);
    });
    Ok(copied)
}

/// Detaches, unless the process is ending: then DuckDB must not be entered, and what is open stays so.
fn leave(instance: &Weak<Instance>, mirror: &Mirror, applier: Applier) {
    let _turn = mirror.turn.as_ref().map(|turn| turn.lock());
    let upgraded = instance.upgrade();
    let Some(instance) = upgraded else {
        // The applier's connection is closed here.
        match busy() {
            Some(_busy) => drop(applier),
            None => std::mem::forget(applier),
        }
        return;
    };
    let Some(_work) = instance.work() else {
        std::mem::forget(applier);
        return;
    };
    if let Err(error) = applier.detach() {
        mirror.update(|report| report.last_error = Some(error.to_string()));
    }
}

/// Waits for commits and applies one batch of them, or returns when there is nothing to do for now. Breaks when the
/// process is ending.
fn step(
    instance: &Weak<Instance>,
    mirror: &Mirror,
    applier: &mut Applier,
    seen: &mut Version,
    last_batch: &mut Option<Instant>,
) -> Result<ControlFlow<()>> {
    let source = &*mirror.source;
    // What has failed is tried again whether there is something new or not.
    let sleep = mirror.report().retry.map_or(LONGEST_SLEEP, |_| Duration::ZERO);
    let head = source.wait(*seen, sleep, &|| mirror.is_called())?;
    if mirror.is_called() {
        return Ok(ControlFlow::Continue(()));
    }
    let behind = mirror.report().state == State::CatchingUp;
    // Let company gather, unless the last batch is long past, a whole batch is there, or somebody waits.
    let due = last_batch.map(|last| last + mirror.settings.batch_timeout);
    let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
    if !behind && !left.is_zero() {
        let whole = Version(applier.version().0 + mirror.settings.batch_size as u64 - 1);
        source.wait(whole, left, &|| mirror.is_called() || mirror.is_urgent())?;
        if mirror.is_called() {
            return Ok(ControlFlow::Continue(()));
        }
    }
    // After a failure, so that the batch follows on what the mirror really shows.
    if at_work(instance, mirror, || applier.make_sure())?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let ControlFlow::Continue(repaired) = at_work(instance, mirror, || applier.check_flushes())? else {
        return Ok(ControlFlow::Break(()));
    };
    if repaired > 0 {
        let differing = applier.differing();
        mirror.update(|report| {
            report.repaired += repaired;
            report.differing = differing;
        });
    }
    let gathered = gather(mirror, applier, behind);
    if matches!(gathered, Err(Error::Unreadable { .. })) {
        *seen = head;
    }
    let (mut batch, mut more) = gathered?;
    if batch.is_empty() {
        *seen = head;
        let arrive = || {
            mirror.update(|report| {
                report.complete = report.complete.max(head);
                report.well(State::Streaming);
            });
        };
        // Nobody who waits has to wait for what else is done now, unless that is what failed before.
        let failed = mirror.report().retry.is_some();
        if !failed {
            arrive();
        }
        if applier.is_open() && last_batch.is_none_or(|last| last.elapsed() >= QUIET) {
            let settled = at_work(instance, mirror, || applier.settle(false))?;
            if settled.is_break() {
                return Ok(settled);
            }
        }
        if failed {
            arrive();
        }
        return Ok(ControlFlow::Continue(()));
    }
    *last_batch = Some(Instant::now());
    let outcome = at_work(instance, mirror, || applier.apply(&batch));
    if matches!(outcome, Err(Error::Misfit { .. })) && batch.iter().any(|commit| !commit.left_out.is_empty()) {
        applier.follow_next();
        return Ok(ControlFlow::Continue(()));
    }
    let ControlFlow::Continue((count, applied)) = outcome? else {
        return Ok(ControlFlow::Break(()));
    };
    more |= count < batch.len();
    batch.truncate(count);
    let last = batch.last().map_or(Version(0), |commit| commit.version);
    let time_ms = batch.last().map_or(0, |commit| commit.time_ms);
    if !more {
        *seen = head.max(last);
    }
    applier.note_views(applied.altered || batch.iter().any(|commit| commit.schema.is_some()));
    // While there is more to apply, views come last.
    let mut views = None;
    if !more {
        match at_work(instance, mirror, || Ok(applier.refresh_views()))? {
            ControlFlow::Continue(refreshed) => views = refreshed,
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
        }
    }
    let differing = applied.altered.then(|| applier.differing());
    mirror.update(|report| {
        if let Some(differing) = differing {
            report.differing = differing;
        }
        if let Some(views) = views {
            report.views = views;
        }
        report.applied = last;
        report.applied_time_ms = time_ms;
        report.complete = if more { last } else { head.max(last) };
        report.count(batch.len() as u64, applied);
        report.well(if more { State::CatchingUp } else { State::Streaming });
    });
    Ok(ControlFlow::Continue(()))
}

/// When a mirror in a lake is maintained next.
struct Schedule {
    every: Duration,
    /// `None` for never.
    next: Option<Instant>,
}

impl Schedule {
    fn new(applier: &Applier) -> Schedule {
        let every = applier.upkeep().map_or(Duration::ZERO, |upkeep| upkeep.every);
        let mut schedule = Schedule { every, next: None };
        schedule.put_off();
        schedule
    }

    fn is_due(&self) -> bool {
        self.next.is_some_and(|next| next <= Instant::now())
    }

    fn put_off(&mut self) {
        self.next = (!self.every.is_zero()).then(|| Instant::now() + self.every);
    }
}

/// Does an order's steps, and notes when they have ended.
fn maintain(
    instance: &Weak<Instance>,
    mirror: &Mirror,
    applier: &mut Applier,
    order: &Order,
) -> Result<ControlFlow<(), Result<Vec<Done>>>> {
    let outcome = at_work(instance, mirror, || Ok(applier.maintain(order)))?;
    if matches!(outcome, ControlFlow::Continue(Ok(_))) && !order.dry_run {
        mirror.update(|report| {
            report.maintained_ms = Some(now_ms());
            if order.steps == MaintenanceStep::ALL {
                report.unmaintained = None;
            }
        });
    }
    Ok(outcome)
}

/// Maintains the mirror as its schedule says. What fails is reported and tried again next time; batches go on.
fn scheduled(
    instance: &Weak<Instance>,
    mirror: &Mirror,
    applier: &mut Applier,
    schedule: &mut Schedule,
) -> Result<ControlFlow<()>> {
    let order = applier.due();
    let outcome = maintain(instance, mirror, applier, &order)?;
    schedule.put_off();
    match outcome {
        ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
        ControlFlow::Continue(Ok(_)) => mirror.update(|report| report.unmaintained = None),
        ControlFlow::Continue(Err(error)) if error.is_final() => return Err(error),
        ControlFlow::Continue(Err(error)) => mirror.update(|report| {
            report.errors += 1;
            report.last_error = Some(error.to_string());
            report.unmaintained = Some(now_ms() + schedule.every.as_millis() as i64);
        }),
    }
    Ok(ControlFlow::Continue(()))
}

/// Does what needs DuckDB; breaks instead when the process is ending.
fn at_work<T>(
    instance: &Weak<Instance>,
    mirror: &Mirror,
    work: impl FnOnce() -> Result<T>,
) -> Result<ControlFlow<(), T>> {
    let _turn = mirror.turn.as_ref().map(|turn| turn.lock());
    let Some(instance) = instance.upgrade() else { return Ok(ControlFlow::Break(())) };
    let Some(_work) = instance.work() else { return Ok(ControlFlow::Break(())) };
    work().map(ControlFlow::Continue)
}

/// The next batch, and whether there is more behind it. Commits that can't
/// be read are passed over together with the next one that can, which has their changes.
fn gather(mirror: &Mirror, applier: &mut Applier, behind: bool) -> Result<(Vec<Commit>, bool)> {
    let limit = if behind { mirror.settings.batch_size.max(CATCH_UP_COMMITS) } else { mirror.settings.batch_size };
    let mut batch: Vec<Commit> = Vec::new();
    let mut joining = Coalesce::default();
    let mut memory = 0;
    let mut unreadable = None;
    applier.begin_batch(behind);
    let mut commits = mirror.source.commits(applier.version(), applier.wanted())?;
    while let Some(commit) = commits.next(&mut |at, table, extent| applier.follows(at, table, extent))? {
        if let Some(reason) = commit.unreadable {
            unreadable.get_or_insert(Error::Unreadable { version: commit.version, reason });
            continue;
        }
        unreadable = None;
        let more = commit.memory();
        let full = !batch.is_empty() && (batch.len() >= limit || memory + more > BATCH_MEMORY);
        if full || !joining.takes(&commit) {
            return Ok((batch, true));
        }
        memory += more;
        if !commit.left_out.is_empty() {
            for table in &commit.left_out {
                batch.iter_mut().for_each(|earlier| earlier.leave_out(table));
            }
            memory = batch.iter().map(Commit::memory).sum::<usize>() + more;
        }
        applier.count(&commit);
        batch.push(commit);
    }
    if let Some(error) = unreadable {
        return if batch.is_empty() { Err(error) } else { Ok((batch, true)) };
    }
    Ok((batch, false))
}
