//! What a mirror remembers beside its data, in the same schema and so in the same transactions: which version of what it
//! shows and who applies (`_maniac_state`, one row), and which columns it has (`_maniac_columns`).
//!
//! The state row is the guard of exactly once. Every batch moves it from the version that the applier believes in to
//! the next one, under the applier's own token: a batch that was applied before, or by somebody else, moves no row or
//! conflicts, and is rolled back. In a lake the row is moved now and then only; see `lake::applied_version`.

use std::time::Duration;

use maniac_base::Version;

use super::{MaintenanceSettings, Owner, Target};
use crate::error::{Error, Result};
use crate::host::{Cell, Session, TableWriter};
use crate::schema::{COLUMNS_TABLE, MirrorColumn, MirrorTable, OnMismatch, STATE_TABLE, Selection, Tables, quote_text};
use crate::source::Identity;

/// The state row.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub store: String,
    pub branch_id: u32,
    pub branch: String,
    pub location: String,
    pub version: Version,
    /// In a lake: snapshots after this one tell of newer versions.
    pub open_since: Option<i64>,
    /// Seconds since the owner began to compact; `None` if it does not.
    pub compacting: Option<i64>,
    pub upkeep: MaintenanceSettings,
    /// Empty when the last applier left in order.
    pub owner: String,
    pub selection: Selection,
    pub on_mismatch: OnMismatch,
}

/// What was chosen for a mirror.
pub struct Terms<'a> {
    pub selection: &'a Selection,
    pub on_mismatch: OnMismatch,
    pub upkeep: MaintenanceSettings,
}

/// Where a batch brings a mirror.
#[derive(Clone, Copy)]
pub struct Moved {
    pub from: Version,
    pub to: Version,
    pub time_ms: i64,
}

impl Moved {
    fn assignments(self) -> String {
        format!("version = {}, committed = make_timestamp({})", self.to, self.time_ms.saturating_mul(1000))
    }
}

/// Whether the target's schema exists, and the mirror's state in it if there is one. Looks into all databases.
pub fn find(session: &Session, target: &Target) -> Result<(bool, Option<State>)> {
    let place = |column: &str| {
        format!(
            "lower(database_name) = lower({}) AND lower({column}) = lower({})",
            quote_text(&target.catalog),
            quote_text(&target.schema)
        )
    };
    let schema = session.value(&format!("SELECT schema_name FROM duckdb_schemas() WHERE {}", place("schema_name")))?;
    if schema.is_none() {
        return Ok((false, None));
    }
    let table = format!(
        "SELECT table_name FROM duckdb_tables() WHERE {} AND table_name = {}",
        place("schema_name"),
        quote_text(STATE_TABLE)
    );
    match session.value(&table)? {
        Some(_) => Ok((true, Some(read(session, target)?))),
        None => Ok((true, None)),
    }
}

/// The state of a mirror that is there.
pub fn read(session: &Session, target: &Target) -> Result<State> {
    let rows = session.query(&format!(
        "SELECT store, branch_id::VARCHAR, branch, source, version::VARCHAR, open_since::VARCHAR, \
         (epoch(now())::BIGINT - compacting)::VARCHAR, maintain_every_s::VARCHAR, keep_snapshots_s::VARCHAR, \
         owner, selection, on_mismatch FROM {}",
        target.table(STATE_TABLE)
    ));
    let rows = rows.map_err(|error| unreadable(session, target, &error))?;
    let damaged = || {
        Error::input(format!(
            "{} does not hold the state of a mirror: drop the schema {} to start over",
            target.table(STATE_TABLE),
            target.shown()
        ))
    };
    let [row] = rows.as_slice() else { return Err(damaged()) };
    let [
        Some(store),
        Some(branch_id),
        Some(branch),
        Some(location),
        Some(version),
        open_since,
        compacting,
        every,
        keep,
        owner,
        Some(selection),
        Some(on_mismatch),
    ] = row.as_slice()
    else {
        return Err(damaged());
    };
    let seconds = |text: &Option<String>| Some(Duration::from_secs(text.as_ref()?.parse().ok()?));
    Ok(State {
        store: store.clone(),
        branch_id: branch_id.parse().map_err(|_| damaged())?,
        branch: branch.clone(),
        location: location.clone(),
        version: Version(version.parse().map_err(|_| damaged())?),
        open_since: open_since.as_ref().map(|since| since.parse()).transpose().map_err(|_| damaged())?,
        compacting: compacting.as_ref().and_then(|seconds| seconds.parse().ok()),
        upkeep: MaintenanceSettings {
            every: seconds(every).ok_or_else(damaged)?,
            keep: seconds(keep).ok_or_else(damaged)?,
        },
        owner: owner.clone().unwrap_or_default(),
        selection: Selection::from_text(selection).ok_or_else(damaged)?,
        on_mismatch: on_mismatch.parse().map_err(|()| damaged())?,
    })
}

