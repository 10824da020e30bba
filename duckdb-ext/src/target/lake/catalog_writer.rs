//! Small batches of new rows written into a lake's catalog past DuckLake, in the form that its format prescribes.
//!
//! DuckLake makes eight queries of an insertion's commit, most of its time. Where the last batch is the applier's own and
//! DuckLake has put it inline, what the next one does to the catalog is known beforehand:
//!
//! ```text
//!   ducklake_snapshot             the next number, a new file number per table
//!   ducklake_inlined_data_T_S     the rows, with the next row numbers
//!   ducklake_table_stats          counts
//!   ducklake_table_column_stats   NULLs, least and greatest values, where they change
//!   ducklake_snapshot_changes     inlined_insert:T, the message, the version
//! ```
//!
//! All in one transaction that goes through only if the newest snapshot is still the applier's own: nobody else has
//! changed rows, tables or the mirror's owner since. Whatever is not exactly like that is left to DuckLake: other changes
//! than new rows, more rows than it was just seen to put inline, catalogs of another format or outside a DuckDB file, other
//! versions of DuckDB. `maniac_status` says so, and `direct_writes := false` leaves everything to DuckLake.
//!
//! A new schema version without any other change (see `apply::schema_refresh`) is written on the same terms: a row each in `ducklake_snapshot`
//! and `ducklake_snapshot_changes`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::catalog::{self, Inlined, Learnt, Place, Plan, Seen};
use super::column_stats::is_bounded;
use super::inlining::is_for_files;
use crate::error::Result;
use crate::host::{Cell, Session, TableWriter};
use crate::schema::{Fitted, Tables};
use crate::source::{Commit, RowChange};
use crate::target::Target;
use crate::target::netting::{Net, NetTable, net};
use crate::target::upsert::fitted;
use crate::target::{AUTHOR, INLINED_BYTES};

/// Batches of more rows are not tried.
const MOST_ROWS: usize = 200;
/// How long what DuckLake was seen to put inline is believed: that can be set otherwise without a trace among the
/// snapshots.
const TRUST: Duration = Duration::from_secs(30);

/// DuckLake's commits take several times as long as ours, and start over when another one comes in between, up to ten times:
/// next to a stream of ours none of others might ever come through. So batches that follow each other without a lull are
/// written directly for a spell, and go through DuckLake for a rest, in which others have the chances that they always had.
const LULL: Duration = Duration::from_millis(50);
const SPELL: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_millis(100);
/// How long everything goes through DuckLake once others were seen to write to the lake.
const GIVE_WAY: Duration = Duration::from_secs(10 * 60);

/// What an applier knows of its lake's catalog. Knowing nothing is always right.
#[derive(Default)]
pub struct CatalogWriter {
    /// Where the catalog's tables are, if it is one to write.
    place: Option<Place>,
    /// The last batch, if it had nothing but new rows and went through DuckLake.
    seen: Option<Seen>,
    /// So many rows at once were put inline, by table of the mirror, since the time beside it.
    most: BTreeMap<String, usize>,
    since: Option<Instant>,
    plan: Option<Plan>,
    /// When the last batch was written, and when the first of its spell.
    last: Option<Instant>,
    spell: Option<Instant>,
    /// Until then everything goes through DuckLake.
    rest: Option<Instant>,
}

/// A batch's new rows by the table's place in the mirror.
pub type Insertions = Vec<(usize, NetTable)>;

/// A batch as it will be written, and what the catalog is like then.
pub struct Batch<'a> {
    after: Plan,
    tables: Vec<Part<'a>>,
}

/// A table's share.
struct Part<'a> {
    /// In the plan.
    place: usize,
    rows: Vec<Vec<Fitted<'a>>>,
    /// The statistics before.
    before: Inlined,
}

/// The batch's new rows, if it has some, few, and nothing else.
pub fn insertions(commits: &[Commit], tables: &Tables) -> Option<Insertions> {
    if commits.iter().any(|commit| commit.schema.is_some() || commit.unfollowed().next().is_some()) {
        return None;
    }
    let changes = commits.iter().flat_map(|commit| &commit.tables).flat_map(|changes| &changes.rows);
    for (count, change) in changes.enumerate() {
        if count == MOST_ROWS || !matches!(change, RowChange::Insert(_)) {
            return None;
        }
    }
    // Tables that a mirror does not have are SQLite's own, or not chosen.
    let netted = net(commits).into_iter().filter_map(|(name, changes)| Some((tables.place(&name)?, changes)));
    let small = |insertions: &Insertions| {
        !insertions.is_empty() && insertions.iter().all(|(_, changes)| changes.bytes() <= INLINED_BYTES)
    };
    Some(netted.collect()).filter(small)
}

