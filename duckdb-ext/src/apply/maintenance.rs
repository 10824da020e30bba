//! What keeps a mirror in a lake small and fast: done by the applier, between two batches, step after step.
//!
//! ```text
//!   flush     inlined rows and deletions become files
//!   rewrite   files with many deleted rows become files without them
//!   merge     many small files become one
//!   expire    the mirror's own snapshots that are older than asked for go, and most of those of more than an hour ago
//!   clean     files that no snapshot has needed for a while are deleted
//! ```
//!
//! A rewrite while rows of the table are inlined makes the table's past wrong (design note 026), so that a flush
//! goes before it and nothing comes between them: the mirror's row says that the applier is compacting, and nobody takes
//! the mirror over meanwhile.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Applier;
use super::schema_refresh::is_stale;
use crate::error::{Error, Result};
use crate::host::TextRow;
use crate::schema::{COLUMNS_TABLE, REJECTS_TABLE, STATE_TABLE, Tables, quote_text};
use crate::source::Commit;
use crate::target::lake::applied_version;
use crate::target::state;

/// How long every snapshot of the mirror's is kept; of older ones the last of each minute.
const KEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a file that no snapshot needs is left for queries that began before.
const GRACE: Duration = Duration::from_secs(10 * 60);
/// Deleted rows that make a file worth a rewrite.
const DELETED_SHARE: f64 = 0.25;
/// Files with deletions, and files without, that make a table worth the work.
const MANY_FILES: u64 = 8;
/// What a mirror has besides its source's tables.
const OWN_TABLES: [&str; 3] = [STATE_TABLE, COLUMNS_TABLE, REJECTS_TABLE];
/// How often a compaction is tried while others commit to the lake.
const ATTEMPTS: u32 = 3;
/// Up to here a table with many deletions is rewritten as a whole.
const SMALL_TABLE: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaintenanceStep {
    Flush,
    Rewrite,
    Merge,
    Expire,
    Clean,
}

impl MaintenanceStep {
    pub const ALL: [MaintenanceStep; 5] = [
        MaintenanceStep::Flush,
        MaintenanceStep::Rewrite,
        MaintenanceStep::Merge,
        MaintenanceStep::Expire,
        MaintenanceStep::Clean,
    ];

    /// Whether it puts rows into other files, during which nobody may take the mirror over.
    fn compacts(self) -> bool {
        matches!(self, MaintenanceStep::Flush | MaintenanceStep::Rewrite | MaintenanceStep::Merge)
    }
}

impl fmt::Display for MaintenanceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl FromStr for MaintenanceStep {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<MaintenanceStep, ()> {
        MaintenanceStep::ALL.into_iter().find(|step| step.to_string() == text).ok_or(())
    }
}

/// What the schedule asks for, or somebody.
#[derive(Clone, Debug)]
pub struct Order {
    pub steps: Vec<MaintenanceStep>,
    pub dry_run: bool,
    /// For `expire` and `clean`, in place of what is stored and of the grace.
    pub older_than: Option<Duration>,
}

/// What a step did, or would do: so many rows, files or snapshots of a table or of the lake.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub step: MaintenanceStep,
    pub name: String,
    pub count: u64,
    pub unit: &'static str,
}

impl Applier {
    /// What the schedule has to do now: everything after batches, else only what time brings about.
    pub fn due(&self) -> Order {
        let steps = match self.changed {
            true => MaintenanceStep::ALL.to_vec(),
            false => vec![MaintenanceStep::Expire, MaintenanceStep::Clean],
        };
        Order { steps, dry_run: false, older_than: None }
    }

    /// Does the steps of the order. Errors name the step; what was done before it stays done.
    pub fn maintain(&mut self, order: &Order) -> Result<Vec<Done>> {
        self.make_sure()?;
        let compacts = !order.dry_run && order.steps.iter().any(|step| step.compacts());
        let expires = !order.dry_run && order.steps.contains(&MaintenanceStep::Expire);
        // Expired snapshots must not be needed to know the version.
        if compacts || expires && !self.applied.is_settled() {
            self.settle(compacts)?;
        }
        let mut done = Vec::new();
        let outcome = order.steps.iter().try_for_each(|step| {
            let mut outcome = self.step(*step, order, &mut done);
            if outcome.as_ref().is_err_and(is_stale) {
                self.applied.lost_count();
                outcome = self.refresh_schema().and_then(|()| self.step(*step, order, &mut done));
            }
            outcome
                .map_err(|error| Error::input(format!("maintenance of {}, step {step}: {error}", self.target.shown())))
        });
        if compacts {
            self.applied.lost_count();
            self.settle(false)?;
        }
        outcome?;
        if order.steps == MaintenanceStep::ALL && !order.dry_run {
            self.changed = false;
        }
        Ok(done)
    }