/// The error of a table of the mirror's own that cannot be read.
pub fn unreadable(session: &Session, target: &Target, error: &Error) -> Error {
    let attached = "SELECT count(*)::VARCHAR FROM duckdb_databases() WHERE lower(database_name) = lower";
    let attached = session.value(&format!("{attached}({})", quote_text(&target.catalog)));
    match attached {
        Ok(Some(count)) if count == "0" => Error::input(format!(
            "the state of the mirror cannot be read: {error}. {} is detached: attach it again, and the mirror goes on",
            target.catalog
        )),
        Ok(_) if error.to_string().contains("does not exist") => Error::Gone(format!(
            "the state of the mirror is gone: {error}. CALL maniac_detach('{}') if the mirror is attached, drop what is \
             left of the schema {}, and attach again, which copies the tables anew",
            target.schema,
            target.shown()
        )),
        _ => Error::input(format!("the state of the mirror cannot be read: {error}")),
    }
}

/// Makes the two tables, with the state of a copy at `version`.
pub fn create(
    session: &Session,
    target: &Target,
    of: &Identity,
    version: Version,
    owner: &Owner,
    terms: &Terms<'_>,
) -> Result<()> {
    session.run(&format!(
        "CREATE TABLE {} (source VARCHAR, store VARCHAR, branch VARCHAR, branch_id BIGINT, version BIGINT, \
         open_since BIGINT, compacting BIGINT, maintain_every_s BIGINT, keep_snapshots_s BIGINT, \
         committed TIMESTAMP, owner VARCHAR, selection VARCHAR, on_mismatch VARCHAR)",
        target.table(STATE_TABLE)
    ))?;
    session.run(&format!(
        "CREATE TABLE {} (table_name VARCHAR, mirror_table VARCHAR, position BIGINT, column_name VARCHAR, \
         mirror_column VARCHAR, declared_type VARCHAR, mirror_type VARCHAR, key_position BIGINT, rowid_key BOOLEAN)",
        target.table(COLUMNS_TABLE)
    ))?;
    session.run(&format!(
        "INSERT INTO {} VALUES ({}, {}, {}, {}, {version}, NULL, NULL, {}, {}, NULL, {}, {}, '{}')",
        target.table(STATE_TABLE),
        quote_text(&of.location),
        quote_text(&of.store),
        quote_text(&of.branch),
        of.branch_id,
        terms.upkeep.every.as_secs(),
        terms.upkeep.keep.as_secs(),
        quote_text(&owner.token()),
        quote_text(&terms.selection.to_text()),
        terms.on_mismatch,
    ))?;
    Ok(())
}

/// Moves the state from one version to the next. Fails with `Overtaken` if it is not where it was left.
pub fn advance(session: &Session, target: &Target, owner: &Owner, moved: Moved) -> Result<()> {
    move_row(session, target, owner, &format!("{}, open_since = NULL", moved.assignments()), "version =", moved.from)
}

/// Moves the state of a mirror in a lake, which may be behind, and notes that snapshots after `since` tell more.
pub fn open(session: &Session, target: &Target, owner: &Owner, moved: Moved, since: i64) -> Result<()> {
    let set = format!("{}, open_since = {since}", moved.assignments());
    move_row(session, target, owner, &set, "version <=", moved.from)
}

/// Writes the version of a mirror in a lake, so that no snapshot is needed to know it.
pub fn settle(session: &Session, target: &Target, owner: &Owner, version: Version, compacting: bool) -> Result<()> {
    let compacting = if compacting { "epoch(now())::BIGINT" } else { "NULL" };
    let set = format!("version = {version}, open_since = NULL, compacting = {compacting}");
    move_row(session, target, owner, &set, "version <=", version)
}

fn move_row(
    session: &Session,
    target: &Target,
    owner: &Owner,
    set: &str,
    comparison: &str,
    version: Version,
) -> Result<()> {
    let moved = session.run(&format!(
        "UPDATE {} SET {set} WHERE {comparison} {version} AND owner = {}",
        target.table(STATE_TABLE),
        quote_text(&owner.token()),
    ))?;
    if moved == 1 { Ok(()) } else { Err(overtaken(target)) }
}

/// Fails with `Overtaken` if the mirror is not the owner's now.
pub fn check_owner(session: &Session, target: &Target, owner: &Owner) -> Result<()> {
    let now = session.value(&format!("SELECT owner FROM {}", target.table(STATE_TABLE)))?;
    if now == Some(owner.token()) { Ok(()) } else { Err(overtaken(target)) }
}

/// The error of an applier that is none any more.
pub fn overtaken(target: &Target) -> Error {
    Error::Overtaken(format!(
        "{} is no longer applied by this process: another one attached it, or its state was changed. maniac_detach here, \
         or attach again to take it back",
        target.shown()
    ))
}