impl CatalogWriter {
    /// Looks whether a lake's catalog is one to write, and says so, or why not.
    pub fn new(session: &Session, target: &Target, wanted: bool) -> (CatalogWriter, String) {
        let place = match wanted {
            true => catalog::find(session, target),
            false => Err("direct_writes := false".to_string()),
        };
        let told = place.as_ref().map_or_else(|why| format!("off: {why}"), |_| "on".to_string());
        (CatalogWriter { place: place.ok(), ..CatalogWriter::default() }, told)
    }

    /// A batch of new rows went through DuckLake and made the snapshot, if that is known.
    pub fn saw(&mut self, insertions: &Insertions, tables: &Tables, snapshot: Option<i64>) {
        self.forget();
        if self.place.is_none() || self.rest.is_some_and(|rest| Instant::now() < rest) {
            return;
        }
        if self.since.is_none_or(|since| since.elapsed() > TRUST) {
            self.most.clear();
            self.since = Some(Instant::now());
        }
        let bounded = |place: &usize| tables[*place].columns.iter().all(|column| is_bounded(column.column_type));
        let Some(snapshot) = snapshot.filter(|_| insertions.iter().all(|(place, _)| bounded(place))) else { return };
        // What went into a file tells nothing of what goes inline, which may be known from before.
        let inlined = insertions.iter().filter(|(place, changes)| !is_for_files(&tables[*place], changes));
        let rows = inlined.map(|(place, changes)| (tables[*place].name.clone(), changes.changes.len()));
        self.seen = Some(Seen { snapshot, rows: rows.collect() });
    }

    /// The lake was changed in another way, or may have been.
    pub fn forget(&mut self) {
        self.seen = None;
        self.plan = None;
    }

    /// Somebody else has made a snapshot, or is about to.
    pub fn give_way(&mut self) {
        self.forget();
        self.rest = Some(Instant::now() + GIVE_WAY);
    }

    /// Makes a snapshot of a new schema version after `base`, in a transaction, with nothing else in it; not if somebody else has
    /// made a snapshot since. DuckLake reads all tables twice to do so. Fails if somebody makes a snapshot meanwhile.
    pub fn renew(&self, session: &Session, target: &Target, base: i64, message: &str, extra: &str) -> Result<bool> {
        let Some(place) = &self.place else { return Ok(false) };
        let Some([version, next_catalog, next_file, state, now]) = catalog::newest(session, target, place, base)?
        else {
            return Ok(false);
        };
        let snapshot = [base + 1, now, version + 1, next_catalog, next_file];
        append(session, place, "ducklake_snapshot", [snapshot.map(Cell::Integer)])?;
        let changes = format!("altered_table:{state}");
        note_changes(session, place, base + 1, &changes, message, extra)?;
        Ok(true)
    }