    fn step(&mut self, step: MaintenanceStep, order: &Order, done: &mut Vec<Done>) -> Result<()> {
        let lake = quote_text(&self.target.catalog);
        let schema = quote_text(&self.target.schema);
        match step {
            MaintenanceStep::Flush => {
                // One after the other: where several tables are flushed at once by several threads, DuckLake 1.5.5 has corrupted
                // the heap (design note 034).
                let (own, inlined) = (OWN_TABLES.map(str::to_string), &self.inlined);
                let tables = self.tables.iter().map(|table| table.name.clone()).filter(|table| inlined.contains(table));
                for table in tables.chain(own).collect::<Vec<_>>() {
                    self.read_versions(Some(&table))?;
                    let sql = format!(
                        "SELECT table_name::VARCHAR, rows_flushed::VARCHAR FROM \
                         ducklake_flush_inlined_data({lake}, schema_name => {schema}, table_name => {})",
                        quote_text(&table)
                    );
                    let renews = !order.dry_run && self.flush_drops(&table)?;
                    self.compact(step, &sql, "rows", Ending { renews, ..Ending::of(order) }, done)?;
                    if renews {
                        // DuckLake drops in a transaction of its own, before which somebody may have read the new version.
                        self.applied.lost_count();
                        self.refresh_schema()?;
                    }
                    if !order.dry_run {
                        self.inlined.remove(&table);
                    }
                }
            }
            MaintenanceStep::Rewrite => {
                if !order.dry_run && !order.steps.contains(&MaintenanceStep::Flush) {
                    self.step(MaintenanceStep::Flush, order, done)?;
                }
                self.read_versions(None)?;
                for (table, files) in self.files()? {
                    let whole = files.deletions >= MANY_FILES && files.bytes <= SMALL_TABLE;
                    if files.deletions > 0 {
                        let share = if whole { 0.0 } else { DELETED_SHARE };
                        let sql = format!(
                            "SELECT table_name::VARCHAR, files_processed::VARCHAR FROM \
                             ducklake_rewrite_data_files({lake}, {}, schema => {schema}, delete_threshold => {share})",
                            quote_text(&table)
                        );
                        self.compact(step, &sql, "files", Ending::of(order), done)?;
                    }
                }
            }
            MaintenanceStep::Merge => {
                self.read_versions(None)?;
                for (table, files) in self.files()? {
                    if files.all - files.deletions.min(files.all) >= MANY_FILES {
                        let sql = format!(
                            "SELECT table_name::VARCHAR, files_processed::VARCHAR \
                             FROM ducklake_merge_adjacent_files({lake}, {}, schema => {schema})",
                            quote_text(&table)
                        );
                        self.compact(step, &sql, "files", Ending::of(order), done)?;
                    }
                }
            }
            MaintenanceStep::Expire => {
                let old = self.old_snapshots(order.older_than)?;
                if !old.is_empty() {
                    self.session.query(&format!(
                        "SELECT snapshot_id::VARCHAR \
                         FROM ducklake_expire_snapshots({lake}, versions => [{}], dry_run => {})",
                        old.join(", "),
                        order.dry_run
                    ))?;
                    let name = self.target.catalog.clone();
                    done.push(Done { step, name, count: old.len() as u64, unit: "snapshots" });
                }
            }
            MaintenanceStep::Clean => {
                let age = order.older_than.unwrap_or(GRACE);
                let paths = self.session.query(&format!(
                    "SELECT path::VARCHAR FROM ducklake_cleanup_old_files({lake}, \
                     older_than => now() - to_seconds({}), dry_run => {})",
                    age.as_secs(),
                    order.dry_run
                ))?;
                if !paths.is_empty() {
                    let name = self.target.catalog.clone();
                    done.push(Done { step, name, count: paths.len() as u64, unit: "files" });
                }
            }
        }
        Ok(())
    }

