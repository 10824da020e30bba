//! How the mirror in a lake knows its version without a write to its state row in every batch, which in a lake costs
//! more than all the rest of a small batch.
//!
//! ```text
//!   snapshots of the lake   ..  s     s+1    s+2    s+3    s+4 ..
//!   their extra_info            v12   v13    v14    -      v15        "-" is somebody else's
//!   _maniac_state               v12, open since s                     now: v15
//! ```
//!
//! Every batch says in its snapshot's `extra_info` which version it shows. The state row is either *settled*, and tells
//! the version alone, or *open*: then the newest version is the greatest that the row or a snapshot after the row's own
//! tells of. If a snapshot after it is missing (expired), nobody can tell, and the tables are copied anew. The row is
//! opened by the first batch after it was settled, written again now and then, so that few snapshots matter, and settled
//! when the mirror rests, ends, or expires snapshots itself.
//!
//! Two appliers. Who takes a mirror over writes its token into the row and alters every table of the mirror, by its own
//! comment. A batch of the former applier that was under way then conflicts, since its tables were altered, and a later
//! one looks at the token: it does so whenever anything but its own last batch was committed to the lake since.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use maniac_base::Version;

use crate::error::{Error, Result};
use crate::host::Session;
use crate::schema::{Tables, quote, quote_text};
use crate::source::Identity;
use crate::target::state::{self, Moved, State};
use crate::target::{Owner, Target};

/// How long an open row stays as it is while batches follow each other.
const ROW_PERIOD: Duration = Duration::from_secs(30);

/// The state row.
#[derive(Clone, Copy, Default, PartialEq)]
enum Row {
    #[default]
    Unknown,
    Settled,
    /// Written as open by this applier, at that time.
    Open(Instant),
}

/// What an applier knows of its own mirror in a lake between its transactions. Knowing nothing is always right.
#[derive(Default)]
pub struct AppliedVersion {
    row: Row,
    /// The snapshot that the last transaction made, if nobody committed anything together with it.
    last: Option<i64>,
    /// The snapshot that the transaction under way builds on.
    base: i64,
    /// Whether the transaction under way writes the row as open.
    opens: bool,
    /// Whether somebody else has made a snapshot between the last transaction and the one under way.
    others: bool,
}

impl AppliedVersion {
    /// To be called first in a transaction: makes sure that the mirror is still `owner`'s.
    pub fn begin(&mut self, session: &Session, target: &Target, owner: &Owner) -> Result<()> {
        self.base = current_snapshot(session, target)?;
        self.opens = false;
        self.others = self.last.is_some_and(|last| last != self.base);
        if self.last != Some(self.base) {
            state::check_owner(session, target, owner)?;
        }
        Ok(())
    }

    /// The applier's own last snapshot, if it may add one without anything but rows: the row is open and not to be written
    /// again yet.
    pub fn own(&self) -> Option<i64> {
        self.last.filter(|_| self.is_recent())
    }

    /// Whether somebody else was seen to write to the lake.
    pub fn has_others(&self) -> bool {
        self.others
    }

    /// Snapshots were made that are not counted here.
    pub fn lost_count(&mut self) {
        self.last = None;
    }

    /// A transaction made the snapshot after `base` with nothing but rows.
    pub fn added(&mut self, base: i64) {
        self.last = Some(base + 1);
    }

    /// The snapshot that the last transaction made, if that is certain.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    fn is_recent(&self) -> bool {
        matches!(self.row, Row::Open(since) if since.elapsed() <= ROW_PERIOD)
    }

    /// Notes that the transaction brings the mirror to `to`. `row`: in the state row, whatever else is known, because
    /// the transaction changes more than rows.
    pub fn advance(
        &mut self,
        session: &Session,
        target: &Target,
        owner: &Owner,
        moved: Moved,
        row: bool,
    ) -> Result<()> {
        if row || !self.is_recent() {
            state::open(session, target, owner, moved, self.base)?;
            self.opens = true;
        }
        Ok(())
    }

    /// The transaction was committed. `changed`: it changed rows, without which a lake makes no snapshot.
    pub fn committed(&mut self, changed: bool) {
        if self.opens {
            self.row = Row::Open(Instant::now());
        }
        // If something else was committed together with it, the number is a wrong one, which only costs a look.
        self.last = (changed || self.opens).then_some(self.base + 1);
    }

    /// A transaction that was no batch was committed. Before the first batch, others that write are not looked for.
    pub fn renewed(&mut self) {
        self.last = self.last.map(|_| self.base + 1);
    }

    /// A transaction that wrote the row as settled was committed.
    pub fn settled(&mut self) {
        self.row = Row::Settled;
        self.last = Some(self.base + 1);
    }

    /// Whether snapshots tell more than the row does.
    pub fn is_open(&self) -> bool {
        matches!(self.row, Row::Open(_))
    }

    /// Whether the row tells all, for certain.
    pub fn is_settled(&self) -> bool {
        self.row == Row::Settled
    }
}

