//! Where a connection stands between two calls. Each state has what it needs, and nothing else.
//!
//! ```text
//!             pin               reserve               begin              join
//!   Unlocked ─────> Reading ─────────────> Reserved ─────────> Writing ─────────> Joined
//!       ^           │     ^                │   ^ ^                │                 │
//!       └───────────┘     └────────────────┘   │ └─ committed,    │                 │
//!          unlock           stop_writing       │    or undone ────┘                 │
//!                          (of all three)      └── committed, or taken back ────────┘
//! ```
//!
//! A transition takes the state that it leaves, and gives the next one, which is the same one again
//! where it fails.

use std::sync::Arc;

use maniac_base::PageSource;
use maniac_store::{Snapshot, Transaction, Turn, WriteLock};

use crate::error::ConnectionError;
use crate::group::{Member, SharedMember};
use crate::peers::Announced;
use crate::view::View;

/// SQLite's lock levels. Each allows what the ones in front of it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Unlocked,
    /// What is read stays as it is.
    Shared,
    /// No other connection writes to the branch.
    Reserved,
    Pending,
    /// The commit has begun. Readers don't mind.
    Exclusive,
}

/// The next state, and what the transition says.
pub(crate) type Step<T = ()> = (State, Result<T, ConnectionError>);

pub(crate) enum State {
    /// Has its place in the queue of writers, once it has asked for one.
    Unlocked(Option<WriteLock>),
    Reading(Reading),
    Reserved(Reserved),
    Writing(Writing),
    Joined(Joined),
    /// A transition is under way, or has panicked: then nothing works any more until all is let go
    /// of.
    Broken,
}

/// SHARED.
pub(crate) struct Reading {
    snapshot: Snapshot,
    /// Taken already by a writer whose turn it is.
    lock: Option<WriteLock>,
    /// The last thing that was asked for was the right to write, and somebody else had it.
    refused: bool,
}

/// RESERVED or above, and nothing written.
pub(crate) struct Reserved {
    snapshot: Snapshot,
    lock: WriteLock,
    hold: Hold,
}

/// A transaction that has written.
pub(crate) struct Writing {
    pub transaction: Transaction,
    pub lock: WriteLock,
    pub hold: Hold,
}

/// A transaction that is ready to become a version together with others, or has become one.
pub(crate) struct Joined {
    /// What it was built on.
    snapshot: Snapshot,
    member: SharedMember,
    pub hold: Hold,
}

/// What lasts as long as the right to write.
pub(crate) struct Hold {
    pub level: Level,
    /// At EXCLUSIVE, to the others of its connection.
    pub announced: Option<Announced>,
    /// A transaction was committed in between: SQLite's exclusive locking mode.
    pub committed: bool,
}

impl State {
    pub fn level(&self) -> Level {
        match self {
            State::Unlocked(_) | State::Broken => Level::Unlocked,
            State::Reading(_) => Level::Shared,
            State::Reserved(Reserved { hold, .. })
            | State::Writing(Writing { hold, .. })
            | State::Joined(Joined { hold, .. }) => hold.level,
        }
    }

    pub fn hold(&mut self) -> Option<&mut Hold> {
        match self {
            State::Reserved(Reserved { hold, .. })
            | State::Writing(Writing { hold, .. })
            | State::Joined(Joined { hold, .. }) => Some(hold),
            _ => None,
        }
    }

    /// What is read; none where nothing is pinned.
    pub fn pages(&self) -> Result<Option<&dyn PageSource>, ConnectionError> {
        Ok(match self {
            State::Writing(writing) => Some(&writing.transaction),
            State::Broken => return Err(ConnectionError::Broken),
            other => other.snapshot().map(|snapshot| snapshot as &dyn PageSource),
        })
    }