    /// Has DuckLake read the schema versions that a compaction of the table, or of any, will ask it for: those in which the table
    /// itself changed, since each is a read of all tables of the lake. It keeps what it has read of a version, and
    /// DuckLake 1.5.5 asks in a compaction for a version as of a later snapshot, or an earlier one: if it has nothing of
    /// it yet, it keeps what it then reads, and `AT` shows tables of that version wrong in this process from then on. A
    /// flush makes it forget what it has read.
    fn read_versions(&self, table: Option<&str>) -> Result<()> {
        let Some(place) = applied_version::metadata(&self.session, &self.target) else { return Ok(()) };
        let named = table.map_or(String::new(), |table| format!(" AND t.table_name = {}", quote_text(table)));
        let snapshots = self.session.query(&format!(
            "WITH live AS (SELECT table_id FROM {place}.ducklake_table AS t JOIN {place}.ducklake_schema AS s \
             USING (schema_id) WHERE t.end_snapshot IS NULL AND lower(s.schema_name) = lower({}){named}) \
             SELECT min(snapshot_id)::VARCHAR FROM {place}.ducklake_snapshot WHERE schema_version IN \
             (SELECT schema_version FROM {place}.ducklake_schema_versions WHERE table_id IN (FROM live) \
             UNION SELECT schema_version FROM {place}.ducklake_inlined_data_tables WHERE table_id IN (FROM live)) \
             GROUP BY schema_version",
            quote_text(&self.target.schema)
        ))?;
        let state = self.target.table(STATE_TABLE);
        for snapshot in snapshots.into_iter().flatten().flatten() {
            // The version is read to find that the table was not there yet, too.
            drop(self.session.query(&format!("SELECT NULL::VARCHAR FROM {state} AT (VERSION => {snapshot}) LIMIT 0")));
        }
        Ok(())
    }