/// The version that the mirror shows; `None` if the row is open and snapshots after it are gone.
pub fn version(session: &Session, target: &Target, of: &Identity, state: &State) -> Result<Option<Version>> {
    let Some(since) = state.open_since else { return Ok(Some(state.version)) };
    let info = "TRY_CAST(commit_extra_info AS JSON)";
    let rows = session.query(&format!(
        "SELECT (count(*) = max(snapshot_id) - {since})::VARCHAR, \
         (max(TRY_CAST(({info}->>'version') AS BIGINT)) FILTER ({}))::VARCHAR \
         FROM {} WHERE snapshot_id > {since}",
        marked_by(target, of, info),
        history(session, target),
    ))?;
    let row = rows.into_iter().next().unwrap_or_default();
    let mut columns = row.into_iter().map(Option::unwrap_or_default);
    let (whole, newest) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
    if whole != "true" {
        return Ok(None);
    }
    let newest = newest.parse().map_or(Version(0), Version);
    Ok(Some(newest.max(state.version)))
}

/// What to select `snapshot_id`, `snapshot_time` and `commit_extra_info` of the lake's snapshots from: the tables of its
/// catalog, since `snapshots()` reads all there are, 300,000 of them in four seconds. `snapshots()` only if the catalog is
/// attached under a name that was chosen for it.
pub fn history(session: &Session, target: &Target) -> String {
    let Some(place) = metadata(session, target) else { return format!("{}()", target.function("snapshots")) };
    format!(
        "(SELECT snapshot_id, snapshot_time::TIMESTAMPTZ AS snapshot_time, commit_extra_info \
         FROM {place}.ducklake_snapshot LEFT JOIN {place}.ducklake_snapshot_changes USING (snapshot_id))"
    )
}

/// Where the tables of the lake's catalog are, if they can be read. They are asked for: DuckDB lists them nowhere.
pub fn metadata(session: &Session, target: &Target) -> Option<String> {
    let place = quote(&format!("__ducklake_metadata_{}", target.catalog));
    session
        .query(&format!("SELECT commit_extra_info FROM {place}.ducklake_snapshot_changes LIMIT 0"))
        .ok()
        .map(|_| place)
}

/// The condition that a snapshot was made by a mirror of this branch in this schema; `info` is its extra info as JSON.
pub fn marked_by(target: &Target, of: &Identity, info: &str) -> String {
    format!(
        "({info}->>'store') = {} AND ({info}->>'branch_id') = '{}' AND ({info}->>'schema') = {}",
        quote_text(&of.store),
        of.branch_id,
        quote_text(&target.schema)
    )
}

/// Alters the tables by giving each the comment that it has: batches of another applier that are under way conflict.
pub fn bar(session: &Session, target: &Target, tables: &Tables) -> Result<()> {
    let comments = session.query(&format!(
        "SELECT table_name, comment FROM duckdb_tables() WHERE lower(database_name) = lower({}) \
         AND lower(schema_name) = lower({})",
        quote_text(&target.catalog),
        quote_text(&target.schema)
    ))?;
    let names: HashSet<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    for row in comments {
        let [Some(name), comment] = row.as_slice() else { continue };
        if names.contains(name.as_str()) {
            let comment = comment.as_deref().map_or("NULL".to_string(), quote_text);
            session.run(&format!("COMMENT ON TABLE {} IS {comment}", target.table(name)))?;
        }
    }
    Ok(())
}

fn current_snapshot(session: &Session, target: &Target) -> Result<i64> {
    let sql = format!("SELECT id::VARCHAR FROM {}()", target.function("current_snapshot"));
    let id = session.value(&sql)?.and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::input(format!("{} names no current snapshot", target.catalog)))
}