/// Makes `owner` the applier, in place of the one that was read; fails if that is not how it is any more.
pub fn claim(session: &Session, target: &Target, owner: &Owner, read: &State, terms: &Terms<'_>) -> Result<()> {
    let moved = session.run(&format!(
        "UPDATE {} SET owner = {}, compacting = NULL, maintain_every_s = {}, keep_snapshots_s = {}, \
         on_mismatch = '{}' WHERE owner = {} AND (compacting IS NULL) = {}",
        target.table(STATE_TABLE),
        quote_text(&owner.token()),
        terms.upkeep.every.as_secs(),
        terms.upkeep.keep.as_secs(),
        terms.on_mismatch,
        quote_text(&read.owner),
        read.compacting.is_none()
    ))?;
    match moved {
        1 => Ok(()),
        _ => Err(Error::input(format!(
            "{} was just attached, detached or compacted by another process: try again",
            target.shown()
        ))),
    }
}

/// Leaves in order: the next applier need not ask whether this one lives.
pub fn release(session: &Session, target: &Target, owner: &Owner, version: Version) -> Result<()> {
    session.run(&format!(
        "UPDATE {} SET owner = '', version = {version}, open_since = NULL WHERE owner = {}",
        target.table(STATE_TABLE),
        quote_text(&owner.token())
    ))?;
    Ok(())
}

/// Writes the columns of the tables that are not as they were `before`, and removes those of tables that are gone.
pub fn write_tables(session: &Session, target: &Target, before: &Tables, tables: &Tables) -> Result<()> {
    let gone: Vec<String> = before.unlike(tables).map(|table| quote_text(&table.source)).collect();
    if !gone.is_empty() {
        let name = target.table(COLUMNS_TABLE);
        session.run(&format!("DELETE FROM {name} WHERE table_name IN ({})", gone.join(", ")))?;
    }
    let mut new = tables.unlike(before).peekable();
    if new.peek().is_none() {
        return Ok(());
    }
    let mut writer = TableWriter::open(session, &target.catalog, &target.schema, COLUMNS_TABLE)?;
    for table in new {
        for (place, column) in table.columns.iter().enumerate() {
            let key = table.key.iter().position(|key| *key == place).map_or(0, |at| at + 1);
            let types = column.steps();
            writer.push([
                Cell::Bytes(table.source.as_bytes()),
                Cell::Bytes(table.name.as_bytes()),
                Cell::Integer(place as i64),
                Cell::Bytes(column.source.as_bytes()),
                Cell::Bytes(column.name.as_bytes()),
                Cell::Bytes(column.declared.as_bytes()),
                Cell::Bytes(types.as_bytes()),
                Cell::Integer(key as i64),
                Cell::Bool(table.key_is_rowid),
            ])?;
        }
    }
    writer.finish()
}

/// The tables as the last `write_tables` left them, in no particular order.
pub fn read_tables(session: &Session, target: &Target) -> Result<Tables> {
    let rows = session.query(&format!(
        "SELECT table_name, mirror_table, column_name, mirror_column, declared_type, mirror_type, \
         key_position::VARCHAR, rowid_key::VARCHAR FROM {} ORDER BY table_name, position",
        target.table(COLUMNS_TABLE)
    ));
    let rows = rows.map_err(|error| unreadable(session, target, &error))?;
    let mut tables: Vec<MirrorTable> = Vec::new();
    let mut keys: Vec<Vec<(usize, usize)>> = Vec::new();
    for row in rows {
        let row: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        let [source, name, column, mirror_column, declared, mirror_type, key, rowid] = row.as_slice() else { continue };
        let (narrower, column_type) = MirrorColumn::parse_steps(mirror_type).ok_or_else(|| {
            Error::input(format!(
                "{} names the unknown type {mirror_type}: it was written by another version of the extension. \
                 Drop the schema {} to start over",
                target.table(COLUMNS_TABLE),
                target.shown()
            ))
        })?;
        if tables.last().is_none_or(|table| table.source != *source) {
            let (source, name) = (source.clone(), name.clone());
            let key_is_rowid = rowid == "true";
            tables.push(MirrorTable { source, name, columns: Vec::new(), key: Vec::new(), key_is_rowid });
            keys.push(Vec::new());
        }
        let (Some(table), Some(keys)) = (tables.last_mut(), keys.last_mut()) else { continue };
        match key.parse::<usize>() {
            Ok(position) if position > 0 => keys.push((position, table.columns.len())),
            _ => {}
        }
        table.columns.push(MirrorColumn {
            source: column.clone(),
            name: mirror_column.clone(),
            declared: declared.clone(),
            column_type,
            narrower,
        });
    }
    for (table, mut keys) in tables.iter_mut().zip(keys) {
        keys.sort_unstable();
        table.key = keys.into_iter().map(|(_, place)| place).collect();
    }
    Ok(tables.into_iter().collect())
}