    /// What is pinned, without what was written on it.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            State::Unlocked(_) | State::Broken => None,
            State::Reading(Reading { snapshot, .. })
            | State::Reserved(Reserved { snapshot, .. })
            | State::Joined(Joined { snapshot, .. }) => Some(snapshot),
            State::Writing(writing) => Some(writing.transaction.base()),
        }
    }

    /// Sees to it that readers see what this connection sees. What a writer builds on may be on its
    /// way to the disk still; when it is given up, or asked about, it has to arrive.
    pub fn settle(&self) {
        if let Some(snapshot) = self.snapshot()
            && let Some(losses) = snapshot.losses()
        {
            // If it is lost, the transaction that built on it can't be committed, and says why.
            let _ = snapshot.store().publish_up_to(snapshot.version(), losses);
        }
    }

    /// From no lock to SHARED.
    pub fn pin(self, view: &mut View) -> Step {
        let mut lock = match self {
            State::Unlocked(lock) => lock,
            State::Broken => return (self, Err(ConnectionError::Broken)),
            other => return (other, Ok(())),
        };
        match pin(&mut lock, view) {
            Ok(snapshot) => (State::Reading(Reading { snapshot, lock, refused: false }), Ok(())),
            Err(error) => (State::Unlocked(lock), Err(error)),
        }
    }

    /// From SHARED to RESERVED, if what is read is still the branch's head.
    pub fn reserve(self) -> Step {
        let State::Reading(Reading { snapshot, mut lock, .. }) = self else { return (self, Ok(())) };
        match reserve(&snapshot, lock.take()) {
            Ok(lock) => {
                let hold = Hold { level: Level::Reserved, announced: None, committed: false };
                (State::Reserved(Reserved { snapshot, lock, hold }), Ok(()))
            }
            Err((lock, error)) => {
                let refused = error.is_busy();
                (State::Reading(Reading { snapshot, lock, refused }), Err(error))
            }
        }
    }

    /// From RESERVED to a transaction. A commit of several that has not come about is left.
    pub fn begin(self) -> State {
        match self.take_back() {
            State::Reserved(Reserved { snapshot, lock, hold }) => {
                State::Writing(Writing { transaction: Transaction::new(snapshot), lock, hold })
            }
            other => other,
        }
    }

    /// Leaves a commit of several.
    fn take_back(self) -> State {
        match self {
            State::Joined(joined) => joined.take_back(),
            other => other,
        }
    }

    /// Down to SHARED: what is not committed is forgotten, and the lock free for others.
    pub fn stop_writing(self) -> State {
        let (snapshot, mut lock, refused) = match self.take_back() {
            State::Reading(Reading { snapshot, lock, refused }) => (snapshot, lock, refused),
            State::Reserved(Reserved { snapshot, lock, .. }) => (snapshot, Some(lock), false),
            State::Writing(Writing { transaction, lock, .. }) => (transaction.base().clone(), Some(lock), false),
            other => return other,
        };
        if let Some(lock) = &mut lock {
            lock.release();
        }
        let state = State::Reading(Reading { snapshot, lock, refused });
        state.settle();
        state
    }

    /// Down to no lock. Gives the place in the queue of writers if the right to write was refused,
    /// and was the last thing asked for.
    pub fn unlock(self) -> (State, Option<Arc<Turn>>) {
        match self.stop_writing() {
            State::Reading(Reading { lock, refused, .. }) => {
                let turn = lock.as_ref().filter(|_| refused).map(|lock| lock.turn().clone());
                (State::Unlocked(lock), turn)
            }
            State::Broken => (State::Unlocked(None), None),
            other => (other, None),
        }
    }
}

/// What a reader that begins sees. One whose turn it is to write takes the lock first: what is read
/// now is what will be written on.
fn pin(lock: &mut Option<WriteLock>, view: &mut View) -> Result<Snapshot, ConnectionError> {
    if let Some(lock) = lock
        && lock.turn().was_woken()
        && lock.try_acquire()?
    {
        let snapshot = view.store().snapshot_to_write(view.branch());
        return Ok(snapshot.inspect_err(|_| lock.release())?);
    }
    view.pin()
}