    /// The batch that makes the snapshot after `base`, the applier's own last one; `None` if it is DuckLake's to make.
    pub fn prepare<'a>(
        &mut self,
        session: &Session,
        target: &Target,
        tables: &Tables,
        insertions: &'a Insertions,
        base: i64,
    ) -> Result<Option<Batch<'a>>> {
        let now = Instant::now();
        if self.last.is_none_or(|last| now - last >= LULL) {
            self.spell = Some(now);
        } else if self.spell.is_some_and(|spell| now - spell >= SPELL) {
            self.forget();
            self.rest = Some(now + REST);
            return Ok(None);
        }
        if self.plan.as_ref().is_none_or(|plan| plan.snapshot != base) {
            self.plan = None;
            let Some(seen) = self.seen.take() else { return Ok(None) };
            let Some(place) = &self.place else { return Ok(None) };
            let mut most = std::mem::take(&mut self.most);
            for (name, rows) in &seen.rows {
                let known = most.entry(name.clone()).or_default();
                *known = (*known).max(*rows);
            }
            if most.is_empty() {
                return Ok(None);
            }
            match catalog::learn(session, target, place, tables, &most, &seen, base)? {
                Learnt::Plan(plan) => {
                    self.plan = Some(plan);
                    self.most = most;
                }
                Learnt::Others => self.give_way(),
                Learnt::Elsewhere => {}
            }
        }
        Ok(self.plan.as_ref().and_then(|plan| plan.with(tables, insertions)))
    }

    /// Writes the batch, in a transaction; not if somebody else has made a snapshot. Fails if somebody does meanwhile.
    pub fn write(&self, session: &Session, batch: &Batch<'_>, message: &str, extra: &str) -> Result<bool> {
        let Some(place) = &self.place else { return Ok(false) };
        let after = &batch.after;
        let newest = session.query(&format!(
            "SELECT max(snapshot_id)::VARCHAR, epoch_us(now())::VARCHAR FROM {}",
            place.table("ducklake_snapshot")
        ))?;
        let numbers = newest.iter().flatten().map(|text| text.as_ref()?.parse().ok()).collect::<Option<Vec<i64>>>();
        let Some(&[newest, now]) = numbers.as_deref() else { return Ok(false) };
        if newest != after.snapshot - 1 {
            return Ok(false);
        }
        // Appending is cheaper than a statement. A number that somebody else commits meanwhile is refused as a duplicate.
        let snapshot = [after.snapshot, now, after.schema_version, after.next_catalog, after.next_file];
        append(session, place, "ducklake_snapshot", [snapshot.map(Cell::Integer)])?;
        let mut changes = Vec::new();
        for part in &batch.tables {
            let table = &after.tables[part.place];
            let rows = part.rows.iter().zip(part.before.next_row..).map(|(row, number)| {
                let own = [Cell::Integer(number), Cell::Integer(after.snapshot), Cell::Null];
                own.into_iter().chain(row.iter().map(Fitted::cell))
            });
            append(session, place, &table.holder, rows)?;
            for statement in table.statistics_since(place, &part.before) {
                session.run(&statement)?;
            }
            changes.push(format!("inlined_insert:{}", table.id));
        }
        note_changes(session, place, after.snapshot, &changes.join(","), message, extra)?;
        Ok(true)
    }

    /// The batch was committed.
    pub fn wrote(&mut self, batch: Batch<'_>) {
        self.plan = Some(batch.after);
        self.last = Some(Instant::now());
    }
}

/// Says what the snapshot changes.
fn note_changes(
    session: &Session,
    place: &Place,
    snapshot: i64,
    changes: &str,
    message: &str,
    extra: &str,
) -> Result<()> {
    let texts = [changes, AUTHOR, message, extra].map(|text| Cell::Bytes(text.as_bytes()));
    append(session, place, "ducklake_snapshot_changes", [[Cell::Integer(snapshot)].into_iter().chain(texts)])
}

fn append<'a>(
    session: &Session,
    place: &Place,
    table: &str,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = Cell<'a>>>,
) -> Result<()> {
    let mut writer = TableWriter::open(session, &place.catalog, &place.schema, table)?;
    for row in rows {
        writer.push(row)?;
    }
    writer.finish()
}

impl Plan {
    /// With the new rows; `None` if DuckLake would not, or may not, do with them what this does.
    fn with<'a>(&self, tables: &Tables, insertions: &'a Insertions) -> Option<Batch<'a>> {
        let mut batch = Batch { after: self.clone(), tables: Vec::new() };
        batch.after.snapshot += 1;
        for (table, changes) in insertions {
            let table = &tables[*table];
            let place = self.tables.iter().position(|inlined| inlined.name == table.name)?;
            let (before, after) = (&self.tables[place], &mut batch.after.tables[place]);
            let types = table.types();
            let mut rows = Vec::with_capacity(changes.changes.len());
            for (_, change) in &changes.changes {
                let Net::Insert(row) = change else { return None };
                let row = fitted(table, row.iter().map(Some), &types).ok()?;
                for (bounds, value) in after.bounds.iter_mut().zip(&row) {
                    bounds.add(&value.cell())?;
                }
                rows.push(row);
            }
            if rows.len() > before.most || rows.iter().any(|row| row.len() != before.bounds.len()) {
                return None;
            }
            after.rows += rows.len() as i64;
            after.next_row += rows.len() as i64;
            batch.after.next_file += 1;
            batch.tables.push(Part { place, rows, before: before.clone() });
        }
        Some(batch)
    }
}