    /// Runs a compaction of DuckLake's, which is a transaction without other changes. A dry run is rolled back, and
    /// DuckLake takes back the files that it wrote.
    fn compact(
        &mut self,
        step: MaintenanceStep,
        sql: &str,
        unit: &'static str,
        ending: Ending,
        done: &mut Vec<Done>,
    ) -> Result<()> {
        let retries = self.session.value("SELECT current_setting('ducklake_max_retry_count')::VARCHAR")?;
        let retries = retries.unwrap_or_default();
        // When somebody else commits meanwhile, DuckLake 1.5.5 starts the commit over, but cannot with a compaction: an internal
        // error makes the whole database unusable (design note 034). So the compaction is started over here.
        self.session.run("SET SESSION ducklake_max_retry_count = 0")?;
        let mut attempts = ATTEMPTS;
        let outcome = loop {
            attempts -= 1;
            match self.try_compact(step, sql, ending) {
                Ok((_, Err(_))) if attempts > 0 => {}
                outcome => break outcome.and_then(|(rows, ended)| ended.map(|_| rows)),
            }
        };
        self.session.run(&format!("SET SESSION ducklake_max_retry_count = {retries}"))?;
        for row in outcome? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (name, count) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
            done.push(Done { step, name, count: count.parse().unwrap_or(0), unit });
        }
        Ok(())
    }

    /// What the compaction did, and whether its transaction ended as it should.
    fn try_compact(&mut self, step: MaintenanceStep, sql: &str, ending: Ending) -> Result<(Vec<TextRow>, Result<u64>)> {
        self.session.run("BEGIN")?;
        let outcome = (|| {
            let rows = self.session.query(sql)?;
            if ending.renews {
                self.alter_nothing()?;
            }
            if (!rows.is_empty() || ending.renews) && !ending.dry_run {
                self.mark(&format!("{step}, at version {}", self.version), Some(self.version))?;
            }
            Ok(rows)
        })();
        let end = if outcome.is_ok() && !ending.dry_run { "COMMIT" } else { "ROLLBACK" };
        let ended = self.session.run(end);
        self.pin = None;
        Ok((outcome?, ended))
    }

    /// Notes that the tables of the commits may have rows or deletions in the lake's catalog.
    pub(super) fn note_inlined(&mut self, commits: &[Commit]) {
        for commit in commits {
            for name in commit.tables.iter().map(|changes| &changes.table).chain(commit.unfollowed()) {
                let table = self.tables.place(name).map(|place| &self.tables[place]);
                if let Some(table) = table.filter(|table| !self.inlined.contains(&table.name)) {
                    self.inlined.insert(table.name.clone());
                }
            }
        }
    }

    /// Notes the same of tables that are not as they were.
    pub(super) fn note_changed_inlined(&mut self, before: &Tables) {
        self.inlined.extend(self.tables.unlike(before).map(|table| table.name.clone()));
    }

    /// Notes the same of all tables.
    pub(super) fn note_all_inlined(&mut self) {
        self.inlined = self.tables.iter().map(|table| table.name.clone()).collect();
    }

    /// The tables of the mirror, its own among them, with what they are stored in.
    fn files(&self) -> Result<Vec<(String, Files)>> {
        let tables = self.tables.iter().map(|table| table.name.clone()).chain(OWN_TABLES.map(str::to_string));
        tables.map(|table| self.files_of(&table).map(|files| (table, files))).collect()
    }

    fn files_of(&self, table: &str) -> Result<Files> {
        let rows = self.session.query(&format!(
            "SELECT count(*)::VARCHAR, count(delete_file)::VARCHAR, ifnull(sum(data_file_size_bytes), 0)::VARCHAR \
             FROM ducklake_list_files({}, {}, schema => {})",
            quote_text(&self.target.catalog),
            quote_text(table),
            quote_text(&self.target.schema)
        ))?;
        let row = rows.into_iter().next().unwrap_or_default();
        let mut numbers = row.into_iter().map(|number| number.and_then(|number| number.parse().ok()).unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Ok(Files { all: next(), deletions: next(), bytes: next() })
    }

    /// Snapshots that this mirror made and need not be kept, without the lake's newest.
    fn old_snapshots(&self, older_than: Option<Duration>) -> Result<Vec<String>> {
        let own =
            applied_version::marked_by(&self.target, &self.source.identity(), "TRY_CAST(commit_extra_info AS JSON)");
        let keep = self.upkeep.keep;
        let (least, old) = match older_than {
            Some(age) => (age, "true".to_string()),
            None => (keep.min(KEEP_EVERY), format!("newer > 0 OR age >= {}", keep.as_secs())),
        };
        // `newer`: the mirror's newer snapshots of the same minute. Only old ones are looked at, which there are few of.
        let rows = self.session.query(&format!(
            "SELECT snapshot_id::VARCHAR FROM (SELECT snapshot_id, epoch(now()) - epoch(snapshot_time) AS age, \
             row_number() OVER (PARTITION BY epoch(snapshot_time) // 60 ORDER BY snapshot_id DESC) - 1 AS newer \
             FROM {} WHERE snapshot_time <= now() - to_seconds({}) AND {own}) \
             WHERE ({old}) AND snapshot_id < (SELECT id FROM {}())",
            applied_version::history(&self.session, &self.target),
            least.as_secs(),
            self.target.function("current_snapshot")
        ))?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    /// Writes into a lake's state row what so far its snapshots alone tell, and whether the applier is compacting.
    pub fn settle(&mut self, compacting: bool) -> Result<()> {
        self.make_sure()?;
        self.transaction(|applier| {
            applier.applied.begin(&applier.session, &applier.target, &applier.owner)?;
            state::settle(&applier.session, &applier.target, &applier.owner, applier.version, compacting)?;
            applier.mark(&format!("settled at version {}", applier.version), Some(applier.version))
        })?;
        self.applied.settled();
        Ok(())
    }
}

/// What becomes of a compaction's transaction.
#[derive(Clone, Copy)]
struct Ending {
    dry_run: bool,
    /// It makes a new schema version too; see `schema_refresh`.
    renews: bool,
}

impl Ending {
    fn of(order: &Order) -> Ending {
        Ending { dry_run: order.dry_run, renews: false }
    }
}

/// What a table is stored in.
struct Files {
    all: u64,
    /// Those of them with deleted rows.
    deletions: u64,
    bytes: u64,
}