/// Takes the branch's lock, unless the snapshot is no longer its head.
fn reserve(snapshot: &Snapshot, lock: Option<WriteLock>) -> Result<WriteLock, (Option<WriteLock>, ConnectionError)> {
    let (store, branch) = (snapshot.store(), snapshot.branch());
    let mut lock = match lock {
        Some(lock) => lock,
        None => store.write_lock(branch).map_err(|error| (None, error.into()))?,
    };
    let taken = (|| {
        if lock.is_held() {
            return Ok(());
        }
        if !lock.try_acquire()? {
            return Err(ConnectionError::Busy);
        }
        let (base, head) = (snapshot.version(), store.written_head(branch)?);
        if base == head { Ok(()) } else { Err(ConnectionError::Stale { base, head }) }
    })();
    match taken {
        Ok(()) => Ok(lock),
        Err(error) => {
            lock.release();
            Err((Some(lock), error))
        }
    }
}

impl Writing {
    /// Has the lock for a commit. It is handed on early when others wait for it, and in exclusive
    /// locking mode SQLite goes on without a new one.
    pub fn hold_lock(&mut self) -> Result<(), ConnectionError> {
        if self.lock.is_held() {
            return Ok(());
        }
        self.lock.acquire()?;
        let base = self.transaction.base();
        let head = base.store().written_head(base.branch())?;
        if base.version() != head {
            self.lock.release();
            return Err(ConnectionError::Overtaken { base: base.version(), head });
        }
        Ok(())
    }

    /// Nothing came of it: the host has rolled back, or had nothing to write.
    pub fn undone(self) -> State {
        let Writing { transaction, lock, hold } = self;
        State::Reserved(Reserved { snapshot: transaction.base().clone(), lock, hold })
    }
}

impl Joined {
    pub fn new(member: SharedMember, snapshot: Snapshot, hold: Hold) -> Joined {
        Joined { snapshot, member, hold }
    }

    /// Takes its part out of the commit of several. Nobody else does, so that it is there.
    fn leave(self) -> Option<(Member, Hold)> {
        if let Some(announced) = &self.hold.announced {
            announced.leave();
        }
        let member = self.member.lock().take();
        member.map(|member| (member, self.hold))
    }

    /// The commit of all is over: goes on from the version that the transaction has become, if it
    /// has. All parts are synced, so that one that still waits does so in vain, for a writer that
    /// changed nothing.
    pub fn finish(self, view: &mut View) -> Step {
        let waits = self.member.lock().as_ref().is_some_and(|member| member.version.is_none());
        if let (true, Some(announced)) = (waits, &self.hold.announced)
            && let Err(error) = announced.commit_synced()
        {
            return (State::Joined(self), Err(error));
        }
        match self.leave() {
            Some((member, hold)) => finish(member, hold, view),
            None => (State::Broken, Err(ConnectionError::Broken)),
        }
    }

    fn take_back(self) -> State {
        let snapshot = self.snapshot.clone();
        match self.leave() {
            Some((Member { lock, .. }, hold)) => State::Reserved(Reserved { snapshot, lock, hold }),
            None => State::Broken,
        }
    }
}

/// Goes on from the version that a transaction has become, if it has.
pub(crate) fn finish(member: Member, mut hold: Hold, view: &mut View) -> Step {
    let Member { transaction, lock, version, .. } = member;
    let committed = version.map(|version| {
        hold.committed = true;
        view.forget();
        view.store().snapshot(view.branch(), version)
    });
    let (snapshot, outcome) = match committed {
        Some(Ok(snapshot)) => (snapshot, Ok(())),
        Some(Err(error)) => (transaction.base().clone(), Err(error.into())),
        None => (transaction.base().clone(), Ok(())),
    };
    (State::Reserved(Reserved { snapshot, lock, hold }), outcome)
}
